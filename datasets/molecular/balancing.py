"""Selecting real samples so that their moments are those of a model: entropy balancing and systematic sampling.

Of all weights of a finite library under which mean and covariance of z are the wanted ones, entropy balancing
(Hainmueller, Political Analysis 2012) takes those nearest to equal weights: exp of a quadratic function of z, whose
coefficients minimise a convex function. If z were Gaussian in the library, the weighted z would be Gaussian too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TOLERANCE = 1e-8  # largest error of a matched moment, z of variance about 1
_STEPS = 60


class Unmatched(Exception):
    """No weights of the library have the wanted moments, or only such as rest on few samples; says which, with ESS."""


@dataclass(frozen=True)
class Weights:
    """share   (n,) positive weights with sum 1
    effective  effective sample size 1 / Σ share² (Kish 1965)
    """

    share: Array
    effective: float


def balance(z: Array, covariance: Array) -> Weights:
    """Weights under which z (n, d) has mean 0 and the given covariance (d, d), by Newton's method.

    Raises Unmatched where it does not get there: the moments lie outside of what the library can have.
    """
    d = z.shape[1]
    first, second = np.triu_indices(d)
    moments = np.concatenate([z, z[:, first] * z[:, second]], axis=1)
    wanted = np.concatenate([np.zeros(d), covariance[first, second]])
    # of a library of standard normal z these would be the coefficients already
    quadratic = 0.5 * (np.eye(d) - np.linalg.inv(covariance))
    theta = np.concatenate([np.zeros(d), np.where(first == second, 1.0, 2.0) * quadratic[first, second]])
    share, value = _tilted(moments, theta, wanted)
    for _ in range(_STEPS):
        mean = share @ moments
        gradient = mean - wanted
        if np.abs(gradient).max() < TOLERANCE:
            return Weights(share, float(1.0 / np.square(share).sum()))
        hessian = (moments * share[:, None]).T @ moments - np.outer(mean, mean)
        step = np.linalg.solve(hessian + 1e-10 * np.eye(len(theta)), gradient)
        slope, length = float(gradient @ step), 1.0
        while length > 1e-6:
            candidate = theta - length * step
            new_share, new_value = _tilted(moments, candidate, wanted)
            if new_value <= value - 1e-4 * length * slope + 1e-12:
                break
            length /= 2
        theta, share, value = candidate, new_share, new_value
        if length <= 1e-6 or not np.isfinite(value):
            break
    effective = float(1.0 / np.square(share).sum())
    raise Unmatched(
        f"moments missed by {np.abs(share @ moments - wanted).max():.2g} at an effective sample size of {effective:.0f}"
    )


def systematic_sample(weights: Weights, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """n different rows, row i with probability n · share_i; in random order.

    Systematic sampling from a random order (Madow 1949). Raises Unmatched where a row would be wanted more than once.
    """
    expected = n * weights.share
    if expected.max() > 1.0:
        raise Unmatched(
            f"one sample of the library would be drawn {expected.max():.1f} times among {n} at an effective sample "
            f"size of {weights.effective:.0f}"
        )
    order = rng.permutation(len(expected))
    edges = np.cumsum(expected[order])
    chosen = np.searchsorted(edges, (rng.random() + np.arange(n)) * (edges[-1] / n), side="right")
    return np.asarray(rng.permutation(order[np.minimum(chosen, len(order) - 1)]), dtype=np.int64)


def largest_sample(weights: Weights) -> int:
    """The most different rows that ``systematic_sample`` can draw."""
    return int(1.0 / weights.share.max())


def _tilted(moments: Array, theta: Array, wanted: Array) -> tuple[Array, float]:
    """Weights exp(θ·moments), normalised, and the convex function whose gradient is their error."""
    exponent = moments @ theta
    top = float(exponent.max())
    weight = np.exp(exponent - top)
    total = float(weight.sum())
    return weight / total, top + np.log(total) - float(theta @ wanted)
