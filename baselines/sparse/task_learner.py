"""What the learners share that train an encoder under one small convex problem ("head") per task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.api import Diverged, NotApplicable, Progress, TrainView
from bench.toolkit.encoders import encode_rows, encoder
from bench.toolkit.encoders.vector import ResidualMLP
from bench.toolkit.networks import Streams, n_parameters
from bench.toolkit.preprocess import Float64
from bench.toolkit.rows import Prepared
from bench.toolkit.task_batches import TaskBatches, tasks_in_words
from bench.toolkit.training import Batch, TrainingOptions, split_rows, train

EPSILON = 1e-5
MAX_VALIDATION_BATCHES = 200
TASKS_OF_A_BLOCK = 8
"""Tasks at most that a step takes on the same samples, where encoding a sample costs more than fitting heads."""


def normalised(features: Tensor, weight: Tensor) -> Tensor:
    """Features (E, K, m, d) with mean 0 and variance 1 over the K·m rows of weight 1 in (E, K, m), in float64."""
    f, w = features.double(), weight[..., None]
    n = w.sum(dim=(1, 2), keepdim=True)
    centred = f - (f * w).sum(dim=(1, 2), keepdim=True) / n
    variance = (centred.square() * w).sum(dim=(1, 2), keepdim=True) / n
    return centred * torch.rsqrt(variance + EPSILON)


def require_tasks(view: TrainView) -> None:
    """Raise NotApplicable where the tasks are fewer than the latents."""
    if view.n_tasks < view.n_latents:
        raise NotApplicable(
            f"{tasks_in_words(view.n_tasks)} cannot tell {view.n_latents} latents apart: at least {view.n_latents} are"
            " needed"
        )


class TaskLearner(ABC):
    """Base of learners whose encoder is trained on the outer loss of heads fitted per task.

    A subclass stores the parameters named below, sets ``inputs_``, calls ``_train_encoder`` in ``fit`` and
    gives the outer loss of normalised features. Codes are the features, normalised on the training samples.
    """

    inputs_: Prepared
    steps: int
    tasks_per_step: int
    hidden: int
    blocks: int
    learning_rate: float
    weight_decay: float

    @abstractmethod
    def _outer_loss(self, z: Tensor, y: Tensor, weight: Tensor, fraction: float) -> Tensor:
        """Loss (E,) of features z (E, T, m, d), targets and weights (E, T, m), with ``fraction`` of the steps done."""

    def _before_step(self, fraction: float) -> None:  # noqa: B027 (a hook: most learners need nothing more)
        """Called before every training step."""

    def _validation_fraction(self, batches: TaskBatches) -> float:
        return min(0.1, MAX_VALIDATION_BATCHES / len(batches))

    def _split(self, batches: TaskBatches, seed: int) -> tuple[Tensor, Tensor]:
        """Indices of the batches that ``_train_encoder`` trains on and of those that it holds out."""
        groups = None if batches.blocks is None else torch.from_numpy(batches.blocks)
        rows, held_out = split_rows(len(batches), self._validation_fraction(batches), Streams([seed], "split"), groups)
        return rows[0], held_out[0]

    def _together(self, batches: TaskBatches) -> NDArray[np.int64]:
        """Batches (U, g) that training keeps together: alone, or g of one block, which then is encoded once for all."""
        if batches.blocks is None or self.inputs_.kind != "image":
            return np.arange(len(batches))[:, None]
        tasks = int((batches.blocks == batches.blocks[0]).sum())
        g = max(k for k in range(1, min(tasks, TASKS_OF_A_BLOCK) + 1) if tasks % k == 0)
        return np.argsort(batches.blocks, kind="stable").reshape(-1, g)

    def _features(self, rows: Tensor) -> Tensor:
        """Features (E, K, width) of the samples ``rows`` (E, K); an image that comes twice is encoded once."""
        if self.inputs_.kind != "image":
            found: Tensor = self.encoder_(self.x_[rows])
            return found
        unique, place = torch.unique(rows, return_inverse=True)
        return self.encoder_(self.x_[unique[None]])[:, place[0]]

    def _train_encoder(
        self,
        view: TrainView,
        batches: TaskBatches,
        codes: int,
        *,
        seed: int,
        device: str,
        progress: Progress,
        choose_after: float = 0.0,
    ) -> Float64:
        """Train ``encoder_`` to its best state; returns the codes (n, codes) of the training samples.

        Of ``TrainingOptions``: the cycle is the same for all, the state of the lowest outer loss on held-out batches
        is kept, from those after ``choose_after`` of the steps.
        """
        self.x_ = self.inputs_(view.x).to(device)
        init = Streams([seed], "init")
        self.encoder_ = encoder(
            self.inputs_,
            codes,
            init,
            vector=lambda columns: ResidualMLP(columns, self.hidden, self.blocks, codes, init),
        )
        self.n_parameters_ = n_parameters(self.encoder_)

        def outer_loss(batch: Batch) -> Tensor:
            if torch.is_grad_enabled():
                self._before_step(batch.fraction)
            rows, y, weight = (batch[name].flatten(1, 2) for name in ("rows", "y", "weight"))
            members, tasks, m = rows.shape
            features = self._features(rows.view(members, tasks * m)).view(members, tasks, m, codes)
            z = normalised(features, weight)
            if not bool(torch.isfinite(z).all()):
                raise Diverged("the features left the finite numbers; lower learning_rate")
            return self._outer_loss(z, y, weight, batch.fraction)

        together = self._together(batches)
        options = TrainingOptions(
            steps=self.steps,
            batch_size=max(1, self.tasks_per_step // together.shape[1]),
            learning_rate=self.learning_rate,
            warmup=0.1,
            weight_decay=self.weight_decay,
            validation_fraction=self._validation_fraction(batches),
            choose_after=choose_after,
            clip_norm=1.0,
        )
        result = train(
            self.encoder_,
            outer_loss,
            {
                "rows": torch.from_numpy(batches.rows[together]),
                "y": torch.from_numpy(batches.y[together]),
                "weight": torch.from_numpy(batches.weight[together]),
            },
            seeds=[seed],
            options=options,
            progress=progress,
            device=device,
            groups=None if batches.blocks is None else torch.from_numpy(batches.blocks[together[:, 0]]),
        )
        del self.x_
        self.code_mean_, self.code_scale_ = np.zeros(codes), np.ones(codes)
        found = self.encode(view.x)
        self.code_mean_, self.code_scale_ = found.mean(axis=0), found.std(axis=0) + EPSILON
        self.history_: dict[str, Any] = {**result.history(), "tasks_left_out": list(batches.left_out)}
        return (found - self.code_mean_) / self.code_scale_

    def encode(self, x: Any, aux: Any = None) -> Float64:
        """Codes (n, d) float64 of n inputs x."""
        device = next(self.encoder_.parameters()).device
        found = encode_rows(self.encoder_, self.inputs_(x), device=device)
        return (found - self.code_mean_) / self.code_scale_
