"""Interval of a score over the held-out samples of one set of codes: the delete-a-group jackknife.

The unit is a sample, not a seed: the interval says how much the score would move with other held-out samples, given
the codes. It says nothing of how much it would move with another seed; several seeds do (``intervals``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.statistics.intervals import Interval, t_quantile

GROUPS = 10
LEAST = 5
"""So many samples a group must have."""


def groups(n: int, seed: int = 0, number: int = GROUPS) -> list[NDArray[np.int64]]:
    """``number`` random groups of the n samples, as equal as can be; none where they would be too small."""
    if n < LEAST * number:
        return []
    return [np.sort(part) for part in np.array_split(np.random.default_rng(seed).permutation(n), number)]


def jackknife_interval(value: float, without: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval of a score from its values without each of G groups (G − 1 degrees of freedom).

    Variance (G − 1)/G Σ (θ_g − mean)², Shao and Wu, Annals of Statistics 1989.
    """
    left_out = np.asarray(without, dtype=np.float64)
    g = len(left_out)
    variance = (g - 1) / g * float(((left_out - left_out.mean()) ** 2).sum())
    half = t_quantile(0.5 + level / 2, g - 1) * math.sqrt(variance)
    return Interval(value, half, g, f"jackknife, {g} groups of held-out samples")
