"""The encoder of vectors: a residual multi-layer perceptron."""

from __future__ import annotations

from torch import Tensor, nn

from bench.toolkit.networks import ACTIVATIONS, Linear, Streams


class ResidualMLP(nn.Module):
    """(E, B, n_in) -> (E, B, n_out): affine, then ``blocks`` times h + W₂ relu(W₁ h + b₁) + b₂, then affine.

    It contains the linear maps, from which an encoder of mildly nonlinear mixing has not far to go, and trained better
    than a plain network of the same size: at 1500 steps on ``clusters`` R² 0.977 instead of 0.945.
    """

    def __init__(
        self, n_in: int, hidden: int, blocks: int, n_out: int, init: Streams, *, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.activation = activation
        self.enter = Linear(n_in, hidden, init)
        self.inner = nn.ModuleList(Linear(hidden, hidden, init, gain=2**0.5) for _ in range(blocks))
        # Blocks that start small keep the deviation of h near that of a single layer.
        self.outer = nn.ModuleList(Linear(hidden, hidden, init, gain=0.5) for _ in range(blocks))
        self.leave = Linear(hidden, n_out, init)

    def forward(self, x: Tensor) -> Tensor:
        act = ACTIVATIONS[self.activation]
        h = self.enter(x)
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(act(inner(h)))
        return self.leave(h)
