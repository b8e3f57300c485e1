"""A6: can two released tables be linked: two cameras of one day, or two days of one camera?

anonymeter's Linkability asks whether two halves of one person's data are joined by the released data (Giomi et al.,
PETS 2023). The halves here are a person's passages at two cameras (or on two days): time, direction, class. The tables
hold no row that joins two cameras, so the attacker must make some: each table is written out as records, and the
records of both are paired by the assignment that fits best what is generally known about the way between the two
(median travel time, or no change from day to day). anonymeter then asks for each true person whether both halves are
nearest to the same pair.

People of the twin city, who are in no table, are joined as well, since habits are alike; the risk is what is above
that. The controls are exact counts paired in the same way, and a table of objects, one row each with its pseudonym.

Limits: a target is somebody who passed both, so the figure says nothing about whether somebody did (A10 does), and
the pairing is one good attacker, not the best one.

Kinematic re-linking of pseudonyms over epochs (time, speed, class) needs rows that carry pseudonyms. No profile exports
any: the released columns are fixed and hold no id (PC-5), so there is nothing to run it on.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from anonymeter.evaluators.linkability_evaluator import LinkabilityEvaluator
from anonymeter.stats.confidence import EvaluationResults
from scipy.optimize import linear_sum_assignment

from city import BIN_MS, DAY_MS
from datasets import SEED, truth
from report import Finding
from tables import Released, as_records, shuffled

LIMIT = 0.05
HALVES = (["s_x", "dir_x", "class_x"], ["s_y", "dir_y", "class_y"])
LONGEST_S = 7_200.0
MOST_RECORDS = 1_500
FEWEST_TARGETS = 30
PAIRS = 4

Place = tuple[int, int]
"""A camera and a day."""


def joined(passages: pd.DataFrame, x: Place, y: Place) -> pd.DataFrame:
    """True people who passed at both (camera, day): the first passage at x and the one that follows it best at y."""
    first = passages[(passages["camera"] == x[0]) & (passages["day"] == x[1])]
    second = passages[(passages["camera"] == y[0]) & (passages["day"] == y[1])]
    pairs = first.merge(second, on=["person", "trip", "class"], suffixes=("_x", "_y")).drop_duplicates(
        ["person", "trip"]
    )
    return pd.DataFrame(
        {
            "s_x": pairs["at_ms_x"] % DAY_MS / 1000.0,
            "dir_x": pairs["dir_x"],
            "class_x": pairs["class"],
            "s_y": pairs["at_ms_y"] % DAY_MS / 1000.0,
            "dir_y": pairs["dir_y"],
            "class_y": pairs["class"],
        }
    )


def paired(records: pd.DataFrame, x: Place, y: Place, lag_s: dict[str, float]) -> pd.DataFrame:
    """The attacker's pairs: records of x and y of one class, assigned so that the times between fit the usual lag."""
    day = records["bin"] * BIN_MS // DAY_MS
    seconds = (records["bin"] * BIN_MS % DAY_MS + BIN_MS / 2) / 1000.0
    records = records.assign(s=seconds, day=day)
    made = []
    for kind, lag in lag_s.items():
        halves = []
        for camera, on in (x, y):
            half = records[(records["camera"] == camera) & (records["day"] == on) & (records["class"] == kind)]
            halves.append(shuffled(half, SEED).head(MOST_RECORDS))
        first, second = halves
        if first.empty or second.empty:
            continue
        wait = np.subtract.outer(-first["s"].to_numpy(), -second["s"].to_numpy())
        rows, columns = linear_sum_assignment(np.minimum(np.abs(wait - lag), LONGEST_S))
        near = np.abs(wait[rows, columns] - lag) < LONGEST_S
        a, b = first.iloc[rows[near]], second.iloc[columns[near]]
        made.append(
            pd.DataFrame(
                {
                    "s_x": a["s"].to_numpy(), "dir_x": a["dir"].to_numpy(), "class_x": kind,
                    "s_y": b["s"].to_numpy(), "dir_y": b["dir"].to_numpy(), "class_y": kind,
                }
            )
        )  # fmt: skip
    return shuffled(pd.concat(made, ignore_index=True), SEED) if made else pd.DataFrame()


