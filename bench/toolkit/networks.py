"""Networks that carry an ensemble dimension, so that many seeds train in one pass.

Every parameter is (E, ...): member e of the ensemble belongs to seed e and draws its initial values from that seed's
own generator, so that a member does not depend on which others share its batch. Inputs are (E, B, features). A single
seed is an ensemble of one. No global random state is read or written.
"""

from __future__ import annotations

import copy
import itertools
import zlib
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.toolkit import fused

Activation = Literal["relu", "leaky_relu", "tanh", "xtanh", "silu", "softplus"]


def xtanh(a: Tensor) -> Tensor:
    """tanh(a) + 0.1 a: the invertible activation of Khemakhem et al. (AISTATS 2020)."""
    return torch.tanh(a).add(a, alpha=0.1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": lambda a: nn.functional.leaky_relu(a, 0.2),
    "tanh": torch.tanh,
    "xtanh": xtanh,
    "silu": nn.functional.silu,
    "softplus": nn.functional.softplus,
}


class Streams:
    """One independent random stream per ensemble member.

    seeds     one per member
    purpose   a word; streams of the same seed but of different purposes are independent
    device    where draws are returned; they are made on the CPU, so that they do not depend on the device
    """

    def __init__(self, seeds: Sequence[int], purpose: str, device: str | torch.device = "cpu") -> None:
        self.seeds = tuple(int(seed) for seed in seeds)
        self.device = torch.device(device)
        self._generators = []
        for seed in self.seeds:
            state = np.random.SeedSequence([seed % 2**64, zlib.crc32(purpose.encode())]).generate_state(1, np.uint64)
            self._generators.append(torch.Generator().manual_seed(int(state[0] >> np.uint64(1))))

    def __len__(self) -> int:
        return len(self.seeds)

    def normal(self, *shape: int) -> Tensor:
        """(E, *shape) standard normal draws, float32."""
        return torch.stack([torch.randn(shape, generator=g) for g in self._generators]).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """(E, *shape) draws from U(0, 1), float32."""
        return torch.stack([torch.rand(shape, generator=g) for g in self._generators]).to(self.device)

    def permutations(self, n: int) -> Tensor:
        """(E, n) int64, a permutation of 0..n-1 for each member."""
        return torch.stack([torch.randperm(n, generator=g) for g in self._generators]).to(self.device)


class Linear(nn.Module):
    """Affine map (E, B, n_in) -> (E, B, n_out), weight (E, n_in, n_out), bias (E, 1, n_out).

    gain   deviation of the initial weights times sqrt(n_in); the bias starts at 0
    """

    def __init__(self, n_in: int, n_out: int, init: Streams, *, bias: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(init.normal(n_in, n_out) * (gain / max(n_in, 1) ** 0.5))
        self.bias = nn.Parameter(torch.zeros(len(init), 1, n_out, device=init.device)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x, self.weight) if self.bias is None else torch.baddbmm(self.bias, x, self.weight)


class Embedding(nn.Module):
    """Rows of a table (E, categories, n_out) by integer index (E, B): a linear layer on one-hot input, without it."""

    def __init__(self, categories: int, n_out: int, init: Streams, *, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(init.normal(categories, n_out) * scale)

    def forward(self, index: Tensor) -> Tensor:
        members, categories, n_out = self.weight.shape
        offset = torch.arange(members, device=index.device)[:, None] * categories
        return nn.functional.embedding(index + offset, self.weight.reshape(-1, n_out))


class MLP(nn.Module):
    """Multi-layer perceptron (E, B, sizes[0]) -> (E, B, sizes[-1]); the last layer is linear.

    sizes   widths of input, hidden layers and output
    gain    of the initial weights of the last layer
    """

    def __init__(
        self,
        sizes: Sequence[int],
        init: Streams,
        *,
        activation: str = "relu",
        bias: bool = True,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        hidden = 2**0.5 if activation in ("relu", "leaky_relu", "silu") else 1.0
        last = len(sizes) - 2
        self._pool = fused.Pool()
        self.layers = nn.ModuleList(
            Linear(a, b, init, bias=bias, gain=gain if i == last else hidden)
            for i, (a, b) in enumerate(itertools.pairwise(sizes))
        )

    def forward(self, x: Tensor, shift: Tensor | None = None) -> Tensor:
        """``shift`` (E, B, sizes[1]) is added to what reaches the first layer's activation."""
        if torch.is_grad_enabled() and self.activation in fused.RULES and self.layers[0].bias is not None:
            weights, biases = [layer.weight for layer in self.layers], [layer.bias for layer in self.layers]
            return fused.chain(x, shift, weights, biases, self.activation, self._pool)
        act = ACTIVATIONS[self.activation]
        for number, layer in enumerate(self.layers):
            x = layer(x if number == 0 else act(x))
            if number == 0 and shift is not None:
                x = x + shift
        return x


Module = TypeVar("Module", bound=nn.Module)


def member(module: Module, index: int, members: int) -> Module:
    """A copy of one of the ensemble's members, as an ensemble of one; with one member any module will do."""
    single = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in (*single.parameters(), *single.buffers()):
            tensor.data = (tensor.data[index : index + 1] if members > 1 else tensor.data).clone()
    return single


def n_parameters(module: nn.Module) -> int:
    """Number of trainable parameters of a network with one member."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
