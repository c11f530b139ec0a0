"""The released MTLCM number: MCC computed inside each task. For comparison with that paper, never a headline."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metrics.base import OutOfDomain, metric
from bench.metrics.matching import match
from bench.metrics.moments import as_matrix, moments, tame


@metric(
    "mcc_per_task",
    tests="none",
    range="[0, 1]",
    paper="Chen et al. 2024 (released program)",
    summary="in-sample MCC averaged over tasks, as the MTLCM paper reports it; flatters, for comparison only",
    assumptions="none hold: a permutation per task hides codes that mean something else in every task",
    needs=("truth", "task"),
    version=2,
)
def mcc_per_task(z: Any, codes: Any, task: Any) -> float:
    """Mean over tasks of the unsigned MCC with a permutation fitted in each task on the samples it is scored on.

    z (n, d_z), codes (n, d), task (n,) integers. Tasks with fewer than 3 samples are left out. Of more codes than
    factors the best are matched here; ``evaluate`` hands over the d_z that all its scores are of.
    Range 0 … 1, higher is better. It tests no guarantee: measured, a random unmixing scores 0.74 where the pooled
    MCC is 0.44, and a code shuffled differently in every task scores 1. Chance is far above 0 for small tasks.
    Reference: released program of Chen et al., TMLR 2024.
    """
    value, _ = per_task(z, codes, task)
    return value


def per_task(z: Any, codes: Any, task: Any) -> tuple[float, float]:
    """The score, and its mean size of a task (harmonic in √n, as chance goes with 1/√n)."""
    (z_,), (c_,) = tame(as_matrix("z", z)), tame(as_matrix("codes", codes))
    tasks = np.asarray(task)
    if not len(z_) == len(c_) == len(tasks):
        raise OutOfDomain(f"z, codes and task have {len(z_)}, {len(c_)} and {len(tasks)} rows")
    order = np.argsort(tasks, kind="stable")
    starts = np.flatnonzero(np.diff(tasks[order], prepend=tasks[order[0]] - 1))
    values, sizes = [], []
    for rows in np.split(order, starts[1:]):
        if len(rows) >= 3:
            corr = moments(z_[rows], c_[rows]).zc
            found = match(corr)
            values.append(np.abs(corr[found.factor, found.code]).sum() / corr.shape[0])
            sizes.append(len(rows))
    if not values:
        raise OutOfDomain("no task has 3 samples")
    return float(np.mean(values)), float(np.mean(1 / np.sqrt(sizes)) ** -2)
