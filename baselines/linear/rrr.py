"""Linear multi-task learners: what a network must beat before its row means something."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.api import Progress, TrainView, learner
from bench.toolkit.reduced_rank import RIDGES, LinearEncoder, fit_view
from mtlcm.causal_model import LinearCausalModel
from mtlcm.model import samples_are_shared
from mtlcm.moments import task_moments


@learner(
    "rrr",
    assumes=("linear-mixing", "heads-span"),
    summary="ridge regression per task, rank-d factorisation of the coefficients",
    paper="Izenman, Journal of Multivariate Analysis 1975",
    guarantee="linear",
    assumptions="x is linear in the factors, the tasks' coefficients span all of them",
    needs=("targets",),
    reference=True,
    accepts=("vector", "image", "sequence", "graph"),
)
class ReducedRankRegression:
    """Codes (n, n_latents) = W x for standardised x, pooled mean 0 and identity covariance on the training samples.

    ridges   candidate strengths, default ``bench.toolkit.reduced_rank.RIDGES``; one is chosen for all tasks by
             generalised cross-validation on their targets. Binary targets are regressed as numbers.

    Raises NotApplicable where fewer tasks than factors have a target that varies.
    """

    def __init__(self, *, ridges: tuple[float, ...] | None = None) -> None:
        self.ridges = ridges

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.encoder_: LinearEncoder = fit_view(view, ridges=self.ridges or RIDGES)
        self.n_parameters_ = self.encoder_.weights.size
        self.history_: dict[str, Any] = {"ridge": self.encoder_.ridge}
        return self

    def encode(self, x: Any, aux: Any = None) -> NDArray[np.float64]:
        return self.encoder_.encode(x)


@learner(
    "rrr-ajd",
    assumes=("linear-mixing", "heads-span", "gaussian-given-target"),
    summary="rrr, then joint diagonalisation of the tasks' residual covariances",
    paper="Pham, SIAM Journal on Matrix Analysis 2001; the stage 2 likelihood of Chen et al. 2024 in its linear case",
    guarantee="permutation+scaling",
    assumptions="as rrr; given task and target the factors are independent, with variances that differ between tasks",
    needs=("targets",),
    reference=True,
    version=2,
    accepts=("vector", "image", "sequence", "graph"),
)
class DiagonalisedReducedRankRegression(ReducedRankRegression):
    """Codes B h of the codes h of ``rrr``: B makes cov(h | y, t) diagonal in all tasks at once, as nearly as can be.

    That is stage 2 without observation noise (``mtlcm.causal_model``); factors of unit pooled variance.
    """

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        super().fit(view, seed=seed, device=device, progress=progress)
        h = self.encoder_.encode(view.x)
        moments = task_moments(h, view.sample, view.task, view.y, view.n_tasks)
        self.linear_model_ = LinearCausalModel(noise=False).fit(moments, shared_samples=samples_are_shared(view))
        self.causal_, self.spurious_ = self.linear_model_.causal_, self.linear_model_.spurious_
        self.n_parameters_ += self.linear_model_.unmixing_.size
        self.history_ |= self.linear_model_.history_
        return self

    def encode(self, x: Any, aux: Any = None) -> NDArray[np.float64]:
        return self.linear_model_.encode(self.encoder_.encode(x))
