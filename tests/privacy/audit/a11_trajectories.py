"""A11: can trips be put together again from counts of 20 cameras?

After Xu et al., "Trajectory Recovery From Ash: User Privacy Is NOT Preserved in Aggregated Mobility Data" (WWW 2017),
and the open re-implementation of D'Silva et al. (arXiv 2409.14645): the counts of each time slot are written out as
points, the points of one slot are joined with those of the next by the assignment (Hungarian algorithm) that costs
least, where the cost is how far a point lies from where the trajectory would go on. Their subscribers are counted
somewhere in every slot; passers-by are counted only while they pass, so a trajectory may also begin and end (at a
fixed cost), and must go on to another camera. The village is made for it: its cameras lie one slot's walk apart, and
few people are about.

Accuracy: of the true trips over three cameras or more, the share of steps (from one camera and slot to the next) that
some recovered trajectory has in one piece, each recovered trajectory being given to one trip (again the best
assignment), over the larger of both numbers of trajectories, so that a flood of guesses earns nothing. Xu et al. score
points; a point is in the table anyway, so steps are what recovery adds.

The baseline is *population-level*: the same attack on the exact counts of the twin village, so on what habits tell of
trips without anybody's data. The noisy table is attacked as it is, and together with that general knowledge: usual
counts, learnt from the twins, are raised and lowered by what the noise makes of the table's word, and as many points as
usual are kept; its baseline is the same without the table. Released tables must do no better (figure: accuracy above
the baseline, upper end of a 95 % bootstrap interval over villages); exact counts are the control.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from city import BINS_A_DAY, CityPlan
from datasets import SEED, Size, truth
from report import Finding
from tables import Released

LIMIT = 0.05
VILLAGES = 24
SHORTEST = 3
WALKERS = "person"
CUT_COST_M = 1_600.0
"""What it costs to end one trajectory and begin another, metres: over it, two points are not joined."""

Step = tuple[int, int, int]


@dataclass
class Trajectory:
    """Cameras in consecutive slots, in one direction class."""

    start: int
    cameras: list[int] = field(default_factory=list)

    def steps(self) -> set[Step]:
        """(slot, camera, next camera) of each step."""
        return {(self.start + n, a, b) for n, (a, b) in enumerate(zip(self.cameras, self.cameras[1:]))}


def expected(plan: CityPlan, open_: list[Trajectory]) -> np.ndarray:
    """Where each trajectory would be next: straight on from its last two cameras, else a street further on average."""
    last = plan.place(np.array([t.cameras[-1] for t in open_]))
    before = plan.place(np.array([t.cameras[-2] if len(t.cameras) > 1 else t.cameras[-1] for t in open_]))
    return last + (last - before)


def recover(plan: CityPlan, points: dict[tuple[int, str], list[int]], slots: int) -> list[Trajectory]:
    """All trajectories of a village: `points` lists a camera per passage and (slot, direction)."""
    done: list[Trajectory] = []
    for heading in ("forward", "backward"):
        open_: list[Trajectory] = []
        for slot in range(slots):
            now = points.get((slot, heading), [])
            kept: list[Trajectory] = []
            taken: set[int] = set()
            if open_ and now:
                here = plan.place(np.array(now))
                off = np.linalg.norm(expected(plan, open_)[:, None] - here[None], axis=2)
                at = plan.place(np.array([t.cameras[-1] for t in open_]))
                moved = np.linalg.norm(at[:, None] - here[None], axis=2)
                # One street a slot: staying or jumping is not walking. Who has just begun may go any way.
                off = np.where((moved > 0) & (moved <= 1.1 * plan.spacing_m), off, 10 * CUT_COST_M)
                for row, column in zip(*linear_sum_assignment(np.minimum(off, CUT_COST_M))):
                    if off[row, column] < CUT_COST_M:
                        open_[row].cameras.append(now[column])
                        kept.append(open_[row])
                        taken.add(int(column))
            goes_on = {id(t) for t in kept}
            done.extend(t for t in open_ if id(t) not in goes_on)
            open_ = kept + [Trajectory(slot, [camera]) for n, camera in enumerate(now) if n not in taken]
        done.extend(open_)
    return [t for t in done if len(t.cameras) >= 2]


def points_of(counts: pd.DataFrame) -> dict[tuple[int, str], list[int]]:
    """Counts written out as points."""
    points: dict[tuple[int, str], list[int]] = defaultdict(list)
    columns = (counts[name].tolist() for name in ("bin", "dir", "camera", "value"))
    for slot, heading, camera, value in zip(*columns):
        points[slot, heading].extend([camera] * max(int(value), 0))
    return points


def true_trips(passages: pd.DataFrame) -> list[set[Step]]:
    """The steps of each trip over `SHORTEST` cameras or more, those that go from one slot to the next."""
    trips = []
    for _, trip in passages.sort_values("at_ms").groupby(["person", "day", "trip"]):
        slots, cameras = trip["bin"].tolist(), trip["camera"].tolist()
        if len(cameras) < SHORTEST:
            continue
        steps = {(s, a, b) for s, then, a, b in zip(slots, slots[1:], cameras, cameras[1:]) if then == s + 1}
        if len(steps) >= SHORTEST - 1:
            trips.append(steps)
    return trips


def accuracy(trips: list[set[Step]], recovered: list[Trajectory]) -> float:
    """Mean share of a trip's steps that the recovered trajectory given to it has."""
    of_step: dict[Step, list[int]] = defaultdict(list)
    for index, trajectory in enumerate(recovered):
        for step in trajectory.steps():
            of_step[step].append(index)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for row, trip in enumerate(trips):
        for step in trip:
            for index in of_step[step]:
                shared[row, index] += 1
    if not shared:
        return 0.0
    used = sorted({index for _, index in shared})
    place = {index: n for n, index in enumerate(used)}
    overlap = np.zeros((len(trips), len(used)))
    for (row, index), n in shared.items():
        overlap[row, place[index]] = n / len(trips[row])
    rows, columns = linear_sum_assignment(-overlap)
    told = sum(len(trajectory.cameras) >= SHORTEST for trajectory in recovered)
    return float(overlap[rows, columns].sum() / max(len(trips), told))


