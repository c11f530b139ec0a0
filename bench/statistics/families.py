"""Differences between all learners of a board, corrected for how many they are.

Of k equally good learners k (k − 1) / 2 pairs are compared, and uncorrected intervals find some pair different on
nine boards of ten. Holm's procedure keeps the probability of *any* false separation below 1 − level; with three to
five seeds it needs more than a pair's own two to four degrees of freedom, so the variance of a pair is moderated by
those of the other pairs of the board (Smyth 2004). ``python -m bench.statistics.coverage`` simulates both errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.statistics.intervals import Interval, Seeds, seed_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Pair = tuple[str, str]
# The pairs of k learners share them: they know less of how much variances differ than as many independent values would.
_TRUST = 0.5
# A pair whose differences do not vary at all is given this share of the middle variance.
_SMALLEST = 1e-5


def paired_differences(
    scores: Mapping[str, Mapping[Seeds, float]],
    interval: Callable[[dict[Seeds, float]], Interval] = seed_interval,
    level: float = 0.95,
) -> dict[Pair, Interval]:
    """{(one, other): interval of the mean of one − other}, corrected for the number of pairs; see ``corrected``.

    scores     {learner: {(data seed, model seed): score}}
    interval   of the mean of one pair's differences on the seeds that both have
    Each pair is there once, in the order of ``scores``; pairs with fewer than two common seeds are absent.
    """
    names = list(scores)
    found: dict[Pair, Interval] = {}
    for position, one in enumerate(names):
        for other in names[position + 1 :]:
            common = {key: scores[one][key] - scores[other][key] for key in scores[one] if key in scores[other]}
            if len(common) > 1:
                found[one, other] = interval(common)
    return corrected(found, level)


def corrected(differences: Mapping[Pair, Interval], level: float = 0.95) -> dict[Pair, Interval]:
    """The intervals widened so that on 1 − level of the boards at most *any* of them excludes 0 falsely.

    Two learners alone need no correction and keep their interval. Otherwise the pairs are tested in the order of
    their p-values, the i-th of m at (1 − level) / (m − i + 1), until one holds 0 (Holm 1979); each interval is that of
    its own test, so that it excludes 0 exactly where the pair is told apart. Intervals without an error of their own
    (one seed) are handed back as they are.
    """
    import numpy as np
    from scipy.special import stdtr, stdtrit

    pairs = [pair for pair, interval in differences.items() if interval.error is not None]
    if len(pairs) < 2:
        return dict(differences)
    known = [differences[pair] for pair in pairs]
    units = np.array([interval.n for interval in known], dtype=np.float64)
    own = np.array([interval.freedom for interval in known], dtype=np.float64)
    squares = units * np.array([interval.error for interval in known], dtype=np.float64) ** 2
    n_learners = len({name for pair in pairs for name in pair})
    variance, freedom = moderated(squares, own, n_learners)
    errors = np.sqrt(variance / units)
    means = np.array([interval.mean for interval in known])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(means == 0.0, 0.0, np.abs(means) / errors)
    chances = 2.0 * stdtr(freedom, -ratios)
    order = np.argsort(chances, kind="stable")
    tails = (1.0 - level) / np.arange(len(pairs), 0, -1)
    passed = np.logical_and.accumulate(chances[order] <= tails)
    # after the first pair that is not told apart none is: their intervals are those of its test
    tails[passed.sum() :] = tails[min(passed.sum(), len(pairs) - 1)]
    halves = stdtrit(freedom[order], 1.0 - tails / 2.0) * errors[order]
    # rounding must not put 0 on another side of a bound than the test did
    sizes = np.abs(means[order])
    halves = np.where(passed, np.minimum(halves, sizes * (1.0 - 1e-12)), np.maximum(halves, sizes))
    words = f"Holm, {len(pairs)} pairs of {n_learners} learners"
    made = dict(differences)
    for index, half in zip(order.tolist(), halves.tolist(), strict=True):
        before = known[index]
        made[pairs[index]] = replace(before, half=half, bounds=None, method=f"{before.method}; {words}")
    return made


def moderated(squares: Array, freedom: Array, n_learners: int) -> tuple[Array, Array]:
    """Variances shrunk towards each other as far as they are alike, and their degrees of freedom; (m,) each.

    squares    (m,) sample variances of the differences of m pairs, with ``freedom`` (m,) degrees of freedom
    True variances are taken to scatter as a scaled inverse χ² with d₀ degrees of freedom about s₀²; both follow from
    mean and variance of log squares (Smyth 2004, section 6.2), and (d₀ s₀² + f s²) / (d₀ + f) has d₀ + f of them.
    Learners that are alike thereby pool all seeds of the board, at most (k − 1) f degrees of freedom; where they
    differ by decades d₀ is near 0 and each pair stands for itself. Half of d₀ is used, see ``_TRUST``.
    """
    import numpy as np
    from scipy.special import digamma, polygamma

    middle = float(np.median(squares[squares > 0.0])) if (squares > 0.0).any() else 0.0
    if len(squares) < 3 or middle == 0.0:
        return squares, freedom
    squares = np.maximum(squares, _SMALLEST * middle)
    logs = np.log(squares) - digamma(freedom / 2.0) + np.log(freedom / 2.0)
    excess = float(logs.var(ddof=1) - polygamma(1, freedom / 2.0).mean())
    shared = (n_learners - 1) * float(np.median(freedom)) - float(np.median(freedom))
    prior, centre = shared, float(squares.mean())
    if excess > 0.0:
        fitted = 2.0 * _inverse_trigamma(excess)
        if fitted < shared:
            prior = fitted
        centre = float(np.exp(logs.mean() + digamma(fitted / 2.0) - np.log(fitted / 2.0)))
    prior *= _TRUST
    return (prior * centre + freedom * squares) / (prior + freedom), prior + freedom


def _inverse_trigamma(value: float) -> float:
    """x with ψ′(x) = value > 0, by Newton's method on 1/ψ′ (convex and nearly linear)."""
    from scipy.special import polygamma

    x = 0.5 + 1.0 / value
    for _ in range(50):
        slope = float(polygamma(1, x))
        step = slope * (1.0 - slope / value) / float(polygamma(2, x))
        x += step
        if -step < 1e-9 * x:
            break
    return x
