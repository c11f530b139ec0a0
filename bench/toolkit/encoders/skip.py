"""Encoders with a linear path beside the network, from which training starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.toolkit.encoders import encoder, end_parameters
from bench.toolkit.networks import Streams
from bench.toolkit.rows import Prepared, Rows, rows_at_once


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
        self.width = sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        h = x
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.addmm(bias, h, weight)
            if layer < last:
                h = torch.relu(h)
        return h if self.skip is None else torch.addmm(h, x, self.skip)


@dataclass(frozen=True, eq=False)
class JointRows:
    """Rows of one kind beside their flat view (n, columns), indexed together; what ``KindEncoder`` takes."""

    rows: Rows
    flat: Tensor

    def __len__(self) -> int:
        return len(self.flat)

    def __getitem__(self, index: Tensor) -> JointRows:
        """The rows of an index (B,); those of the kind get the leading dimension of one member."""
        return JointRows(self.rows[index[None]], self.flat[index])

    @property
    def device(self) -> torch.device:
        return self.flat.device

    def split(self, most: int) -> Iterator[JointRows]:
        for part in torch.arange(len(self), device=self.device).split(rows_at_once([self.rows], most)):
            yield self[part]


class KindEncoder(nn.Module):
    """codes = flat L + encoder(rows) (B, width), for kinds other than vectors; without L where ``skip`` is None.

    skip      (columns of the flat view, width) initial L; beside it the encoder starts at 0. L stays as it is for
              graphs: the counts of their parts are many and their start was regularised in the units of occurrences,
              which steps of equal size in every whitened direction undo at once
    options   of the kind's encoder
    """

    def __init__(self, inputs: Prepared, width: int, skip: Tensor | None, init: Streams, **options: Any) -> None:
        super().__init__()
        self.width = width
        fixed = skip is not None and inputs.kind == "graph"
        if fixed:
            options = {"linear": False, **options}
        self.encoder = encoder(inputs, width, init, **options)
        self.skip = None if skip is None else nn.Parameter(skip.clone(), requires_grad=not fixed)
        if skip is not None:
            with torch.no_grad():
                for parameter in end_parameters(self.encoder):
                    parameter.zero_()

    def forward(self, x: JointRows) -> Tensor:
        codes: Tensor = self.encoder(x.rows)[0]
        return codes if self.skip is None else torch.addmm(codes, x.flat, self.skip)
