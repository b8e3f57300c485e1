"""Evaluates every expression of every dashboard and rule in a Prometheus that scrapes a healthy node and its gateway.

    python evaluate.py http://127.0.0.1:PORT

Each must parse and give data, or stand in dashboards/empty-on-a-healthy-node.yaml with the reason why it gives none. An
entry there that does give data is wrong too, unless it says `sometimes`. An alert must give none while what it reads is
there: every selector in it is asked by itself. Ends with 1 and all problems, or prints what was evaluated.
"""

from __future__ import annotations

import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import yaml
from sources import (
    BUILT_IN,
    FOLDER,
    Expression,
    boards,
    expressions,
    filled,
    queries,
    rules,
    selectors,
)

#: So many scrapes of each target are waited for: rates need two, and a histogram's quantile what came between them.
SCRAPES = 10
PATIENCE_SECONDS = 60


class Prometheus:
    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str) -> Any:
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from error

    def series(self, expr: str) -> list[dict[str, Any]]:
        """What an expression gives now, without what is no number, as a quantile of nothing is."""
        result = self.get("query", query=expr)
        if result["resultType"] == "scalar":
            return [{"metric": {}, "value": result["result"]}]
        return [one for one in result["result"] if not math.isnan(float(one["value"][1]))]


def wait(prometheus: Prometheus) -> None:
    """Until each target was scraped often enough, and each rule has been evaluated with what was scraped then."""
    begun = time.monotonic()

    def patient(what: str, state: Any) -> None:
        assert time.monotonic() - begun < PATIENCE_SECONDS, f"{what}: {state}"
        time.sleep(0.5)

    jobs = set()
    while jobs != {"kerbside", "kerbside-gateway"}:
        found = prometheus.series(f"sum_over_time(up[5m]) >= {SCRAPES}")
        jobs = {one["metric"]["job"] for one in found}
        patient("targets that are scraped", jobs)
    scraped = float(prometheus.get("query", query="time()")["result"][1])
    while True:
        # Twice, since a rule may read what another one has recorded.
        groups = prometheus.get("rules")["groups"]
        late = [
            group["name"]
            for group in groups
            if seconds(group["lastEvaluation"]) < scraped + 2 * float(group["interval"])
        ]
        if not late:
            return
        patient("groups of rules that have not been evaluated", late)


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def values(prometheus: Prometheus, name: str, board: dict[str, Any]) -> dict[str, str]:
    """What the variables of a dashboard stand for when everything is chosen, each found as Grafana does."""
    chosen = dict(BUILT_IN)
    for variable, (selector, label) in queries(board).items():
        found = sorted(
            {one["metric"][label] for one in prometheus.series(filled(selector, chosen)) if label in one["metric"]}
        )
        assert found, f"{name}: its variable {variable} has no values"
        many = next(one["multi"] for one in board["templating"]["list"] if one["name"] == variable)
        chosen[variable] = "|".join(found) if many else found[0]
    return chosen


class Exceptions:
    """The list of what is empty on a healthy node."""

    def __init__(self) -> None:
        whole = yaml.safe_load((FOLDER / "empty-on-a-healthy-node.yaml").read_text())
        self.entries = {
            kind: {one["name"]: one for one in whole[kind]} for kind in ("series", "panels", "alerts_that_fire")
        }
        self.unused = {(kind, name) for kind, entries in self.entries.items() for name in entries}
        for kind, entries in self.entries.items():
            for name, entry in entries.items():
                assert entry.keys() <= {"name", "why", "sometimes"} and entry["why"], f"{kind}: {name}: {entry}"

    def judge(self, kind: str, name: str, is_as_usual: bool) -> str | None:
        """What is wrong, if something is: whether it is as usual must fit whether it is listed."""
        entry = self.entries[kind].get(name)
        self.unused.discard((kind, name))
        if entry is None:
            return None if is_as_usual else "unexpected"
        return "stale" if is_as_usual and not entry.get("sometimes", False) else None


def metric_name(selector: str) -> str:
    return selector.partition("{")[0]


