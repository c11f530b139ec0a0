"""Did training converge? A rule on the learner's own validation loss; nothing about the truth enters it.

A learner says in ``history_``: ``validation_curve`` (losses at the evaluated steps, lower is better), ``steps``
(taken), ``best_step`` (whose state was kept) and, where the steps are not evenly spaced, ``evaluated_at``. A single run
is judged by ``from_history``, two runs of different length by ``from_doubling``.

What a doubling of the training gained is held against what the doubling before it had gained. That knows no units, and
no scale that the first steps set: losses that are annealed start hundreds of nats too high.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOLERANCE = 0.05
"""Part of the gain of one doubling of the training that the next doubling may still gain."""

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
    training lowered the best loss by at most ``TOLERANCE`` of what its second quarter did. A learner may state
    ``converged`` itself, with ``converged_reason``. One that threw the end of its training away (``discarded_steps``)
    shows the curve of a shorter training than it was given, which says nothing of a longer one.
    """
    history = history or {}
    if history.get("discarded_steps"):
        return Verdict(False, f"its last {history['discarded_steps']} steps were thrown away: a longer run must judge")
    if isinstance(history.get("converged"), bool):
        return Verdict(history["converged"], str(history.get("converged_reason", "as the learner itself says")))
    curve = _curve(history)
    steps, best = history.get("steps"), history.get("best_step")
    if len(curve) < 4 or not isinstance(steps, int) or not isinstance(best, int) or steps <= 0:
        return Verdict(None, "no validation curve")
    at = _evaluated_at(history, len(curve), steps)
    if best <= (1 - PATIENCE) * steps:
        return Verdict(True, f"best state at step {best} of {steps}, none better after it")
    quarter, half, whole = (_lowest(curve, at, part * steps) for part in (0.25, 0.5, 1.0))
    if quarter is None or half is None or whole is None:
        return Verdict(None, "no validation loss in the first quarter of the training")
    return _compared(quarter - half, half - whole, "the second half")


def from_doubling(half: Mapping[str, Any], full: Mapping[str, Any]) -> Verdict:
    """Judge a run by one of at most half its length on the same seeds: did doubling the training still pay?"""
    before, after = best_loss(half), best_loss(full)
    curve = _curve(half)
    if before is None or after is None or not curve:
        return Verdict(None, "no validation loss at half the training")
    steps = half.get("steps")
    at = _evaluated_at(half, len(curve), steps) if isinstance(steps, int) and steps > 0 else ()
    middle = _lowest(curve, at, 0.5 * steps) if at and isinstance(steps, int) else None
    if middle is None:
        return Verdict(None, "no validation loss in the first half of the shorter training")
    return _compared(middle - before, before - after, "training longer")


def _compared(gain_before: float, gain: float, what: str) -> Verdict:
    """Did the later gain stay within ``TOLERANCE`` of the one before it?"""
    words = f"lowered the validation loss by {max(gain, 0.0):.3g}, the doubling before by {max(gain_before, 0.0):.3g}"
    if gain <= TOLERANCE * max(gain_before, 0.0):
        return Verdict(True, f"{what} {words}")
    return Verdict(False, f"{what} still {words}")


def _lowest(curve: Sequence[float], at: Sequence[float], until: float) -> float | None:
    return min((value for value, step in zip(curve, at, strict=True) if step <= until), default=None)


def judged(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records with ``converged`` and ``converged_reason``, by the longer of two runs where there are two.

    A run that converged by its own curve stays so; one that did not, or says nothing, is judged by the longest run of
    the same cell at half its effort or less; and a run whose loss no run of twice its effort or more could lower has
    converged, whatever its curve says.
    """
    made = [dict(record) for record in records]
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for record in made:
        if record["status"] == "ok":
            by_cell.setdefault(_cell(record["spec"]), []).append(record)
    for runs in by_cell.values():
        runs.sort(key=lambda record: record["spec"].get("effort", 1.0))
        for number, record in enumerate(runs):
            verdict = _own(record)
            if verdict.converged is not True:
                effort = record["spec"].get("effort", 1.0)
                shorter = [run for run in runs[:number] if run["spec"].get("effort", 1.0) <= effort / 2]
                if shorter:
                    doubled = from_doubling(shorter[-1].get("history") or {}, record.get("history") or {})
                    verdict = doubled if doubled.converged is not None else verdict
            record["converged"], record["converged_reason"] = verdict.converged, verdict.reason
        for number, record in enumerate(runs):
            if record["converged"] is False and (longer := _no_better(record, runs[number + 1 :])) is not None:
                record["converged"] = True
                record["converged_reason"] = f"training {longer:g} times as long did not lower the validation loss"
    return made


def _no_better(record: Mapping[str, Any], longer: Sequence[Mapping[str, Any]]) -> float | None:
    """How many times as long the longest of the longer runs was, where none has a lower loss; None where one has."""
    effort, loss = record["spec"].get("effort", 1.0), best_loss(record.get("history") or {})
    far = [run for run in longer if run["spec"].get("effort", 1.0) >= 2 * effort]
    losses = [best_loss(run.get("history") or {}) for run in longer]
    if not far or loss is None or any(other is None or other < loss for other in losses):
        return None
    return float(far[-1]["spec"].get("effort", 1.0) / effort)


def _curve(history: Mapping[str, Any]) -> list[float]:
    values = history.get("validation_curve") or []
    return [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]


def best_loss(history: Mapping[str, Any]) -> float | None:
    """The validation loss of the state that was kept: as stated, else the lowest of the curve."""
    loss = history.get("validation_loss")
    if isinstance(loss, int | float) and math.isfinite(loss):
        return float(loss)
    return min(_curve(history), default=None)


def _own(record: Mapping[str, Any]) -> Verdict:
    """By the record's curve; where it has none, what it says of itself."""
    verdict = from_history(record.get("history"))
    if verdict.converged is None and record.get("converged") is not None:
        return Verdict(record["converged"], str(record.get("converged_reason", "")))
    return verdict


def _evaluated_at(history: Mapping[str, Any], n: int, steps: int) -> Sequence[float]:
    stated = history.get("evaluated_at")
    if isinstance(stated, list) and len(stated) == n:
        return stated
    return [steps * (i + 1) / n for i in range(n)]


def _cell(spec: Mapping[str, Any]) -> str:
    return repr(sorted((name, value) for name, value in spec.items() if name != "effort"))
