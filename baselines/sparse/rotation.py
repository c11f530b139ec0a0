"""Simple structure: linear maps of white codes under which the heads of many tasks are sparse.

The rotation problem of factor analysis, with task heads in the place of factor loadings. Given white codes h and heads
W (T, d), no prediction changes when codes become h B and heads W B⁻ᵀ. Among the maps B whose codes have variance 1,
those are sought whose heads are sparse:

    orthogonal   B a rotation,                    minimise Σ |W B|;
    oblique      B with columns of length 1,      minimise Σ √((W B⁻ᵀ)² + ε_t²).

The first is exact for factors that are uncorrelated, the second needs no such thing and starts from the first. The
losses are the component losses of Jennrich (Psychometrika 69, 2004, and 71, 2006), the rotations in one plane after the
other those of Kaiser (Psychometrika 23, 1958). In one plane the absolute loss is concave between the angles at which an
entry vanishes, so that its minimum lies at one of them: it is found among all of them, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bench.toolkit.preprocess import Float64

TOLERANCE = 1e-5
"""Relative decrease of the loss in a sweep over all planes below which a rotation is at its end."""
MAX_SWEEPS = 50


@dataclass(frozen=True)
class Rotations:
    """rotations   (S, d, d), one a start
    losses      (S,) mean over tasks of Σ |W B|
    sweeps      passes over all planes that were made
    """

    rotations: Float64
    losses: Float64
    sweeps: int


def random_rotations(d: int, n: int, rng: np.random.Generator) -> Float64:
    """The identity, then n − 1 orthogonal matrices (n, d, d), uniformly distributed."""
    q, r = np.linalg.qr(rng.standard_normal((n - 1, d, d)))
    q *= np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    return np.concatenate([np.eye(d)[None], q])


def sparsest_angle(a: Float64, b: Float64) -> Float64:
    """The angle θ (S,) in [0, π/2) that minimises Σ_t |a cos θ + b sin θ| + |b cos θ − a sin θ|, for a, b (S, T).

    With (a, b) in polar coordinates r, φ a term is r (|cos(φ − θ)| + |sin(φ − θ)|), which depends on φ modulo π/2 only
    and, φ so reduced, is r (cos(φ − θ) ± sin(φ − θ)), minus where φ < θ. All sums over t at all kinks θ = φ_t then come
    from running sums in the order of φ.
    """
    phi = np.arctan2(b, a) % (np.pi / 2)
    order = np.argsort(phi, axis=1)
    phi = np.take_along_axis(phi, order, axis=1)
    r = np.take_along_axis(np.hypot(a, b), order, axis=1)
    cos, sin = np.cos(phi), np.sin(phi)
    below_cos, below_sin = np.cumsum(r * cos, axis=1), np.cumsum(r * sin, axis=1)
    all_cos, all_sin = below_cos[:, -1:], below_sin[:, -1:]
    loss = all_cos * cos + all_sin * sin + (all_sin - 2 * below_sin) * cos - (all_cos - 2 * below_cos) * sin
    return np.asarray(phi[np.arange(len(phi)), loss.argmin(axis=1)])


def orthogonal(heads: Float64, starts: Float64) -> Rotations:
    """Rotate from every start (S, d, d), plane by plane, until Σ |heads @ rotation| falls no more; heads (T, d)."""
    rotations = starts.copy()
    loadings = heads @ rotations
    d = heads.shape[1]
    losses, sweeps = np.abs(loadings).sum(axis=(1, 2)), 0
    for _ in range(MAX_SWEEPS):
        sweeps += 1
        for i in range(d):
            for j in range(i + 1, d):
                angle = sparsest_angle(loadings[:, :, i], loadings[:, :, j])
                cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
                for matrix in (loadings, rotations):
                    one, other = matrix[:, :, i].copy(), matrix[:, :, j].copy()
                    matrix[:, :, i] = one * cos + other * sin
                    matrix[:, :, j] = other * cos - one * sin
        before, losses = losses, np.abs(loadings).sum(axis=(1, 2))
        if (before - losses <= TOLERANCE * before).all():
            break
    return Rotations(rotations, losses / len(heads), sweeps)


def oblique_loss(heads: Float64, b: Float64, epsilon: Float64) -> tuple[float, Float64]:
    """Mean over tasks of Σ √((W B⁻ᵀ)² + ε²) at B = b with its columns scaled to length 1, and its gradient in b.

    heads (T, d), b (d, d), epsilon (T,).
    """
    length = np.linalg.norm(b, axis=0)
    unit = b / length
    inverse = np.linalg.inv(unit)
    loadings = heads @ inverse.T
    root = np.sqrt(loadings**2 + epsilon[:, None] ** 2)
    slope = -inverse.T @ (loadings / root).T @ heads @ inverse.T
    slope -= unit * (unit * slope).sum(axis=0)
    return float(root.sum()) / len(heads), slope / length / len(heads)


def oblique(heads: Float64, start: Float64, epsilon: Float64) -> tuple[Float64, float, float]:
    """Minimise ``oblique_loss`` from ``start`` (d, d): the map with columns of length 1, the loss before and after."""
    shape = start.shape

    def objective(flat: Float64) -> tuple[float, Float64]:
        value, slope = oblique_loss(heads, flat.reshape(shape), epsilon)
        return value, slope.ravel()

    before = objective(start.ravel())[0]
    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    if not found.fun < before:
        return start, before, before
    b = found.x.reshape(shape)
    return b / np.linalg.norm(b, axis=0), before, float(found.fun)
