"""A7: does a released table tell one attribute of a passage to somebody who knows the others?

anonymeter's Inference (Giomi et al., PETS 2023): the attacker knows camera, time, direction of somebody's passage and
wants the class, and so for each attribute; the guess is that of the nearest record of the released table. Guesses about
the twin city's people, who are in no table, are as good as habits allow; the risk is what is above that.

Controls: exact counts, and a table of objects, one row each to the second. Limits: the nearest neighbour is one
attacker; the figure is an average over passages, and a passage alone in its cell is what A18 is about.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from anonymeter.evaluators.inference_evaluator import InferenceEvaluator
from anonymeter.stats.confidence import EvaluationResults

from city import BIN_MS
from datasets import SEED, truth
from report import Finding
from tables import Released, as_records, shuffled

LIMIT = 0.05
SECRETS = {"class": "class", "dir": "direction", "quarter": "time"}
MOST_RECORDS = 12_000
CAMERAS = 3


def attributes(frame: pd.DataFrame, exact_time: bool) -> pd.DataFrame:
    """Attributes of passages or records; `s` is the time known beside other attributes, `quarter` the one to guess."""
    middle = frame["bin"] * BIN_MS / 1000.0 + BIN_MS / 2000.0
    return pd.DataFrame(
        {
            "camera": "c" + frame["camera"].astype(str),
            "s": frame["at_ms"] / 1000.0 if exact_time else middle,
            "class": frame["class"],
            "dir": frame["dir"],
            "quarter": "q" + frame["bin"].astype(str),
        }
    ).astype({"camera": object, "class": object, "dir": object, "quarter": object})


def infer(seen: pd.DataFrame, people: pd.DataFrame, others: pd.DataFrame, secret: str, attacks: int) -> tuple[int, int, int]:
    """Attacks, right guesses about the city's people, right guesses about the twin's."""
    known = [c for c in ("camera", "class", "dir") if c != secret] + ([] if secret == "quarter" else ["s"])
    np.random.seed(SEED)  # anonymeter draws its targets from numpy's global generator.
    n = min(attacks, len(people), len(others))
    attack = InferenceEvaluator(ori=people, syn=seen, control=others, aux_cols=known, secret=secret, regression=False, n_attacks=n)
    results = attack.evaluate(n_jobs=1).results()
    return n, int(results.n_success), int(results.n_control)


def a_7_inference(folder: Path, quick: bool) -> list[Finding]:
    """Each attribute from the rest, in both cities."""
    findings = []
    labels = {"real": "released", "exact": "exact counts", "objects": "a row an object, to the second"}
    for city in ("town", "village"):
        everyone, everyone_else = truth(folder, city, "truth"), truth(folder, city, "twin")
        tables = {v: as_records(Released.read(folder, city, v).counts("crossing_count", "line-a")) for v in ("real", "exact")}
        totals = {(secret, how): np.zeros(3, dtype=int) for how in labels for secret in SECRETS}
        # The camera is known to the attacker, so records of others are of no use: a few cameras do.
        some = np.random.default_rng(SEED).permutation(int(everyone["camera"].max()) + 1)[:CAMERAS]

        def of(frame: pd.DataFrame, world: int) -> pd.DataFrame:
            return frame[(frame["world"] == world) & frame["camera"].isin(some)]

        for world in range(1 if quick else 4):
            passages, others = of(everyone, world), of(everyone_else, world)
            for how in labels:
                source = passages if how == "objects" else of(tables[how], world)
                seen = shuffled(attributes(source, how == "objects"), SEED).head(MOST_RECORDS)
                people, strangers = attributes(passages, True), attributes(others, True)
                for secret in SECRETS:
                    totals[secret, how] += np.array(infer(seen, people, strangers, secret, 700))
        for (secret, how), (attacks, hits, chance) in totals.items():
            results = EvaluationResults(n_attacks=int(attacks), n_success=int(hits), n_baseline=0, n_control=int(chance))
            value, (_, upper) = results.risk()
            note = f"advantage {value:.3f}; {hits} of {attacks} right, {chance} about the twin's"
            tried = f"{city}, {SECRETS[secret]} from the rest; {labels[how]}"
            findings.append(Finding("A7", tried, value if quick else upper, LIMIT, how != "real", note))
    return findings
