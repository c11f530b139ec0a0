"""Scores of codes made elsewhere: ``bench.evaluate(z=…, codes=…)`` and ``python -m bench score``.

Every metric of the suite that applies, with its chance level and an interval over the held-out samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.errors import UsageError
from bench.metrics.base import OutOfDomain, Score, ScoreInput
from bench.metrics.evaluate import FourArrays
from bench.metrics.evaluate import evaluate as evaluate_all
from bench.statistics.jackknife import groups, jackknife_interval


@dataclass(frozen=True)
class Scored:
    """One metric's answer on given codes.

    value, low, high   the score and its 95 % interval over held-out samples; None where there is none, ``reason`` says
                       why, or how the value must be read
    chance             what codes independent of the factors score; None if unknown
    """

    metric: str
    value: float | None
    low: float | None
    high: float | None
    chance: float | None
    reason: str = ""


class Evaluation(Mapping[str, Scored]):
    """Scores by metric: a mapping that prints as a table."""

    def __init__(self, scores: Mapping[str, Scored], n_train: int, n_test: int) -> None:
        self._scores = dict(scores)
        self.n_train, self.n_test = n_train, n_test

    def __getitem__(self, name: str) -> Scored:
        return self._scores[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def rows(self) -> list[dict[str, Any]]:
        """One dict a metric, JSON's own types."""
        return [asdict(score) for score in self.values()]

    def __str__(self) -> str:
        from tabulate import tabulate

        head = ["metric", "score", "95 % interval", "chance", "remark"]
        rows = [
            [
                score.metric,
                _number(score.value),
                "none" if score.low is None else f"{_number(score.low)} to {_number(score.high)}",
                _number(score.chance),
                score.reason.replace("|", "\\|"),
            ]
            for score in self.values()
        ]
        align = ["left", "right", "right", "right", "left"]
        made = tabulate(rows, headers=head, tablefmt="pipe", colalign=align, disable_numparse=True)
        return (
            f"Permutation, signs and maps fitted on {self.n_train:,} samples, scored on {self.n_test:,} others; "
            f"interval over those, given the codes.\n\n{made}"
        )

    __repr__ = __str__


