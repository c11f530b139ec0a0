"""Which state of a network to keep: the one with the best loss on held-out targets."""

from __future__ import annotations

import copy
import math
from typing import Any

from torch import nn

from bench.api import Diverged


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
