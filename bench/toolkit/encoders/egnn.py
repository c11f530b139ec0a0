"""Rounds of messages that also move the nodes, equivariantly (Satorras, Hoogeboom, Welling, ICML 2021).

The released program of Chen et al. 2024 puts a ReLU on the coordinates between two such layers; a coordinate's sign
depends on how the molecule lies, so codes then do too. Here coordinates change along differences of positions alone,
by numbers that depend on distances: whatever is read off the nodes is invariant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.toolkit.networks import Linear, Streams


class EquivariantRounds(nn.Module):
    """h (N, hidden), positions (N, 3), pairs (P, 2) of nodes -> h after ``layers`` rounds between all pairs.

    m_ij = silu(A h_i + A h_j + b |x_i - x_j|²) is symmetric, so a pair is looked at once. Then
    x_i += mean_j (x_i - x_j) tanh(w · m_ij) and h_i += V silu(U h_i + mean_j m_ij).
    """

    def __init__(self, hidden: int, layers: int, init: Streams) -> None:
        super().__init__()
        self.ends = nn.ModuleList(Linear(hidden, hidden, init) for _ in range(layers))
        self.distance = nn.ModuleList(Linear(1, hidden, init) for _ in range(layers))
        self.move = nn.ModuleList(Linear(hidden, 1, init, bias=False, gain=0.1) for _ in range(layers))
        self.own = nn.ModuleList(Linear(hidden, hidden, init) for _ in range(layers))
        self.outer = nn.ModuleList(Linear(hidden, hidden, init, gain=0.5) for _ in range(layers))

    def forward(self, h: Tensor, positions: Tensor, pairs: Tensor) -> Tensor:
        one, other = pairs.unbind(1)
        met = h.new_zeros(len(h)).index_add(0, pairs.reshape(-1), h.new_ones(pairs.numel())).clamp_min(1.0)[:, None]
        x = positions
        parts = zip(self.ends, self.distance, self.move, self.own, self.outer, strict=True)
        for ends, distance, move, own, outer in parts:
            apart = x.index_select(0, one) - x.index_select(0, other)
            a = ends(h[None])[0]
            squared = distance(apart.square().sum(1, keepdim=True)[None] / 10.0)[0]
            m = nn.functional.silu(a.index_select(0, one) + a.index_select(0, other) + squared)
            gathered = torch.zeros_like(h).index_add(0, one, m).index_add(0, other, m) / met
            step = apart * torch.tanh(move(m[None])[0])
            x = x + torch.zeros_like(x).index_add(0, one, step).index_add(0, other, -step) / met
            v = nn.functional.layer_norm(own(h[None])[0] + gathered, h.shape[-1:])
            h = h + outer(nn.functional.silu(v)[None])[0]
        return h
