"""What a learner's history says of its training, for learners that build on another one's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENTRIES = ("steps", "best_step", "validation_loss", "validation_curve", "evaluated_at")
"""What ``bench.statistics.convergence`` reads."""


def training_of(history: Mapping[str, Any]) -> dict[str, Any]:
    """The entries on how training went, to be handed on: did the part that is trained converge, then the whole did."""
    return {name: history[name] for name in ENTRIES if name in history}
