"""Multi-task regression of rank d fitted jointly, for tasks that have fewer samples than x has columns.

There, regressions of single tasks, which ``reduced_rank_regression`` puts together, fit their samples whatever the
truth, and generalised cross-validation cannot tell. All tasks together determine the d × p numbers of one encoder well.
So: alternating least squares over heads a_t and encoder B in y ≈ a_t · B x (Izenman 1975 for one sample; Ando & Zhang,
JMLR 2005, for tasks with samples of their own), every task weighted by its residual variance.

A ridge takes the columns' units for granted. Standardised columns say that a rare column matters as much, over all
samples, as a frequent one; columns in their own units, that one occurrence matters as much: for counts, whose rare
columns are the many, the second is nearer the truth. Both are tried, and held-out targets choose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from bench.toolkit.reduced_rank import Array, LinearEncoder, Standardiser, reduced_rank_regression, unit_covariance

RIDGES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
_START_RIDGE = 0.1
_NO_RIDGE = 1e-6
_HEAD_RIDGE = 1e-2
_ITERATIONS = 25
_RISES = 2  # of the held-out error, one after the other, after which no smaller ridge is tried
_STANDS_STILL = 1e-4  # nats a target that an iteration gains: what follows starts there, so no need for the last digits
_MOST_VALUES = 200_000_000  # of the tasks' moments, float32: 0.8 GB
_SMALLEST_NOISE = 1e-3  # of a task's variance: no task decides the encoder alone
Indices = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class JointEncoder(LinearEncoder):
    """Its ``ridge`` is on weights of the columns times ``units`` (p,)."""

    units: Array


def joint_rank_regression(
    x: NDArray[Any],
    sample: Indices,
    task: Indices,
    y: NDArray[Any],
    held: NDArray[np.bool_],
    *,
    n_tasks: int,
    n_latents: int,
    smooth: bool = False,
) -> JointEncoder:
    """The rank-d encoder of x (n, p) from targets in long format (m,), see the module.

    held   (m,) bool: targets that choose the columns' units and the ridge among ``RIDGES``, by their mean squared
           error in units of the tasks' variances; the fit is on the others. Where there are none: the largest ridge,
           standardised columns
    smooth   of the ridges take the largest whose error is within a standard error of the smallest (Breiman et al. 1984,
           section 3.4.3): what learns on from here can add what a smooth start lacks, but not take back what a start
           has learnt by heart
    Raises NotApplicable as ``reduced_rank_regression`` does.
    """
    y = np.asarray(y, dtype=np.float64)
    s, t, v = sample[~held], task[~held], y[~held]
    start = reduced_rank_regression(x, s, t, v, n_tasks=n_tasks, n_latents=n_latents, ridges=(_START_RIDGE,))
    xs = start.standardise(x)
    moments = _Moments.of(xs, s, t, v, n_tasks)
    covariance = xs.T @ xs / len(xs)
    ones = np.ones(xs.shape[1])
    first = JointEncoder(**vars(start), units=ones)
    best: tuple[float, JointEncoder] = (np.inf, first)
    at, of = sample[held], task[held]
    for units in (ones, own_units(start.standardise)):
        moments.rescale(units)
        weights = start.weights / units[:, None]
        path: list[tuple[Array, JointEncoder]] = []
        for ridge in sorted(RIDGES, reverse=True):  # each starts from the smoother one before
            weights, heads = _alternate(covariance * units * units[:, None], moments, weights, ridge)
            found = replace(first, weights=units[:, None] * weights, ridge=ridge, units=units)
            if not held.any():
                return found
            codes = (xs[at] * units - moments.mean_x[of]) @ weights
            residual = y[held] - moments.mean_y[of] - (codes * heads[of]).sum(1)
            path.append((residual**2 / moments.variance[of], found))
            errors = [float(each.mean()) for each, _ in path]
            if len(errors) > _RISES and min(errors[-_RISES:]) > min(errors[:-_RISES]):
                break
        if min(errors) < best[0]:
            best = min(errors), _smoothest(path, of) if smooth else path[int(np.argmin(errors))][1]
    return best[1]


def _smoothest(path: list[tuple[Array, JointEncoder]], task: Indices) -> JointEncoder:
    """The first of a path from smooth to rough whose held-out errors (m,) are no worse than the best one's by more than
    the standard error of that difference, tasks (m,) being the units."""
    least = min((each for each, _ in path), key=lambda each: float(each.mean()))
    n_tasks = len(np.unique(task))
    for each, found in path:
        excess = each - least
        by_task = np.bincount(task, excess - excess.mean())
        if excess.mean() <= np.sqrt(np.square(by_task).sum() * n_tasks / max(n_tasks - 1, 1)) / len(excess):
            return found
    raise AssertionError("the best is within any error of itself")


def refitted(
    found: JointEncoder, x: NDArray[Any], sample: Indices, task: Indices, y: NDArray[Any], *, n_tasks: int
) -> JointEncoder:
    """The same fitted to all these targets, once held-out ones have chosen its ridge and units."""
    xs = found.standardise(x)
    moments = _Moments.of(xs, sample, task, np.asarray(y, dtype=np.float64), n_tasks)
    moments.rescale(found.units)
    covariance = (xs.T @ xs / len(xs)) * found.units * found.units[:, None]
    weights, _ = _alternate(covariance, moments, found.weights / found.units[:, None], found.ridge)
    return replace(found, weights=found.units[:, None] * weights)


def own_units(standardise: Standardiser) -> Array:
    """(p,) factors that bring standardised columns back to their own units, up to one factor for all of them."""
    return np.asarray(standardise.scale / standardise.in_own_units().scale)


def needed(linear: LinearEncoder, task: Indices, n_tasks: int) -> bool:
    """Does ``linear`` interpolate (``interpolates``), and do the moments of all tasks fit into memory?"""
    p = len(linear.standardise.mean)
    return interpolates(linear, task, n_tasks) and n_tasks * p * p <= _MOST_VALUES


def interpolates(linear: LinearEncoder, task: Indices, n_tasks: int) -> bool:
    """Did cross-validation take no ridge at all for ``linear``, in tasks that have fewer samples than x has columns?"""
    typical = float(np.median(np.bincount(task, minlength=n_tasks)))
    return linear.ridge < _NO_RIDGE and typical < int(linear.standardise.varies.sum())


class _Moments:
    """Within-task sums: xx (T, p, p) float32, xy (T, p), yy (T,); n, means and variances of the tasks."""

    def __init__(self, n_tasks: int, p: int) -> None:
        self.xx = np.zeros((n_tasks, p, p), dtype=np.float32)
        self.xy, self.mean_x = np.zeros((n_tasks, p)), np.zeros((n_tasks, p))
        self.yy, self.mean_y, self.n = np.zeros(n_tasks), np.zeros(n_tasks), np.ones(n_tasks)

    @classmethod
    def of(cls, xs: Array, sample: Indices, task: Indices, y: Array, n_tasks: int) -> _Moments:
        found = cls(n_tasks, xs.shape[1])
        order = np.argsort(task, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(task[order])) + 1):
            t, x = int(task[rows[0]]), xs[sample[rows]]
            found.n[t], found.mean_x[t], found.mean_y[t] = len(rows), x.mean(0), y[rows].mean()
            x, v = x - found.mean_x[t], y[rows] - found.mean_y[t]
            single = x.astype(np.float32)
            found.xx[t], found.xy[t], found.yy[t] = single.T @ single, v @ x, v @ v
        return found

    def rescale(self, units: Array) -> None:
        """Make them those of x times ``units`` (p,)."""
        self.xx *= (units[:, None] * units).astype(np.float32)
        self.xy *= units
        self.mean_x *= units

    @property
    def variance(self) -> Array:
        return np.maximum(self.yy / self.n, 1e-300)


def _alternate(covariance: Array, moments: _Moments, weights: Array, ridge: float) -> tuple[Array, Array]:
    """Weights (p, d) of unit covariance and heads (T, d) after alternating least squares from ``weights``, until an
    iteration gains less than ``_STANDS_STILL``."""
    n_tasks, p, d = *moments.xy.shape, weights.shape[1]
    xx = moments.xx.reshape(n_tasks, p * p)
    heads, weight = _heads(moments, weights)
    for _ in range(_ITERATIONS):
        outer = (weight[:, None, None] * heads[:, :, None] * heads[:, None, :]).reshape(n_tasks, d * d)
        gram = (outer.T.astype(np.float32) @ xx).reshape(d, d, p, p).transpose(0, 2, 1, 3).reshape(d * p, d * p)
        gram = gram.astype(np.float64)
        gram[np.diag_indices(d * p)] += ridge * float((weight * moments.n * np.square(heads).sum(1)).sum()) / d
        cross = ((weight[:, None] * heads).T @ moments.xy).reshape(d * p)
        solved = _solved(gram, cross).reshape(d, p).T
        weights = unit_covariance(solved, solved.T @ covariance @ solved)
        before = weight
        heads, weight = _heads(moments, weights)
        if _gain(before, weight, moments.n) < _STANDS_STILL:
            break
    return weights, heads


def _gain(before: Array, after: Array, n: Array) -> float:
    """By how much ½ log residual variance fell, on average over targets, from 1 / variance before and after (T,)."""
    seen = (before > 0) & (after > 0)
    return 0.5 * float((n[seen] * np.log(after[seen] / before[seen])).sum() / max(n[seen].sum(), 1.0))


def _solved(gram: NDArray[Any], cross: NDArray[Any]) -> Array:
    """gram⁻¹ cross; sums in float32 can leave a gram of collinear columns a little short of positive definite."""
    try:
        return np.asarray(cho_solve(cho_factor(gram, check_finite=False), cross, check_finite=False))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.solve(gram, cross))


def _heads(moments: _Moments, weights: Array) -> tuple[Array, Array]:
    """Ridge heads (T, d) on the codes, and 1 / residual variance (T,) of each task."""
    n_tasks, p = moments.xy.shape
    d = weights.shape[1]
    projected = (moments.xx.reshape(n_tasks * p, p) @ weights.astype(np.float32)).reshape(n_tasks, p, d)
    gram = weights.T @ projected.astype(np.float64)
    cross = moments.xy @ weights
    regular = gram + (_HEAD_RIDGE * moments.n)[:, None, None] * np.eye(d)
    heads: Array = np.linalg.solve(regular, cross[:, :, None])[:, :, 0].astype(np.float64)
    residual = moments.yy - 2 * (heads * cross).sum(1) + np.einsum("ti,tij,tj->t", heads, gram, heads)
    noise = np.maximum(residual / moments.n, _SMALLEST_NOISE * moments.variance)
    weight: Array = np.where(moments.yy > 0, 1.0 / noise, 0.0)
    return heads, weight
