"""Factors of rendered images, and what learners are told of them: cells, sparse tasks, pairs.

Factors are uniform on [-1, 1]; correlated ones are coupled by a Gaussian copula of equal correlations ρ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from datasets.synthetic.sparse_tasks import draw_supports

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def draw_factors(rng: np.random.Generator, n: int, d: int, rho: float = 0.0) -> Float64:
    """Factors (n, d), each uniform on [-1, 1]. Raises ValueError for a ρ that is no correlation of d variables."""
    if not -1.0 / max(d - 1, 1) < rho < 1.0:
        raise ValueError(f"rho={rho!r} must lie strictly between {-1.0 / max(d - 1, 1):.3g} and 1 for d={d}")
    if rho == 0:
        return rng.uniform(-1.0, 1.0, (n, d))
    covariance = (1.0 - rho) * np.eye(d) + rho
    return np.asarray(2 * ndtr(rng.standard_normal((n, d)) @ np.linalg.cholesky(covariance).T) - 1)


def draw_combinations(
    rng: np.random.Generator, n: int, d: int, rho: float, pair: tuple[int, int], *, held_out: bool
) -> Float64:
    """Factors (n, d) with both factors of ``pair`` above 0 never, or (``held_out``) always."""
    z = draw_factors(rng, n, d, rho)
    while (wrong := (z[:, pair] > 0).all(axis=1) != held_out).any():
        z[wrong] = draw_factors(rng, int(wrong.sum()), d, rho)
    return z


def cells(rng: np.random.Generator, z: Float64, n_cells: int) -> tuple[Int64, Float64]:
    """Cell (n,) of every sample and centres (n_cells, d): Voronoi cells of random points of the cube.

    Cells are classes whose means span the factors, which the theory of classification asks for.
    """
    centres = rng.uniform(-1.0, 1.0, (n_cells, z.shape[1]))
    return nearest(z, centres), centres


def nearest(z: Float64, centres: Float64) -> Int64:
    """Index (n,) of the centre next to each row of z."""
    return np.asarray((np.square(centres).sum(axis=1) - 2 * z @ centres.T).argmin(axis=1), dtype=np.int64)


class SparseTasks:
    """T linear tasks on few factors each: y = wᵀz + ε > 0, sd(ε) = noise · sd(wᵀz) for independent factors.

    causal   (T, d) bool, each factor in a support with probability ½ (Lachapelle et al., ICML 2023); none is empty
    spread   (d,) the factors' standard deviations; None: of uniform ones on [-1, 1]
    """

    def __init__(
        self,
        rng: np.random.Generator,
        n_tasks: int,
        d: int,
        *,
        density: float = 0.5,
        noise: float = 0.1,
        spread: Float64 | None = None,
    ):
        self.spread = np.full(d, 1 / np.sqrt(3)) if spread is None else spread
        self.causal = draw_supports(rng, n_tasks, d, "bernoulli", density)
        self.weights = np.where(self.causal, rng.standard_normal((n_tasks, d)), 0.0)
        self.noise = noise

    def __call__(self, z: Float64, rng: np.random.Generator) -> tuple[Int64, Int64, Float64]:
        """sample, task and y (n·T,) in {0, 1}: every sample has every task."""
        n, n_tasks = len(z), len(self.weights)
        signal = z @ self.weights.T
        deviation = np.linalg.norm(self.weights * self.spread, axis=1)
        y = signal + self.noise * deviation * rng.standard_normal(signal.shape)
        sample, task = np.repeat(np.arange(n), n_tasks), np.tile(np.arange(n_tasks), n)
        return sample, task, (y > 0).astype(np.float64).reshape(-1)


def draw_pairs(rng: np.random.Generator, n_pairs: int, d: int, rho: float, n_changed: int | None) -> Float64:
    """Factors (2 n_pairs, d): rows 2i and 2i + 1 differ in ``n_changed`` random factors alone.

    n_changed   None: drawn anew for every pair, from 1 to d − 1 (Locatello et al., ICML 2020)
    """
    first, second = draw_factors(rng, n_pairs, d, rho), draw_factors(rng, n_pairs, d, rho)
    k: Any = rng.integers(1, max(d, 2), n_pairs)[:, None] if n_changed is None else n_changed
    changed = np.argsort(np.argsort(rng.random((n_pairs, d)), axis=1), axis=1) < k
    return np.stack([first, np.where(changed, second, first)], axis=1).reshape(2 * n_pairs, d)
