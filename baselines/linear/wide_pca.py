"""Principal components of a fixed number, more than there are factors: how much of an image's content is linear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

from baselines.linear.pca import principal_components
from bench.api import Progress, TrainView, learner
from bench.toolkit.preprocess import Float64


@learner(
    "pca-64",
    summary="64 leading principal components: what is linear in the image, beside codes of as many columns as factors",
    paper="Pearson, Philosophical Magazine 1901",
    guarantee="none",
    reference=True,
    defaults={"width": 64},
    accepts=("image",),
)
@learner(
    "pca-32",
    summary="32 leading principal components, the reference of the few-shot tasks",
    paper="Pearson, Philosophical Magazine 1901",
    guarantee="none",
    reference=True,
    defaults={"width": 32},
    accepts=("image",),
)
class WidePCA:
    """Codes (n, width): scores on the leading principal components, each of unit training variance.

    Headline scores are those of at most ``n_latents`` codes (``bench.metrics.width``); what all of them say together
    stands beside them in the record, as ``extra["all_codes"]``. Raises NotApplicable where x has a lower rank.
    """

    def __init__(self, *, width: int = 64) -> None:
        self.width = width

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.standardizer_, self.projection_ = principal_components(replace(view, n_latents=self.width))
        self.n_parameters_ = self.projection_.size
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return self.standardizer_(x) @ self.projection_
