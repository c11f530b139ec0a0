"""Reduced-rank multi-task regression: the best linear encoder that the targets of many tasks identify.

Every task t regresses its target on x with its own coefficients; if the targets depend on x only through d linear
factors, the coefficient vectors of all tasks span a d-dimensional space. So: ridge regression per task, then the
d leading right singular vectors of the stacked, weighted coefficients (Izenman, "Reduced-rank regression for the
multivariate linear model", J. Multivariate Analysis 1975; Anderson 1951). Tasks may be observed on the same samples
(one factorisation serves them all), on samples of their own (factorisations are batched), or in any pattern between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import NotApplicable, TrainView
from bench.toolkit.inputs import flat

Array = NDArray[np.float64]

RIDGES: tuple[float, ...] = tuple(float(r) for r in np.logspace(-8, 3, 23))
"""Candidate ridge strengths, as multiples of the mean variance of a standardised input column (that is, of 1)."""

_CHUNK_VALUES = 4_000_000  # float64 values of one padded batch of tasks: 32 MB
_DOF_LIMIT = 0.95  # generalised cross-validation is not trusted where a fit spends more than this share of its samples


@dataclass(frozen=True)
class Standardiser:
    """x -> (x - mean) / scale, with scale 1 for columns that do not vary (they become 0, not noise).

    mean, scale   (d_x,) float64
    varies        (d_x,) bool
    """

    mean: Array
    scale: Array
    varies: NDArray[np.bool_]

    @classmethod
    def of(cls, x: NDArray[Any]) -> Standardiser:
        """Fit to x (n, d_x). A column whose deviation is only rounding of its mean counts as constant."""
        mean = x.mean(axis=0, dtype=np.float64)
        scale = np.sqrt(np.square(x - mean).mean(axis=0, dtype=np.float64))
        varies = scale > 1e-6 * np.abs(mean) + np.finfo(np.float64).tiny
        return cls(np.asarray(mean), np.where(varies, scale, 1.0), varies)

    def in_own_units(self) -> Standardiser:
        """The same but for one scale for all columns that vary: each keeps its own unit, up to one factor for all."""
        if not self.varies.any():
            return self
        typical = np.sqrt(np.square(self.scale[self.varies]).mean())
        return replace(self, scale=np.where(self.varies, typical, 1.0))

    def __call__(self, x: NDArray[Any]) -> Array:
        """Standardised x, (n, d_x) float64."""
        out = (np.asarray(x, dtype=np.float64) - self.mean) / self.scale
        out[:, ~self.varies] = 0.0
        return out


@dataclass(frozen=True)
class TaskRidge:
    """Ridge regressions of all tasks on one input.

    coefficients   (T, p); zero rows for tasks without a usable target
    noise          (T,) residual variance of each task, corrected for the degrees of freedom; nan where unusable
    n              (T,) number of samples of each task
    ridge          the strength chosen by generalised cross-validation (Golub, Heath, Wahba 1979) over all tasks
    """

    coefficients: Array
    noise: Array
    n: NDArray[np.int64]
    ridge: float

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(T,) bool: tasks with at least 3 samples and a target that varies."""
        return np.isfinite(self.noise)


@dataclass(frozen=True)
class LinearEncoder:
    """codes = standardise(x) @ weights, of pooled mean 0 and identity covariance on the training inputs.

    weights           (d_x, d)
    singular_values   (min(T, d_x),) of the stacked weighted coefficients: how many factors do the tasks span?
    ridge             the strength used
    """

    standardise: Standardiser
    weights: Array
    singular_values: Array
    ridge: float

    def encode(self, x: NDArray[Any]) -> Array:
        """Codes (n, d) float64 of x (n, d_x), or of its flat view."""
        return self.standardise(flat(x)) @ self.weights


