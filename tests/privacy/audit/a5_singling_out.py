"""A5: can a released table single somebody out?

Predicates are written from the released table ("camera 7 at 03:15, a bicycle, forward") where it says that exactly one
passage meets them, and succeed when exactly one true passage does. As many succeed by chance: how many is measured on
the twin city, and the risk is what is above that (Cohen and Nissim, "Towards Formalizing the GDPR's Notion of Singling
Out", PNAS 2020; Giomi et al., PETS 2023). The figure is the upper end of anonymeter's 95 % interval of that risk.

anonymeter 1.1.0 finds predicates by trying: values that occur once (univariate), and combinations of values where
numbers become "at least" or "at most" (multivariate). Its evaluator first drops rows that are equal, which suits
microdata; here equal rows are several people in one cell, so that every occupied cell looks like one person. It is run
as it is, with a number for each true passage so that no person is dropped. Beside it the same three kinds of predicate
are found exhaustively with equal rows kept, which is the stronger attacker; anonymeter's statistics judge both.

What the limits mean. 0.05 is the contract's, for anonymeter's attacker. No table with ε = 0.44 for two counts can
promise it against every attacker in every city: where a cell holds one or two people on average, "the noisy count says
one" is right about a tenth more often than chance. `worst_case` calculates that from the noise; it is the limit of the
exhaustive attacker who asks for exactly those cells, and is printed with the rest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from anonymeter.evaluators.singling_out_evaluator import SinglingOutEvaluator
from anonymeter.stats.confidence import EvaluationResults
from scipy.stats import poisson

from datasets import SEED, truth
from report import Finding
from tables import Released, as_records

LIMIT = 0.05
PERSON_QUANTUM_MS = 10_000
CELL = ["world", "camera", "bin", "class", "dir"]


def alone(seen: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The combinations of values that exactly one record has."""
    size = seen.groupby(by, observed=True).size()
    return size[size == 1].index.to_frame(index=False)


def isolated(asked: pd.DataFrame, people: pd.DataFrame, by: list[str]) -> int:
    """How many of the combinations exactly one passage has."""
    size = people.groupby(by, observed=True).size().rename("n").reset_index()
    return int((asked.merge(size, on=by, how="left")["n"] == 1).sum())


def outermost(seen: pd.DataFrame, by: list[str], first: bool) -> pd.DataFrame:
    """Of each group the earliest or latest time, where one record alone has it."""
    edge = seen.groupby(by, observed=True)["bin"].agg("min" if first else "max").rename("edge").reset_index()
    at_edge = seen.merge(edge, left_on=[*by, "bin"], right_on=[*by, "edge"])
    return alone(at_edge, [*by, "edge"])


def isolated_beyond(asked: pd.DataFrame, people: pd.DataFrame, by: list[str], first: bool) -> int:
    """How many groups have exactly one passage as early or as late as asked."""
    joined = people.merge(asked, on=by)
    beyond = joined[joined["bin"] <= joined["edge"]] if first else joined[joined["bin"] >= joined["edge"]]
    return int((beyond.groupby(by, observed=True).size() == 1).sum())


def exhaustive(seen: pd.DataFrame, people: pd.DataFrame, others: pd.DataFrame, how: str) -> EvaluationResults | None:
    """Every predicate of a kind that isolates a record, tried on the city and on its twin."""
    if how == "extreme":
        by = ["world", "camera", "class", "dir"]
        tried, hits, chance = 0, 0, 0
        for first in (True, False):
            asked = outermost(seen, by, first)
            tried += len(asked)
            hits += isolated_beyond(asked, people, by, first)
            chance += isolated_beyond(asked, others, by, first)
    else:
        by = ["world", "camera", "bin"] if how == "univariate" else CELL
        asked = alone(seen, by)
        tried, hits, chance = len(asked), isolated(asked, people, by), isolated(asked, others, by)
    if tried < 10:
        return None
    return EvaluationResults(n_attacks=tried, n_success=hits, n_baseline=0, n_control=chance)


