"""One encoder a kind of input, one signature: a batch of rows in, codes (E, B, width) out.

``encoder(inputs, width, init)`` is what every gradient-trained learner gets on images, sequences and graphs; on vectors
a learner may bring its own. Initial weights come from the given streams alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import NotApplicable
from bench.toolkit.encoders.graph import GraphEncoder
from bench.toolkit.encoders.image import ImageDecoder, ImageEncoder
from bench.toolkit.encoders.sequence import SequenceEncoder
from bench.toolkit.encoders.vector import ResidualMLP
from bench.toolkit.networks import MLP, Streams
from bench.toolkit.preprocess import Float64
from bench.toolkit.rows import GraphInputs, ImageInputs, Prepared, Rows, SequenceInputs, rows_at_once

VectorNetwork = Callable[[int], nn.Module]
"""Makes a network for vectors of so many columns."""


def encoder(
    inputs: Prepared, width: int, init: Streams, *, vector: VectorNetwork | None = None, **options: Any
) -> nn.Module:
    """The encoder of this kind of input: batch of rows -> (E, B, width).

    vector    a learner's own network where x are vectors; default ``ResidualMLP``
    options   of the kind's encoder, e.g. ``architecture="lstm"`` for sequences
    Raises ValueError for several members where the kind allows one.
    """
    if isinstance(inputs, ImageInputs | SequenceInputs | GraphInputs) and len(init) > 1:
        raise ValueError(f"{inputs.kind}s train one seed at a time, not {len(init)}")
    if isinstance(inputs, ImageInputs):
        return ImageEncoder(inputs, width, init, **options)
    if isinstance(inputs, SequenceInputs):
        return SequenceEncoder(inputs.channels, width, init, **options)
    if isinstance(inputs, GraphInputs):
        return GraphEncoder(inputs, width, init, **options)
    if vector is not None:
        return vector(inputs.columns)
    return ResidualMLP(inputs.columns, options.get("hidden", 64), options.get("blocks", 3), width, init)


def decoder(inputs: Prepared, width: int, init: Streams, *, vector: VectorNetwork | None = None) -> nn.Module:
    """The decoder of this kind: codes (E, B, width) -> (E, B, columns), to be held against ``inputs.dense(rows)``.

    Raises NotApplicable for graphs, which have none.
    """
    if isinstance(inputs, GraphInputs):
        raise NotApplicable("graphs have no decoder, and this learner needs one")
    if isinstance(inputs, ImageInputs):
        return ImageDecoder(inputs, width, init)
    if isinstance(inputs, SequenceInputs) or vector is None:
        return MLP([width, 100, 100, inputs.columns], init, activation="silu")
    return vector(inputs.columns)


def end_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Parameters (1, …, width) of an encoder's last affine maps: times a matrix, they give codes times that matrix."""
    ends = (getattr(network, name, None) for name in ("leave", "linear"))
    return [parameter for layer in ends if isinstance(layer, nn.Module) for parameter in layer.parameters()]


@torch.no_grad()
def encode_rows(
    network: Callable[[Any], Tensor], rows: Rows, *, block: int = 16384, device: str | torch.device = "cpu"
) -> Float64:
    """Codes (n, d) float64 of n rows under a network with one member, in blocks of rows."""
    parts = [
        network(rows[part[None]].to(device))[0].double().cpu()
        for part in torch.arange(len(rows)).split(rows_at_once([rows], block))
    ]
    return np.asarray(torch.cat(parts))
