"""Affine maps from codes to latent factors: least squares that no scaling, shift or rank deficiency can break.

Shared by ``linear_r2``, ``weak_mcc`` and linear DCI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, svd

from bench.metrics.base import OutOfDomain
from bench.metrics.moments import Floats, Matrix, Moments, blocks, moments, triangle
from bench.metrics.width import check_width

# Smallest ratio of the eigenvalues of the codes' correlation matrix at which normal equations keep 10 digits, ...
_WELL_CONDITIONED = 1e-6
# ... and at which they can be repeated on codes whitened by the first try (CholeskyQR2) instead of avoided.
_REPEATABLE = 1e-11
# Directions of the standardised codes with less than this share of the largest standard deviation are rounding.
RANK_TOLERANCE = 1e-10


@dataclass(frozen=True)
class LinearMap:
    """Least squares of standardised z on codes, in the whitened coordinates w = (codes − mean) @ whiten.

    whiten    (d, r): w has unit covariance on the training samples; r is the numerical rank of the codes
    loading   (r, d_z): coefficients of the standardised factors on w
    coefficients   (d, d_z): minimum-norm coefficients between standardised columns
    """

    m: Moments
    whiten: Matrix
    loading: Matrix
    coefficients: Matrix

    @property
    def rank(self) -> int:
        return self.whiten.shape[1]


def fit_map(z: Floats, codes: Floats, m: Moments) -> LinearMap:
    """Least squares of z on codes; ``m`` are their moments. OutOfDomain if there are too few samples for the width."""
    check_width(codes.shape[1])
    cc = m.cc if m.cc is not None else moments(z, codes, among_codes=True).cc
    values, vectors = eigh(cc)
    if values[0] > _WELL_CONDITIONED * values[-1]:
        whiten = vectors / np.sqrt(values)
        loading = whiten.T @ m.zc.T
    elif values[0] > _REPEATABLE * values[-1]:
        whiten, loading = _repeat(z, codes, m, vectors / np.sqrt(values))
    else:
        r_cc, r_cz = triangle(z, codes, m)
        left, spread, right = svd(r_cc, full_matrices=False)
        keep = spread > RANK_TOLERANCE * max(spread[0], np.finfo(float).tiny)
        whiten = right[keep].T / spread[keep] * np.sqrt(m.n)
        loading = left[:, keep].T @ r_cz / np.sqrt(m.n)
    rank = whiten.shape[1]
    if m.n < 2 * (rank + 1):
        raise OutOfDomain(
            f"{m.n} training samples are too few for a linear probe on codes of rank {rank}: {2 * rank + 2} needed"
        )
    return LinearMap(m, whiten * m.inverse_sd[m.d_z :, None], loading, whiten @ loading)


def _repeat(z: Floats, codes: Floats, m: Moments, whiten: Matrix) -> tuple[Matrix, Matrix]:
    """Whitening and loading from the moments of codes that ``whiten`` (of standardised codes) has made nearly white.

    Reference: Yamamoto et al., ETNA 44, 2015 (CholeskyQR2).
    """
    d_z, rank = m.d_z, whiten.shape[1]
    raw = whiten * m.inverse_sd[d_z:, None]
    gram, cross = np.zeros((rank, rank)), np.zeros((rank, d_z))
    for z_rows, c_rows in blocks(z, codes):
        w = (c_rows - m.mean[d_z:]) @ raw
        gram += w.T @ w
        cross += w.T @ ((z_rows - m.mean[:d_z]) * m.inverse_sd[:d_z])
    values, vectors = eigh(gram / m.n)
    turn = vectors / np.sqrt(values)
    return whiten @ turn, turn.T @ cross / m.n


@dataclass(frozen=True)
class LinearScore:
    """Held-out performance of a LinearMap, one entry a factor.

    r2       1 − residual sum of squares / sum of squares about the held-out mean; unclipped
    corr     Pearson correlation of prediction and factor; 0 where the prediction is constant
    chance   expectation of r2 if the factors of the training samples were permuted (exact for these codes)
    """

    r2: Matrix
    corr: Matrix
    chance: Matrix


def score_map(fit: LinearMap, z_test: Floats, codes_test: Floats) -> LinearScore:
    """Score ``fit`` on held-out samples. OutOfDomain where a factor is constant or squares overflow."""
    m, d_z, n = fit.m, fit.m.d_z, len(z_test)
    inverse = m.inverse_sd[:d_z]
    test = moments(z_test, z_test[:, :1])
    # Distance of the held-out mean from the training mean, in training standard deviations.
    with np.errstate(over="ignore"):
        offset = (test.mean[:d_z] - m.mean[:d_z]) * inverse
        total = n * (test.sd[:d_z] * inverse) ** 2
    constant = np.flatnonzero(total == 0)
    if len(constant):
        raise OutOfDomain(f"latent factor {constant[0]} is constant on the training or the held-out samples")
    residual, whitened = np.zeros(d_z), 0.0
    p_sum, p_square, cross = np.zeros(d_z), np.zeros(d_z), np.zeros(d_z)
    with np.errstate(over="ignore", invalid="ignore"):
        for z_rows, c_rows in blocks(z_test, codes_test):
            w = (c_rows - m.mean[d_z:]) @ fit.whiten
            predicted = w @ fit.loading
            target = (z_rows - test.mean[:d_z]) * inverse
            residual += ((target + offset - predicted) ** 2).sum(0)
            whitened += float((w**2).sum())
            p_sum += predicted.sum(0)
            p_square += (predicted**2).sum(0)
            cross += (predicted * target).sum(0)
        varies = p_square - p_sum**2 / n
        corr = np.divide(
            cross, np.sqrt(np.maximum(varies, 0) * total), out=np.zeros(d_z), where=varies > 1e-14 * p_square
        )
        # E[b bᵀ] = I / (n_train − 1) under permutation: predictions keep their size and lose their direction.
        chance = -(n * offset**2 + whitened / max(m.n - 1, 1)) / total
        r2 = 1.0 - residual / total
    if not (np.isfinite(r2).all() and np.isfinite(corr).all()):
        raise OutOfDomain("held-out values lie so far outside the training range that squares overflow")
    return LinearScore(r2, np.clip(corr, -1.0, 1.0), chance)
