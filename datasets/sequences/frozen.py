"""The frozen random network through which evidence is seen, and how one is chosen."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from .posterior import Array

_PROBES = 500
_RANGE = 1.0
"""Readings at which distortion is judged lie in [−1, 1]^d: factors and two or three deviations of the noise."""


class FrozenEncoder:
    """The random ReLU network d → 100 → 100 → p, weights and biases uniform on ±1/√fan_in."""

    def __init__(self, d: int, p: int, rng: np.random.Generator, hidden: tuple[int, ...] = (100, 100)) -> None:
        sizes = (d, *hidden, p)
        bounds = 1 / np.sqrt(sizes[:-1])
        shapes = zip(bounds, sizes[:-1], sizes[1:], strict=True)
        self.layers = [(rng.uniform(-b, b, (fan_in, out)), rng.uniform(-b, b, out)) for b, fan_in, out in shapes]

    def __call__(self, x: Array) -> Array:
        """Readings (…, d) → (…, p)."""
        *hidden, (last, last_bias) = self.layers
        for weight, bias in hidden:
            x = np.maximum(x @ weight + bias, 0.0)
        return np.asarray(x @ last + last_bias)

    def jacobian(self, x: Array) -> Array:
        """(n, d, p) at x (n, d)."""
        found = np.broadcast_to(np.eye(x.shape[1]), (len(x), x.shape[1], x.shape[1]))
        *hidden, (last, _) = self.layers
        for weight, bias in hidden:
            x = x @ weight + bias
            found = (found @ weight) * (x > 0)[:, None]
            x = np.maximum(x, 0.0)
        return np.asarray(found @ last)

    def condition_numbers(self, x: Array) -> Array:
        """Condition numbers (n,) of the Jacobian at x (n, d); very large where it has not full rank."""
        values = np.linalg.svd(self.jacobian(x), compute_uv=False)
        if values.shape[1] < x.shape[1]:  # fewer outputs than factors
            return np.full(len(x), np.finfo(np.float64).max)
        return np.asarray(values[:, 0] / np.maximum(values[:, -1], 1e-12 * values[:, 0] + 1e-300))


def choose_encoder(d: int, p: int, draws: int, rng: np.random.Generator) -> FrozenEncoder:
    """Of ``draws`` random networks the least linear of that half which distorts distances less.

    Linearity is the R² of factors on [−½, ½]^d given a linear map of the noiseless outputs. Most draws of so narrow a
    network are nearly linear, so that averaging over time and a linear map would do; one that brings distant readings
    close together is hardly injective, and hides factors behind the noise.
    """
    encoders = [FrozenEncoder(d, p, rng) for _ in range(draws)]
    factors = rng.uniform(-0.5, 0.5, (_PROBES, d))
    readings = rng.uniform(-_RANGE, _RANGE, (_PROBES, d))
    distortions = [distortion(encoder, readings) for encoder in encoders]
    kept = np.argsort(distortions, kind="stable")[: (draws + 1) // 2]
    return encoders[min(kept, key=lambda k: _linearity(encoders[k], factors))]


def distortion(encoder: FrozenEncoder, readings: Array) -> float:
    """Largest over smallest factor by which the distance of two of the readings (n, d) changes; infinite at 0."""
    stretch = pdist(encoder(readings)) / pdist(readings)
    least = float(stretch.min())
    return float(stretch.max()) / least if least > 0 else np.inf


def _linearity(encoder: FrozenEncoder, factors: Array) -> float:
    design = np.column_stack([encoder(factors), np.ones(len(factors))])
    residual = factors - design @ np.linalg.lstsq(design, factors, rcond=None)[0]
    return float(1 - (residual.var(axis=0) / factors.var(axis=0)).mean())
