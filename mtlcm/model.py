"""MTLCM, both stages, as a learner: a representation by multi-task regression, then the linear causal model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.inputs import flat
from bench.toolkit.reduced_rank import check_view, fit_view
from mtlcm.causal_model import LinearCausalModel
from mtlcm.moments import task_moments

Float = NDArray[np.float64]

REPRESENTATIONS = ("auto", "identity", "network", "rrr")


@learner(
    "mtlcm",
    assumes=("injective-mixing", "heads-span", "gaussian-given-target"),
    guarantee="permutation+scaling",
    paper="Chen, Horwood, Heo, Hernández-Lobato 2024, TMLR, arXiv 2306.14861",
    summary="multi-task regression network, then the linear causal model by maximum likelihood on task moments",
    assumptions="injective mixing; heads span R^d (T >= d); given task and target the factors are Gaussian and "
    "uncorrelated, with variances that change between tasks; samples differ between tasks",
    needs=("targets",),
    effort=("steps",),
    version=8,
    versions={"graph": 9},
    budgets={"smoke": {"steps": 40}, "paper": {"steps": 1000, "batch": 4096}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={
        "graph": {"steps": 400, "batch": 1024},
        "image": {"steps": 900, "batch": 128},
        "sequence": {"steps": 600, "batch": 256},
    },
)
@learner(
    "mtlcm-flow",
    assumes=("injective-mixing", "heads-span", "gaussian-given-target"),
    version=5,
    versions={"graph": 6},
    guarantee="permutation+scaling",
    paper="this suite's: Chen et al. 2024 with a normalising flow behind stage 1, under stage 2's likelihood",
    summary="mtlcm, its network's codes straightened by a flow where held-out samples and targets vouch for it",
    assumptions="as mtlcm; the flow makes every factor Gaussian given task and target, so it harms where one is not",
    needs=("targets",),
    defaults={"flow_steps": 600},
    effort=("steps", "flow_steps"),
    budgets={
        "smoke": {"steps": 40, "flow_steps": 40},
        "paper": {"steps": 500, "batch": 4096, "flow_steps": 1000, "network": {"flow_hidden": (256, 256)}},
    },
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={
        "graph": {"steps": 400, "batch": 1024},
        "image": {"steps": 900, "batch": 128},
        "sequence": {"steps": 600, "batch": 256},
    },
)
@dataclass(kw_only=True)
class MTLCM:
    """Multi-task linear causal model (Chen et al. 2024): ``mtlcm`` is the paper's two stages, each to convergence.

    representation   h of stage 1: "identity" (x itself, the paper's linear experiment; of more columns than latents,
                     the factors that follow the targets most are kept), "network" (multi-task regression network),
                     "rrr" (reduced-rank multi-task regression), or "auto": identity where x has as many columns as
                     there are latents or one more, else the network. Never chosen by a loss: all seeds of a dataset
                     have the same, and ``history_["representation"]`` names it
    steps, batch     of the network's training; ``network`` takes its further parameters, see
                     :class:`mtlcm.regression_network.MultiTaskRegressionNetwork`, over those of ``mtrn`` for the
                     kind of x
    flow_steps       of the flow behind the network, 0 for none; not the paper's, and a row of its own, ``mtlcm-flow``
    variances        "free", or "relaxed" for the paper's own parametrisation (see LinearCausalModel)
    noise            model the observation noise of h
    tolerance, max_iterations   of stage 2

    After ``fit``: ``causal_model_`` (LinearCausalModel), ``causal_`` and ``spurious_`` (T, d), ``history_``.
    """

    representation: Literal["auto", "identity", "network", "rrr"] = "auto"
    steps: int = 800
    batch: int = 1024
    flow_steps: int = 0
    network: dict[str, Any] | None = None
    variances: Literal["free", "relaxed"] = "free"
    noise: bool = True
    tolerance: float = 1e-6
    max_iterations: int = 1000

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        """Raises NotApplicable for data without enough samples, tasks or targets that vary."""
        kind = self._check(view)
        self._encoder: Any = None
        if kind == "network":
            # torch is needed by this path only
            from mtlcm.regression_network import MultiTaskRegressionNetwork, settings_for

            own = {"steps": self.steps, "batch": self.batch, "flow_steps": self.flow_steps, "axes": "principal"}
            stage1 = MultiTaskRegressionNetwork(**{**settings_for(view.kind), **own, **(self.network or {})})
            self._encoder = stage1.fit(view, seed=seed, device=device, progress=lambda f, m: progress(0.95 * f, m))
        elif kind == "rrr":
            self._encoder = fit_view(view)
        h = self._represent(view.x)
        progress(0.95, "linear causal model")
        moments = task_moments(h, view.sample, view.task, view.y, view.n_tasks)
        model = LinearCausalModel(
            variances=self.variances, noise=self.noise, tolerance=self.tolerance, max_iterations=self.max_iterations
        )
        binary = view.target_type == "binary"
        self.causal_model_ = model.fit(moments, shared_samples=samples_are_shared(view), binary=binary)
        if model.unmixing_.shape[0] > view.n_latents:
            model.keep(view.n_latents)
        self.causal_, self.spurious_ = model.causal_, model.spurious_
        self.n_parameters_ = model.unmixing_.size + getattr(self._encoder, "n_parameters_", 0)
        stage1_history = getattr(self._encoder, "history_", {})
        self.history_ = {
            "representation": kind,
            "representation_because": self._because(view),
            **stage1_history,
            **model.history_,
            "warnings": [*stage1_history.get("warnings", []), *model.history_["warnings"]],
        }
        progress(1.0, "done")
        return self

    def encode(self, x: Any, aux: Any = None) -> Float:
        """Codes (n, d): posterior means of the latent factors given x alone."""
        return self.causal_model_.encode(self._represent(x))

    def _represent(self, x: Any) -> Float:
        return np.asarray(flat(x) if self._encoder is None else self._encoder.encode(x), dtype=np.float64)

    def _check(self, view: TrainView) -> str:
        if self.representation not in REPRESENTATIONS:
            raise ValueError(f"representation={self.representation!r}: choose one of {', '.join(REPRESENTATIONS)}")
        check_view(view)
        width = np.shape(view.x)[1] if view.kind == "vector" else None
        kind = self.representation
        if kind == "auto":
            # stage 2 needs a task for every column that goes into it
            spare = view.n_latents + 1 if view.n_tasks > view.n_latents else view.n_latents
            return "identity" if width in (view.n_latents, spare) else "network"
        if kind == "identity" and (width is None or width < view.n_latents):
            raise NotApplicable(
                f'representation="identity" needs at least as many columns of x as latents: '
                f"{width} and {view.n_latents}"
            )
        return kind

    def _because(self, view: TrainView) -> str:
        """Why this representation, in words, for ``history_``."""
        if self.representation != "auto":
            return "asked for"
        if view.kind != "vector":
            return f"x are {view.kind}s: stage 1 is needed"
        width = np.shape(view.x)[1]
        if width == view.n_latents:
            return f"x has as many columns as there are latents, {width}: the paper's linear experiment, no stage 1"
        if width == view.n_latents + 1 and view.n_tasks > view.n_latents:
            return f"x has one column more than there are latents, {view.n_latents}: no stage 1, one factor is dropped"
        return f"x has {width} columns for {view.n_latents} latents: stage 1 is needed"


def samples_are_shared(view: TrainView) -> bool:
    """Do samples that have any target have two or more on average?

    Then tasks are drawn from one population, and no factor's distribution changes with the task.
    """
    return len(view.sample) >= 2 * len(np.unique(view.sample))