def task_ridge(
    x: Array,
    sample: NDArray[np.integer[Any]],
    task: NDArray[np.integer[Any]],
    y: NDArray[Any],
    *,
    n_tasks: int,
    ridges: tuple[float, ...] = RIDGES,
) -> TaskRidge:
    """Ridge regression of every task's target on x with an intercept, one strength for all tasks.

    x (n, p); sample, task, y (m,): target y[i] of sample[i] in task[i]. The penalty is ``ridge * n_t * |b|^2``, so a
    strength means the same for large and small tasks. The strength minimises the sum over tasks of
    n_t log GCV_t, the profile likelihood's form of generalised cross-validation, which no task's units dominate.
    """
    n_of = np.bincount(task, minlength=n_tasks)
    grid = np.asarray(ridges, dtype=np.float64)
    score = np.zeros(len(grid))
    parts: list[tuple[NDArray[np.int64], Array, Array, Array, Array, NDArray[np.int64]]] = []
    for tasks, xc, yc, n in _batches(x, sample, task, y, n_tasks):
        # eigen-decompose the smaller of the two Gram matrices: tasks often have fewer samples than x has columns
        wide = xc.shape[1] < xc.shape[2]
        gram = (xc @ xc.transpose(0, 2, 1) if wide else xc.transpose(0, 2, 1) @ xc) / n[:, None, None]
        e, v = np.linalg.eigh(gram)
        e = np.maximum(e, 0.0)
        basis = xc.transpose(0, 2, 1) @ v / np.sqrt(n[:, None, None] * np.maximum(e, 1e-12)[:, None, :]) if wide else v
        projected = (basis.transpose(0, 2, 1) @ (xc.transpose(0, 2, 1) @ yc)) / n[:, None, None]  # (b, r, q)
        y_var = np.square(yc).sum(1) / n[:, None]  # (b, q)
        usable = (n[:, None] >= 3) & (y_var > 0)
        dof = 1 + (e[:, :, None] / (e[:, :, None] + grid)).sum(1)  # (b, g)
        spare = 1 - dof / n[:, None]
        shrink = (e[:, :, None] + 2 * grid) / np.square(e[:, :, None] + grid)  # (b, r, g)
        rss = y_var[:, :, None] - np.einsum("brq,brg->bqg", np.square(projected), shrink)
        rss = np.maximum(rss, 1e-12 * y_var[:, :, None])
        trusted = np.maximum(spare, 1 - _DOF_LIMIT)
        noise = rss / trusted[:, None, :]
        gcv = np.log(np.where(usable, 1.0, np.nan)[:, :, None] * noise / trusted[:, None, :])
        score += np.nansum(n[:, None, None] * gcv, axis=(0, 1))
        parts.append((tasks, basis, e, projected, np.where(usable[:, :, None], noise, np.nan), n))
    best = int(np.argmin(score))
    coefficients = np.zeros((n_tasks, x.shape[1]))
    noise_of = np.full(n_tasks, np.nan)
    for tasks, basis, e, projected, noise, _ in parts:
        b = basis @ (projected / (e + grid[best])[:, :, None])  # (b, p, q)
        coefficients[tasks] = b.transpose(0, 2, 1)
        noise_of[tasks] = noise[:, :, best]
    coefficients[np.isnan(noise_of)] = 0.0
    return TaskRidge(coefficients, noise_of, n_of.astype(np.int64), float(grid[best]))


def reduced_rank_regression(
    x: NDArray[Any],
    sample: NDArray[np.integer[Any]],
    task: NDArray[np.integer[Any]],
    y: NDArray[Any],
    *,
    n_tasks: int,
    n_latents: int,
    ridges: tuple[float, ...] = RIDGES,
    standardise: Standardiser | None = None,
) -> LinearEncoder:
    """The rank-d linear encoder of x (n, d_x) from targets in long format, see ``task_ridge`` for the arguments.

    standardise   what brings x to the units that the ridge takes for granted; None: to variance 1 a column

    Coefficients are compared in the metric in which they matter: b_t is mapped to S^(1/2) b_t, S the pooled covariance
    of x, so that its length is the deviation of the predicted target, and divided by the standard error
    sigma_t / sqrt(n_t) of the task. Raises NotApplicable where fewer than ``n_latents`` tasks are usable or x varies in
    fewer directions.
    """
    standardise = standardise or Standardiser.of(x)
    xs = standardise(x)
    ridge = task_ridge(xs, sample, task, y, n_tasks=n_tasks, ridges=ridges)
    n_usable = int(ridge.usable.sum())
    if n_usable < n_latents:
        raise NotApplicable(
            f"{n_usable} tasks with a target that varies cannot span {n_latents} latent factors: "
            f"lower n_latents or add tasks"
        )
    e, v = np.linalg.eigh(xs.T @ xs / len(xs))
    root = np.sqrt(np.maximum(e, 0.0))
    rank = int((e > 1e-10 * e[-1]).sum())
    if rank < n_latents:
        raise NotApplicable(f"x varies in {rank} directions only, fewer than the {n_latents} latent factors asked for")
    # a task's weight is bounded: one fitted to the last digit must not alone decide the subspace
    signal = np.square((ridge.coefficients @ v) * root).sum(1)
    floor = 1e-6 * np.where(ridge.usable, signal + np.nan_to_num(ridge.noise), 1.0)
    error = np.sqrt(np.maximum(np.nan_to_num(ridge.noise, nan=1.0), floor) / np.maximum(ridge.n, 1))
    stacked = (ridge.coefficients @ v) * root / np.where(ridge.usable, error, np.inf)[:, None]
    _, singular_values, rows = np.linalg.svd(stacked, full_matrices=False)
    kept = e > 1e-10 * e[-1]
    weights = (v[:, kept] / root[kept]) @ rows[:n_latents, kept].T
    covariance = weights.T @ (xs.T @ (xs @ weights)) / len(xs)
    return LinearEncoder(standardise, unit_covariance(weights, covariance), singular_values, ridge.ridge)


