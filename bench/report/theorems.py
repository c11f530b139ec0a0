"""Does a learner's theorem hold on a dataset? What the boards show of it; the answer is ``bench.assumptions``'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.api import DatasetInfo, LearnerInfo
from bench.assumptions import theorem_holds

SIGNS = {"yes": "✓", "nearly": "≈", "no": "✗", "unknown": "?"}
LEGEND = "✓ the learner's theorem holds on this data, ≈ nearly, ✗ it cannot hold, ? unknown; no sign: it has no theorem"


@dataclass(frozen=True)
class Theorem:
    """answer   "yes", "nearly", "no" or "unknown"; "" for a learner that promises nothing
    why      in words
    """

    answer: str = ""
    why: str = ""

    @property
    def sign(self) -> str:
        return SIGNS.get(self.answer, "")

    @property
    def void(self) -> bool:
        """True where the guarantee cannot hold: shown, and not held against the learner."""
        return self.answer == "no"

    @property
    def asked(self) -> bool:
        """True where the guarantee holds, so that a low score is a failure of method or training."""
        return self.answer == "yes"


NO_THEOREM = Theorem()


def theorem(learner: LearnerInfo, dataset: DatasetInfo, params: Mapping[str, Any]) -> Theorem:
    """The declared answer for this learner on this dataset with these parameters."""
    if learner.guarantee == "none" or learner.reference:
        return NO_THEOREM
    return Theorem(*theorem_holds(learner, dataset, params))
