"""Does a metric plugin keep the contract? Tried on factors whose codes have a known quality."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from bench import registry
from bench.metrics.base import MetricInfo
from bench.run.check import Finding, global_rng

N, D = 200, 3


def check_metric(info: MetricInfo) -> Iterator[Finding]:
    """Call a metric on perfect, equivalent and independent codes; yields a Finding for each promise."""
    import numpy as np

    try:
        function = registry.load(info)
    except Exception as error:  # noqa: BLE001 -- a plugin may raise anything; the finding says what
        yield Finding("can be imported", False, f"{type(error).__name__}: {error}")
        return
    yield Finding("can be imported", True)
    rng = np.random.default_rng(0)
    z, z_test, noise, noise_test = (rng.laplace(size=(N, D)) for _ in range(4))
    before_rng, before = global_rng(), z.copy()

    def score(codes: Any, codes_test: Any) -> float:
        return float(function(z, codes, z_test, codes_test))

    try:
        perfect, again, chance = score(z, z_test), score(z, z_test), score(noise, noise_test)
    except Exception as error:  # noqa: BLE001
        yield Finding("gives a number for four arrays", False, f"{type(error).__name__}: {error}")
        return
    yield Finding("gives a number for four arrays", math.isfinite(perfect) and math.isfinite(chance))
    yield Finding("same arrays, same number", perfect == again)
    untouched = bool(np.array_equal(z, before)) and global_rng() == before_rng
    yield Finding("leaves its arrays and the global random state alone", untouched)
    low, high = _range(info.range)
    inside = all(low - 1e-9 <= value <= high + 1e-9 for value in (perfect, chance))
    yield Finding("stays in its range", inside, f"{perfect:.3f} and {chance:.3f} in {info.range}")
    better = perfect > chance if info.direction == "higher" else perfect < chance
    words = f"{perfect:.3f} for the factors, {chance:.3f} for noise"
    yield Finding("scores the true factors better than noise", better, words)
    mixing = _allowed(info.tests, rng)
    if mixing is not None:
        same = score(z @ mixing, z_test @ mixing)
        close = abs(same - perfect) <= 1e-6 * max(1.0, abs(perfect))
        yield Finding(f"does not see what '{info.tests}' leaves open", close, f"{same:.3f} instead of {perfect:.3f}")


def _allowed(tests: str, rng: Any) -> Any:
    """A map of the factors that keeps the guarantee: the metric must not see it; None where there is none."""
    import numpy as np

    if tests == "permutation+scaling":
        return np.eye(D)[[2, 0, 1]] * np.array([2.0, -0.5, 3.0])
    return np.linalg.qr(rng.standard_normal((D, D)))[0] if tests == "linear" else None


def _range(text: str) -> tuple[float, float]:
    """(low, high) of an interval such as "[0, 1]" or "(-inf, 1]"; everything where it cannot be read."""
    numbers = re.findall(r"-?(?:inf|\d+(?:\.\d+)?)", text)
    return (float(numbers[0]), float(numbers[1])) if len(numbers) == 2 else (-math.inf, math.inf)
