"""The strongest attacker on noisy tables: knows the scale of the noise (`noise_b`, which is released), what everybody
else did and what the target would add, and asks whether it was added. No test is better than the likelihood ratio
(Neyman and Pearson 1933)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


def log_likelihood_ratio(seen: Numbers, without: Numbers, added: Numbers, scale: Numbers) -> Numbers:
    """log P(seen | target in) − log P(seen | target out), summed over the last axis, for Laplace noise of `scale`.

    Where the scale is 0 the table is exact, and one look decides."""
    noise = np.where(scale > 0, scale, 1e-3)
    return ((np.abs(seen - without) - np.abs(seen - without - added)) / noise).sum(axis=-1)
