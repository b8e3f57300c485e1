"""A10: was somebody's week in the table?

The membership game of Pyrgelis, Troncoso and De Cristofaro ("Knock Knock, Who's There? Membership Inference on
Aggregate Location Data", NDSS 2018): a week of class A tables of one camera is shown with or without the target, who
passes three times a day at the same times (K of rule PC-9), and the attacker says which. Strangers are drawn anew in
every week; the footpath is quiet, so there is little to hide among.

- *classifiers* learn from weeks with and without the target and judge others (cross-validation): on the week as it is,
  as in the paper, and on its average day, a stronger view since a habit adds up there. Figure: area under the ROC
  curve. 0.6 is the contract's target for the paper's attack. For the average day it is reported only: an attacker
  with hundreds of labelled weeks comes near the likelihood ratio below, and no ε per passage can hold a habit of a
  week below 0.6.
- *likelihood ratio*: knows the target's times, what everybody else did, and the noise; no attacker is better. Figure:
  its advantage (true minus false positive rate), which must stay within what ε allows for 21 passages
  (`composition`). That bound is loose for a week: ε adds up to 13.86, and nothing is promised beyond a day.
  The advantage over a single day is reported against eps_day = 1.98 as well.

Limits: one camera, one target, and weeks that are otherwise drawn from one distribution, which the attacker may learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from city import BINS_A_DAY
from composition import best_advantage
from datasets import SEED, Target
from likelihood import log_likelihood_ratio
from report import Finding
from tables import Released

AUC_LIMIT = 0.6
EPSILON_PASSAGE = 0.66
FOLDS = 4
Numbers = npt.NDArray[np.float64]


def weeks_of(table: Released) -> Numbers:
    """The table as [world, day, bin of the day, cell]."""
    values = table.values.sort_values(["world", "t0_s"])
    worlds = values["world"].nunique()
    cells = list(table.cells["column"])
    days = len(values) // (worlds * BINS_A_DAY)
    return values[cells].to_numpy(dtype=float).reshape(worlds, days, BINS_A_DAY, len(cells))


def classifiers(week: Numbers, inside: npt.NDArray[np.bool_], quick: bool) -> dict[str, float]:
    """Area under the curve of each classifier and each way to look at the week."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    looks = {"week": week.reshape(len(week), -1), "average day": week.mean(axis=1).reshape(len(week), -1)}
    areas = {}
    for look, features in looks.items():
        models = {
            "logistic regression": make_pipeline(
                StandardScaler(), PCA(100, random_state=SEED), LogisticRegression(max_iter=1_000)
            ),
            "random forest": RandomForestClassifier(150, min_samples_leaf=2, random_state=SEED, n_jobs=2),
        }
        for name, model in models.items():
            if quick and look == "week":
                continue
            areas[f"{name} on the {look}"] = cross_val_score(
                model, features, inside, cv=folds, scoring="roc_auc"
            ).mean()
    return areas


def advantage(ratio: Numbers, inside: npt.NDArray[np.bool_]) -> float:
    """True minus false positive rate of "in, where the likelihood ratio says so"."""
    return float((ratio[inside] > 0).mean() - (ratio[~inside] > 0).mean())


def a_10_membership(folder: Path, quick: bool) -> list[Finding]:
    """The classifiers and the likelihood ratio, on released and on exact tables."""
    findings = []
    exact = Released.read(folder, "week", "exact")
    *_, alone = weeks_of(exact)
    truth = weeks_of(exact)[:-1]
    inside = np.arange(len(truth)) % 2 == 0
    adds = alone.mean(axis=0)
    others = truth - inside[:, None, None, None] * adds
    for variant, label in (("real", "released"), ("exact", "exact counts")):
        table = exact if variant == "exact" else Released.read(folder, "week", "real")
        week = weeks_of(table)[:-1]
        for words, area in classifiers(week, inside, quick).items():
            paper = words.endswith("week")
            if variant == "real":
                note = (
                    "area under the curve"
                    if paper
                    else f"area under the curve; target {AUC_LIMIT}, not promised: see A10's text"
                )
                findings.append(Finding("A10", f"{words}; {label}", area, AUC_LIMIT if paper else None, False, note))
            elif paper or quick:
                findings.append(Finding("A10", f"{words}; {label}", area, AUC_LIMIT, True, "area under the curve"))
        scale = table.cells["noise_b"].to_numpy(dtype=float)
        per_day = log_likelihood_ratio(week, others, adds, scale).sum(axis=-1)
        for words, ratio, who, days in (
            ("a week", per_day.sum(axis=1), inside, week.shape[1]),
            ("a day", per_day.reshape(-1), np.repeat(inside, week.shape[1]), 1),
        ):
            passages = len(Target().hours) * days
            limit = best_advantage([EPSILON_PASSAGE] * passages)
            area = float(roc_auc_score(who, ratio))
            used = int((np.abs(adds) > 0).sum()) * days
            note = f"advantage; AUC {area:.3f}; over {used} cells; everybody else is known"
            findings.append(
                Finding(
                    "A10",
                    f"likelihood ratio over {words}; {label}",
                    advantage(ratio, who),
                    limit,
                    variant == "exact",
                    note,
                )
            )
    return findings
