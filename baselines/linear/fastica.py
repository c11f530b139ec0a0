"""FastICA on the leading principal components."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.decomposition import FastICA as SklearnFastICA
from sklearn.exceptions import ConvergenceWarning

from baselines.linear.pca import principal_components
from bench.api import Diverged, Progress, TrainView, learner
from bench.toolkit.preprocess import Float64


def unmix(features: Float64, *, seed: int, max_iter: int, tol: float) -> tuple[Float64, dict[str, Any]]:
    """Unmixing matrix B (d, d), a rotation, of white features (n, d): sources = features @ B.T, of unit variance.

    Second value: how the iteration ended, {"iterations": int, "converged": bool}. Symmetric fixed-point iteration with
    the log cosh contrast, started from the given seed (Hyvärinen, IEEE Transactions on Neural Networks 1999).
    """
    # whiten=False: scikit-learn's own whitening multiplies each direction by the sign of a loading that is exactly 0
    # where the features are white already, and so drops it
    ica = SklearnFastICA(whiten=False, random_state=seed % 2**32, max_iter=max_iter, tol=tol)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ica.fit(features)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return np.asarray(ica.components_, dtype=np.float64), {"iterations": int(ica.n_iter_), "converged": converged}


def unmix_codes(codes: Float64, *, seed: int, max_iter: int, tol: float) -> tuple[Float64, Float64, dict[str, Any]]:
    """FastICA after a learner: mean (d,) and matrix (d, r), sources = (codes - mean) @ matrix, of unit variance.

    codes (n, d) are whitened first; r ≤ d is their rank, so that collapsed codes give fewer sources rather than noise
    blown up to unit variance. Third value as in ``unmix``. Raises Diverged where the codes are constant.
    """
    mean = codes.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(codes.T, bias=True)))
    keep = values > 1e-8 * max(values[-1], 1e-12)
    if not keep.any():
        raise Diverged("the learned features are constant: nothing to unmix")
    whitening = vectors[:, keep] / np.sqrt(values[keep])
    unmixing, history = unmix((codes - mean) @ whitening, seed=seed, max_iter=max_iter, tol=tol)
    return mean, whitening @ unmixing.T, history


@learner(
    "fastica",
    assumes=("linear-mixing", "independent-non-gaussian"),
    summary="FastICA (log cosh, symmetric) on the leading principal components",
    paper="Hyvärinen, IEEE Transactions on Neural Networks 1999",
    guarantee="none",
    assumptions="identifies up to permutation and scaling only where the mixing is linear and the latents are "
    "independent and non-Gaussian, which the data here do not promise",
    reference=True,
    version=2,
    budgets={"smoke": {"max_iter": 100}, "paper": {"max_iter": 2000}},
    accepts=("vector", "image", "sequence", "graph"),
)
class FastICA:
    """Codes (n, n_latents): estimated sources of unit variance.

    max_iter, tol   limits of the fixed-point iteration; whether it converged is in ``history_``
    """

    def __init__(self, *, max_iter: int = 500, tol: float = 1e-4) -> None:
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.standardizer_, projection = principal_components(view)
        whitened = self.standardizer_(view.x) @ projection
        unmixing, self.history_ = unmix(whitened, seed=seed, max_iter=self.max_iter, tol=self.tol)
        self.projection_ = projection @ unmixing.T
        self.n_parameters_ = self.projection_.size
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return self.standardizer_(x) @ self.projection_
