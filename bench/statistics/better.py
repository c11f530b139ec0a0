"""How probable is it that A does better than B on a new seed? Wins are counted; small differences are ties."""

from __future__ import annotations

from collections.abc import Mapping

from bench.statistics.intervals import Interval, Seeds, design

MARGIN = 0.005
"""Two scores closer than this are a tie: on noiseless data 0.999998 beats 0.999997 on every seed."""

PRIOR = 2.0
"""Wins and losses that the estimate has seen beforehand: most differences on a board are of the size of a seed's."""


def win(difference: float, margin: float = MARGIN) -> float:
    """1 for a difference above the margin, 0 below minus the margin, ½ between."""
    return 0.5 if abs(difference) <= margin else float(difference > 0.0)


def probability_better(wins: Mapping[Seeds, float], level: float = 0.95) -> Interval:
    """P(A > B) on a new data seed and new model seeds, from {(data seed, model seed): 1 won, ½ tied, 0 lost}.

    The estimate is the mean of Beta(2 + k, 2 + n − k): three wins of three give 0.71, five of five 0.78. That is how
    often a new seed agrees where learners differ by ½ to 1 standard deviation of a seed; the mean of Jeffreys'
    posterior, 0.88 and 0.92, is that of learners 2 standard deviations apart (docs/statistics.md). The bounds are the
    equal-tailed interval of Beta(½ + k, ½ + n − k) (Jeffreys; Brown, Cai, DasGupta 2001), which covers without such
    an assumption. The n trials are the data seeds, each with its share of wins, as cells of one data seed are alike;
    with one data seed its model seeds; in a crossing the fewer of the two.
    Raises ValueError for no cells.
    """
    import numpy as np

    if not wins:
        raise ValueError("a probability needs at least one paired cell")
    rows, columns, values = design(wins)
    n_data, n_model = int(rows.max()) + 1, int(columns.max()) + 1
    share = float(np.mean(np.bincount(rows, values) / np.bincount(rows)))
    crossed = len(values) > n_model > 1
    n = n_model if n_data == 1 else min(n_data, n_model) if crossed else n_data
    low, high = jeffreys(n * share, n, level)
    mean = (PRIOR + n * share) / (2.0 * PRIOR + n)
    return Interval(mean, max(high - mean, mean - low), n, f"Jeffreys, {n} seeds", bounds=(low, high))


def jeffreys(hits: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Equal-tailed interval of a probability from ``hits`` of n trials, which need not be whole."""
    from scipy.special import betaincinv

    above, below = 0.5 + hits, 0.5 + n - hits
    return float(betaincinv(above, below, 0.5 - level / 2)), float(betaincinv(above, below, 0.5 + level / 2))
