"""The learning-rate schedule of both stages' networks."""

from __future__ import annotations

import math

_WARM_UP = 0.15


def one_cycle(fraction: float) -> float:
    """Learning-rate factor at a fraction of the training: linear warm-up to 1, then half a cosine down to 0."""
    if fraction < _WARM_UP:
        return fraction / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (fraction - _WARM_UP) / (1 - _WARM_UP)))