def evaluator(seen: pd.DataFrame, people: pd.DataFrame, others: pd.DataFrame, attacks: int) -> EvaluationResults:
    """anonymeter's own evaluator, over the cell as three attributes."""

    def attributes(frame: pd.DataFrame) -> pd.DataFrame:
        place = frame["world"].astype(str) + ":" + frame["camera"].astype(str) + "@" + frame["bin"].astype(str)
        # Python's own strings: what polars does not take for a number.
        return pd.DataFrame({"place": place, "class": frame["class"], "dir": frame["dir"]}).astype(object)

    def numbered(frame: pd.DataFrame) -> pd.DataFrame:
        return attributes(frame).assign(passage=np.arange(len(frame)))

    attack = SinglingOutEvaluator(
        ori=numbered(people), syn=attributes(seen), control=numbered(others), n_attacks=attacks, n_cols=3,
        max_attempts=20 * attacks, seed=SEED,
    )  # fmt: skip
    # The twin is cut to the city's size before, so no correction for its size is fitted.
    return attack.evaluate(mode="multivariate").results()


def worst_case(b: float, most: float = 12.0) -> tuple[float, float]:
    """The largest risk of "the noisy count says one" over all Poisson means of a cell, and that mean; calculated."""
    counts = np.arange(0, 60)
    worst = (0.0, 0.0)
    for mean in np.arange(0.05, most, 0.05):
        prior = poisson.pmf(counts, mean)
        posterior = prior * np.exp(-np.abs(1 - counts) / b)
        hit, chance = posterior[1] / posterior.sum(), prior[1]
        worst = max(worst, ((hit - chance) / (1.0 - chance), mean))
    return worst


def of_incidents(people: pd.DataFrame, others: pd.DataFrame) -> Finding:
    """Class I, reported: would an incident of somebody, told to the quantum of people (PC-6), single that one out?"""
    by = ["world", "camera", "quantum", "class"]
    told, twins = (frame.assign(quantum=frame["at_ms"] // PERSON_QUANTUM_MS) for frame in (people, others))
    asked = told[told["class"] == "person"].sample(2_000, random_state=SEED)[by].drop_duplicates()
    hits, chance = isolated(asked, told, by), isolated(asked, twins, by)
    results = EvaluationResults(n_attacks=len(asked), n_success=hits, n_baseline=0, n_control=chance)
    note = f"{hits} of {len(asked)} alone in ten seconds, {chance} on the twin; class I is not anonymous"
    return Finding(
        "A5", "incident.v1: an incident about somebody on foot, if there is one", results.risk().value, None, note=note
    )


def a_5_singling_out(folder: Path, quick: bool) -> list[Finding]:
    """All kinds of predicate, both cities; exact counts are the control."""
    findings: list[Finding] = []
    kinds = {
        "univariate": "univariate: camera and time",
        "multivariate": "multivariate: camera, time, class, direction",
        "extreme": "multivariate: camera, first or last, class, direction",
    }

    def add(tried: str, results: EvaluationResults | None, limit: float, control: bool) -> None:
        if results is None:
            findings.append(Finding("A5", tried, 0.0, limit, control, "fewer than ten predicates isolate a record"))
            return
        value, (_, upper) = results.risk()
        # A quick look has too few predicates for a narrow interval.
        figure = value if quick else upper
        hits = f"{results.n_success:.0f} of {results.n_attacks_ori} hit, {results.n_control:.0f} on the twin"
        note = f"risk {value:.3f}; {hits}"
        findings.append(Finding("A5", tried, figure, limit, control, note))

    b = float(Released.read(folder, "town", "real").of("crossing_count")["noise_b"].max())
    worst, worst_mean = worst_case(b)
    for city in ("town", "village"):
        people, others = truth(folder, city, "truth"), truth(folder, city, "twin")
        for variant, label in (("real", "released"), ("exact", "exact counts")):
            table = Released.read(folder, city, variant)
            seen = as_records(table.counts("crossing_count", "line-a"))
            for how, words in kinds.items():
                limit = worst if how == "multivariate" else LIMIT
                add(f"{city}, {words}; {label}", exhaustive(seen, people, others, how), limit, variant == "exact")
            if (city, variant) == ("town", "exact"):
                # Its evaluator takes a busy cell for one person, which hides even exact counts: no control.
                continue
            sample = (seen[seen["world"] == 0], people[people["world"] == 0], others[others["world"] == 0])
            n = min(len(sample[1]), len(sample[2]))
            one_city = (sample[0], sample[1].sample(n, random_state=SEED), sample[2].sample(n, random_state=SEED))
            results = evaluator(*one_city, 500 if quick else 2_000)
            add(f"{city}, SinglingOutEvaluator; {label}", results, LIMIT, variant == "exact")
    findings.append(of_incidents(truth(folder, "town", "truth"), truth(folder, "town", "twin")))
    note = f"calculated for a city in which every cell holds {worst_mean:.1f} passages on average"
    findings.append(Finding("A5", "worst case over all cities: cells that say one", worst, None, note=note))
    return findings
