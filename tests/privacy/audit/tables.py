"""Reads released tables, and turns a table of counts into the records that an attacker would make of it.

What a *record* is. anonymeter was made for synthetic microdata: one row a person. A table of counts has no rows of
people, so an attacker first has to write some: a cell that says 3 becomes three rows with the cell's attributes. That
is all that a table of marginals says about individuals; nothing else in it can be attributed to one passage. The
"original" of every evaluator is therefore the list of true passages, not the table of true counts: singling out,
linking and inferring are then about people, as Opinion 05/2014 (WP216) has them, not about quarters of an hour.
Negative and empty cells give no row.

Limits of that. What an evaluator measures is the risk for the city that is attacked, for this way of writing records,
averaged over its targets. It is evidence, not a bound; the bound is the noise (PC-7 to PC-9, A8, A18).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from city import BIN_MS

KEYS = ["world", "camera", "t0_s"]


@dataclass(frozen=True)
class Released:
    """One table as it left: `values` has `KEYS` and a column per cell, `cells` describes the columns."""

    values: pd.DataFrame
    cells: pd.DataFrame

    @classmethod
    def read(cls, folder: Path, name: str, variant: str) -> Released:
        """Reads a table that the release stage wrote; refuses one that lacks a bin (PC-11) or has other columns."""
        stem = f"{name}.{variant}"
        values = pd.read_csv(folder / "out" / f"{stem}.csv", engine="pyarrow")
        cells = pd.read_csv(folder / "out" / f"{stem}.cells.csv")
        if list(values.columns) != KEYS + list(cells["column"]):
            raise ValueError(f"{stem}: columns are not those that its list of cells describes")
        worlds = pd.read_csv(folder / "in" / f"{name}.worlds.csv")
        bins = int((worlds["end_s"] - worlds["start_s"]).sum()) * 1000 // BIN_MS
        if len(values) == 0 or len(values) != bins * values["camera"].nunique():
            raise ValueError(f"{stem}: {len(values)} rows, but there are {bins} bins for each camera")
        return cls(values, cells)

    def of(self, measure: str) -> pd.DataFrame:
        """The cells of one measure."""
        found = self.cells[self.cells["measure"] == measure]
        if found.empty:
            raise ValueError(f"no cell of {measure}")
        return found

    def counts(self, measure: str, site: str) -> pd.DataFrame:
        """One measure at one site in long form: `camera`, `bin`, `class`, `dir`, `bucket`, `value`."""
        cells = self.of(measure)
        cells = cells[cells["site"] == site]
        long = self.values.melt(id_vars=KEYS, value_vars=list(cells["column"]), var_name="column")
        long = long.dropna(subset=["value"]).merge(cells, on="column")
        long["bin"] = long["t0_s"] * 1000 // BIN_MS
        return long[["world", "camera", "bin", "class", "dir", "bucket", "value"]]


def as_records(counts: pd.DataFrame) -> pd.DataFrame:
    """As many rows for a cell as it says, none where it says nothing or less."""
    times = counts["value"].clip(lower=0).astype(int)
    return counts.loc[np.repeat(counts.index, times)].drop(columns="value").reset_index(drop=True)


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Rows in an order that tells nothing: nearest neighbours break ties by it."""
    return frame.sample(frac=1.0, random_state=seed).reset_index(drop=True)
