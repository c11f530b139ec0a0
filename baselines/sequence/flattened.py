"""All steps of a sequence side by side: what a linear map of the whole input is worth."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.inputs import Sequences
from bench.toolkit.preprocess import Float64, Standardizer

MAX_WIDTH = 3000
"""Columns up to which linear probes are fitted (``bench.metrics.linear``)."""


@learner(
    "flattened",
    summary="all steps of the sequence side by side, standardised: a floor beside raw, which is their mean",
    paper="reference row",
    guarantee="none",
    reference=True,
    accepts=("sequence",),
)
class Flattened:
    """Codes (n, steps · p)."""

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        columns = _columns(view.x)
        if columns.shape[1] > MAX_WIDTH:
            raise NotApplicable(
                f"{columns.shape[1]} columns side by side are more than the {MAX_WIDTH} that are probed"
            )
        self.standardizer_ = Standardizer.fit(columns)
        self.n_parameters_ = 0
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return self.standardizer_(_columns(x))


def _columns(x: Sequences) -> np.ndarray[Any, np.dtype[np.float32]]:
    return x.values.reshape(len(x), -1)
