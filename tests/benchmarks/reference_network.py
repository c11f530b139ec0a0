"""The paper's stage 1 as it reads: Adam on ½ squared error from a random start. What ``mtlcm`` is measured against.

Chen et al. 2024 (TMLR, arXiv 2306.14861), section 3, with the released settings: shared network d_x → 200 → d, ReLU,
one linear head a task, Adam 1e-3, batches of 1024 rows, 2000 epochs. Written to be fast: rows lie in memory as the
network takes them, a batch computes the heads of its own tasks only, Adam is torch's fused one. In the reference's
favour, inputs are standardised, and targets per task.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bench.api import TrainView
from bench.toolkit.encoders.skip import Encoder
from bench.toolkit.reduced_rank import Standardiser


@dataclass(frozen=True)
class Look:
    """The network after ``epoch`` epochs, until training goes on: it is not a copy.

    cpu_s   of the training so far; what is done with looks is left out
    loss    mean over the last epoch
    """

    epoch: int
    cpu_s: float
    loss: float
    network: Encoder
    standardise: Standardiser

    @torch.no_grad()
    def encode(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Codes (n, d) of x (n, d_x)."""
        return np.asarray(self.network(torch.from_numpy(self.standardise(x)).float()).double().numpy())


def train_plainly(
    view: TrainView,
    looks: Sequence[int],
    *,
    hidden: int = 200,
    learning_rate: float = 1e-3,
    batch: int = 1024,
    seed: int = 0,
) -> Iterator[Look]:
    """Train until the last of the epochs ``looks``, in rising order, and yield the network at each. One target a row of
    x (``nonlinear-causal``) or more."""
    start = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    d, n_tasks = view.n_latents, view.n_tasks
    standardise = Standardiser.of(np.asarray(view.x))
    x = torch.from_numpy(standardise(view.x[view.sample])).float()
    task = torch.from_numpy(np.asarray(view.task, dtype=np.int64))
    y = torch.from_numpy(_standardised(np.asarray(view.y, dtype=np.float64), view.task, n_tasks)).float()
    network = Encoder((x.shape[1], hidden, d), None, generator)
    head = nn.Parameter((2 * torch.rand(n_tasks, d + 1, generator=generator) - 1) / math.sqrt(d))
    optimiser = torch.optim.Adam([*network.parameters(), head], lr=learning_rate, fused=True)
    spent, loss = time.process_time() - start, math.nan
    for epoch in range(1, max(looks) + 1):
        start, total = time.process_time(), torch.zeros(())
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            mine = nn.functional.embedding(task[rows], head)
            prediction = (network(x[rows]) * mine[:, :-1]).sum(1) + mine[:, -1]
            objective = 0.5 * nn.functional.mse_loss(prediction, y[rows])
            optimiser.zero_grad()
            objective.backward()
            optimiser.step()
            total += objective.detach() * len(rows)
        loss = float(total) / len(x)
        spent += time.process_time() - start
        if epoch in looks:
            yield Look(epoch, spent, loss, network, standardise)


def _standardised(y: NDArray[np.float64], task: NDArray[Any], n_tasks: int) -> NDArray[np.float64]:
    """Targets (m,) of mean 0 and variance 1 in each task."""
    n = np.maximum(np.bincount(task, minlength=n_tasks), 1)
    y = y - (np.bincount(task, y, n_tasks) / n)[task]
    deviation = np.sqrt(np.bincount(task, y**2, n_tasks) / n)
    return y / np.where(deviation > 0, deviation, 1.0)[task]
