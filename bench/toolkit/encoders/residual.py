"""A residual encoder: the network of the sparse and single-task learners."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.toolkit.networks import ACTIVATIONS, Linear, Streams
from bench.toolkit.preprocess import Float64, Standardizer


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


@torch.no_grad()
def encode_with(encoder: nn.Module, standardizer: Standardizer, x: Any) -> Float64:
    """Codes (n, d) float64 of inputs x (n, d_x) under an encoder with one ensemble member, in blocks of rows."""
    device = next(encoder.parameters()).device
    standard = torch.from_numpy(standardizer(x)).float()
    blocks = [encoder(block.to(device)[None])[0].double().cpu() for block in standard.split(16384)]
    return np.asarray(torch.cat(blocks))
