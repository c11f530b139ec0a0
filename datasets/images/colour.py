"""Hues as colours. Factors of hue run over part of the circle, so that they are Euclidean and not periodic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HUE_RANGE = 0.7
"""Hues run from red (0) over green to blue-violet (0.7): their ends are different colours."""


def rgb(factor: NDArray[Any], *, saturation: float = 1.0, value: float = 1.0) -> NDArray[np.float32]:
    """Colours (n, 3) in [0, 1] of hue factors (n,) in [-1, 1], at one saturation and value of the HSV cone."""
    hue = (np.asarray(factor, dtype=np.float32) + 1) * np.float32(HUE_RANGE / 2)
    distance = np.abs((hue[:, None] - np.array([0, 1 / 3, 2 / 3], dtype=np.float32) + 0.5) % 1 - 0.5)
    pure = np.clip(2 - 6 * distance, 0, 1)
    return np.asarray(value * (1 - saturation + saturation * pure), dtype=np.float32)
