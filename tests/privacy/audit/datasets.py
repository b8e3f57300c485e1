"""Writes what the release stage is to be fed with, and reads the truth of it again.

`DIR/jobs.csv` lists the jobs, `DIR/in/NAME.passages.csv` the passages and `DIR/in/NAME.worlds.csv` the worlds: every
world is a node of its own, with its own noise and its own budget. `kerbside`'s own release stage turns them into
`DIR/out/NAME.VARIANT.csv`; variant `real` is the profile `strict`, variant `exact` the same without noise and bounds,
which the attacks must catch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from city import BIN_MS, DAY_MS, PASSAGE_COLUMNS, CityPlan, passages_of, within_bins

VARIANTS = ("real", "exact")
SEED = 20_170_403
TWIN_SEED = 20_230_710


@dataclass(frozen=True)
class Size:
    """How much is attacked: the full audit, or a fifth of it for a quick look."""

    town: CityPlan
    town_worlds: int
    village: CityPlan
    village_worlds: int
    night_worlds: int
    nights: int
    week_worlds: int

    @classmethod
    def of(cls, quick: bool) -> Size:
        """The sizes of a run."""
        return cls(
            town=CityPlan(people=8_000, days=2),
            town_worlds=2 if quick else 10,
            village=CityPlan(people=300, days=2, shares=(0.8, 0.15, 0.05), habits_seed=3),
            village_worlds=8 if quick else 48,
            night_worlds=40 if quick else 80,
            nights=30,
            week_worlds=200 if quick else 800,
        )


@dataclass(frozen=True)
class Target:
    """Somebody who passes one camera three times a day, always at the same times (K = 3 of rule PC-9)."""

    hours: tuple[float, float, float] = (8.1, 12.6, 17.6)
    lasts_ms: int = 25_000
    speed_kmh: int = 5


def once(
    world: np.ndarray, at_ms: np.ndarray, rng: np.random.Generator, forward: np.ndarray | bool, **of: object
) -> pd.DataFrame:
    """Passages of people on foot at camera 0; `of` overrides columns."""
    n = len(at_ms)
    frame = {
        "world": world,
        "camera": 0,
        "at_ms": at_ms,
        "lasts_ms": rng.integers(10_000, 60_000, n),
        "class": "person",
        "dir": np.where(forward, "forward", "backward"),
        "lines": rng.integers(1, 3, n),
        "speed_kmh": rng.integers(3, 9, n),
    }
    frame.update(of)
    return pd.DataFrame(frame)[PASSAGE_COLUMNS]


def nights(size: Size) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A18: a footpath where one passes at noon, and, in even worlds, one pedestrian after 03:00 every night."""
    rng = np.random.default_rng([SEED, 18])
    world, night = np.meshgrid(np.arange(0, size.night_worlds, 2), np.arange(size.nights), indexing="ij")
    at = night.ravel() * DAY_MS + 3 * 3_600_000 + rng.integers(0, 600_000, night.size)
    walks = once(world.ravel(), at, rng, True, lasts_ms=30_000, lines=2, speed_kmh=5)
    world, day = np.meshgrid(np.arange(size.night_worlds), np.arange(size.nights), indexing="ij")
    noon = once(world.ravel(), day.ravel() * DAY_MS + 12 * 3_600_000, rng, True, lasts_ms=30_000, lines=1, speed_kmh=4)
    passages = pd.concat([walks, noon], ignore_index=True)
    return within_bins(passages, size.nights), worlds(size.night_worlds, size.nights)


def weeks(size: Size) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A10: a quiet footpath for a week, 70 passages a day by strangers drawn anew in every world, and in even worlds
    the target as well. Quiet, because a crowd to hide in only makes the attack harder. The last world has the target
    alone: what he adds to an exact table."""
    rng = np.random.default_rng([SEED, 10])
    days = 7
    n = rng.poisson(70 * days, size.week_worlds)
    world = np.repeat(np.arange(size.week_worlds), n)
    day = rng.integers(0, days, len(world))
    hour = np.where(rng.random(len(world)) < 0.5, rng.normal(13.0, 4.0, len(world)), rng.uniform(0, 24, len(world)))
    at = day * DAY_MS + (hour.clip(0.0, 23.98) * 3_600_000).astype(np.int64)
    strangers = once(world, at, rng, rng.random(len(world)) < 0.5)
    target = Target()
    members = np.append(np.arange(0, size.week_worlds, 2), size.week_worlds)
    grid = np.meshgrid(members, np.arange(days), np.array(target.hours), indexing="ij")
    at = (grid[1] * DAY_MS + grid[2] * 3_600_000).astype(np.int64).ravel()
    member = once(grid[0].ravel(), at, rng, True, lasts_ms=target.lasts_ms, lines=2, speed_kmh=target.speed_kmh)
    passages = within_bins(pd.concat([strangers, member], ignore_index=True), days)
    return passages, worlds(size.week_worlds + 1, days)


def worlds(count: int, days: int) -> pd.DataFrame:
    """Worlds that run for whole days from the epoch on."""
    return pd.DataFrame({"world": np.arange(count), "start_s": 0, "end_s": days * DAY_MS // 1000})


def make(folder: Path, quick: bool) -> None:
    """Writes everything under `folder`."""
    size = Size.of(quick)
    (folder / "in").mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[str, str, str, int]] = []

    def write(name: str, layout: str, passages: pd.DataFrame, of: pd.DataFrame) -> None:
        passages[PASSAGE_COLUMNS].to_csv(folder / "in" / f"{name}.passages.csv", index=False)
        of.to_csv(folder / "in" / f"{name}.worlds.csv", index=False)
        jobs.extend((name, layout, variant, SEED) for variant in VARIANTS)

    for name, plan, count in (("town", size.town, size.town_worlds), ("village", size.village, size.village_worlds)):
        for who, seed in (("truth", SEED), ("twin", TWIN_SEED)):
            everyone = pd.concat(
                [passages_of(plan, seed + world).assign(world=world) for world in range(count)], ignore_index=True
            )
            everyone.to_parquet(folder / f"{name}.{who}.parquet")
            if who == "truth":
                write(name, "city", everyone, worlds(count, plan.days))
    write("night", "footpath", *nights(size))
    write("week", "footpath", *weeks(size))
    pd.DataFrame(jobs, columns=["name", "layout", "variant", "seed"]).to_csv(folder / "jobs.csv", index=False)


def truth(folder: Path, name: str, who: str) -> pd.DataFrame:
    """The passages of a city (`truth`) or of its twin, with `bin` (whole bins since the epoch) beside.

    Every world is a city of other people on the same streets; person numbers begin anew in each.
    """
    frame = pd.read_parquet(folder / f"{name}.{who}.parquet")
    return frame.assign(bin=frame["at_ms"] // BIN_MS)