class Evaluation:
    """Every problem of every expression."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus, self.listed = prometheus, Exceptions()
        self.known: dict[str, bool] = {}
        self.problems: list[str] = []
        self.count = 0

    def is_there(self, selector: str) -> bool:
        if selector not in self.known:
            self.known[selector] = bool(self.prometheus.series(selector))
        return self.known[selector]

    def entry(self, selector: str) -> str:
        """An entry may name one selector, or a series whatever is selected of it."""
        return selector if selector in self.listed.entries["series"] else metric_name(selector)

    def excused(self, expr: str) -> bool:
        """Whether something that it reads is missing, and all of that is listed."""
        missing = [selector for selector in selectors(expr) if not self.is_there(selector)]
        return bool(missing) and all(self.entry(selector) in self.listed.entries["series"] for selector in missing)

    def reads(self, place: str, expr: str) -> None:
        """Whether everything that it reads is there."""
        for selector in sorted(selectors(expr)):
            if self.listed.judge("series", self.entry(selector), self.is_there(selector)) == "unexpected":
                self.problems.append(f"{place}: nothing is there for {selector}")

    def panel(self, one: Expression) -> None:
        self.count += 1
        try:
            data = self.prometheus.series(one.text)
        except ValueError as error:
            self.problems.append(f"{one.place}: {error}")
            return
        verdict = self.listed.judge("panels", one.place, bool(data))
        if verdict == "stale":
            self.problems.append(f"{one.place}: it gives data and is listed as empty")
        if verdict == "unexpected" and not self.excused(one.text):
            self.problems.append(f"{one.place}: no data: {one.text}")
        for series in data[:1]:
            for label in sorted(one.shown - series["metric"].keys()):
                self.problems.append(f"{one.place}: its legend shows {label}, which its data lack")
        self.reads(one.place, one.text)

    def rule(self, name: str, rule: dict[str, Any]) -> None:
        self.count += 1
        place = f"rule / {name}"
        if rule["health"] != "ok":
            self.problems.append(f"{place}: {rule['health']}: {rule.get('lastError')}")
            return
        data = self.prometheus.series(rule["query"])
        if rule["type"] == "alerting":
            verdict = self.listed.judge("alerts_that_fire", name, not data)
            if verdict == "unexpected":
                self.problems.append(f"{place}: it would fire: {data[:3]}")
            elif verdict == "stale":
                self.problems.append(f"{place}: it would not fire and is listed as firing")
        elif not data and not self.excused(rule["query"]):
            self.problems.append(f"{place}: no data: {rule['query']}")
        self.reads(place, rule["query"])

    def all(self) -> None:
        for name, board in boards().items():
            chosen = values(self.prometheus, name, board)
            for one in expressions(name, board):
                self.panel(replace(one, text=filled(one.text, chosen)))
        loaded = {rule["name"]: rule for group in self.prometheus.get("rules")["groups"] for rule in group["rules"]}
        wanted = {rule.get("alert") or rule["record"] for rule in rules()}
        if loaded.keys() != wanted:
            self.problems.append(f"other rules are loaded: {sorted(loaded.keys() ^ wanted)}")
        for name, rule in loaded.items():
            self.rule(name, rule)
        self.problems.extend(self.stale_series())
        self.problems.extend(
            f"the list names {name} ({kind}), and nothing else does" for kind, name in sorted(self.listed.unused)
        )

    def stale_series(self) -> Iterator[str]:
        """Series that are listed as missing and are there."""
        for name, entry in self.listed.entries["series"].items():
            there = [one for one, is_there in self.known.items() if is_there and self.entry(one) == name]
            if there and not entry.get("sometimes", False):
                yield f"{name} is listed as missing, and {there[0]} is there"


def main() -> int:
    prometheus = Prometheus(sys.argv[1])
    wait(prometheus)
    evaluation = Evaluation(prometheus)
    evaluation.all()
    if evaluation.problems:
        print("\n".join(evaluation.problems), file=sys.stderr)
        return 1
    print(f"{evaluation.count} expressions were evaluated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