def fit_view(
    view: TrainView, *, ridges: tuple[float, ...] = RIDGES, standardise: Standardiser | None = None
) -> LinearEncoder:
    """``reduced_rank_regression`` on a TrainView, after checking that it holds what that needs."""
    check_view(view)
    return reduced_rank_regression(
        flat(view.x),
        view.sample,
        view.task,
        view.y,
        n_tasks=view.n_tasks,
        n_latents=view.n_latents,
        ridges=ridges,
        standardise=standardise,
    )


def check_view(view: TrainView) -> None:
    """Raise NotApplicable, saying why, for data no multi-task regression can take."""
    if len(view.y) == 0:
        raise NotApplicable("the data has no targets, and multi-task regression learns from nothing else")
    if view.n_tasks < view.n_latents:
        raise NotApplicable(
            f"{_tasks(view.n_tasks)} cannot span {view.n_latents} latent factors: lower n_latents or add tasks"
        )
    if view.n_samples <= view.n_latents:
        raise NotApplicable(f"{view.n_samples} samples are too few for {view.n_latents} latent factors")
    if not np.isfinite(flat(view.x)).all():
        raise NotApplicable("x is not finite: remove the samples with missing or infinite inputs")
    if not np.isfinite(view.y).all():
        raise NotApplicable("y is not finite: leave missing targets out of the long format")


def unit_covariance(weights: Array, covariance: Array) -> Array:
    """Rescale ``weights`` (p, d), whose codes have this covariance (d, d), to identity covariance by its eigenbasis;
    keeps the span."""
    e, v = np.linalg.eigh(covariance)
    return np.asarray(weights @ v / np.sqrt(np.maximum(e, 1e-300)))


def _batches(
    x: Array, sample: NDArray[np.integer[Any]], task: NDArray[np.integer[Any]], y: NDArray[Any], n_tasks: int
) -> Iterator[tuple[NDArray[np.int64], Array, Array, NDArray[np.int64]]]:
    """Batches of (tasks (b, q), centred x (b, n, p), centred y (b, n, q), sizes (b,)); rows beyond a size are zero.

    The q tasks in a row share their samples, hence one factorisation; the b rows are factorised in one batched call.
    """
    order = np.lexsort((sample, task))
    sample, y = np.asarray(sample)[order], np.asarray(y, dtype=np.float64)[order]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(task, minlength=n_tasks))])
    shared: defaultdict[bytes, list[int]] = defaultdict(list)
    for t in range(n_tasks):
        if bounds[t + 1] > bounds[t]:
            shared[sample[bounds[t] : bounds[t + 1]].tobytes()].append(t)
    groups: defaultdict[int, list[list[int]]] = defaultdict(list)
    for tasks in shared.values():
        groups[len(tasks)].append(tasks)
    for width, rows in groups.items():
        rows.sort(key=lambda tasks: int(bounds[tasks[0] + 1] - bounds[tasks[0]]))  # little padding
        start = 0
        while start < len(rows):
            largest = int(bounds[rows[start][0] + 1] - bounds[rows[start][0]])
            stop = start
            while stop < len(rows):
                size = int(bounds[rows[stop][0] + 1] - bounds[rows[stop][0]])
                if stop > start and (stop - start + 1) * size * x.shape[1] > _CHUNK_VALUES:
                    break
                largest, stop = size, stop + 1
            yield _padded(x, sample, y, bounds, rows[start:stop], width, largest)
            start = stop


def _padded(
    x: Array,
    sample: NDArray[np.integer[Any]],
    y: Array,
    bounds: NDArray[np.integer[Any]],
    rows: list[list[int]],
    width: int,
    largest: int,
) -> tuple[NDArray[np.int64], Array, Array, NDArray[np.int64]]:
    tasks = np.asarray(rows, dtype=np.int64).reshape(len(rows), width)
    n = (bounds[tasks[:, 0] + 1] - bounds[tasks[:, 0]]).astype(np.int64)
    inside = np.arange(largest) < n[:, None]  # (b, n)
    at = bounds[tasks][:, :, None] + np.where(inside, np.arange(largest), 0)[:, None, :]  # (b, q, n)
    xc = x[sample[at[:, 0]]]
    yc = y[at].transpose(0, 2, 1)
    for values in (xc, yc):
        values *= inside[:, :, None]
        values -= values.sum(1, keepdims=True) / n[:, None, None]
        values *= inside[:, :, None]
    return tasks, xc, yc, n


def _tasks(n: int) -> str:
    return "one task" if n == 1 else f"{n} tasks"
