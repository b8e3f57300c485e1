"""Synthetic streets with known people: what the released tables are attacked against.

A city is a grid of cameras a kilometre apart. Everybody has a home, a place of work, a way of moving and habitual
times; a trip is a chain of passages along the street grid, one per camera. Who passed is known here only: the
release stage is given passages without names, as a camera sees them.

Two cities of the same `CityPlan` but other seeds are *twins*: the same streets and the same habits of the population,
other people. An attack that does as well on the twin as on the city learnt about the population, not about anyone
(the control set of Giomi et al., "A Unified Framework for Quantifying Privacy Risk in Synthetic Data", PETS 2023).

Times are UTC milliseconds since 1970-01-01, distances metres, speeds km/h. Everything follows from the seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

BIN_MS = 900_000
DAY_MS = 86_400_000
BINS_A_DAY = DAY_MS // BIN_MS

CLASSES = ("person", "bicycle", "car")
SPEED_KMH = {"person": 4.5, "bicycle": 16.0, "car": 32.0}

PASSAGE_COLUMNS = ["world", "camera", "at_ms", "lasts_ms", "class", "dir", "lines", "speed_kmh"]


@dataclass(frozen=True)
class CityPlan:
    """Streets and habits; people are drawn from it."""

    people: int
    days: int
    rows: int = 4
    columns: int = 5
    spacing_m: float = 1_000.0
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Of `CLASSES`."""
    habits_seed: int = 1
    """Draws what twins share: how popular each camera's quarter is."""

    @property
    def cameras(self) -> int:
        """How many there are."""
        return self.rows * self.columns

    def place(self, camera: np.ndarray) -> np.ndarray:
        """Where cameras stand, metres."""
        return np.stack([camera % self.columns, camera // self.columns], axis=-1) * self.spacing_m

    def popularity(self) -> np.ndarray:
        """Share of homes and places of work by camera: a few busy quarters, many quiet ones."""
        weight = np.random.default_rng(self.habits_seed).lognormal(0.0, 1.0, self.cameras)
        return weight / weight.sum()


def route(plan: CityPlan, start: int, end: int, first_along_row: bool) -> list[int]:
    """The cameras of an L-shaped way through the grid, both ends included."""
    (row, column), (end_row, end_column) = divmod(start, plan.columns), divmod(end, plan.columns)

    def between(now: int, then: int) -> range:
        return range(now, then, 1 if then > now else -1)

    if first_along_row:
        way = [(row, at) for at in between(column, end_column)] + [(at, end_column) for at in between(row, end_row)]
    else:
        way = [(at, column) for at in between(row, end_row)] + [(end_row, at) for at in between(column, end_column)]
    return [at_row * plan.columns + at_column for at_row, at_column in [*way, (end_row, end_column)]]


def people_of(plan: CityPlan, seed: int) -> pd.DataFrame:
    """Draws the people: home, work, class, habitual times (hours), which way round they go, their own pace."""
    rng = np.random.default_rng(seed)
    popularity = plan.popularity()
    home = rng.choice(plan.cameras, plan.people, p=popularity)
    work = rng.choice(plan.cameras, plan.people, p=popularity)
    work = np.where(work == home, (home + 1) % plan.cameras, work)
    commuter = rng.random(plan.people) < 0.7
    out = np.where(commuter, rng.normal(8.0, 0.9, plan.people), rng.uniform(5.5, 20.0, plan.people))
    back = out + np.where(commuter, rng.normal(9.0, 1.0, plan.people), rng.uniform(1.0, 6.0, plan.people))
    return pd.DataFrame(
        {
            "person": np.arange(plan.people),
            "home": home,
            "work": work,
            "class": rng.choice(CLASSES, plan.people, p=plan.shares),
            "out_h": np.clip(out, 0.5, 21.0),
            "back_h": np.clip(back, 2.0, 22.0),
            "along_row": rng.random(plan.people) < 0.5,
            "pace": rng.normal(1.0, 0.1, plan.people).clip(0.7, 1.4),
        }
    )


def passages_of(plan: CityPlan, seed: int) -> pd.DataFrame:
    """All passages of a city: `PASSAGE_COLUMNS` and what only the truth knows: `person`, `day`, `trip`."""
    rng = np.random.default_rng([seed, 7])
    people = people_of(plan, seed)
    out = people.assign(trip=0, hour=people["out_h"], start=people["home"], end=people["work"])
    back = people.assign(
        trip=1, hour=people["back_h"], start=people["work"], end=people["home"], along_row=~people["along_row"]
    )
    trips = pd.concat([frame.assign(day=day) for day in range(plan.days) for frame in (out, back)], ignore_index=True)
    n = len(trips)
    leave_s = (trips["day"] * 24.0 + trips["hour"]) * 3600.0 + rng.normal(0.0, 600.0, n)
    kmh = trips["class"].map(SPEED_KMH) * trips["pace"] * rng.normal(1.0, 0.05, n)

    ways: dict[tuple[int, int, bool], list[int]] = {}
    stops = []
    for way in zip(trips["start"], trips["end"], trips["along_row"]):
        if way not in ways:
            ways[way] = route(plan, *way)
        stops.append(ways[way])
    length = np.array([len(stop) for stop in stops])
    camera = np.concatenate(stops)
    of = np.repeat(np.arange(n), length)
    hop = np.arange(len(camera)) - np.repeat(np.cumsum(length) - length, length)
    is_last = hop == length[of] - 1
    ahead = np.where(is_last, camera - np.roll(camera, 1), np.roll(camera, -1) - camera)

    pace = kmh.to_numpy()[of]
    passages = pd.DataFrame(
        {
            "world": 0,
            "camera": camera,
            "at_ms": ((leave_s.to_numpy()[of] + hop * plan.spacing_m / (pace / 3.6)) * 1000).astype(np.int64),
            "lasts_ms": (30.0 / (pace / 3.6) * rng.uniform(0.8, 1.2, len(camera)) * 1000).astype(np.int64),
            "class": trips["class"].to_numpy()[of],
            "dir": np.where(ahead > 0, "forward", "backward"),
            "lines": rng.integers(1, 3, len(camera)),
            "speed_kmh": np.clip(pace * rng.normal(1.0, 0.1, len(camera)), 1, 119).astype(int),
            "person": trips["person"].to_numpy()[of],
            "day": trips["day"].to_numpy()[of],
            "trip": trips["trip"].to_numpy()[of],
        }
    )
    return within_bins(passages, plan.days)


def within_bins(passages: pd.DataFrame, days: int) -> pd.DataFrame:
    """Moves passages so that none runs over a bin's border or the end, and sorts them by world and time.

    One passage then belongs to one bin, and truth and table can be compared cell by cell.
    """
    at, lasts = passages["at_ms"].to_numpy().copy(), passages["lasts_ms"].to_numpy()
    at = np.clip(at, 0, days * DAY_MS - 1)
    at = np.minimum(at, (at // BIN_MS + 1) * BIN_MS - lasts - 1_000)
    return passages.assign(at_ms=at).sort_values(["world", "at_ms"], kind="stable", ignore_index=True)
