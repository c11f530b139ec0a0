"""A linearly identified learner, then FastICA: independent non-Gaussian factors are then identified in full."""

from __future__ import annotations

from typing import Any, Self

from baselines.linear.fastica import unmix_codes
from bench.api import Progress, TrainView, learner
from bench.toolkit.preprocess import Float64
from bench.toolkit.training_history import training_of


@learner(
    "mtrn-ica",
    assumes=("injective-mixing", "heads-span", "independent-non-gaussian"),
    summary="multi-task regression network, then FastICA on its codes",
    paper="Chen et al., TMLR 2024 (network); Hyvärinen, IEEE Transactions on Neural Networks 1999 (FastICA)",
    guarantee="permutation+scaling",
    assumptions="heads span R^d, T >= d; latents are independent, at most one of them Gaussian",
    needs=("targets",),
    version=6,
    versions={"graph": 7},
    effort=("steps",),
    budgets={"smoke": {"steps": 15, "batch": 512}, "paper": {"steps": 1000, "max_iter": 2000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={
        "graph": {"steps": 400, "batch": 1024},
        "image": {"steps": 900, "batch": 128},
        "sequence": {"steps": 600, "batch": 256},
    },
)
class MTRNICA:
    """Codes (n, r): the network's codes unmixed into sources of unit variance; r is their rank, ``n_latents`` at most.

    steps, batch    of ``mtlcm.regression_network.MultiTaskRegressionNetwork``; the network's other parameters are those
                    of ``mtrn`` for the kind of x
    max_iter, tol   limits of FastICA's iteration; whether it converged is in ``history_``
    """

    def __init__(self, *, steps: int = 800, batch: int = 1024, max_iter: int = 500, tol: float = 1e-4) -> None:
        self.steps = steps
        self.batch = batch
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        from mtlcm.regression_network import MultiTaskRegressionNetwork, settings_for

        own = {"steps": self.steps, "batch": self.batch, "axes": "principal"}
        network = MultiTaskRegressionNetwork(**{**settings_for(view.kind), **own})
        self.network_ = network.fit(view, seed=seed, device=device, progress=progress)
        codes = self.network_.encode(view.x)
        self.mean_, self.unmixing_, ended = unmix_codes(codes, seed=seed, max_iter=self.max_iter, tol=self.tol)
        self.history_ = {"network": self.network_.history_, **training_of(self.network_.history_), "ica": ended}
        self.n_parameters_ = self.network_.n_parameters_ + self.unmixing_.size
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return (self.network_.encode(x) - self.mean_) @ self.unmixing_
