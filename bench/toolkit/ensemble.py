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
from bench.toolkit.training import TrainingResult

_ENCODED_ROWS = 8192


class EnsembleLearner(ABC):
    """Base of learners on the networks of ``bench.toolkit.networks``.

    A subclass trains one ensemble in ``_train`` and says in ``_codes`` what a network's codes are; anything else that
    ``encode`` needs and that is the same for all seeds it sets as attributes in ``_train``.
    """

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        network, result = self._train(view, [seed], device, progress)
        return self._take(network, result, 0, view, seed)

    def fit_many(self, view: TrainView, *, seeds: Sequence[int], device: str, progress: Progress) -> list[Self]:
        """One fitted learner a seed, trained in one pass; each equals what ``fit`` gives for its seed.

        A member that diverged is recorded in its ``history_["diverged"]``; where all did, Diverged is raised.
        """
        network, result = self._train(view, seeds, device, progress)
        return [copy.copy(self)._take(network, result, i, view, seed) for i, seed in enumerate(seeds)]

    def _take(self, network: nn.Module, result: TrainingResult, index: int, view: TrainView, seed: int) -> Self:
        self.network_ = member(network, index)
        self.n_parameters_ = n_parameters(self.network_)
        self.history_ = result.history(index)
        self._device = next(self.network_.parameters()).device
        self._finish(view, seed)
        return self

    def _finish(self, view: TrainView, seed: int) -> None:  # noqa: B027 (a hook: most learners need nothing more)
        """What is left to do for one seed once ``network_`` is trained."""

    @torch.no_grad()
    def encode(self, x: Any, aux: Any = None) -> Float64:
        """Codes (n, d) float64 of x (n, d_x)."""
        inputs = {name: t.to(self._device) for name, t in self._inputs(x, aux).items()}
        n = len(inputs["x"])
        parts = []
        for start in range(0, n, _ENCODED_ROWS):
            rows = {name: t[None, start : start + _ENCODED_ROWS] for name, t in inputs.items()}
            parts.append(np.asarray(self._codes(rows)[0].double().cpu()))
        return np.concatenate(parts)

    @abstractmethod
    def _train(
        self, view: TrainView, seeds: Sequence[int], device: str, progress: Progress
    ) -> tuple[nn.Module, TrainingResult]:
        """Validate the view and train one ensemble on it."""

    @abstractmethod
    def _inputs(self, x: Any, aux: Any) -> dict[str, Tensor]:
        """Tensors of n rows that ``_codes`` needs; "x" among them."""

    @abstractmethod
    def _codes(self, rows: dict[str, Tensor]) -> Tensor:
        """Codes (1, n, d) of rows (1, n, …) by ``network_``."""
