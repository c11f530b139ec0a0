"""Nonlinear R²: is the information there at all, in whatever form?"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.special import ndtri

from bench.metrics.base import OutOfDomain, metric
from bench.metrics.chance import generator
from bench.metrics.moments import Floats, Matrix
from bench.metrics.pairs import Pairs, pairs

LANDMARKS = 150
MAX_SAMPLES = 4000
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
# Cross-validation is no guide to a penalty that leaves as many degrees of freedom as this share of the samples.
_MAX_FREEDOM = 0.5
_PERMUTATIONS = 8
_LEVELS = (np.arange(64) + 0.5) / 64
_SCORES = ndtri(_LEVELS)


@metric(
    "nonlinear_r2",
    tests="none",
    range="(-inf, 1]",
    paper="Eastwood & Williams 2018 (informativeness)",
    summary="held-out R² of the factors given a smooth nonlinear probe of the codes",
    assumptions="a probe of fixed capacity: a low value may be the probe's fault",
)
def nonlinear_r2(z_train: Any, codes_train: Any, z_test: Any, codes_test: Any, seed: int = 0) -> float:
    """Mean held-out R² of a kernel ridge probe from codes to factors.

    Features: whitened codes, normal scores of each code (for monotone distortions), and Gaussian kernels of the
    whitened codes at up to 150 training samples (``seed``), width = median distance. The penalty minimises generalised
    cross-validation on at most 4000 training samples, for each factor. Unclipped, averaged over factors.
    Range (−∞, 1], higher is better. It tests no guarantee: 1 says that the factors are a smooth function of the
    codes. Chance (a few permutations) is slightly below 0.
    Raises OutOfDomain as ``mcc``. Reference: informativeness of Eastwood & Williams, ICLR 2018.
    """
    return nonlinear_scores(pairs(z_train, codes_train, z_test, codes_test), seed)[0]


def nonlinear_scores(found: Pairs, seed: int = 0) -> tuple[float, float]:
    """The score, and its mean over permutations of the training factors."""
    rng = generator(seed, found.train.n)
    m, d_z = found.train, found.d_z
    rows = rng.permutation(m.n)[:MAX_SAMPLES]
    try:
        spread = found.map.whiten
    except OutOfDomain:
        spread = np.diag(m.inverse_sd[d_z:])
    codes, codes_test = found.codes_train[rows] - m.mean[d_z:], found.codes_test - m.mean[d_z:]
    knots = np.quantile(codes, _LEVELS, axis=0)
    landmarks = codes[: min(LANDMARKS, len(rows) // 4 + 1)] @ spread
    width = float(np.median(pdist(landmarks))) or 1.0

    def features(x: Matrix) -> Matrix:
        white = x @ spread
        scores = np.column_stack([np.interp(column, knot, _SCORES) for column, knot in zip(x.T, knots.T, strict=True)])
        return np.hstack([white, scores, np.exp(-cdist(white, landmarks, "sqeuclidean") / (2 * width**2))])

    def scaled(z: Floats) -> Matrix:
        with np.errstate(over="ignore"):
            return (z - m.mean[:d_z]) * m.inverse_sd[:d_z]

    z, truth = scaled(found.z_train[rows]), scaled(found.z_test)
    targets = np.hstack([z, *(z[rng.permutation(len(z))] for _ in range(_PERMUTATIONS))])
    predicted = _ridge(features(codes), targets, features(codes_test))
    # Held-out values far outside the training range overflow to a score that is not finite and refused as such.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        total = ((truth - truth.mean(0)) ** 2).sum(0)
        blocks = np.split(predicted, 1 + _PERMUTATIONS, axis=1)
        scores = [float((1 - ((truth - block) ** 2).sum(0) / total).mean()) for block in blocks]
    if not np.isfinite(scores).all():
        raise OutOfDomain("held-out values lie so far outside the training range that squares overflow")
    return scores[0], float(np.mean(scores[1:]))


def _ridge(x: Matrix, y: Matrix, x_test: Matrix) -> Matrix:
    """Predictions (n_test, k) of ridge regression with intercept; one penalty a target, by GCV."""
    mean, centre = x.mean(0), y.mean(0)
    x, y, n = x - mean, y - centre, len(x)
    values, vectors = _directions(x)
    projected = vectors.T @ (x.T @ y) / n
    best, coefficients = np.full(y.shape[1], np.inf), np.zeros_like(projected)
    energy = (y**2).mean(0)
    for penalty in PENALTIES:
        lam = penalty * max(values[-1], np.finfo(float).tiny)
        shrunk = projected / (values + lam)[:, None]
        # ‖y − x β‖²/n in the eigenbasis
        loss = energy - 2 * (shrunk * projected).sum(0) + (shrunk**2 * values[:, None]).sum(0)
        freedom = (values / (values + lam)).sum() + 1
        if freedom > _MAX_FREEDOM * n and penalty < PENALTIES[-1]:
            continue
        gcv = loss / (1 - min(freedom, n - 1) / n) ** 2
        better = gcv < best
        best[better], coefficients[:, better] = gcv[better], shrunk[:, better]
    return (x_test - mean) @ (vectors @ coefficients) + centre


def _directions(x: Matrix) -> tuple[Floats, Matrix]:
    """Eigenvalues, ascending, and eigenvectors (p, r) of the second moments of x (n, p).

    With more columns than rows they come from the rows' products, whose eigenvalues are the same but for zeros.
    """
    n, p = x.shape
    if p <= n:
        values, vectors = np.linalg.eigh(x.T @ x / n)
        return np.maximum(values, 0.0), vectors
    values, left = np.linalg.eigh(x @ x.T / n)
    kept = values > n * np.finfo(float).eps * values[-1]
    kept[-1] = True
    values, left = np.maximum(values[kept], np.finfo(float).tiny), left[:, kept]
    return values, x.T @ (left / np.sqrt(n * values))
