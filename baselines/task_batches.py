"""Targets in long format, cut into small batches of one task each: what the multi-task learners train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.api import NotApplicable, TrainView

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
TargetScale = Literal["auto", "task", "pooled", "none"]

MIN_ROWS = 5
"""Tasks with fewer targets say too little to be split or fitted; they are left out."""

SCALES_DIFFER = 100.0
"""Tasks whose deviations differ by more (90 % over 10 % quantile) are taken to have different units."""


@dataclass(frozen=True)
class TaskBatches:
    """K batches of at most m targets, each batch from one task.

    rows      (K, m) indices into x; padding repeats a row of the batch
    y         (K, m) float64 targets, prepared as ``cut_into_task_batches`` says
    weight    (K, m) float64, 1 where there is a target and 0 on padding
    task      (K,) the task of the batch
    blocks    (K,) integers: batches with the same number share their samples; None where they overlap in other ways.
              To be kept on one side of a split
    left_out  tasks without use: fewer than MIN_ROWS targets, or a constant target
    """

    rows: Int64
    y: Float64
    weight: Float64
    task: Int64
    blocks: Int64 | None
    left_out: tuple[int, ...]

    @property
    def n_tasks(self) -> int:
        """Number of tasks that are left."""
        return len(np.unique(self.task))

    def __len__(self) -> int:
        return len(self.rows)


def cut_into_task_batches(
    view: TrainView, *, size: int, seed: int, min_tasks: int = 2, scale: TargetScale = "auto"
) -> TaskBatches:
    """Cut the targets of ``view`` into batches of at most ``size`` of one task, in random order, of even length.

    scale   "task": every task's targets to mean 0 and deviation 1; "pooled": means to 0, one common factor to a root
            mean square of 1 ("signals of one quantity", as in Lachapelle et al.); "auto": "task" where the
            deviations differ by more than SCALES_DIFFER, else "pooled"; "none": as they are (binary targets)

    One random order of the samples serves all tasks, so that where every sample has all tasks their batches coincide.
    Raises NotApplicable for targets that are not finite and where fewer than ``min_tasks`` tasks are of use.
    """
    if view.n_tasks < min_tasks:
        raise NotApplicable(f"{tasks_in_words(view.n_tasks)}: at least {min_tasks} are needed")
    if not np.isfinite(view.y).all():
        raise NotApplicable("the targets hold values that are not finite; leave those targets out")
    rank = np.random.default_rng([seed, 0x7A5C]).permutation(view.n_samples)
    order = np.lexsort((rank[view.sample], view.task))
    sample = np.asarray(view.sample, dtype=np.int64)[order]
    task = np.asarray(view.task, dtype=np.int64)[order]
    y = np.asarray(view.y, dtype=np.float64)[order]

    count = np.bincount(task, minlength=view.n_tasks)
    mean = np.bincount(task, y, minlength=view.n_tasks) / np.maximum(count, 1)
    deviation = np.sqrt(np.bincount(task, (y - mean[task]) ** 2, minlength=view.n_tasks) / np.maximum(count, 1))
    constant = deviation <= 1e-12 * np.maximum(np.abs(mean), 1e-300)
    useful = (count >= MIN_ROWS) & ~constant
    if useful.sum() < min_tasks:
        few = int((count < MIN_ROWS).sum())
        raise NotApplicable(
            f"{int(useful.sum())} of {tasks_in_words(view.n_tasks)} can be used, at least {min_tasks} are needed: "
            f"{few} with fewer than {MIN_ROWS} targets, "
            f"{int(((count >= MIN_ROWS) & constant).sum())} with a constant target"
        )
    keep = useful[task]
    sample, task, y = sample[keep], task[keep], y[keep]
    if scale != "none":
        y = (y - mean[task]) / _divisor(deviation, count, useful, scale)[task]

    pieces = np.where(useful, -(-count // size), 0)  # batches of each task, as even as can be
    first_row = np.concatenate([[0], np.cumsum(np.where(useful, count, 0))[:-1]])
    first_batch = np.concatenate([[0], np.cumsum(pieces)[:-1]])
    within = (np.arange(len(task)) - first_row[task]) * pieces[task] // count[task]
    batch = first_batch[task] + within
    length = np.bincount(batch)
    start = np.concatenate([[0], np.cumsum(length)[:-1]])
    column = np.arange(length.max())
    padding = column >= length[:, None]
    position = start[:, None] + np.where(padding, 0, column)
    rows = sample[position]
    return TaskBatches(
        rows=rows,
        y=y[position],
        weight=(~padding).astype(np.float64),
        task=task[start],
        blocks=_blocks(rows, ~padding, within[start], pieces[useful]),
        left_out=tuple(np.flatnonzero(~useful).tolist()),
    )


def tasks_in_words(n: int) -> str:
    return "one task only" if n == 1 else f"{n} tasks"


def _divisor(deviation: Float64, count: NDArray[Any], useful: NDArray[np.bool_], scale: TargetScale) -> Float64:
    """What to divide each task's centred targets by, (n_tasks,)."""
    if scale == "auto":
        low, high = np.quantile(deviation[useful], [0.1, 0.9])
        scale = "task" if high > SCALES_DIFFER * low else "pooled"
    if scale == "task":
        return np.where(useful, deviation, 1.0)
    pooled = np.sqrt(np.average(deviation[useful] ** 2, weights=count[useful]))
    return np.full(len(deviation), pooled)


def _blocks(rows: Int64, real: NDArray[np.bool_], within: Int64, pieces: NDArray[Any]) -> Int64 | None:
    """Number of the block of samples of each batch, where all tasks were cut into the same blocks of samples."""
    if len(np.unique(rows)) == real.sum():  # no sample in two batches
        return np.arange(len(rows))
    if (pieces != pieces[0]).any() or pieces[0] < 2:
        return None
    reference = rows[within.argsort(kind="stable")].reshape(pieces[0], len(pieces), -1)
    return within if (reference == reference[:, :1]).all() else None
