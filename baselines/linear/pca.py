"""Principal components: the directions of largest variance, whitened."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.preprocess import Float64, Standardizer, standardizer_for


def principal_components(view: TrainView) -> tuple[Standardizer, Float64]:
    """Standardizer of x and projection (d_x, d) onto its leading components, scaled to unit variance each.

    The sign of a component is fixed by its largest loading being positive. Raises NotApplicable where the rank of x is
    below the number of latents.
    """
    standardizer = standardizer_for(view)
    x = standardizer(view.x)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    values, vectors = values[::-1][: view.n_latents], vectors[:, ::-1][:, : view.n_latents]
    rank = int(np.count_nonzero(values > 1e-10 * values[0]))
    if rank < view.n_latents:
        raise NotApplicable(f"x has rank {rank}, fewer than the {view.n_latents} components to take")
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(view.n_latents)])
    return standardizer, vectors * (signs / np.sqrt(values))


@learner(
    "pca",
    summary="leading principal components of the standardised input, whitened",
    paper="Pearson, Philosophical Magazine 1901",
    guarantee="none",
    reference=True,
    accepts=("vector", "image", "sequence", "graph"),
)
class PCA:
    """Codes (n, n_latents): scores on the leading principal components, each of unit training variance."""

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.standardizer_, self.projection_ = principal_components(view)
        self.n_parameters_ = self.projection_.size
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return self.standardizer_(x) @ self.projection_
