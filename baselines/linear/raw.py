"""The input itself as code: what a score is worth before anything is learned."""

from __future__ import annotations

from typing import Any, Self

from bench.api import Progress, TrainView, learner
from bench.toolkit.preprocess import Float64, standardizer_for


@learner(
    "raw",
    summary="the standardised input itself: the floor for linear scores",
    paper="reference row",
    guarantee="none",
    reference=True,
    accepts=("vector", "image", "sequence", "graph"),
)
class Raw:
    """Codes (n, d_x): x with its columns standardised by their training moments."""

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.standardizer_ = standardizer_for(view)
        self.n_parameters_ = 0
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return self.standardizer_(x)
