"""Out-of-orthant R²: does a linear map fitted in one part of the factors' space hold in another?"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from bench.metrics.base import OutOfDomain, metric
from bench.metrics.chance import generator
from bench.metrics.moments import Floats, Matrix
from bench.metrics.pairs import Pairs, pairs

ALL_ORTHANTS_UP_TO = 4
RANDOM_ORTHANTS = 16
MIN_HELD_OUT = 5
"""Held-out samples an orthant must have on average."""
PENALTY = 0.1 / 64
"""Ridge penalty as a share of the codes' total variance: 0.1·n on 64 standardised codes, the width of the paper."""


@metric(
    "ood_r2",
    tests="linear",
    range="(-inf, 1]",
    paper="Vafidis, Bhargava & Rangel 2024",
    summary="R² on an orthant of factors that the linear probe was not fitted on, median over orthants",
    assumptions="factors symmetric about a known centre; only the probe is out of distribution, not the learner",
    needs=("truth", "centre"),
)
def ood_r2(z_train: Any, codes_train: Any, z_test: Any, codes_test: Any, centre: Any = None) -> float:
    """Median over left-out orthants of the R² of a ridge probe that has not seen the orthant.

    centre (d_z,) the point whose orthants are meant; the origin if None. For every orthant (16 random ones where d_z
    exceeds 4) a ridge regression from standardised codes to factors, its penalty 0.1/64 of the codes' total variance,
    is fitted on the training samples outside and scored on the held-out samples inside:
    R² = 1 − mean squared error / variance over all held-out samples, averaged over factors.

    Range (−∞, 1], higher is better; near 1 for codes that are an injective affine function of the factors everywhere.
    Chance is what the mean outside predicts inside, well below 0. Invariant under shifts and scaling of single codes
    and under duplication of all of them, not under all invertible maps: the penalty prefers directions of the codes
    that vary much, as least squares on codes wider than the factors extrapolates from directions that hardly vary.
    The learner has seen all orthants: only the probe is out of distribution. Raises OutOfDomain as ``linear_r2``, and
    for fewer than 5 held-out samples an orthant.
    Reference: Vafidis, Bhargava & Rangel, arXiv 2407.11249.
    """
    found = pairs(z_train, codes_train, z_test, codes_test)
    return float(np.median(orthant_scores(found, centre)[0]))


def orthant_scores(found: Pairs, centre: Any = None) -> tuple[Matrix, Matrix]:
    """R² on each left-out orthant, and that of the mean of the other orthants: (k,) each."""
    at = np.zeros(found.d_z) if centre is None else np.asarray(centre, dtype=np.float64)
    if at.shape != (found.d_z,):
        raise OutOfDomain(f"the centre has shape {at.shape}, expected ({found.d_z},)")
    if len(found.z_test) < MIN_HELD_OUT * 2**found.d_z:
        raise OutOfDomain(
            f"{len(found.z_test)} held-out samples are too few for {2**found.d_z} orthants: at least "
            f"{MIN_HELD_OUT * 2**found.d_z} are needed"
        )
    m = found.train
    z = (found.z_train - m.mean[: found.d_z]) * m.inverse_sd[: found.d_z]
    z_test = (found.z_test - m.mean[: found.d_z]) * m.inverse_sd[: found.d_z]
    codes = (found.codes_train - m.mean[found.d_z :]) * m.inverse_sd[found.d_z :]
    codes_test = (found.codes_test - m.mean[found.d_z :]) * m.inverse_sd[found.d_z :]
    design = np.column_stack([np.ones(len(codes)), codes, z])
    total, width = design.T @ design, codes.shape[1]
    variance = z_test.var(axis=0)
    scores, chances = [], []
    for signs in _orthants(found.d_z):
        inside, inside_test = _members(found.z_train, at, signs), _members(found.z_test, at, signs)
        if not inside_test.any():
            continue
        outside = total - design[inside].T @ design[inside]
        intercept, slope, mean = _ridge(outside, width)
        truth = z_test[inside_test]
        predicted = intercept + codes_test[inside_test] @ slope
        scores.append(1 - float((np.square(truth - predicted).mean(axis=0) / variance).mean()))
        chances.append(1 - float((np.square(truth - mean).mean(axis=0) / variance).mean()))
    if not scores or not np.isfinite(scores).all():
        raise OutOfDomain("no orthant could be scored: held-out values lie far outside the training range")
    return np.array(scores), np.array(chances)


def _orthants(d: int) -> Matrix:
    """Signs (k, d): all orthants, or random ones of them without repetition."""
    if d <= ALL_ORTHANTS_UP_TO:
        return np.array(list(product((-1.0, 1.0), repeat=d)))
    rng = generator(0, d)
    number = rng.choice(2**d, RANDOM_ORTHANTS, replace=False)
    return np.where(number[:, None] >> np.arange(d) & 1, 1.0, -1.0)


def _members(z: Floats, centre: Matrix, signs: Matrix) -> Any:
    return ((z - centre) * signs > 0).all(axis=1)


def _ridge(total: Matrix, width: int) -> tuple[Matrix, Matrix, Matrix]:
    """Intercept (d_z,), slopes (width, d_z) and mean factors (d_z,) from sums of products of [1, codes, factors]."""
    n = total[0, 0]
    if n < 2:
        raise OutOfDomain("all training samples lie in one orthant")
    mean = total[0, 1:] / n
    covariance = total[1:, 1:] / n - np.outer(mean, mean)
    sd = np.sqrt(np.maximum(np.diag(covariance)[:width], 0))
    inverse = np.divide(1.0, sd, out=np.zeros(width), where=sd > 1e-9)
    within = covariance[:width, :width] * np.outer(inverse, inverse)
    across = covariance[:width, width:] * inverse[:, None]
    slope = np.linalg.solve(within + PENALTY * width * np.eye(width), across) * inverse[:, None]
    return mean[width:] - mean[:width] @ slope, slope, mean[width:]
