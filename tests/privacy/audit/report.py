"""A finding of an attack, and the file they are written to: one JSON object a line.

A row passes when its figure is no larger than its limit; a figure without limit is only reported. A row with `control`
attacks a release that is broken on purpose and must not pass.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import beta


@dataclass(frozen=True)
class Finding:
    """One row of the audit's table."""

    attack: str
    tried: str
    figure: float
    limit: float | None
    control: bool = False
    note: str = ""

    @property
    def passes(self) -> bool:
        """Whether the figure keeps to its limit; not a number never does."""
        return self.limit is None or bool(not math.isnan(self.figure) and self.figure <= self.limit)

    def line(self) -> str:
        """As JSON."""
        figure = None if math.isnan(self.figure) else round(float(self.figure), 4)
        limit = None if self.limit is None else round(float(self.limit), 4)
        return json.dumps(
            {
                "attack": self.attack,
                "tried": self.tried,
                "figure": figure,
                "limit": limit,
                "pass": self.passes,
                "control": self.control,
                "note": self.note,
            }
        )


def write(findings: list[Finding], path: Path) -> None:
    """Writes all findings, replacing what was there."""
    path.write_text("".join(finding.line() + "\n" for finding in findings), encoding="utf-8")


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a proportion (Clopper and Pearson 1934)."""
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1.0 - tail, successes + 1, trials - successes))
    return low, high
