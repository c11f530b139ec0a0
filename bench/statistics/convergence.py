"""Did training converge? A rule on the learner's own validation loss; nothing about the truth enters it.

A learner says in ``history_``: ``validation_curve`` (losses at the evaluated steps, lower is better), ``steps``
(taken), ``best_step`` (whose state was kept) and, where the steps are not evenly spaced, ``evaluated_at``. A single run
is judged by ``from_history``, two runs of different length by ``from_doubling``.

The loss is measured on the scale of what training gained at all: ``TOLERANCE`` times the fall from the first evaluation
to the best one. A rule in the units of the loss would need another number for every learner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.005
"""Part of the whole fall of the loss that the second half of the training, or twice the training, may still gain."""

PATIENCE = 0.2
"""Part of the training after the best state that shows that waiting longer would not have helped."""


@dataclass(frozen=True)
class Verdict:
    """converged   True, False, or None where the learner has no iterative training or says nothing of it
    reason      in words, one line
    """

    converged: bool | None
    reason: str = ""


def from_history(history: Mapping[str, Any] | None) -> Verdict:
    """Judge one run by its own curve.

    Converged where the best state came before the last ``PATIENCE`` of the steps, or where the second half of the
    training lowered the best loss by at most ``TOLERANCE`` of its whole fall. A learner may state ``converged`` itself,
    with ``converged_reason``.
    """
    history = history or {}
    if isinstance(history.get("converged"), bool):
        return Verdict(history["converged"], str(history.get("converged_reason", "as the learner itself says")))
    curve = [float(v) for v in history.get("validation_curve") or [] if isinstance(v, int | float) and math.isfinite(v)]
    steps, best = history.get("steps"), history.get("best_step")
    if len(curve) < 4 or not isinstance(steps, int) or not isinstance(best, int) or steps <= 0:
        return Verdict(None, "no validation curve")
    at = _evaluated_at(history, len(curve), steps)
    if best <= (1 - PATIENCE) * steps:
        return Verdict(True, f"best state at step {best} of {steps}, none better after it")
    first_half = [value for value, step in zip(curve, at, strict=True) if step <= steps / 2]
    if not first_half:
        return Verdict(None, "no validation loss in the first half of the training")
    lowest = min(curve)
    fall, gain = curve[0] - lowest, min(first_half) - lowest
    if gain <= TOLERANCE * fall:
        return Verdict(True, f"the second half lowered the validation loss by {gain:.3g} of {fall:.3g}")
    return Verdict(False, f"the second half still lowered the validation loss by {gain:.3g} of {fall:.3g}")


def from_doubling(half: Mapping[str, Any], full: Mapping[str, Any]) -> Verdict:
    """Judge a run by one of at most half its length on the same seeds: did doubling the training still pay?"""
    losses = [history.get("validation_loss") for history in (half, full)]
    curve = [float(v) for v in half.get("validation_curve") or [] if isinstance(v, int | float)]
    if not all(isinstance(loss, int | float) and math.isfinite(loss) for loss in losses) or not curve:
        return Verdict(None, "no validation loss at half the training")
    before, after = (float(loss) for loss in losses if loss is not None)
    fall, gain = curve[0] - min(before, after), before - after
    if gain <= TOLERANCE * fall:
        return Verdict(True, f"doubling the training lowered the validation loss by {max(gain, 0.0):.3g} of {fall:.3g}")
    return Verdict(False, f"doubling the training still lowered the validation loss by {gain:.3g} of {fall:.3g}")


def judged(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records with ``converged`` and ``converged_reason``, by the longer of two runs where there are two.

    A run that converged by its own curve stays so; one that did not, or says nothing, is judged by the longest run of
    the same cell at half its effort or less.
    """
    made = [dict(record) for record in records]
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for record in made:
        if record["status"] == "ok":
            by_cell.setdefault(_cell(record["spec"]), []).append(record)
    for runs in by_cell.values():
        runs.sort(key=lambda record: record["spec"].get("effort", 1.0))
        for number, record in enumerate(runs):
            verdict = from_history(record.get("history"))
            if verdict.converged is not True:
                effort = record["spec"].get("effort", 1.0)
                shorter = [run for run in runs[:number] if run["spec"].get("effort", 1.0) <= effort / 2]
                if shorter:
                    doubled = from_doubling(shorter[-1].get("history") or {}, record.get("history") or {})
                    verdict = doubled if doubled.converged is not None else verdict
            record["converged"], record["converged_reason"] = verdict.converged, verdict.reason
    return made


def _evaluated_at(history: Mapping[str, Any], n: int, steps: int) -> Sequence[float]:
    stated = history.get("evaluated_at")
    if isinstance(stated, list) and len(stated) == n:
        return stated
    return [steps * (i + 1) / n for i in range(n)]


def _cell(spec: Mapping[str, Any]) -> str:
    return repr(sorted((name, value) for name, value in spec.items() if name != "effort"))
