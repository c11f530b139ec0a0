"""Regression on one task's target: the degenerate case, which identifies one direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from baselines.supervised.single_task import SingleTask
from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.networks import Linear
from bench.toolkit.rows import prepare
from bench.toolkit.training import Batch


@learner(
    "single-task-regression",
    summary="one target, mean squared error: the degenerate case",
    paper="Roeder, Metz, Kingma 2021, ICML (what their diversity condition excludes)",
    guarantee="none",
    version=2,
    assumptions="only the direction of the one target's head is determined",
    needs=("targets",),
    effort=("steps",),
    budgets={"smoke": {"steps": 150, "batch_size": 128}, "paper": {"steps": 4000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={
        "graph": {"steps": 800},
        "image": {"steps": 1000, "batch_size": 128, "learning_rate": 1e-2, "weight_decay": 0.5},
    },
)
@dataclass(kw_only=True, eq=False)
class SingleTaskRegression(SingleTask):
    """Codes (n, n_latents): features of a network trained on one task's targets; parameters as in the base class.

    task    the task to learn; of a multi-task dataset all others are ignored
    """

    task: int = 0

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.inputs_ = prepare(view)
        if not 0 <= self.task < view.n_tasks:
            raise NotApplicable(f"task {self.task} does not exist: the data has {view.n_tasks}")
        mine = np.asarray(view.task) == self.task
        y = np.asarray(view.y, dtype=np.float64)[mine]
        d = view.n_latents
        if len(y) <= d:
            raise NotApplicable(f"task {self.task} has {len(y)} targets, too few for {d} latents")
        if not np.isfinite(y).all():
            raise NotApplicable(f"task {self.task} holds targets that are not finite; leave those out")
        if y.std() <= 1e-12 * np.abs(y).max():
            raise NotApplicable(f"the target of task {self.task} is constant")

        def loss(batch: Batch) -> Tensor:
            predicted = self.network_.head(self.network_.encoder(batch["x"]))[..., 0]
            return 0.5 * (predicted - batch["y"]).square().mean(dim=1)

        self.history_ = self._train(
            view,
            lambda init: Linear(d, 1, init),
            loss,
            {
                "x": self.inputs_(view.x)[torch.from_numpy(np.asarray(view.sample)[mine])],
                "y": ((y - y.mean()) / y.std()).astype(np.float32),
            },
            seed=seed,
            device=device,
            progress=progress,
        )
        self.history_ |= {"task": self.task}
        return self
