"""The encoder and decoder of images: small convolutional networks that halve and double the sides."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from bench.toolkit.networks import Linear, Streams
from bench.toolkit.rows import ImageInputs

_KERNEL = 4  # with stride 2 and padding 1 it halves even sides exactly
_FIRST, _LATER = 32, 64


class Convolution(nn.Module):
    """(B, c_in, h, w) -> (B, c_out, h/2, w/2), or ``transposed`` the other way; weights after He et al. 2015."""

    def __init__(self, c_in: int, c_out: int, init: Streams, *, transposed: bool = False) -> None:
        super().__init__()
        self.transposed = transposed
        shape = (c_in, c_out) if transposed else (c_out, c_in)
        # an output pixel of the transposed one sees a quarter of the kernel
        fan_in = c_in * _KERNEL * _KERNEL / (4 if transposed else 1)
        self.weight = nn.Parameter(init.normal(*shape, _KERNEL, _KERNEL)[0] * math.sqrt(2 / fan_in))
        self.bias = nn.Parameter(torch.zeros(c_out, device=init.device))

    def forward(self, x: Tensor) -> Tensor:
        convolve = nn.functional.conv_transpose2d if self.transposed else nn.functional.conv2d
        return convolve(x, self.weight, self.bias, stride=2, padding=1)


def halvings(shape: tuple[int, int, int]) -> int:
    """How often both sides of an image (c, h, w) can be halved exactly, until the shorter one is 4 at most."""
    n, (h, w) = 0, shape[1:]
    while min(h, w) > 4 and h % 2 == 0 and w % 2 == 0:
        h, w, n = h // 2, w // 2, n + 1
    return n


class ImageEncoder(nn.Module):
    """Images (1, B, c, h, w) uint8 -> (1, B, width): convolutions of stride 2, then two affine layers, ReLU between.

    The layout of Locatello et al. (ICML 2019) and Lachapelle et al. (ICML 2023), with as many convolutions as the
    image's sides can be halved.

    hidden   units of the last hidden layer
    """

    def __init__(self, inputs: ImageInputs, width: int, init: Streams, *, hidden: int = 256) -> None:
        super().__init__()
        self.standardised = inputs.standardised
        c, h, w = inputs.shape
        n = halvings(inputs.shape)
        channels = [c, *[_FIRST if i < 2 else _LATER for i in range(n)]]
        self.convolutions = nn.ModuleList(Convolution(a, b, init) for a, b in itertools.pairwise(channels))
        flat = channels[-1] * (h >> n) * (w >> n)
        self.enter = Linear(flat, hidden, init, gain=math.sqrt(2))
        self.leave = Linear(hidden, width, init)

    def hidden(self, rows: Tensor) -> Tensor:
        """Activations (1, B, hidden) of the last hidden layer."""
        h = self.standardised(rows)[0].contiguous(memory_format=torch.channels_last)  # a fifth faster on a CPU
        for convolution in self.convolutions:
            h = torch.relu(convolution(h))
        return torch.relu(self.enter(h.flatten(1)[None]))

    def forward(self, rows: Tensor) -> Tensor:
        return self.leave(self.hidden(rows))


class ImageDecoder(nn.Module):
    """Codes (1, B, width) -> standardised pixels (1, B, c·h·w): the encoder turned round."""

    def __init__(self, inputs: ImageInputs, width: int, init: Streams, *, hidden: int = 256) -> None:
        super().__init__()
        c, h, w = inputs.shape
        n = halvings(inputs.shape)
        channels = [c, *[_FIRST if i < 2 else _LATER for i in range(n)]][::-1]
        self.start = (channels[0], h >> n, w >> n)
        self.enter = Linear(width, hidden, init, gain=math.sqrt(2))
        self.spread = Linear(hidden, math.prod(self.start), init, gain=math.sqrt(2))
        self.convolutions = nn.ModuleList(
            Convolution(a, b, init, transposed=True) for a, b in itertools.pairwise(channels)
        )

    def forward(self, z: Tensor) -> Tensor:
        h = self.spread(torch.relu(self.enter(z)))[0].unflatten(1, self.start)
        for convolution in self.convolutions:
            h = convolution(torch.relu(h))
        return h.flatten(1)[None]
