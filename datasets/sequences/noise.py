"""Noise of the readings, each kind with the likelihood that it gives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .posterior import Array, Likelihood

NOISES = ("iid", "ar1", "anisotropic", "gumbel")
AR_COEFFICIENT = 0.7
ANISOTROPY = 2.0
"""Deviation of the noise on every second factor, over that on the others."""


def deviations(noise: str, sigma: float, d: int) -> Array:
    """Standard deviation of a reading, (d,)."""
    second = (np.arange(d) % 2 == 1) & (noise == "anisotropic")
    return np.where(second, ANISOTROPY * sigma, sigma)


def draw_noise(noise: str, sigma: float, shape: tuple[int, int, int], rng: np.random.Generator) -> Array:
    """Noise (n, steps, d) of mean 0 and the given deviation at every step.

    "iid" white and Gaussian; "anisotropic" the same with twice the deviation on every second factor; "ar1" stationary
    Gaussian with correlation 0.7 from step to step; "gumbel" white, of Gumbel's distribution.
    """
    _, steps, d = shape
    if noise == "gumbel":
        return (rng.gumbel(size=shape) - np.euler_gamma) * sigma * np.sqrt(6) / np.pi
    drawn = rng.standard_normal(shape) * deviations(noise, sigma, d)
    if noise == "ar1":
        drawn[:, 1:] *= np.sqrt(1 - AR_COEFFICIENT**2)
        for t in range(1, steps):
            drawn[:, t] += AR_COEFFICIENT * drawn[:, t - 1]
    return drawn


def likelihood_of(noise: str, sigma: float, readings: Array, counts: NDArray[np.int64]) -> Likelihood:
    """Likelihood of the factors, given the first ``counts`` (n,) of the readings (n, steps, d)."""
    n, steps, d = readings.shape
    count = counts[:, None].astype(np.float64)
    seen = (np.arange(steps) < counts[:, None]).astype(np.float64)  # (n, steps)
    if noise == "gumbel":
        beta = sigma * np.sqrt(6) / np.pi
        total = np.einsum("nt,ntd->nd", seen, np.exp(-readings / beta - np.euler_gamma))
        return Likelihood(beta * np.log(count / total), np.full((1, d), beta), count)
    if noise == "ar1":
        # the inverse covariance of a stationary AR(1) is tridiagonal; its row sums are these
        weight = seen * (1 - AR_COEFFICIENT)
        weight[:, 0] = 1.0
        weight[np.arange(n), counts - 1] = 1.0
        total = weight.sum(axis=1, keepdims=True)
        variance = np.where(count > 1, (1 + AR_COEFFICIENT) / total, 1.0)
    else:
        weight, total, variance = seen, count, 1 / count
    statistic = np.einsum("nt,ntd->nd", weight, readings) / total
    return Likelihood(statistic, np.sqrt(variance) * deviations(noise, sigma, d))
