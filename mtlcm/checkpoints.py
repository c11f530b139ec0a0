"""Which state of a network to keep, the one with the best loss on held-out targets; and that loss."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from bench.api import Diverged
from bench.toolkit.heads import VARIANCE_FLOOR, own_heads, shared_heads
from bench.toolkit.task_batches import Targets

_VALIDATION_ROWS = 1 << 15  # samples from which shared heads are fitted to validate


class Checkpoints:
    """The best state of a network so far, by held-out loss, and the losses that were looked at."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.best, self.step = math.inf, 0
        self.curve: list[float] = []
        self.evaluated_at: list[int] = []
        self.state = copy.deepcopy(network.state_dict())

    def look(self, loss: float, step: int) -> None:
        """Note a loss. Raises Diverged for one that is no number."""
        if not math.isfinite(loss):
            raise Diverged(f"held-out loss {loss} at step {step}: lower the learning rate")
        self.curve.append(loss)
        self.evaluated_at.append(step)
        if loss < self.best:
            self.best, self.step = loss, step
            self.state = copy.deepcopy(self.network.state_dict())

    def restore(self) -> None:
        """Put the network back into its best state."""
        self.network.load_state_dict(self.state)

    def history(self) -> dict[str, Any]:
        """JSON values for a learner's ``history_``."""
        return {
            "steps": self.evaluated_at[-1],
            "best_step": self.step,
            "validation_curve": [round(loss, 6) for loss in self.curve],
            "evaluated_at": self.evaluated_at,
        }


@torch.no_grad()
def validation_loss(h: Tensor, targets: Targets, ridge: float, *, log: bool = True) -> float:
    """½ log of each task's mean squared error on held-out targets, averaged over those targets; ½ of it without log.

    h (n, d): codes of all samples; the heads are fitted on training targets. Targets have variance 1.
    """
    variance = ridge * h.double().var(0, correction=0).mean()
    if targets.shared:
        rows = targets.train[0].unique()[:_VALIDATION_ROWS]
        y, mask = targets.table(rows)
        heads, intercepts = shared_heads(h[rows], y, mask, variance)
    else:
        parts = []
        for tasks in torch.arange(targets.n_tasks, device=h.device).split(max(1, _VALIDATION_ROWS // targets.width)):
            batch = targets.whole_tasks(tasks)
            assert batch.mask is not None
            parts.append(own_heads(h[batch.rows], batch.y, batch.mask, variance))
        heads, intercepts = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
    rows, task, y = targets.held
    if len(rows) == 0:
        rows, task, y = targets.train  # too few samples to hold any out
    residual = y.double() - (h[rows].double() * heads[task]).sum(1) - intercepts[task]
    zero = torch.zeros(targets.n_tasks, dtype=torch.float64, device=h.device)
    n = zero.index_add(0, task, torch.ones_like(residual))
    error = zero.index_add(0, task, residual.square()) / n.clamp_min(1)
    return float(0.5 * (n * (torch.log(error + VARIANCE_FLOOR) if log else error)).sum() / n.sum())
