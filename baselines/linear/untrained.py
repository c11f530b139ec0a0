"""A random network: what the architecture alone is worth."""

from __future__ import annotations

from typing import Any, Self

from bench.api import Progress, TrainView, learner
from bench.toolkit.encoders import encode_rows, encoder
from bench.toolkit.networks import MLP, Streams, n_parameters
from bench.toolkit.preprocess import Float64
from bench.toolkit.rows import prepare


@learner(
    "untrained",
    summary="an encoder of the shared kind with its random initial weights",
    paper="reference row",
    guarantee="none",
    reference=True,
    accepts=("vector", "image", "sequence", "graph"),
)
class Untrained:
    """Codes (n, n_latents) of an encoder that was never trained: a multi-layer perceptron on vectors, else the kind's.

    hidden, layers   width of the hidden layers and number of linear layers
    activation       see ``bench.toolkit.networks.ACTIVATIONS``
    """

    def __init__(self, *, hidden: int = 100, layers: int = 3, activation: str = "xtanh") -> None:
        self.hidden = hidden
        self.layers = layers
        self.activation = activation

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.inputs_ = prepare(view)
        init, widths = Streams([seed], "init"), [*[self.hidden] * (self.layers - 1), view.n_latents]
        self.network_ = encoder(
            self.inputs_,
            view.n_latents,
            init,
            vector=lambda columns: MLP([columns, *widths], init, activation=self.activation),
        )
        self.n_parameters_ = n_parameters(self.network_)
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return encode_rows(self.network_, self.inputs_(x))
