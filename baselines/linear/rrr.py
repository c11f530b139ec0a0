"""Linear multi-task learners: what a network must beat before its row means something."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.inputs import flat
from bench.toolkit.joint_rank import interpolates
from bench.toolkit.reduced_rank import (
    RIDGES,
    LinearEncoder,
    Standardiser,
    fit_view,
    reduced_rank_regression,
    task_ridge,
)
from mtlcm.causal_model import LinearCausalModel
from mtlcm.model import samples_are_shared
from mtlcm.moments import task_moments

LARGER_RIDGES = tuple(float(r) for r in np.logspace(-4, 2, 7))
_HELD_OUT, _SPLIT_SEED = 0.2, 0x41D6


@learner(
    "rrr",
    assumes=("linear-mixing", "heads-span"),
    summary="ridge regression per task, rank-d factorisation of the coefficients",
    paper="Izenman, Journal of Multivariate Analysis 1975",
    guarantee="linear",
    assumptions="x is linear in the factors, the tasks' coefficients span all of them",
    needs=("targets",),
    reference=True,
    version=3,
    accepts=("vector", "image", "sequence", "graph"),
)
class ReducedRankRegression:
    """Codes (n, n_latents) = W x for standardised x, pooled mean 0 and identity covariance on the training samples.

    ridges   candidate strengths, default ``bench.toolkit.reduced_rank.RIDGES``; one is chosen for all tasks by
             generalised cross-validation on their targets. Where that takes none at all, in tasks that have fewer
             samples than x has columns and so fit theirs whatever the truth, a fifth of the samples is held out and
             chooses among ``LARGER_RIDGES``, and whether columns are of variance 1 or in their own units: a rare
             column then weighs less than a frequent one. Binary targets are regressed as numbers.

    After ``fit``, ``history_`` has the strength, "ridge", how it was "chosen_by" and the columns' "units".
    Raises NotApplicable where fewer tasks than factors have a target that varies.
    """

    def __init__(self, *, ridges: tuple[float, ...] | None = None) -> None:
        self.ridges = ridges

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.encoder_: LinearEncoder = fit_view(view, ridges=self.ridges or RIDGES)
        chosen_by, units = "generalised cross-validation", "standardised"
        if self.ridges is None and interpolates(self.encoder_, view.task, view.n_tasks):
            with suppress(NotApplicable):  # what is left of the tasks may be too little
                ridge, standardise, units = held_out_ridge(view)
                self.encoder_ = fit_view(view, ridges=(ridge,), standardise=standardise)
                chosen_by = "held-out samples"
        self.n_parameters_ = self.encoder_.weights.size
        self.history_: dict[str, Any] = {"ridge": self.encoder_.ridge, "chosen_by": chosen_by, "units": units}
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
    version=4,
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


def held_out_ridge(view: TrainView) -> tuple[float, Standardiser, str]:
    """Of ``LARGER_RIDGES`` the one whose codes tell the targets of held-out samples best, always the same samples; and
    the columns' units that go with it, for ``fit_view`` and in a word.

    Targets are predicted from codes fitted to the other samples, by ridge regressions of each task; errors are squared,
    in units of the task's variance, so that no task decides by its units. Raises NotApplicable where the other samples
    are too few.
    """
    x = np.asarray(flat(view.x), dtype=np.float64)
    sample, task, y = np.asarray(view.sample), np.asarray(view.task), np.asarray(view.y, dtype=np.float64)
    held = (np.random.default_rng(_SPLIT_SEED).random(len(x)) < _HELD_OUT)[sample]
    s, t, v = sample[~held], task[~held], y[~held]
    counts = np.maximum(np.bincount(t, minlength=view.n_tasks), 1)
    mean_y = np.bincount(t, v, minlength=view.n_tasks) / counts
    variance = np.bincount(t, (v - mean_y[t]) ** 2, minlength=view.n_tasks) / counts
    judged = held & (variance[task] > 0)
    standardised = Standardiser.of(x)
    best: tuple[float, float, Standardiser, str] | None = None
    for ridge, (standardise, units) in itertools.product(
        LARGER_RIDGES, ((standardised, "standardised"), (standardised.in_own_units(), "own"))
    ):
        encoder = reduced_rank_regression(
            x, s, t, v, n_tasks=view.n_tasks, n_latents=view.n_latents, ridges=(ridge,), standardise=standardise
        )
        codes = encoder.encode(x)
        heads = task_ridge(codes, s, t, v, n_tasks=view.n_tasks).coefficients
        mean = np.stack([np.bincount(t, column, minlength=view.n_tasks) for column in codes[s].T], axis=1)
        at = task[judged]
        found = mean_y[at] + ((codes[sample[judged]] - (mean / counts[:, None])[at]) * heads[at]).sum(1)
        error = float(np.mean((y[judged] - found) ** 2 / variance[at])) if judged.any() else 0.0
        if best is None or error < best[0]:
            best = error, ridge, standardise, units
    assert best is not None
    return best[1:]