def evaluate(
    *,
    codes: ArrayLike,
    z: ArrayLike | None = None,
    codes_test: ArrayLike | None = None,
    z_test: ArrayLike | None = None,
    codes_other: ArrayLike | None = None,
    task: ArrayLike | None = None,
    causal: ArrayLike | None = None,
    causal_found: ArrayLike | None = None,
    seed: int = 0,
    full: bool = False,
    plugins: Mapping[str, FourArrays] | None = None,
) -> Evaluation:
    """Score codes against true latent factors, or against the codes of another model.

    codes, z             (n, d), (n, d_z): codes and factors of the same samples
    codes_test, z_test   held-out samples; without them the samples are halved at random by ``seed``
    codes_other          (n, d'): another model's codes of the same samples, for agreement where z is unknown
    task                 (n_test,), or (n,) where the samples are halved: the task of every sample (``mcc_per_task``)
    causal, causal_found   (T, d_z), (T, d) bool: which factors, which codes, cause which target (``causal_f1``)
    full                 also the expensive metrics
    plugins              further metrics by name: functions of z_train, codes_train, z_test, codes_test

    Raises UsageError, naming the arrays, for shapes that do not belong together and for values that are not finite.
    """
    first = _matrix("codes", codes)
    agreement = {} if codes_other is None else _agreement(first, _matrix("codes_other", codes_other), seed)
    if z is None:
        if codes_other is None:
            raise UsageError("nothing to score codes against: give z, or codes_other of a second model")
        return Evaluation(agreement, len(first) // 2, len(first) - len(first) // 2)
    inputs = _inputs(first, _matrix("z", z), codes_test, z_test, task, seed)
    inputs = replace(
        inputs,
        causal_true=None if causal is None else np.asarray(causal, dtype=bool),
        causal_found=None if causal_found is None else np.asarray(causal_found, dtype=bool),
    )
    scores = evaluate_all(inputs, full=full, plugins=plugins)
    n_test = len(inputs.codes_test)
    left_out = [evaluate_all(_without(inputs, rows), full=full, plugins=plugins) for rows in groups(n_test)]
    found = {name: _scored(name, score, [other.get(name) for other in left_out]) for name, score in scores.items()}
    return Evaluation(found | agreement, len(inputs.codes_train), n_test)


def _inputs(codes: NDArray[Any], z: NDArray[Any], codes_test: Any, z_test: Any, task: Any, seed: int) -> ScoreInput:
    if len(codes) != len(z):
        raise UsageError(f"codes has {len(codes)} samples and z has {len(z)}; a row of each must be the same sample")
    if (codes_test is None) != (z_test is None):
        raise UsageError("codes_test and z_test belong together: give both, or neither to halve the samples")
    tasks = None if task is None else np.unique(np.asarray(task), return_inverse=True)[1]
    if codes_test is None:
        if tasks is not None and len(tasks) != len(codes):
            raise UsageError(f"task has {len(tasks)} rows, codes has {len(codes)}")
        order = np.random.default_rng(seed).permutation(len(codes))
        fit, score = np.sort(order[: len(codes) // 2]), np.sort(order[len(codes) // 2 :])
        return ScoreInput(
            codes_train=codes[fit],
            z_train=z[fit],
            codes_test=codes[score],
            z_test=z[score],
            task_test=None if tasks is None else tasks[score],
            seed=seed,
        )
    held_codes, held_z = _matrix("codes_test", codes_test), _matrix("z_test", z_test)
    for name, one, other in (("codes", codes, held_codes), ("z", z, held_z)):
        if one.shape[1] != other.shape[1]:
            raise UsageError(f"{name} has {one.shape[1]} columns and {name}_test {other.shape[1]}")
    if len(held_codes) != len(held_z):
        raise UsageError(f"codes_test has {len(held_codes)} samples and z_test has {len(held_z)}")
    if tasks is not None and len(tasks) != len(held_codes):
        raise UsageError(f"task has {len(tasks)} rows, codes_test has {len(held_codes)}")
    return ScoreInput(codes_train=codes, z_train=z, codes_test=held_codes, z_test=held_z, task_test=tasks, seed=seed)


def _without(inputs: ScoreInput, rows: NDArray[np.int64]) -> ScoreInput:
    """The same, held-out rows left out."""
    keep = np.ones(len(inputs.codes_test), bool)
    keep[rows] = False
    assert inputs.z_test is not None
    task = None if inputs.task_test is None else inputs.task_test[keep]
    return replace(inputs, codes_test=inputs.codes_test[keep], z_test=inputs.z_test[keep], task_test=task)


def _scored(name: str, score: Score, left_out: list[Score | None]) -> Scored:
    values = [other.value for other in left_out if other is not None and other.value is not None]
    low = high = None
    reason = score.reason
    if score.value is not None:
        if len(values) > 1 and len(values) == len(left_out):
            interval = jackknife_interval(score.value, values)
            low, high = interval.low, interval.high
        else:
            reason = reason or "too few held-out samples for an interval"
    return Scored(name, score.value, low, high, score.chance, reason)


def _agreement(codes: NDArray[Any], other: NDArray[Any], seed: int) -> dict[str, Scored]:
    from bench.metrics import consistency

    def scores(rows: NDArray[np.bool_]) -> dict[str, float]:
        return consistency(codes[rows], other[rows], seed=seed)

    if len(codes) != len(other):
        raise UsageError(f"codes has {len(codes)} samples and codes_other has {len(other)}; both need the same ones")
    every = np.ones(len(codes), bool)
    names = {"strong": "consistency_strong", "weak": "consistency_weak"}
    try:
        value = scores(every)
        left_out = []
        for rows in groups(len(codes)):
            keep = every.copy()
            keep[rows] = False
            left_out.append(scores(keep))
    except OutOfDomain as reason:
        return {name: Scored(name, None, None, None, None, str(reason)) for name in names.values()}
    return {
        name: _scored(name, Score(value[part], chance=0.0), [Score(found[part]) for found in left_out])
        for part, name in names.items()
    }


def _matrix(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be an array of numbers (n, d)") from None
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.size == 0:
        raise UsageError(f"{name} has shape {array.shape}; give (n, d)")
    if not np.isfinite(array).all():
        row = int((~np.isfinite(array)).any(axis=1).argmax())
        raise UsageError(f"{name} has a NaN or an infinity in row {row}; leave such samples out of every array")
    return array


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value + 0.0:.3f}".replace("-0.000", "0.000")
