"""A linearly identified multi-task learner, then the linear map under which its heads are sparse."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from baselines.sparse.rotation import oblique, orthogonal, random_rotations
from bench.api import Diverged, Progress, TrainView, learner
from bench.toolkit.preprocess import Float64
from bench.toolkit.reduced_rank import TaskRidge, task_ridge
from bench.toolkit.training_history import training_of

OBLIQUE_STARTS = 5
"""Of the rotations, how many are refined by the oblique loss, which then chooses among them."""


@learner(
    "mtrn-sparse-rotation",
    assumes=("injective-mixing", "heads-span", "sparse-separating-heads"),
    summary="multi-task regression network, then the rotation, and the oblique map, that make its heads sparse",
    paper="Jennrich, Psychometrika 2004, 2006 (the rotation); Chen et al., TMLR 2024 (the network)",
    guarantee="permutation+scaling",
    assumptions="targets linear in the factors, T >= d; tasks need few factors and their supports separate the factors:"
    " for every factor, the supports without it cover all others",
    needs=("targets",),
    version=6,
    versions={"graph": 7},
    effort=("steps",),
    budgets={"smoke": {"steps": 40, "restarts": 4}, "paper": {"steps": 2000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={
        "graph": {"steps": 400, "batch": 1024},
        "image": {"steps": 900, "batch": 128},
        "sequence": {"steps": 600, "batch": 256},
    },
)
class SparseRotation:
    """Codes (n, r) of mean 0 and variance 1; r is the rank of the network's codes, ``n_latents`` at most.

    steps, batch   of ``mtlcm.regression_network.MultiTaskRegressionNetwork``; the network's other parameters are those
                   of ``mtrn`` for the kind of x
    restarts       rotations to begin with, the identity among them
    correlated     go on to the oblique map, which factors that are correlated need

    Heads are ridge regressions of the standardised targets on the whitened codes, one strength for all tasks chosen by
    generalised cross-validation: a task weighs by how well the codes predict it. The ε of the oblique loss is the
    standard error of a task's head, as entries below that are not told from 0. ``causal_`` holds the entries of the
    final heads whose squared ratio to their standard error exceeds log n_t, the Bayesian information criterion's price
    of a parameter (Schwarz, Annals of Statistics 1978).
    """

    def __init__(
        self,
        *,
        steps: int = 800,
        batch: int = 1024,
        restarts: int = 20,
        correlated: bool = True,
    ) -> None:
        self.steps = steps
        self.batch = batch
        self.restarts = restarts
        self.correlated = correlated

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        from mtlcm.regression_network import MultiTaskRegressionNetwork, settings_for

        if self.restarts < 1:
            raise ValueError(f"restarts={self.restarts!r} must be at least 1")
        own = {"steps": self.steps, "batch": self.batch, "axes": "principal"}
        network = MultiTaskRegressionNetwork(**{**settings_for(view.kind), **own})
        self.network_ = network.fit(view, seed=seed, device=device, progress=lambda f, m: progress(0.9 * f, m))
        codes = self.network_.encode(view.x)
        self.mean_, whitening = _whitening(codes)
        white = (codes - self.mean_) @ whitening
        tasks = task_ridge(white, view.sample, view.task, view.y, n_tasks=view.n_tasks)
        heads, error = _standardised(tasks)
        used = tasks.usable
        progress(0.9, "heads fitted")

        rng = np.random.default_rng([seed, 0x50A7])
        starts = random_rotations(white.shape[1], self.restarts, rng)
        turned = orthogonal(heads[used], starts)
        order = np.argsort(turned.losses, kind="stable")
        least = turned.losses[order[0]]
        ended: dict[str, Any] = {
            "orthogonal_loss": [float(np.abs(heads[used]).sum(axis=1).mean()), float(least)],
            "restarts_at_the_least": int((turned.losses <= 1.001 * least).sum()),
            "sweeps": turned.sweeps,
        }
        chosen = turned.rotations[order[0]]
        if self.correlated:
            found = [oblique(heads[used], turned.rotations[k], error[used]) for k in order[:OBLIQUE_STARTS]]
            chosen, before, after = min(found, key=lambda one: one[2])
            ended["oblique_loss"] = [before, after]
        self.map_ = whitening @ chosen
        self.causal_ = _supports(heads, error, chosen, tasks.n)
        self.history_ = {
            "network": self.network_.history_,
            **training_of(self.network_.history_),
            "head_ridge": tasks.ridge,
            **ended,
        }
        self.n_parameters_ = self.network_.n_parameters_ + self.map_.size
        progress(1.0, "rotated")
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return (self.network_.encode(x) - self.mean_) @ self.map_


def _whitening(codes: Float64) -> tuple[Float64, Float64]:
    """Mean (d,) and matrix (d, r) to uncorrelated codes of variance 1; r is their rank.

    Raises Diverged where the codes are constant.
    """
    mean = codes.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(codes.T, bias=True)))
    keep = values > 1e-8 * max(values[-1], 1e-12)
    if not keep.any():
        raise Diverged("the network's codes are constant: nothing to rotate")
    return mean, vectors[:, keep] / np.sqrt(values[keep])


def _standardised(tasks: TaskRidge) -> tuple[Float64, Float64]:
    """Heads (T, r) on white codes of targets scaled to variance 1, and their standard errors (T,); 0 where unusable."""
    noise = np.where(tasks.usable, tasks.noise, 0.0)
    variance = np.square(tasks.coefficients).sum(axis=1) + noise
    scale = np.sqrt(np.where(variance > 0, variance, 1.0))
    # not 0: the oblique loss must stay smooth where tasks are fitted to the last digit
    error = np.maximum(np.sqrt(noise / np.maximum(tasks.n, 1)) / scale, 1e-4)
    return tasks.coefficients / scale[:, None], error


def _supports(heads: Float64, error: Float64, b: Float64, n: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the codes h b each task's head uses, (T, r) bool."""
    inverse = np.linalg.inv(b)
    # The covariance of a head on h is error² I; on h b it is error² (bᵀb)⁻¹.
    spread = np.sqrt(np.square(inverse).sum(axis=1))
    score = (heads @ inverse.T) / (error[:, None] * spread)
    return np.asarray(np.square(score) > np.log(np.maximum(n, 2))[:, None])
