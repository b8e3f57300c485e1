"""A18: one pedestrian at three in the morning on an empty footpath, thirty nights long.

The hardest case for a count: nobody to hide among, and the attacker knows it. Half of the nodes see a pedestrian every
night, half see nobody. For each night the attacker decides with the likelihood ratio over every cell of that bin
whether somebody was there. Rule PC-9 lets one passage cost ε = 0.66, so no decision may be right more often than
e^ε/(1+e^ε) = 66 %; the figure is the upper end of the exact 95 % interval over all nights.

Ordinary walking must also leave no row in `incident.v1`; that operators tell no incident of it is their own tests'
matter, here the release stage must not add one.

What is not promised: the unit is one passage. Who knows that the same pedestrian comes every night may add the nights
up; how often that is right is reported beside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from city import BIN_MS, BINS_A_DAY
from composition import best_accuracy
from likelihood import log_likelihood_ratio
from report import Finding, clopper_pearson
from tables import Released

EPSILON_PASSAGE = 0.66
BIN_OF_THE_WALK = 3 * 3_600_000 // BIN_MS


def at_three(table: Released) -> pd.DataFrame:
    """The bins from 03:00 to 03:15, one row a night."""
    bins = table.values["t0_s"] * 1000 // BIN_MS
    return table.values[bins % BINS_A_DAY == BIN_OF_THE_WALK]


def a_18_individual_row(folder: Path, quick: bool) -> list[Finding]:
    """The decision per night, the same on exact counts, all nights together, and the incidents."""
    del quick  # The number of nights says it.
    findings = []
    exact = Released.read(folder, "night", "exact")
    known = at_three(exact)
    # What one walk adds to each cell: an exact table of somebody's and of nobody's night.
    for variant in ("real", "exact"):
        table = exact if variant == "exact" else Released.read(folder, "night", "real")
        cells = [c for c in table.cells["column"] if c in set(exact.cells["column"])]
        scale = table.cells.set_index("column").loc[cells, "noise_b"].to_numpy(dtype=float)
        rows = at_three(table)
        walked = (rows["world"] % 2 == 0).to_numpy()
        added = known.loc[known["world"] % 2 == 0, cells].to_numpy(dtype=float).mean(axis=0)
        ratio = log_likelihood_ratio(rows[cells].to_numpy(dtype=float), np.zeros(len(cells)), added, scale)
        right = (ratio > 0) == walked
        _, upper = clopper_pearson(int(right.sum()), len(right))
        tried = f"walked or not, a night; {'released' if variant == 'real' else 'exact counts'}"
        note = f"{right.mean():.3f} of {len(right)} nights right"
        findings.append(Finding("A18", tried, upper, best_accuracy(EPSILON_PASSAGE), variant == "exact", note))
        if variant == "real":
            nights = pd.DataFrame({"world": rows["world"].to_numpy(), "ratio": ratio}).groupby("world")["ratio"].sum()
            good = ((nights > 0) == (nights.index % 2 == 0)).mean()
            note = "not promised: the unit is a passage, and nights add up"
            findings.append(Finding("A18", "walks every night or never; 30 nights together", good, None, note=note))
    for variant, label in (("real", "released"), ("exact", "an incident of everybody")):
        told = float(len(pd.read_csv(folder / "out" / f"night.{variant}.incidents.csv")))
        findings.append(Finding("A18", f"incident rows of ordinary walking; {label}", told, 0.0, variant == "exact"))
    return findings
