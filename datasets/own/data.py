"""Own data without code: ``python -m bench run --data FILE``.

A fifth of the rows is held out, the same rows whatever the seed; a seed trains on four fifths of the others. So codes
of different seeds can be compared on the same held-out rows where the latents are not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, Data, EvalView, Kind, NotApplicable, TrainView, dataset
from bench.toolkit.inputs import Images, Sequences
from datasets.own.files import Contents, content_hash, read

Int64 = NDArray[np.int64]
HELD_OUT, TRAIN_SHARE = 0.2, 0.8


@dataset(
    "own",
    paper="your own",
    summary="a file of yours, --data FILE: x, y, task, optional aux and labels; latents unknown",
    provides=("targets", "aux", "labels", "binary"),
    truth=False,
    on_request=True,
)
@dataset(
    "own-with-truth",
    paper="your own",
    summary="a file of yours, --data FILE, that holds the true latents z as well",
    provides=("targets", "aux", "labels", "binary"),
    on_request=True,
)
def load(*, seed: int, path: str = "", columns: str = "", latents: int = 0) -> Data:
    """The file at ``path``.

    columns   of a csv or parquet file, as in "x=f* y=t1,t2 task=assay"
    latents   how many factors to recover; 0: as many as z has

    Raises NotApplicable without a file, MissingData and BadData as ``datasets.own.files.read`` does.
    """
    if not path:
        raise NotApplicable("your own data: give its file with --data FILE")
    contents = read(path, columns)
    n_latents = latents or n_factors(contents)
    if not n_latents:
        raise BadData(f"'{path}' holds no z: say how many latent factors to recover with --latents D")
    x = inputs(contents.x)
    sample, task, y, names = targets(contents)
    n = len(x)
    order = np.random.default_rng(0).permutation(n)
    held_out, rest = np.sort(order[: max(1, round(HELD_OUT * n))]), order[max(1, round(HELD_OUT * n)) :]
    if len(rest) < 5:
        raise BadData(f"'{path}' has {n} rows, too few to hold out a fifth and train on the rest")
    train = np.sort(np.random.default_rng(seed).choice(rest, round(TRAIN_SHARE * len(rest)), replace=False))
    aux = categories(contents.aux)
    if aux is None and contents.task is not None and contents.sample is None and len(names) > 1:
        aux = task.astype(np.int64)  # one task a sample: the task is a category of the sample
    labels = categories(contents.labels)
    z = None if contents.z is None else contents.z.reshape(n, -1).astype(np.float64)
    long_train, long_test = _of(train, n, sample, task, y), _of(held_out, n, sample, task, y)
    view = TrainView(
        x=x[train],
        sample=long_train[0],
        task=long_train[1],
        y=long_train[2],
        n_tasks=len(names),
        n_latents=n_latents,
        aux=None if aux is None else aux[train],
        labels=None if labels is None else labels[train].astype(np.int64),
        target_type="binary" if is_binary(y) else "continuous",
    )
    truth = EvalView(
        x_test=x[held_out],
        aux_test=None if aux is None else aux[held_out],
        sample_test=long_test[0],
        task_test=long_test[1],
        y_test=long_test[2],
        z_train=None if z is None else z[train],
        z_test=None if z is None else z[held_out],
    )
    info = {"title": f"{Path(path).name}, {n:,} rows", "rows": n, "sha256": content_hash(path), "tasks": names[:100]}
    return Data(view, truth, info)


def describe(path: str, columns: str = "") -> dict[str, Any]:
    """What the file has, for planning: "provides", "kind", "truth", "latents" (0 without z) and "sha256"."""
    contents = read(path, columns)
    _, _, y, names = targets(contents)
    provides = ["targets"] if len(y) else []
    provides += ["binary"] if is_binary(y) else []
    one_task_each = contents.task is not None and contents.sample is None and len(names) > 1
    provides += ["aux"] if contents.aux is not None or one_task_each else []
    provides += ["labels"] if contents.labels is not None else []
    kind: Kind = getattr(inputs(contents.x), "kind", "vector")
    return {
        "provides": tuple(provides),
        "kind": kind,
        "truth": contents.z is not None,
        "latents": n_factors(contents),
        "sha256": content_hash(path),
    }


def inputs(x: NDArray[Any]) -> Any:
    """x as the kind its shape and type say: uint8 (n, c, h, w) images, (n, steps, p) sequences, else vectors."""
    if x.ndim == 4 and x.dtype == np.uint8:
        return Images(x)
    if x.ndim == 3:
        return Sequences(x.astype(np.float32))
    if x.ndim > 3:
        raise BadData(f"x has shape {x.shape}: images must be uint8 (n, channels, height, width)")
    return x.reshape(len(x), -1).astype(np.float32)


def targets(contents: Contents) -> tuple[Int64, Int64, NDArray[np.float64], list[str]]:
    """(sample, task, y), each (m,), and the names of the tasks; missing targets are left out. Raises BadData."""
    if contents.y is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), []
    y = contents.y.astype(np.float64)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2:
        if contents.task is not None or contents.sample is not None:
            raise BadData("y has a column a task: leave out task and sample, or give y as one column")
        sample, task = (rows.astype(np.int64) for rows in np.nonzero(np.isfinite(y)))
        return sample, task, y[sample, task], [str(i) for i in range(y.shape[1])]
    if contents.sample is not None and contents.task is None:
        raise BadData("sample without task: in long format every y needs both")
    sample = np.arange(len(y)) if contents.sample is None else contents.sample.astype(np.int64)
    if len(sample) and not 0 <= sample.min() <= sample.max() < len(contents.x):
        raise BadData(f"sample must be rows of x, 0 to {len(contents.x) - 1}; found {sample.min()} to {sample.max()}")
    names, task = np.unique(np.zeros(len(y)) if contents.task is None else contents.task, return_inverse=True)
    known = np.isfinite(y)
    return sample[known].astype(np.int64), task.astype(np.int64)[known], y[known], [str(name) for name in names]


def categories(values: NDArray[Any] | None) -> NDArray[Any] | None:
    """Words and whole numbers as 0, 1, …; real numbers as they are; None stays None."""
    if values is None or np.issubdtype(values.dtype, np.floating) or values.ndim > 1:
        return values
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def is_binary(y: NDArray[np.float64]) -> bool:
    return bool(len(y)) and bool(np.isin(y, (0.0, 1.0)).all())


def n_factors(contents: Contents) -> int:
    return 0 if contents.z is None else contents.z.reshape(len(contents.z), -1).shape[1]


def _of(rows: Int64, n: int, sample: Int64, task: Int64, y: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """The targets of some rows, samples counted anew."""
    place = np.full(n, -1)
    place[rows] = np.arange(len(rows))
    here = place[sample] >= 0 if len(sample) else np.zeros(0, bool)
    return place[sample[here]], task[here], y[here]
