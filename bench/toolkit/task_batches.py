"""What a step of a multi-task learner sees of the targets, which come in long format.

``Targets`` deals out whole tasks with samples of their own, or samples with all their tasks, as the data have it.
``cut_into_task_batches`` cuts every task into small batches once, for learners that hold out whole batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


HELD_OUT_EVERY = 10
"""One sample in this many is held out of training to choose between encoders."""

_DENSE_VALUES = 200_000_000  # largest (n, T) table that is laid out in full: 0.8 GB of float32


@dataclass(frozen=True)
class TaskStep:
    """One step: codes of x[rows] are needed, laid out for ``bench.toolkit.heads``.

    rows   (G, n) or (b,) int64: rows of x
    y      (G, n) or (b, T): standardised targets
    mask   as y: 1 where observed; None where all are
    """

    rows: Tensor
    y: Tensor
    mask: Tensor | None


class Targets:
    """The targets of a TrainView on the device, standardised per task, split into training and held-out samples.

    Tasks without at least 3 training samples and a target that varies there are left out: they have no head to fit.

    shared        layout of the batches, see ``toolkit.heads``: chosen by whether minibatches of samples hold enough
                  targets of every task to fit its head
    train, held   (m_train,), (m_held,) rows of x, tasks 0..T'-1 and targets in long format, sorted by task
    """

    def __init__(self, view: TrainView, *, batch: int, rng: np.random.Generator, device: str) -> None:
        sample, task = np.asarray(view.sample), np.asarray(view.task)
        y = np.asarray(view.y, dtype=np.float64)
        self.held_out = _held_out_samples(sample, task, view.n_samples, rng)
        train = ~self.held_out[sample]
        mean, deviation, n = _task_moments(task[train], y[train], view.n_tasks)
        keep = (n >= 3) & (deviation > 0)
        if keep.sum() < view.n_latents:
            raise NotApplicable(
                f"{keep.sum()} tasks with at least 3 training samples and a target that varies cannot span "
                f"{view.n_latents} latent factors: lower n_latents or add tasks"
            )
        y = (y - mean[task]) / np.where(keep, deviation, 1.0)[task]
        number = np.cumsum(keep) - 1
        self.n_tasks = int(keep.sum())
        order = np.lexsort((rng.random(len(task)), task))  # random within a task: any window of it is a fair sample
        order = order[keep[task[order]]]
        sample, task, y = sample[order], number[task[order]], y[order]
        train = ~self.held_out[sample]

        def tensors(which: NDArray[np.bool_]) -> tuple[Tensor, Tensor, Tensor]:
            return (
                torch.from_numpy(sample[which].astype(np.int64)).to(device),
                torch.from_numpy(task[which].astype(np.int64)).to(device),
                torch.from_numpy(y[which].astype(np.float32)).to(device),
            )

        self.train, self.held = tensors(train), tensors(~train)
        counts = np.bincount(task[train], minlength=self.n_tasks)
        self.count = torch.from_numpy(counts).to(device)
        self.start = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)[:-1]])).to(device)
        self.batch = batch
        used = np.unique(sample[train])
        per_task_in_batch = batch * train.sum() / (len(used) * self.n_tasks)
        self.shared = bool(
            train.sum() > 1.5 * len(used)
            and per_task_in_batch >= 5 * (view.n_latents + 1)
            and view.n_samples * self.n_tasks <= _DENSE_VALUES
        )
        if self.shared:
            self._used = torch.from_numpy(used).to(device)
            self._y = torch.zeros(view.n_samples, self.n_tasks, device=device)
            self._mask: Tensor | None = torch.zeros(view.n_samples, self.n_tasks, device=device)
            rows, tasks, values = self.train
            self._y[rows, tasks] = values
            self._mask[rows, tasks] = 1.0
            if bool((self._mask[self._used] == 1).all()):
                self._mask = None
            self.steps_per_epoch = max(1, round(len(used) / batch))
        else:
            self.width = int(min(counts.max(), batch))
            tasks_a_step = int(np.clip(round(batch / max(counts.mean(), 1)), 1, self.n_tasks))
            self.steps_per_epoch = max(1, round(self.n_tasks / tasks_a_step))

    def epoch(self, generator: torch.Generator) -> Iterator[TaskStep]:
        """The batches of one pass, in random order; a task longer than a batch is seen through a random window."""
        if self.shared:
            shuffled = self._used[torch.randperm(len(self._used), generator=generator).to(self._used.device)]
            for rows in torch.tensor_split(shuffled, self.steps_per_epoch):
                yield TaskStep(rows, *self.table(rows))
            return
        device = self.count.device
        shuffled = torch.randperm(self.n_tasks, generator=generator).to(device)
        for tasks in torch.tensor_split(shuffled, self.steps_per_epoch):
            yield self.whole_tasks(tasks, int(torch.randint(2**31, (1,), generator=generator)))

    def table(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Shared layout only: training targets (b, T) of samples ``rows`` (b,), and which of them were observed."""
        return self._y[rows], None if self._mask is None else self._mask[rows]

    def whole_tasks(self, tasks: Tensor, offset: int = 0) -> TaskStep:
        """Own-layout batch of ``tasks`` (G,): up to ``width`` training targets of each, from a rotated start."""
        count = self.count[tasks][:, None]
        along = torch.arange(min(int(count.max()), self.width), device=count.device)
        at = self.start[tasks][:, None] + (along + offset) % count
        return TaskStep(self.train[0][at], self.train[2][at], (along < count).float())


def _held_out_samples(
    sample: NDArray[Any], task: NDArray[Any], n_samples: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(n,) bool: every tenth sample in an order that is random within the first task of each, hence stratified."""
    first = np.full(n_samples, np.iinfo(np.int64).max)
    np.minimum.at(first, sample, task)
    order = np.lexsort((rng.random(n_samples), first))
    order = order[first[order] < np.iinfo(np.int64).max]
    held = np.zeros(n_samples, dtype=bool)
    held[order[int(rng.integers(HELD_OUT_EVERY)) :: HELD_OUT_EVERY]] = True
    return held


def _task_moments(
    task: NDArray[Any], y: NDArray[np.float64], n_tasks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean, deviation and count of every task's targets; deviation 0 where they differ by rounding only."""
    n = np.bincount(task, minlength=n_tasks)
    mean = np.bincount(task, y, n_tasks) / np.maximum(n, 1)
    deviation = np.sqrt(np.bincount(task, np.square(y - mean[task]), n_tasks) / np.maximum(n, 1))
    return mean, np.where(deviation > 1e-9 * np.abs(mean), deviation, 0.0), n
