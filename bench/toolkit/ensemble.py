"""Learners whose seeds train together: ``fit`` is ``fit_many`` with a single seed."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import Progress, TrainView
from bench.toolkit.networks import member, n_parameters
from bench.toolkit.preprocess import Float64
from bench.toolkit.rows import Rows, rows_at_once
from bench.toolkit.training import TrainingResult

_ENCODED_ROWS = 8192


class EnsembleLearner(ABC):
    """Base of learners on the networks of ``bench.toolkit.networks``.

    A subclass trains one ensemble in ``_train`` and says in ``_codes`` what a network's codes are; anything else that
    ``encode`` needs and that is the same for all seeds it sets as attributes in ``_train``.
    """

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        network, result = self._train(view, [seed], device, progress)
        return self._take(member(network, 0, 1), result, 0, view, seed)

    def fit_many(self, view: TrainView, *, seeds: Sequence[int], device: str, progress: Progress) -> list[Self]:
        """One fitted learner a seed, trained in one pass; each equals what ``fit`` gives for its seed.

        A member that diverged is recorded in its ``history_["diverged"]``; where all did, Diverged is raised.
        """
        if view.kind != "vector":  # their encoders have one member
            return [copy.copy(self).fit(view, seed=seed, device=device, progress=progress) for seed in seeds]
        network, result = self._train(view, seeds, device, progress)
        members = (member(network, index, len(seeds)) for index in range(len(seeds)))
        return [
            copy.copy(self)._take(each, result, i, view, seed)
            for i, (each, seed) in enumerate(zip(members, seeds, strict=True))
        ]

    def _take(self, network: nn.Module, result: TrainingResult, index: int, view: TrainView, seed: int) -> Self:
        self.network_ = network
        self.n_parameters_ = n_parameters(self.network_)
        self.history_ = result.history(index)
        self._device = next(self.network_.parameters()).device
        self._finish(view, seed)
        return self

    def _finish(self, view: TrainView, seed: int) -> None:  # noqa: B027 (a hook: most learners need nothing more)
        """What is left to do for one seed once ``network_`` is trained."""

    @torch.no_grad()
    def encode(self, x: Any, aux: Any = None) -> Float64:
        """Codes (n, d) float64 of n inputs x."""
        inputs = {name: t.to(self._device) for name, t in self._inputs(x, aux).items()}
        index = torch.arange(len(inputs["x"]), device=self._device)
        parts = []
        for part in index.split(rows_at_once(inputs.values(), _ENCODED_ROWS)):
            rows = {name: t[part[None]] for name, t in inputs.items()}
            parts.append(np.asarray(self._codes(rows)[0].double().cpu()))
        return np.concatenate(parts)

    @abstractmethod
    def _train(
        self, view: TrainView, seeds: Sequence[int], device: str, progress: Progress
    ) -> tuple[nn.Module, TrainingResult]:
        """Validate the view and train one ensemble on it."""

    @abstractmethod
    def _inputs(self, x: Any, aux: Any) -> dict[str, Rows]:
        """Tensors of n rows that ``_codes`` needs; "x" among them."""

    @abstractmethod
    def _codes(self, rows: dict[str, Any]) -> Tensor:
        """Codes (1, n, d) of rows (1, n, …) by ``network_``."""
