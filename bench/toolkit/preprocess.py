"""Standardisation of inputs, shared by the learners, and the checks every one of them makes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import NotApplicable, TrainView
from bench.toolkit.inputs import flat

Float64 = NDArray[np.float64]

# Below this ratio of deviation to magnitude a float32 column holds rounding noise only.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class Standardizer:
    """Columns to mean 0 and deviation 1; a column that is constant in training becomes 0 everywhere.

    mean, scale   (d_x,) float64; ``scale`` is 1/deviation, or 0 where the column is constant: what a
                  learner never saw vary, it cannot have learned to use
    """

    mean: Float64
    scale: Float64

    @classmethod
    def fit(cls, x: Any) -> Standardizer:
        """Moments of x (n, d_x), or of its flat view, in float64."""
        x = np.asarray(flat(x), dtype=np.float64)
        mean = x.mean(axis=0)
        deviation = x.std(axis=0)
        constant = deviation <= _CONSTANT * np.abs(x).max(axis=0, initial=0.0)
        return cls(mean, np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, deviation)))

    def __call__(self, x: Any) -> Float64:
        """Standardised copy (n, d_x) of x, or of its flat view, float64."""
        return (np.asarray(flat(x), dtype=np.float64) - self.mean) * self.scale

    @property
    def n_varying(self) -> int:
        """Number of columns that are not constant."""
        return int(np.count_nonzero(self.scale))


def standardizer_for(view: TrainView) -> Standardizer:
    """Standardizer of ``view.x``, of its flat view where x are not vectors.

    Raises NotApplicable where there are fewer samples, or fewer varying columns of x, than latents to recover, and
    where x is not finite.
    """
    x, d = flat(view.x), view.n_latents
    if x.ndim != 2:
        raise NotApplicable(f"x must be (n, d_x), it is {x.shape}")
    if len(x) <= d:
        raise NotApplicable(f"{len(x)} samples are too few for {d} latents")
    if not np.isfinite(x).all():
        raise NotApplicable("x holds values that are not finite; clean or impute them first")
    standardizer = Standardizer.fit(x)
    if standardizer.n_varying < d:
        raise NotApplicable(f"x has {standardizer.n_varying} varying columns, fewer than the {d} latents to recover")
    return standardizer


@dataclass(frozen=True)
class AffineInput:
    """x ↦ standardised x, or its whitened version.

    standardizer   of the columns
    matrix         (d_x, d_x) rotation to uncorrelated columns of unit variance, or None to leave them correlated
    """

    standardizer: Standardizer
    matrix: Float64 | None = None

    @classmethod
    def for_view(cls, view: TrainView, whiten: bool | None) -> AffineInput:
        """The map fitted to ``view.x``; see ``standardizer_for`` for what is raised.

        whiten   None: only where x has as many columns as latents. Each direction of x, however small its variance,
                 then carries latent factors; where there are more columns the small directions may hold noise alone
        """
        standardizer = standardizer_for(view)
        columns = len(standardizer.mean)
        if not (view.n_latents == columns if whiten is None else whiten):
            return cls(standardizer)
        x = standardizer(view.x)
        values, vectors = np.linalg.eigh(x.T @ x / len(x))
        if values[0] <= 1e-10 * values[-1]:
            return cls(standardizer)
        return cls(standardizer, vectors / np.sqrt(values))

    def __call__(self, x: Any) -> Float64:
        """Transformed copy (n, d_x) of x, float64."""
        x = self.standardizer(x)
        return x if self.matrix is None else x @ self.matrix
