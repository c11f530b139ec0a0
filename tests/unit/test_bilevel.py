"""The Lasso solver, its implicit gradient, the task batches and the bilevel learner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, Ridge

from baselines.sparse.bilevel import Bilevel
from baselines.sparse.lasso import differentiable_lasso, lasso, ridge, soft_threshold
from bench.api import NotApplicable, TrainView
from bench.toolkit.task_batches import cut_into_task_batches
from datasets.synthetic.sparse_tasks import sparse_tasks


def silent(fraction: float, message: str) -> None:
    """A progress callback that says nothing."""


def problems(seed: int, tasks: int, n: int, d: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """Features (tasks, n, d) with correlation rho and targets (tasks, n) with sparse weights and noise."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((tasks, n, d)) @ np.linalg.cholesky(np.full((d, d), rho) + (1 - rho) * np.eye(d)).T
    w = rng.standard_normal((tasks, d)) * (rng.random((tasks, d)) < 0.5)
    return z, (z @ w[:, :, None])[:, :, 0] + 0.3 * rng.standard_normal((tasks, n))


def moments(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = z.shape[1]
    return z.swapaxes(1, 2) @ z / n, (z.swapaxes(1, 2) @ y[:, :, None])[:, :, 0] / n


@pytest.mark.parametrize(("n", "d", "rho"), [(50, 6, 0.0), (50, 6, 0.9), (20, 30, 0.5)])
@pytest.mark.parametrize("ratio", [0.02, 0.3])
def test_lasso_agrees_with_scikit_learn(n: int, d: int, rho: float, ratio: float) -> None:
    z, y = problems(1, 5, n, d, rho)
    gram, correlation = moments(z, y)
    penalty = ratio * np.abs(correlation).max(axis=1)
    ours = lasso(gram, correlation, penalty)
    for t in range(5):
        reference = Lasso(alpha=penalty[t], fit_intercept=False, tol=1e-12, max_iter=200_000).fit(z[t], y[t])
        np.testing.assert_allclose(ours[t], reference.coef_, atol=1e-6)
    assert (ours == 0).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(1, 8), n=st.integers(2, 40), ratio=st.floats(0.0, 1.2))
def test_lasso_satisfies_its_optimality_conditions(seed: int, d: int, n: int, ratio: float) -> None:
    z, y = problems(seed, 3, n, d, 0.6)
    gram, correlation = moments(z, y)
    penalty = ratio * np.abs(correlation).max(axis=1)
    w = lasso(gram, correlation, penalty)
    slope = correlation - (gram @ w[:, :, None])[:, :, 0]
    tolerance = 1e-6 * np.abs(correlation).max(axis=1, keepdims=True)
    assert (np.abs(slope) <= penalty[:, None] + tolerance).all()
    assert (np.abs(slope - penalty[:, None] * np.sign(w))[w != 0] <= np.broadcast_to(tolerance, w.shape)[w != 0]).all()
    if ratio >= 1.0:
        assert (w == 0).all()


def test_lasso_of_coinciding_features_and_of_nothing() -> None:
    z, y = problems(2, 2, 30, 3, 0.0)
    z[:, :, 1] = z[:, :, 0]
    gram, correlation = moments(z, y)
    penalty = 0.1 * np.abs(correlation).max(axis=1)
    w = lasso(gram, correlation, penalty)
    for t in range(2):
        alone = Lasso(alpha=penalty[t], fit_intercept=False, tol=1e-12).fit(z[t][:, [0, 2]], y[t])
        np.testing.assert_allclose([w[t, 0] + w[t, 1], w[t, 2]], alone.coef_, atol=1e-5)
    np.testing.assert_array_equal(lasso(np.zeros((1, 2, 2)), np.zeros((1, 2)), np.zeros(1)), np.zeros((1, 2)))


def test_soft_threshold() -> None:
    np.testing.assert_allclose(soft_threshold(np.array([-3.0, -0.5, 0.0, 0.5, 3.0]), 1.0), [-2, 0, 0, 0, 2])


@pytest.mark.parametrize("ratio", [0.05, 0.3])
def test_implicit_gradient_agrees_with_finite_differences(ratio: float) -> None:
    z, y = problems(3, 2, 40, 5, 0.5)
    direction = np.random.default_rng(4).standard_normal(z.shape)
    target = np.random.default_rng(5).standard_normal((2, 5))
    _, correlation = moments(z, y)
    penalty = ratio * np.abs(correlation).max(axis=1)

    def outer(features: torch.Tensor) -> torch.Tensor:
        n = features.shape[1]
        g, c = features.mT @ features / n, (features.mT @ torch.from_numpy(y)[:, :, None])[:, :, 0] / n
        return ((differentiable_lasso(g, c, torch.from_numpy(penalty)) - torch.from_numpy(target)) ** 2).sum()

    features = torch.from_numpy(z).requires_grad_()
    outer(features).backward()
    assert features.grad is not None
    analytic = float((features.grad * torch.from_numpy(direction)).sum())
    h = 1e-5
    numeric = float(outer(torch.from_numpy(z + h * direction)) - outer(torch.from_numpy(z - h * direction))) / (2 * h)
    assert abs(analytic) > 1e-3
    assert analytic == pytest.approx(numeric, rel=1e-5)


