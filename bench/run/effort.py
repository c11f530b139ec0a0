"""Effort: how long a learner trains, in multiples of its default.

A learner names the parameters that effort scales (``effort=("steps",)`` in its decorator). A cell keeps the unscaled
parameters and the factor, so that the same learner at several efforts is one row with a curve of score against cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from bench.api import LearnerInfo
from bench.errors import UsageError

LARGEST = 1024


def parse_efforts(text: str) -> list[float]:
    """'1/8,1/2,1,4' -> the factors, rising; raises UsageError."""
    efforts: set[float] = set()
    for part in text.split(","):
        try:
            value = float(Fraction(part.strip()))
        except (ValueError, ZeroDivisionError):
            raise UsageError(f"--effort '{text}': '{part}' is neither a number nor a fraction such as 1/4") from None
        if not 0 < value <= LARGEST:
            raise UsageError(f"--effort '{text}': '{part}' is not above 0 and at most {LARGEST}")
        efforts.add(value)
    return sorted(efforts)


def scaled(params: Mapping[str, Any], info: LearnerInfo, effort: float) -> dict[str, Any]:
    """The parameters with which a learner is made: those that effort scales times the factor, at least 1."""
    return {
        name: max(1, round(value * effort)) if name in info.effort and effort != 1.0 else value
        for name, value in params.items()
    }


def efforts_of(info: LearnerInfo, wanted: Sequence[float]) -> Sequence[float]:
    """The wanted efforts for a learner that has something to scale; one point for any other."""
    return wanted if info.effort else (1.0,)
