"""A7: does a released table tell one attribute of a passage to somebody who knows the others?

anonymeter's Inference (Giomi et al., PETS 2023): the attacker knows camera, time and direction of somebody's passage
and wants the class, and so for each attribute. anonymeter's own guess is the nearest record of the released table;
with named attributes that is any record that agrees in all of them. Both are tried: any such record, and, stronger,
what most such records say. Guesses about the twin city's people, who are in no table, are as good as habits allow.
The figure is what is above that: the difference of the two rates of right guesses, upper end of its 95 % interval.
anonymeter's own risk, which divides by what the twin leaves to be gained, stands beside.

What the limits mean. 0.05 is the contract's, for a town whose cameras see a thousand passages a day and more. For a
passage that is alone in its cell, ε = 0.44 for two counts allows more: adding one to one cell moves any guess by up to
tanh(1/2b) = 0.11 (`composition`). That is the limit of the village, where most passages are nearly alone.

Controls: exact counts in the village, and a table of objects, one row each to the second with how long it was seen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from anonymeter.evaluators.inference_evaluator import InferenceEvaluator
from anonymeter.evaluators.inference_predictor import InferencePredictor
from anonymeter.stats.confidence import EvaluationResults

from composition import best_advantage
from datasets import SEED, truth
from report import Finding
from tables import Released, as_records, shuffled

LIMIT = 0.05
ATTACKS = 30_000
SECRETS = {"class": "class", "dir": "direction", "quarter": "time"}


class Lookup(InferencePredictor):
    """Guesses the secret from the records that agree in all known attributes, else from all of the same camera."""

    def __init__(self, records: pd.DataFrame, known: list[str], secret: str, most: bool) -> None:
        self._known, self._secret = known, secret
        self._exact, self._near = self._say(records, known, most), self._say(records, ["camera"], most)

    def _say(self, records: pd.DataFrame, by: list[str], most: bool) -> pd.Series:
        sizes = shuffled(records, SEED).groupby([*by, self._secret], sort=False).size().rename("n").reset_index()
        if most:
            sizes = sizes.sort_values("n", ascending=False, kind="stable")
        else:
            # A record at random is a value at random, by how many records have it.
            draw = np.random.default_rng([SEED, 7]).random(len(sizes)) ** (1.0 / sizes["n"])
            sizes = sizes.iloc[np.argsort(-draw.to_numpy())]
        return sizes.drop_duplicates(by).set_index(by)[self._secret]

    def predict(self, x: pd.DataFrame) -> pd.Series:
        """A guess a row of `x`."""
        exact = self._exact.reindex(pd.MultiIndex.from_frame(x[self._known])).to_numpy(dtype=object)
        near = self._near.reindex(pd.MultiIndex.from_frame(x[["camera"]])).to_numpy(dtype=object)
        return pd.Series(np.where(pd.isnull(exact), near, exact), index=x.index)


def attributes(frame: pd.DataFrame) -> pd.DataFrame:
    """Attributes of passages or of records; numbers serve as names, nothing is near anything."""
    named = pd.DataFrame(
        {
            "camera": frame["world"] * 1_000 + frame["camera"],
            "class": frame["class"].astype(object),
            "dir": frame["dir"].astype(object),
            "quarter": frame["bin"],
        }
    )
    if "at_ms" in frame:
        named = named.assign(second=frame["at_ms"] // 1000, seen=frame["lasts_ms"])
    return named


def infer(
    seen: pd.DataFrame, people: pd.DataFrame, others: pd.DataFrame, known: list[str], secret: str, most: bool
) -> EvaluationResults:
    """anonymeter's evaluation with `Lookup` as its attacker."""
    np.random.seed(SEED)  # anonymeter draws its targets from numpy's global generator.
    attack = InferenceEvaluator(
        ori=people, syn=seen, control=others, aux_cols=known, secret=secret, regression=False,
        n_attacks=min(ATTACKS, len(people), len(others)), inference_model=Lookup(seen, known, secret, most),
    )  # fmt: skip
    return attack.evaluate(n_jobs=1).results()


def difference(results: EvaluationResults) -> tuple[float, float]:
    """Right guesses about the city's people minus those about the twin's, and the upper end of the 95 % interval."""
    n, m = results.n_attacks_ori, results.n_attacks_control
    p, q = results.n_success / n, results.n_control / m
    return p - q, p - q + 1.96 * float(np.sqrt(p * (1 - p) / n + q * (1 - q) / m))


def a_7_inference(folder: Path, quick: bool) -> list[Finding]:
    """Each attribute from the rest, in both cities; of the two guesses the better one is told."""
    findings = []
    for city in ("town", "village"):
        people, others = (attributes(truth(folder, city, who)) for who in ("truth", "twin"))
        counts = {v: Released.read(folder, city, v) for v in ("real", "exact")}
        b = float(counts["real"].of("crossing_count")["noise_b"].max())
        limit = LIMIT if city == "town" else best_advantage([1.0 / b])
        seen = {v: attributes(as_records(table.counts("crossing_count", "line-a"))) for v, table in counts.items()}
        for secret, words in SECRETS.items():
            rest = [name for name in ("camera", "quarter", "class", "dir") if name != secret]
            precise = [*rest, "seen"] if secret == "quarter" else [*rest, "second"]
            tries = [("released", seen["real"], rest, False)]
            if city == "village":
                if secret != "quarter":
                    tries.append(("exact counts", seen["exact"], rest, True))
                tries.append(("a row an object, to the second", people, precise, True))
            for label, records, known, control in tries:
                both = [infer(records, people, others, known, secret, most) for most in (False, True)]
                best = max(both, key=lambda results: difference(results)[1])
                above, upper = difference(best)
                risk, _ = best.risk()
                right = f"{best.n_success} of {best.n_attacks_ori} right"
                note = f"{above:.3f} over the twin; {right}; anonymeter's risk {risk:.3f}"
                figure = above if quick else upper
                findings.append(Finding("A7", f"{city}, {words} from the rest; {label}", figure, limit, control, note))
    return findings
