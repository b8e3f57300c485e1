"""Rows lost while a broker is away: `python tests/peers/mqtt_outage.py [--minutes 0 1 10] [--speed 1] [--out FILE]`.

Each outage has a broker and three applications of its own (`clients`). An application is given rows at the rate of a
node with 16 cameras and 67 cells a minute each, with a health row a minute, evenly: one row about every 55 ms.
Then

    30 s   all is well
     1 s   the broker hangs, so that rows are in flight
           it is killed with SIGKILL, is away for the outage, and starts again with the same folder
           until every application is connected again
    30 s   all is well

and the rows that arrived are counted. `--speed 20` divides all these times, the applications' pauses between attempts to
connect and their keep-alive by 20; the broker's and the kernel's own time cannot be divided. The outages run side by side.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import clients
from broker import Broker

CAMERAS = 16
ROWS_A_MINUTE = 67 + 1
BEFORE_SECS = 30.0
HANG_SECS = 1.0
AFTER_SECS = 30.0
#: Longer than the longest pause between two attempts to connect.
PATIENCE_SECS = 300.0
#: No row for so long, in real time, and nothing more will come.
SETTLED_SECS = 3.0


@dataclass
class Outcome:
    """What became of the rows of one application in one outage. Counts are rows."""

    outage_minutes: float
    speed: float
    application: str
    summary: str
    produced: int
    arrived: int
    lost: int
    twice: int
    #: Given to the application while it was not connected, and forgotten by it.
    dropped: int
    #: Given to the library and not confirmed when the broker was killed.
    in_flight: int
    in_flight_lost: int
    #: From the broker's return until the application was connected again, in (scaled) seconds.
    back_after_secs: float


class Source(threading.Thread):
    """Gives every application the same rows, evenly."""

    def __init__(self, applications: list[clients.Application], speed: float) -> None:
        super().__init__(name="source", daemon=True)
        self.applications, self.speed = applications, speed
        self.closing = threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        """Until `close`."""
        try:
            self._run()
        except Exception as failure:  # noqa: BLE001  # raised again by close()
            self.failure = failure

    def close(self) -> None:
        """Stops, and raises what went wrong."""
        self.closing.set()
        self.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        pause = 60.0 / (CAMERAS * ROWS_A_MINUTE) / self.speed
        began, number = time.monotonic(), 0
        while not self.closing.wait(max(0.0, began + number * pause - time.monotonic())):
            camera = number % CAMERAS
            row = row_of(number, camera)
            for application in self.applications:
                application.publish(number, camera, row)
            number += 1


def row_of(number: int, camera: int) -> dict[str, object]:
    """A row of `agg.v1` as an event client would send it."""
    minute = 1_790_000_000_000 + number // (CAMERAS * ROWS_A_MINUTE) * 60_000
    return {
        "node": "cabinet-1",
        "camera": f"camera-{camera}",
        "epoch": 1,
        "seq": number,
        "t0": minute,
        "t1": minute + 60_000,
        "site": "crossing",
        "measure": "crossing_count",
        "class": "person",
        "dir": "forward",
        "bucket": number // CAMERAS % 67,
        "value": number % 7,
        "unit": "count",
        "coverage": 1.0,
        "n_frames": 600,
        "suppressed": False,
    }


def measure(minutes: float, speed: float, folder: Path) -> list[Outcome]:
    """One outage, from the first row to the last that arrives."""
    broker = Broker(folder / f"{minutes:g}")
    broker.start()
    subscriber = clients.Subscriber(broker.port, speed)
    applications: list[clients.Application] = []
    try:
        wait_for(subscriber.subscribed.is_set, 20.0, "the subscriber did not subscribe")
        broker.save()
        applications = [kind(broker.port, speed) for kind in (clients.Dropping, clients.Renewing, clients.Queueing)]
        wait_for(lambda: all(one.connected.is_set() for one in applications), 20.0, "not connected at first")
        source = Source(applications, speed)
        source.start()

        time.sleep(BEFORE_SECS / speed)
        broker.hang()
        time.sleep(HANG_SECS / speed)
        in_flight = {one.name: one.unconfirmed() for one in applications}
        broker.kill()
        wait_for(lambda: all(one.has_noticed.is_set() for one in applications), 20.0, "an application noticed nothing")
        time.sleep(minutes * 60.0 / speed)
        broker.start()
        back = connected_again(applications, speed)
        wait_for(subscriber.connected.is_set, 20.0, "the subscriber did not come back")
        time.sleep(AFTER_SECS / speed)
        source.close()
        wait_for(lambda: subscriber.quiet_secs() > SETTLED_SECS, 60.0, "rows without an end")
        return [
            outcome(minutes, speed, one, subscriber, in_flight[one.name], back[one.name]) for one in applications
        ]
    finally:
        for one in applications:
            one.close()
        subscriber.close()
        broker.close()


def connected_again(applications: list[clients.Application], speed: float) -> dict[str, float]:
    """Waits for each, and says how long it took, in scaled seconds."""
    began, back = time.monotonic(), {}

    def all_are_back() -> bool:
        for one in applications:
            if one.name not in back and one.connected.is_set():
                back[one.name] = (time.monotonic() - began) * speed
        return len(back) == len(applications)

    wait_for(all_are_back, PATIENCE_SECS / speed, "an application did not come back")
    return back


def outcome(
    minutes: float,
    speed: float,
    application: clients.Application,
    subscriber: clients.Subscriber,
    in_flight: list[int],
    back_after_secs: float,
) -> Outcome:
    """Counts."""
    arrived = subscriber.arrived(application.name)
    unknown = [number for number in arrived if not 0 <= number < application.produced]
    if unknown:
        raise RuntimeError(f"{application.name}: rows arrived that were never sent: {unknown[:5]}")
    return Outcome(
        outage_minutes=minutes,
        speed=speed,
        application=application.name,
        summary=application.summary,
        produced=application.produced,
        arrived=len(arrived),
        lost=application.produced - len(arrived),
        twice=sum(1 for times in arrived.values() if times > 1),
        dropped=application.dropped,
        in_flight=len(in_flight),
        in_flight_lost=sum(1 for number in in_flight if number not in arrived),
        back_after_secs=round(back_after_secs, 1),
    )


def wait_for(so: object, limit_secs: float, otherwise: str) -> None:
    """Waits until `so()`; raises after the limit."""
    deadline = time.monotonic() + limit_secs
    while not so():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.02)


def table(outcomes: list[Outcome]) -> str:
    """As Markdown."""
    lines = [
        "| broker away | application | rows given to it | arrived | lost | arrived twice | in flight at the kill, lost of"
        " them | connected again after |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {one.outage_minutes:g} min | {one.summary} | {one.produced:,} | {one.arrived:,} | {one.lost:,} |"
        f" {one.twice} | {one.in_flight}, {one.in_flight_lost} | {one.back_after_secs:.0f} s |"
        for one in outcomes
    ]
    return "\n".join(lines)


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[0, 1, 10], help="how long the broker is away")
    parser.add_argument("--speed", type=float, default=1.0, help="divides every pause; 1 is real time")
    parser.add_argument("--out", type=Path, help="JSON lines, one an application and outage")
    parser.add_argument("--verbose", action="store_true", help="say when clients connect and disconnect")
    arguments = parser.parse_args()
    if arguments.speed < 1:
        parser.error("--speed must be 1 or more")
    if min(arguments.minutes) < 0 or len(set(arguments.minutes)) != len(arguments.minutes):
        parser.error("--minutes must be 0 or more, each once")
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING, format="%(asctime)s %(message)s"
    )
    folder = Path(tempfile.mkdtemp(prefix="kerbside-peers-"))
    try:
        with ProcessPoolExecutor(len(arguments.minutes)) as pool:
            runs = [pool.submit(measure, minutes, arguments.speed, folder) for minutes in arguments.minutes]
        outcomes = [one for run in runs for one in run.result()]
    finally:
        shutil.rmtree(folder)
    if arguments.out is not None:
        arguments.out.write_text("".join(json.dumps(asdict(one)) + "\n" for one in outcomes))
    print(table(outcomes))


if __name__ == "__main__":
    main()
