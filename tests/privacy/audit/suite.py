"""Runs the attacks in the order of their numbers and writes what they found."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from a5_singling_out import a_5_singling_out
from a6_linkability import a_6_linkability
from a7_inference import a_7_inference
from a10_membership import a_10_membership
from a11_trajectories import a_11_trajectory_recovery
from a18_individual import a_18_individual_row
from report import Finding, write

ATTACKS: dict[str, Callable[[Path, bool], list[Finding]]] = {
    "A5": a_5_singling_out,
    "A6": a_6_linkability,
    "A7": a_7_inference,
    "A10": a_10_membership,
    "A11": a_11_trajectory_recovery,
    "A18": a_18_individual_row,
}


def run(folder: Path, out: Path, quick: bool, only: set[str]) -> None:
    """Runs all attacks, or those of `only`, and writes their findings to `out`."""
    unknown = only - set(ATTACKS)
    if unknown:
        raise SystemExit(f"no attack {', '.join(sorted(unknown))}; there are {', '.join(ATTACKS)}")
    # anonymeter warns where an attack does no better than guessing: which is what is hoped for.
    warnings.filterwarnings("ignore", message="Attack is as good or worse as baseline model")
    findings: list[Finding] = []
    for name, attack in ATTACKS.items():
        if only and name not in only:
            continue
        began = time.monotonic()
        findings += attack(folder, quick)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    write(findings, out)