def places(passages: pd.DataFrame, others: pd.DataFrame, days: bool) -> list[tuple[Place, Place]]:
    """Where to link: the pairs of cameras (or the cameras, over two days) that most targets passed on one trip."""
    cameras = range(int(passages["camera"].max()) + 1)
    if days:
        candidates = [((camera, 0), (camera, 1)) for camera in cameras]
    else:
        candidates = [((x, 0), (y, 0)) for x in cameras for y in cameras if x != y]
    counted = passages[passages["day"] == 0].groupby(["trip", "camera"])["person"].agg(set)

    def together(pair: tuple[Place, Place]) -> int:
        (x, _), (y, _) = pair
        return sum(len(counted.get((trip, x), set()) & counted.get((trip, y), set())) for trip in (0, 1))

    ranked = sorted(candidates, key=together, reverse=True)
    enough = (
        pair for pair in ranked if min(len(joined(passages, *pair)), len(joined(others, *pair))) >= FEWEST_TARGETS
    )
    return list(itertools.islice(enough, PAIRS))


def link(seen: pd.DataFrame, people: pd.DataFrame, others: pd.DataFrame) -> tuple[int, int, int]:
    """Attacks, links of the city's people, links of the twin's."""
    n = min(len(people), len(others), 400)
    np.random.seed(SEED)  # anonymeter draws its targets from numpy's global generator.
    attack = LinkabilityEvaluator(ori=people, syn=seen, control=others, aux_cols=HALVES, n_attacks=n, n_neighbors=1)
    results = attack.evaluate(n_jobs=1).results()
    return n, int(results.n_success), int(results.n_control)


def a_6_linkability(folder: Path, quick: bool) -> list[Finding]:
    """Two cameras and two days, in the sparse city, where linking is easiest."""
    everyone, everyone_else = truth(folder, "village", "truth"), truth(folder, "village", "twin")
    tables = {
        v: as_records(Released.read(folder, "village", v).counts("crossing_count", "line-a")) for v in ("real", "exact")
    }
    totals = {
        (what, how): np.zeros(3, dtype=int) for what in ("cameras", "days") for how in ("real", "exact", "objects")
    }
    for world in range(2 if quick else 6):
        passages, others = (frame[frame["world"] == world] for frame in (everyone, everyone_else))
        for what in ("cameras", "days"):
            for x, y in places(passages, others, what == "days"):
                targets, strangers = joined(passages, x, y), joined(others, x, y)
                # What is generally known: from the twin, so from nobody who is in the table.
                lag = (strangers["s_y"] - strangers["s_x"]).groupby(strangers["class_x"]).median().to_dict()
                for how in ("real", "exact", "objects"):
                    if how == "objects":
                        seen = shuffled(targets, SEED)
                    else:
                        records = tables[how]
                        seen = paired(records[records["world"] == world], x, y, lag)
                    if len(seen) >= 10:
                        totals[what, how] += np.array(link(seen, targets, strangers))
    labels = {"real": "released", "exact": "exact counts", "objects": "a row an object, with pseudonym"}
    findings = []
    for (what, how), (attacks, hits, chance) in totals.items():
        results = EvaluationResults(n_attacks=int(attacks), n_success=int(hits), n_baseline=0, n_control=int(chance))
        value, (_, upper) = results.risk()
        note = f"advantage {value:.3f}; {hits} of {attacks} linked, {chance} of the twin's"
        limit = None if how == "exact" else LIMIT
        findings.append(
            Finding("A6", f"two {what}; {labels[how]}", value if quick else upper, limit, how == "objects", note)
        )
    note = "not run: no profile exports a pseudonym (PC-5)"
    findings.append(Finding("A6", "kinematic re-linking over epochs", 0.0, None, note=note))
    return findings
