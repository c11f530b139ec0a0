"""The auxiliary variable u, and the targets beside it, as tensors.

A category (segment, task) stays an integer: networks look its row up in a table, which is a linear layer on one-hot
input without the zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.api import NotApplicable, TrainView
from bench.toolkit.preprocess import Float64, Standardizer


@dataclass(frozen=True)
class Auxiliary:
    """How the auxiliary variable enters networks.

    n_categories   number K of categories, or 0 where u is continuous
    n_features     columns of continuous u, or 0 where u is a category
    """

    n_categories: int
    n_features: int
    standardizer: Standardizer | None = None

    @classmethod
    def fit(cls, view: TrainView) -> Auxiliary:
        """Read ``view.aux``. Raises NotApplicable where it is missing, constant or not finite."""
        if view.aux is None:
            raise NotApplicable("the data have no auxiliary variable")
        u = np.asarray(view.aux)
        if len(u) != view.n_samples:
            raise NotApplicable(f"aux has {len(u)} rows for {view.n_samples} samples")
        category = as_category(u)
        if category is not None:
            if len(np.unique(category)) < 2:
                raise NotApplicable("the auxiliary variable has one category only, nothing varies with it")
            if category.min() < 0:
                raise NotApplicable(f"aux holds the category {category.min()}; categories must be 0, 1, 2, …")
            width = u.shape[1] if u.ndim == 2 else int(category.max()) + 1
            return cls(n_categories=width, n_features=0)
        features = u.reshape(len(u), -1)
        if not np.isfinite(features).all():
            raise NotApplicable("aux holds values that are not finite")
        standardizer = Standardizer.fit(features)
        if standardizer.n_varying == 0:
            raise NotApplicable("the auxiliary variable is constant")
        return cls(n_categories=0, n_features=features.shape[1], standardizer=standardizer)

    def tensor(self, aux: Any) -> Tensor:
        """(n,) int64 categories, or (n, k) float32 standardised features."""
        u = np.asarray(aux)
        if self.standardizer is not None:
            return torch.from_numpy(self.standardizer(u.reshape(len(u), -1))).float()
        category = as_category(u)
        if category is None:
            raise ValueError(
                f"aux must hold categories 0..{self.n_categories - 1} as in training, not {u.dtype} {u.shape}"
            )
        if len(category) and not 0 <= category.min() <= category.max() < self.n_categories:
            raise ValueError(
                f"aux holds category {category.max()}, training knew 0..{self.n_categories - 1}; "
                "encode samples of known categories only"
            )
        return torch.from_numpy(category)


def as_category(u: NDArray[Any]) -> NDArray[np.int64] | None:
    """Categories (n,) of integer u (n,) or of one-hot rows (n, k); None for anything else."""
    if u.ndim == 1 and np.issubdtype(u.dtype, np.integer):
        return u.astype(np.int64)
    if u.ndim == 2 and u.shape[1] > 1 and bool(((u == 0) | (u == 1)).all() and (u.sum(axis=1) == 1).all()):
        return np.asarray(u.argmax(axis=1), dtype=np.int64)
    return None


def dense_targets(view: TrainView) -> Float64 | None:
    """Targets (n, k) standardised by task, missing ones 0; None where there are none.

    k = 1 where every sample has exactly one target (the task is then expected to be known from elsewhere), else the
    number of tasks.
    """
    if len(view.y) == 0:
        return None
    count = np.maximum(np.bincount(view.task, minlength=view.n_tasks), 1)
    mean = np.bincount(view.task, view.y, view.n_tasks) / count
    centred = view.y - mean[view.task]
    deviation = np.sqrt(np.bincount(view.task, centred**2, view.n_tasks) / count)
    scaled = centred / np.where(deviation > 0, deviation, 1.0)[view.task]
    single = len(view.sample) == view.n_samples == len(np.unique(view.sample))
    dense = np.zeros((view.n_samples, 1 if single else view.n_tasks))
    dense[view.sample, 0 if single else view.task] = scaled
    return dense
