"""A random network: what the architecture alone is worth."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch

from bench.api import Progress, TrainView, learner
from bench.toolkit.networks import MLP, Streams, n_parameters
from bench.toolkit.preprocess import Float64, standardizer_for


@learner(
    "untrained",
    summary="an encoder of the shared kind with its random initial weights",
    paper="reference row",
    guarantee="none",
    reference=True,
)
class Untrained:
    """Codes (n, n_latents) of a multi-layer perceptron that was never trained.

    hidden, layers   width of the hidden layers and number of linear layers
    activation       see ``bench.toolkit.networks.ACTIVATIONS``
    """

    def __init__(self, *, hidden: int = 100, layers: int = 3, activation: str = "xtanh") -> None:
        self.hidden = hidden
        self.layers = layers
        self.activation = activation

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.standardizer_ = standardizer_for(view)
        sizes = [len(self.standardizer_.mean), *[self.hidden] * (self.layers - 1), view.n_latents]
        self.network_ = MLP(sizes, Streams([seed], "init"), activation=self.activation)
        self.n_parameters_ = n_parameters(self.network_)
        return self

    @torch.no_grad()
    def encode(self, x: Any, aux: Any = None) -> Float64:
        codes = self.network_(torch.from_numpy(self.standardizer_(x)).float()[None])[0]
        return np.asarray(codes.double())