def usual(twins: pd.DataFrame, worlds: int) -> pd.DataFrame:
    """How many walkers a cell (quarter of the day, camera, direction) usually has."""
    days = int(twins["day"].max()) + 1
    at = twins.assign(quarter=twins["bin"] % BINS_A_DAY)
    mean = at.groupby(["quarter", "camera", "dir"]).size() / (worlds * days)
    return mean.rename("usual").reset_index()


def likely(counts: pd.DataFrame, habits: pd.DataFrame, b: float) -> pd.DataFrame:
    """As many points as usual, in the cells where they are likeliest: the habits, moved by the noisy count.

    A count one higher makes a noisy count e^(±1/b) times as likely, whichever way it lies; where `b` is infinite the
    habits alone count.
    """
    cells = counts.assign(quarter=counts["bin"] % BINS_A_DAY).merge(habits, on=["quarter", "camera", "dir"], how="left")
    mean = cells["usual"].fillna(0.0).to_numpy()
    slots = cells["bin"].nunique() / BINS_A_DAY
    wanted = int(round(habits["usual"].sum() * slots))
    value = cells["value"].to_numpy()
    # Candidates: a first, second ... walker of each cell, each as likely as the habits and the table say.
    chances, rows = [], []
    weight = np.exp(-mean)
    total = np.exp(-np.abs(value) / b) * weight
    parts = [total]
    for n in range(1, 7):
        weight = weight * mean / n
        parts.append(np.exp(-np.abs(value - n) / b) * weight)
    stacked = np.stack(parts)
    stacked = stacked / stacked.sum(axis=0)
    for n in range(1, 7):
        chances.append(stacked[n:].sum(axis=0))
        rows.append(np.arange(len(cells)))
    best = np.argsort(-np.concatenate(chances), kind="stable")[:wanted]
    times = np.bincount(np.concatenate(rows)[best], minlength=len(cells))
    return cells.assign(value=times)


def a_11_trajectory_recovery(folder: Path, quick: bool) -> list[Finding]:
    """Released and exact tables against the twin's exact counts, village by village."""
    plan = Size.of(quick).village
    slots = plan.days * BINS_A_DAY
    walkers, twins = (
        frame[frame["class"] == WALKERS] for frame in (truth(folder, "village", who) for who in ("truth", "twin"))
    )
    tables = {}
    b = 0.0
    for variant in ("real", "exact"):
        table = Released.read(folder, "village", variant)
        b = max(b, float(table.of("crossing_count")["noise_b"].max()))
        counts = table.counts("crossing_count", "line-a")
        tables[variant] = counts[counts["class"] == WALKERS]
    villages = sorted(walkers["world"].unique())[:VILLAGES]
    habits = usual(twins, twins["world"].nunique())
    scores: dict[str, list[float]] = {"twin": [], "real": [], "habits": [], "both": [], "exact": []}
    for world in villages:
        mine, others = walkers[walkers["world"] == world], twins[twins["world"] == world]
        trips = true_trips(mine)
        twin_counts = others.groupby(["bin", "dir", "camera"]).size().rename("value").reset_index()
        noisy, exact = (tables[v][tables[v]["world"] == world] for v in ("real", "exact"))
        for name, counts in (
            ("twin", twin_counts), ("real", noisy), ("habits", likely(noisy, habits, np.inf)),
            ("both", likely(noisy, habits, b)), ("exact", exact),
        ):  # fmt: skip
            scores[name].append(accuracy(trips, recover(plan, points_of(counts), slots)))
    rng = np.random.default_rng([SEED, 11])
    findings = []
    for name, baseline, label in (
        ("real", "twin", "released"), ("both", "habits", "released and habits"), ("exact", "twin", "exact counts"),
    ):  # fmt: skip
        above = np.array(scores[name]) - np.array(scores[baseline])
        drawn = rng.choice(above, (2_000, len(above))).mean(axis=1)
        upper = float(np.quantile(drawn, 0.975))
        note = f"accuracy {np.mean(scores[name]):.3f}, baseline {np.mean(scores[baseline]):.3f}, {len(above)} villages"
        findings.append(Finding("A11", f"trips over 20 cameras; {label}", upper, LIMIT, name == "exact", note))
    return findings
