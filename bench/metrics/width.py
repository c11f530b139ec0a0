"""Which d_z of a wider code are scored: principal variables, chosen without a look at the factors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.metrics.base import OutOfDomain
from bench.metrics.moments import Matrix

MAX_WIDTH = 3000
# What the codes chosen before leave of a standardised code's variance, below which the rest is rounding.
_NOTHING_LEFT = 1e-9


def check_width(width: int) -> None:
    """OutOfDomain for codes so wide that their correlation matrix does not fit."""
    if width > MAX_WIDTH:
        raise OutOfDomain(f"codes have {width} columns; wide codes are reduced and probed up to {MAX_WIDTH}")


def principal_variables(cc: Matrix, k: int) -> NDArray[np.int64]:
    """(k,) the codes that explain most of all codes, in ascending order; ``cc`` (d, d) are their correlations, d ≥ k.

    Greedy: each is the one that explains the most variance of all standardised codes beyond those chosen before
    (forward selection by the regressions of every code on it). Codes that nothing else resembles, such as noise, come
    last; of equal ones the first is taken; codes that are functions of those chosen fill up at the end, in their
    order. Reference: McCabe, Technometrics 1984 (principal variables).
    """
    left = cc.copy()
    chosen: list[int] = []
    for _ in range(k):
        variance = np.diag(left)
        varies = variance > _NOTHING_LEFT
        if not varies.any():
            break
        explained = np.where(varies, (left**2).sum(0) / np.where(varies, variance, 1.0), -1.0)
        best = int(explained.argmax())
        chosen.append(best)
        left -= np.outer(left[:, best], left[best]) / variance[best]
    rest = (j for j in range(len(cc)) if j not in chosen)
    return np.array(sorted([*chosen, *(next(rest) for _ in range(k - len(chosen)))]), dtype=np.int64)
