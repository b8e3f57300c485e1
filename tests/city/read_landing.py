"""Reads what a gateway has stored as a city would, and compares it with what the node released.

    python read_landing.py CITY --rows FILE --schemas DIR --readme FILE --address HOST:PORT --reader NAME --node NAME

CITY is the folder with `landing` and `certificates`; FILE holds what `kerbside events --format json` printed of the node's
spool. Ends with an AssertionError, or prints what was compared.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import struct
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pyarrow.flight as flight

Row = tuple[Any, ...]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

#: A released type as DuckDB and as Arrow name what the landing and DoGet give.
TYPES = {
    "Timestamp(ms, UTC)": ("TIMESTAMP WITH TIME ZONE", pyarrow.timestamp("ms", tz="UTC")),
    "Boolean": ("BOOLEAN", pyarrow.bool_()),
    "UInt8": ("UTINYINT", pyarrow.uint8()),
    "UInt32": ("UINTEGER", pyarrow.uint32()),
    "UInt64": ("UBIGINT", pyarrow.uint64()),
    "Int32": ("INTEGER", pyarrow.int32()),
    "Float32": ("FLOAT", pyarrow.float32()),
    "Utf8": ("VARCHAR", pyarrow.string()),
}


def schema(file: Path) -> dict[str, str]:
    """The columns of a released table and their types, words as plain text."""
    columns = {}
    for line in file.read_text().splitlines()[1:]:
        name, _, kind = line.partition(": ")
        kind = kind.rsplit(", ", 1)[0]
        columns[name] = "Utf8" if kind.startswith("Dictionary(") else kind
    return columns


def single(number: float | None) -> float | None:
    """The number of 32 bits that it stands for."""
    return None if number is None else struct.unpack("f", struct.pack("f", number))[0]


def millis(text: str) -> int:
    """Milliseconds since 1970 of what `kerbside events` prints."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment - EPOCH) // timedelta(milliseconds=1)


def released(file: Path, columns: dict[str, dict[str, str]]) -> dict[str, list[Row]]:
    """The node's rows by table, each value in its column's place."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for line in file.read_text().splitlines():
        row = json.loads(line)
        table = row.pop("table")
        assert list(row) == list(columns[table]), f"{table}: {list(row)}"
        rows[table].append(tuple(plain(value, columns[table][name]) for name, value in row.items()))
    return {table: sorted(found, key=repr) for table, found in rows.items()}


def plain(value: Any, kind: str) -> Any:
    """A value of `kerbside events` as `stored` and `fetched` give it."""
    if kind.startswith("Timestamp"):
        return millis(value)
    return single(value) if kind == "Float32" else value


def stored(table: str, columns: dict[str, str]) -> list[Row]:
    """The landing's rows, by DuckDB."""
    source = f"read_parquet('landing/{table}/*/*.parquet', hive_partitioning = true)"
    described = duckdb.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()
    found = {name: kind for name, kind, *_ in described}
    wanted = {name: TYPES[kind][0] for name, kind in columns.items()} | {"day": "DATE"}
    assert list(found.items()) == list(wanted.items()), f"{table}: {found}"
    misplaced = duckdb.sql(f"SELECT count(*) FROM {source} WHERE day <> CAST(t0 AT TIME ZONE 'UTC' AS DATE)")
    assert misplaced.fetchall() == [(0,)], f"{table}: rows lie in the folder of another day"
    twice = duckdb.sql(f"SELECT node, epoch, seq FROM {source} GROUP BY ALL HAVING count(*) > 1").fetchall()
    assert not twice, f"{table}: stored twice: {twice[:5]}"
    selected = ", ".join(
        f"epoch_ms({name})" if kind.startswith("Timestamp") else f'"{name}"' for name, kind in columns.items()
    )
    return sorted(duckdb.sql(f"SELECT {selected} FROM {source}").fetchall(), key=repr)


def connect(address: str, holder: str) -> flight.FlightClient:
    """A Flight client with that certificate."""
    folder = Path("certificates")
    return flight.FlightClient(
        f"grpc+tls://{address}",
        tls_root_certs=(folder / "authority.pem").read_bytes(),
        cert_chain=(folder / f"{holder}.pem").read_bytes(),
        private_key=(folder / f"{holder}.key").read_bytes(),
    )


def days_of(client: flight.FlightClient) -> dict[str, dict[str, flight.FlightInfo]]:
    """What `ListFlights` lists: tables, their days and what there is of each."""
    days: dict[str, dict[str, flight.FlightInfo]] = defaultdict(dict)
    for info in client.list_flights():
        table, day = (part.decode() for part in info.descriptor.path)
        assert day not in days[table], f"{table}/{day} is listed twice"
        days[table][day] = info
    return days