def test_ridge_agrees_with_scikit_learn() -> None:
    z, y = problems(6, 3, 25, 4, 0.3)
    gram, correlation = moments(z, y)
    ours = ridge(torch.from_numpy(gram), torch.from_numpy(correlation), 0.2).numpy()
    for t in range(3):
        reference = Ridge(alpha=0.2 * 25, fit_intercept=False).fit(z[t], y[t])
        np.testing.assert_allclose(ours[t], reference.coef_, atol=1e-6)


def dense_view(n: int, tasks: int, d: int, seed: int = 0) -> TrainView:
    """Every sample has every task; the tasks have different units."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d + 2)).astype(np.float32)
    y = x[:, :d] @ rng.standard_normal((d, tasks)) * 10.0 ** np.arange(tasks) + 5.0
    sample, task = np.repeat(np.arange(n), tasks), np.tile(np.arange(tasks), n)
    return TrainView(x=x, sample=sample, task=task, y=y.reshape(-1), n_tasks=tasks, n_latents=d)


def test_task_batches_keep_every_target_once_and_share_blocks_of_samples() -> None:
    view = dense_view(103, 4, 3)
    batches = cut_into_task_batches(view, size=20, seed=0)
    real = batches.weight > 0
    seen = sorted(zip(np.repeat(batches.task, real.sum(axis=1)), batches.rows[real], strict=True))
    assert seen == [(t, i) for t in range(4) for i in range(103)]
    assert batches.rows.shape == (24, 18)
    assert batches.blocks is not None
    for block in range(6):
        rows = [set(r[w > 0]) for r, w in zip(batches.rows, batches.weight, strict=True)]
        assert len({frozenset(r) for r, b in zip(rows, batches.blocks, strict=True) if b == block}) == 1
    for t in range(4):  # units differ by more than a hundred: standardised one by one
        y = batches.y[batches.task == t][real[batches.task == t]]
        assert (y.mean(), y.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))


def test_task_batches_of_one_quantity_share_one_scale() -> None:
    view = sparse_tasks(seed=0, n_tasks=20, n_per_task=12).train
    batches = cut_into_task_batches(view, size=50, seed=0)
    original = np.array([view.y[view.task == t].std() for t in range(20)])
    ours = np.array([batches.y[batches.task == t].std() for t in range(20)])
    np.testing.assert_allclose(ours / original, np.full(20, (ours / original)[0]))
    assert (batches.y**2).mean() == pytest.approx(1.0)
    for rows, y, t in zip(batches.rows, batches.y, batches.task, strict=True):
        assert np.corrcoef(view.y[rows], y)[0, 1] == pytest.approx(1.0)
        assert (view.task[rows] == t).all()


def small_view() -> TrainView:
    return sparse_tasks(seed=0, d=3, d_observed=5, n_tasks=12, n_per_task=20).train


def test_tasks_without_use_are_left_out() -> None:
    view = small_view()
    y = np.where(view.task == 4, 1.5, view.y)
    learner = Bilevel(steps=5, hidden=8).fit(replace(view, y=y), seed=0, device="cpu", progress=silent)
    assert learner.history_["tasks_left_out"] == [4]
    assert not learner.causal_[4].any()
    assert learner.causal_.any(axis=1).sum() == 11


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"n_tasks": 1, "task": np.zeros(240, dtype=int)}, "one task only cannot tell 3 latents apart"),
        ({"y": np.ones(240)}, "12 with a constant target"),
        ({"n_latents": 6}, "varying columns"),
        ({"n_latents": 300}, "samples are too few"),
        ({"y": np.full(240, np.nan)}, "not finite"),
        ({"sample": np.arange(24) * 10, "task": np.arange(24) // 2, "y": np.arange(24.0)}, "fewer than 5 targets"),
    ],
)
def test_reasons_why_it_cannot_run(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        Bilevel(steps=5).fit(replace(small_view(), **change), seed=0, device="cpu", progress=silent)


@pytest.mark.parametrize("inner", ["lasso", "ridge"])
def test_same_seed_same_codes_and_global_state_untouched(inner: str) -> None:
    view = small_view()
    before = torch.random.get_rng_state()
    one, two, other = (
        Bilevel(inner=inner, steps=20, hidden=8).fit(view, seed=s, device="cpu", progress=silent) for s in (3, 3, 4)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    codes = one.encode(view.x)
    np.testing.assert_array_equal(codes, two.encode(view.x))
    assert np.abs(codes - other.encode(view.x)).max() > 0.1
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=1e-3)


def test_every_sample_with_every_task_runs() -> None:
    view = dense_view(200, 6, 3)
    codes = Bilevel(steps=30, hidden=16).fit(view, seed=0, device="cpu", progress=silent).encode(view.x)
    assert codes.shape == (200, 3)
    assert np.isfinite(codes).all()
