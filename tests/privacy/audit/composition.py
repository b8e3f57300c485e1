"""What may at most be learnt from many noisy numbers at once: the optimal composition of differential privacy.

Every ε-differentially private answer is dominated by randomised response: a bit that is true with probability
e^ε/(1+e^ε) (Kairouz, Oh and Viswanath, "The Composition Theorem for Differential Privacy", ICML 2015). The advantage
of the best test over k answers is therefore at most the total variation distance between k such coins and their
mirror image, which is calculated here by convolving the distribution of the summed privacy loss, for parts that are
not alike as well.

For the discrete Laplace noise of counts this is not only a bound: moving a count by one changes the log likelihood
ratio of the noisy count by exactly ±1/b, so each cell *is* a randomised response with ε = 1/b.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

GRID = 1_000
"""Steps of privacy loss in 1; losses are rounded up to it, so the advantage is never understated."""


def best_advantage(parts: Iterable[float]) -> float:
    """The largest P(says in | in) − P(says in | out) of any test on answers with these ε."""
    loss_of: dict[int, int] = {}
    for epsilon in parts:
        steps = math.ceil(epsilon * GRID)
        loss_of[steps] = loss_of.get(steps, 0) + 1
    distribution = np.array([1.0])
    reach = 0
    for steps, times in loss_of.items():
        coin = np.zeros(2 * steps + 1)
        epsilon = steps / GRID
        coin[-1] = 1.0 / (1.0 + math.exp(-epsilon))
        coin[0] = 1.0 - coin[-1]
        for _ in range(times):
            distribution = np.convolve(distribution, coin)
            reach += steps
    loss = (np.arange(len(distribution)) - reach) / GRID
    gain = distribution * (1.0 - np.exp(-loss))
    return float(gain[loss > 0].sum())


def best_accuracy(epsilon: float) -> float:
    """How often the best test of one ε-private answer is right when in and out are equally likely."""
    return 1.0 / (1.0 + math.exp(-epsilon))
