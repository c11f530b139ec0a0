"""The shared encoder of stage 1: a ReLU network, with or without a linear path beside it."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """codes = x L + MLP(x), ReLU between the layers; the linear path L is absent where ``skip`` is None.

    sizes   widths of input, hidden layers and codes
    skip    (sizes[0], sizes[-1]) initial L. Beside it the network's last layer starts at 0, so that training starts
            exactly from L; without it layers start as torch.nn.Linear's do, U(±1/√fan_in)
    """

    def __init__(self, sizes: tuple[int, ...], skip: Tensor | None, generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (a, b) in enumerate(itertools.pairwise(sizes)):
            if skip is None:
                weight, bias = (
                    2 * torch.rand(a, b, generator=generator) - 1,
                    2 * torch.rand(b, generator=generator) - 1,
                )
                weight, bias = weight / math.sqrt(a), bias / math.sqrt(a)
            else:
                weight, bias = torch.randn(a, b, generator=generator) * math.sqrt(2 / a), torch.zeros(b)
                if layer == len(sizes) - 2:
                    weight.zero_()
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))
        self.skip = None if skip is None else nn.Parameter(skip.clone())

    def forward(self, x: Tensor) -> Tensor:
        h = x
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.addmm(bias, h, weight)
            if layer < last:
                h = torch.relu(h)
        return h if self.skip is None else torch.addmm(h, x, self.skip)
