"""What a user has at hand (arrays, data frames, words for tasks) as the view a learner is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import LearnerInfo, TrainView


def train_view(
    x: Any, y: Any, task: Any, sample: Any, aux: Any, labels: Any, *, n_latents: int, info: LearnerInfo
) -> tuple[TrainView, NDArray[Any]]:
    """(view, names of its tasks (T,)) from the arguments of ``fit``; raises ValueError, naming the argument."""
    n = len(x)
    rows, tasks, values, names = _targets(y, task, sample, n)
    wanted = {option for need in info.needs for option in need.split("|")}
    if aux is None and labels is None and task is not None and sample is None and "aux" in wanted:
        aux = task  # the task of a sample is an auxiliary variable of it
    binary = bool(len(values)) and bool(np.isin(values, (0.0, 1.0)).all())
    view = TrainView(
        x=x,
        sample=rows,
        task=tasks,
        y=values,
        n_tasks=len(names),
        n_latents=n_latents,
        aux=_per_sample("aux", aux, n),
        labels=_categories(_per_sample("labels", labels, n)),
        target_type="binary" if binary else "continuous",
    )
    has = {"targets": len(values) > 0, "aux": aux is not None, "labels": labels is not None, "binary": binary}
    for need in info.needs:
        if not any(has[option] for option in need.split("|")):
            words = {"targets": "y", "aux": "aux", "labels": "labels", "binary": "y of zeros and ones"}
            options = " or ".join(words[option] for option in need.split("|"))
            raise ValueError(f"{info.name} cannot do without {options}: give it to fit")
    return view, names


def _targets(
    y: Any, task: Any, sample: Any, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[Any]]:
    """(sample, task, y), each (m,), without missing values, and the names of the tasks."""
    empty = np.zeros(0, np.int64)
    if y is None:
        if task is not None or sample is not None:
            raise ValueError("task and sample say what y is of: give y too")
        return empty, empty, np.zeros(0), np.zeros(0, dtype=str)
    columns = getattr(y, "columns", None)
    values = np.asarray(y)
    if values.dtype.kind not in "biufO":
        raise ValueError(f"y must be numbers, not {values.dtype}: words belong into task or labels")
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError("y must be numbers: Unknown label type; words belong into task or labels") from None
    if np.isinf(values).any():
        raise ValueError("Input y contains infinity: leave such targets out, or give NaN where none was measured")
    if values.ndim == 2 and values.shape[1] == 1 and task is not None:
        values = values[:, 0]
    if values.ndim == 2:
        if task is not None or sample is not None:
            raise ValueError("y has a column a task: leave out task and sample, or give y as one column")
        _require_length("y", values, n)
        rows, tasks = np.nonzero(np.isfinite(values))
        names = np.arange(values.shape[1]) if columns is None else np.asarray(columns)
        return rows.astype(np.int64), tasks.astype(np.int64), values[rows, tasks], names
    if values.ndim != 1:
        raise ValueError(f"y has shape {values.shape}: give (n,) or (n, tasks)")
    if sample is None:
        _require_length("y", values, n)
        rows = np.arange(n)
    else:
        if task is None:
            raise ValueError("sample without task: in long format every y needs both")
        rows = np.asarray(sample)
        if rows.dtype.kind not in "iu" or (len(rows) and not 0 <= rows.min() <= rows.max() < n):
            raise ValueError(f"sample must be rows of X: whole numbers from 0 to {n - 1}")
        _require_length("sample", rows, len(values))
    names = np.zeros(1, np.int64)
    tasks = np.zeros(len(values), np.int64)
    if task is not None:
        words = np.asarray(task)
        _require_length("task", words, len(values))
        names, tasks = np.unique(words.astype(str) if words.dtype == object else words, return_inverse=True)
    known = np.isfinite(values)
    return rows[known].astype(np.int64), tasks[known].astype(np.int64), values[known], names


def _per_sample(name: str, values: Any, n: int) -> Any:
    """(n,) whole numbers where the values are categories, (n, k) float64 where they are numbers."""
    if values is None:
        return None
    array = np.asarray(values)
    _require_length(name, array, n)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError(f"{name} contains NaN or infinity")
        return array.reshape(n, -1).astype(np.float64)
    return _categories(array) if array.ndim == 1 else array.astype(np.float64)


def _categories(array: Any) -> Any:
    if array is None:
        return None
    flat = np.asarray(array).reshape(len(array), -1)[:, 0]
    flat = flat.astype(str) if flat.dtype == object else flat
    return np.unique(flat, return_inverse=True)[1].astype(np.int64)


def _require_length(name: str, values: NDArray[Any], n: int) -> None:
    if len(values) != n:
        raise ValueError(f"{name} has inconsistent numbers of samples: {len(values)} rows, expected {n}")
