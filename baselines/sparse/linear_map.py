"""The last linear map of an encoder, sought from many starts at once under the inner Lasso (``sparse.bilevel``).

Once features are identified up to a linear map, which map the Lasso settles on depends on where it starts: at strong
correlation of the factors the outer loss has many local minima. With the rest of the encoder frozen, the outer loss
of a map A is a function of small moments alone: for whitened features u of task t, and z = A'u/‖A‖,

    Gram matrix AᵀG_tA,  G_t = UᵀU/n;   correlations Aᵀc_t,  c_t = Uᵀy/n;   outer loss ½(yᵀy/n − 2wᵀc + wᵀGw),

so that many maps can be trained side by side at the cost of a few. It is the objective of the learner on the same
batches; the map is chosen by the loss of held-out ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from baselines.sparse.lasso import differentiable_lasso

TASKS_PER_STEP = 32
LEARNING_RATE = 0.05
WARMUP = 0.1
ANNEAL = 0.6
"""Fraction of the steps in which the ratio falls."""


@dataclass(frozen=True)
class Moments:
    """K tasks: gram (K, d, d) of their features, correlation (K, d) with the target, power (K,) mean square target."""

    gram: Tensor
    correlation: Tensor
    power: Tensor

    def __getitem__(self, index: Tensor | slice) -> Moments:
        return Moments(self.gram[index], self.correlation[index], self.power[index])

    def __len__(self) -> int:
        return len(self.gram)

    @staticmethod
    def of(features: Tensor, y: Tensor, weight: Tensor) -> Moments:
        """Of centred features (K, m, d), targets and weights (K, m)."""
        share = weight / weight.sum(dim=1, keepdim=True)
        weighted = (features * share[..., None]).mT
        return Moments(weighted @ features, (weighted @ y[..., None])[..., 0], (share * y.square()).sum(dim=1))

    def mapped(self, a: Tensor) -> Moments:
        """Of the features times a (S, d, d'): S·K tasks."""
        gram, correlation = a.mT[:, None] @ self.gram @ a[:, None], self.correlation @ a
        return Moments(gram.flatten(0, 1), correlation.flatten(0, 1), self.power.repeat(len(a)))


def unit_columns(a: Tensor) -> Tensor:
    """Maps (S, d, d) of which every code has variance 1, if the features are white."""
    return a / torch.linalg.vector_norm(a, dim=1, keepdim=True)


def outer_losses(a: Tensor, tasks: Moments, ratio: float) -> Tensor:
    """Outer loss (S,) of maps a (S, d, d) on white features, the inner Lasso at λ = ratio · max|c|."""
    found = tasks.mapped(unit_columns(a))
    w = differentiable_lasso(found.gram, found.correlation, ratio * found.correlation.detach().abs().amax(dim=1))
    quadratic = (w * (found.gram @ w[..., None])[..., 0]).sum(dim=1)
    losses = 0.5 * (found.power + quadratic) - (w * found.correlation).sum(dim=1)
    return losses.view(len(a), len(tasks)).mean(dim=1)


def best_map(
    tasks: Moments,
    held_out: Moments,
    *,
    starts: int,
    steps: int,
    ratio: float,
    start_ratio: float,
    rng: np.random.Generator,
) -> tuple[Tensor | None, list[float]]:
    """The map (d, d) with the lowest outer loss on held-out tasks, and the losses: of no map, then of every start.

    tasks, held_out   moments of the features as they are now
    starts            the map as it is, then in turn a random rotation of the white features and of the features
    ratio             λ over the smallest λ at which all weights vanish; it falls geometrically from ``start_ratio``

    The features are to be multiplied by the map from the right, which gives them variance 1. None where no start
    improves on the features as they are.
    """
    values, vectors = torch.linalg.eigh(tasks.gram.mean(dim=0))
    root = values.clamp(min=1e-10 * float(values[-1])).sqrt()
    whiten, current = vectors / root @ vectors.mT, vectors * root @ vectors.mT
    white, judge = tasks.mapped(whiten[None]), held_out.mapped(whiten[None])
    d = len(whiten)
    rotations = [torch.from_numpy(np.linalg.qr(rng.standard_normal((d, d)))[0]) for _ in range(starts - 1)]
    current = unit_columns(current[None])[0]
    first = [current] + [q if i % 2 else current @ q for i, q in enumerate(rotations)]
    a = torch.stack(first).requires_grad_()
    adam = torch.optim.Adam([a], lr=LEARNING_RATE)
    for step in range(steps):
        done = step / steps
        now = start_ratio * (ratio / start_ratio) ** min(1.0, done / ANNEAL)
        rate = min((step + 1) / (WARMUP * steps), 1.0) * 0.5 * (1 + math.cos(math.pi * done))
        adam.param_groups[0]["lr"] = LEARNING_RATE * rate
        chosen = torch.from_numpy(rng.integers(len(white), size=TASKS_PER_STEP))
        (a.grad,) = torch.autograd.grad(outer_losses(a, white[chosen], now).sum(), a)
        adam.step()
    with torch.no_grad():
        every = unit_columns(torch.cat([current[None], a]))
        losses = outer_losses(every, judge, ratio).nan_to_num(nan=math.inf)
        best = int(losses.argmin())
    return (whiten @ every[best] if best else None), losses.tolist()