def fetched(
    client: flight.FlightClient, table: str, days: dict[str, flight.FlightInfo], columns: dict[str, str]
) -> list[Row]:
    """The rows of all days of a table, by DoGet."""
    wanted = pyarrow.schema(
        [pyarrow.field(name, TYPES[kind][1]) for name, kind in columns.items()],
    )
    rows: list[Row] = []
    for day, info in days.items():
        assert info.endpoints[0].ticket.ticket == f"{table}/{day}".encode()
        found = client.do_get(flight.Ticket(f"{table}/{day}".encode())).read_all()
        assert [(one.name, one.type) for one in found.schema] == [(one.name, one.type) for one in wanted], found.schema
        assert found.schema.equals(info.schema), f"{table}/{day}: listed with another schema"
        assert found.num_rows == info.total_records, f"{table}/{day}: {found.num_rows}, listed {info.total_records}"
        values = []
        for name, kind in columns.items():
            column = found.column(name)
            values.append((column.cast(pyarrow.int64()) if kind.startswith("Timestamp") else column).to_pylist())
        rows += zip(*values, strict=True)
    return sorted(rows, key=repr)


def same(what: str, left: list[Row], right: list[Row]) -> None:
    """Fails with the first rows that only one side has."""
    if left != right:
        only = [[row for row in one if row not in other][:3] for one, other in ((left, right), (right, left))]
        raise AssertionError(f"{what}: {len(left)} rows, {len(right)} rows; only left {only[0]}; only right {only[1]}")


def every_number_is_told(rows: dict[str, list[Row]], columns: dict[str, dict[str, str]]) -> int:
    """No number of a node's rows is missing without a row of `gap.v1` that says so; how many are told there."""
    told: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    source = "read_parquet('landing/gap.v1/*/*.parquet', hive_partitioning = true)"
    gaps = duckdb.sql(f'SELECT node, "table", epoch, first_seq, last_seq, "rows", reason FROM {source}').fetchall()
    for node, table, epoch, first, last, number, reason in gaps:
        assert number == last - first + 1 and reason, (node, table, epoch, first, last, number, reason)
        told[node, table, epoch] |= set(range(first, last + 1))
    missing = sum(len(numbers) for numbers in told.values())
    present: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for table, found in rows.items():
        node, epoch, seq = (list(columns[table]).index(name) for name in ("node", "epoch", "seq"))
        for row in found:
            present[row[node], table, row[epoch]].add(row[seq])
    for key in told.keys() | present.keys():
        both = told[key] & present[key]
        assert not both, f"{key}: told missing, and stored: {sorted(both)[:5]}"
        numbers = told[key] | present[key]
        silent = set(range(min(numbers), max(numbers) + 1)) - numbers
        assert not silent, f"{key}: neither stored nor told missing: {sorted(silent)[:5]}"
    return missing


def run_readme(file: Path, address: str, reader: str, day: str) -> None:
    """Runs the examples of DuckDB and of Flight as they stand, but for the names of this city."""
    blocks = re.findall(r"```python\n(.*?)```", file.read_text(), re.DOTALL)
    examples = [block for block in blocks if "import duckdb" in block or "import pyarrow" in block]
    assert len(examples) == 2, f"{file}: {len(examples)} examples"
    for example in examples:
        code = example.replace("gateway.city.example:8443", address)
        code = code.replace("certificates/desk", f"certificates/{reader}").replace("2026-11-29", day)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(file), "exec"), {})  # noqa: S102  # our own README
        assert printed.getvalue().strip(), f"this prints nothing:\n{code}"


def main() -> None:
    """Compares everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("city", type=Path)
    for name in ("rows", "schemas", "readme"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("address", "reader", "node"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    columns = {file.stem: schema(file) for file in arguments.schemas.glob("*.txt")}
    rows = released(arguments.rows, columns)
    readme = arguments.readme.resolve()
    os.chdir(arguments.city)
    assert {"agg.v1", "health.v1"} <= rows.keys(), f"nothing of some table was released: {rows.keys()}"

    client = connect(arguments.address, arguments.reader)
    days = days_of(client)
    landed = {folder.name for folder in Path("landing").iterdir()}
    assert landed == days.keys() == rows.keys() | {"gap.v1"}, f"{landed}, listed {days.keys()}"
    for table, of_node in rows.items():
        of_landing = stored(table, columns[table])
        same(f"{table}: the node's rows against DuckDB's", of_node, of_landing)
        same(f"{table}: DuckDB's rows against DoGet's", of_landing, fetched(client, table, days[table], columns[table]))
    missing = every_number_is_told(rows, columns)
    gaps = sum(info.total_records for info in days["gap.v1"].values())
    assert duckdb.sql("SELECT count(*) FROM 'landing/gap.v1/*/*.parquet'").fetchall() == [(gaps,)] and missing > 0

    # Whose certificate is a node's may send, and may not read.
    of_node_certificate = connect(arguments.address, arguments.node)
    day = next(iter(days["agg.v1"]))
    for ask in (
        lambda: of_node_certificate.do_get(flight.Ticket(f"agg.v1/{day}".encode())).read_all(),
        lambda: list(of_node_certificate.list_flights()),
    ):
        try:
            found = ask()
        except flight.FlightUnauthorizedError:
            continue
        raise AssertionError(f"a node's certificate was given {found}")

    run_readme(readme, arguments.address, arguments.reader, day)
    counts = ", ".join(f"{len(found)} of {table}" for table, found in sorted(rows.items()))
    print(f"equal in spool, landing and DoGet: {counts}; {missing} rows told missing in {gaps} rows of gap.v1")


if __name__ == "__main__":
    main()
