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
SHARPNESS = 6.0  # of cells


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


def centres(rng: np.random.Generator, n_cells: int, d: int) -> Float64:
    """Centres (n_cells, d) of cells: random directions of length 1. Together they span the factors."""
    points = rng.standard_normal((n_cells, d))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def cells(z: Float64, centre: Float64, rng: np.random.Generator | None = None) -> Int64:
    """Cell (n,) of every sample: k with probability ∝ exp(κ z · centre_k), κ = ``SHARPNESS``; without rng the best.

    Drawn, the log odds of two classes are linear in z, which is what the theory of classification asks for (clusters of
    von Mises-Fisher type, Reizinger et al. 2024). The likeliest cell is a function of z instead: then features that
    grow without bound tell the classes best, and any bent ones serve.
    """
    scores = SHARPNESS * z @ centre.T
    if rng is not None:
        scores = scores + rng.gumbel(size=scores.shape)
    return np.asarray(scores.argmax(axis=1), dtype=np.int64)


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
