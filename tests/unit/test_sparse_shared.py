"""The inner problem of sparse-shared, its derivative, and what the learner refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from baselines.sparse.sparse_shared import (
    SHARE_FLOOR,
    SparseShared,
    differentiable_heads,
    entropy_slope,
    newton_step,
    solve_heads,
)
from bench.api import NotApplicable, TrainView
from datasets.synthetic.sparse_tasks import sparse_tasks

RIDGE = 1e-2


def silent(fraction: float, message: str) -> None:
    """A progress callback that says nothing."""


def tasks(seed: int = 0, groups: int = 2, n_tasks: int = 3, n: int = 60, d: int = 4) -> tuple[np.ndarray, ...]:
    """Features (G, T, n, d), targets in {0, 1} with label noise, and weights with some samples left out."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((groups, n_tasks, n, d))
    w = rng.standard_normal((groups, n_tasks, d)) * (rng.random((groups, n_tasks, d)) < 0.6)
    y = ((z @ w[..., None])[..., 0] + 0.7 * rng.standard_normal((groups, n_tasks, n)) > 0.2).astype(float)
    return z, y, (rng.random((groups, n_tasks, n)) < 0.9).astype(float)


def smoothed_entropy(s: np.ndarray) -> float:
    p = s / s.sum()
    return float(-(p * np.log(p + SHARE_FLOOR)).sum())


def objective(phi: np.ndarray, z: np.ndarray, y: np.ndarray, weight: np.ndarray, alpha: float, beta: float) -> float:
    """T times the inner objective of one group: phi (T, d + 1), z (T, n, d), y and weight (T, n)."""
    logits = (z @ phi[:, :-1, None])[..., 0] + phi[:, -1:]
    losses = (weight * (np.logaddexp(0, logits) - y * logits)).sum(axis=1) / weight.sum(axis=1)
    value = losses.sum() + alpha * np.abs(phi[:, :-1]).sum() + 0.5 * RIDGE * (phi**2).sum()
    if beta == 0:
        return float(value)
    return float(value + beta * len(z) * smoothed_entropy(np.abs(phi[:, :-1]).sum(axis=0)))


def test_entropy_slope_and_hessian_agree_with_finite_differences() -> None:
    s = np.array([0.7, 0.05, 2.0, 0.3])
    slope, hessian = entropy_slope(s[None])
    h = 1e-6
    for m, step in enumerate(h * np.eye(4)):
        numeric = (smoothed_entropy(s + step) - smoothed_entropy(s - step)) / (2 * h)
        assert slope[0, m] == pytest.approx(numeric, rel=1e-6)
        numeric_row = (entropy_slope((s + step)[None])[0][0] - entropy_slope((s - step)[None])[0][0]) / (2 * h)
        np.testing.assert_allclose(hessian[0, :, m], numeric_row, rtol=1e-5, atol=1e-6)


def test_heads_without_entropy_minimise_the_objective() -> None:
    z, y, weight = tasks()
    found = solve_heads(z, y, weight, alpha=0.05, beta=0.0, ridge=RIDGE, iterations=300)
    assert (found[..., :-1] == 0).any()
    for g in range(2):
        # Split into positive and negative parts: a smooth problem with bounds, solved independently.
        shape = found[g].shape

        def split(v: np.ndarray, g: int = g, shape: tuple[int, ...] = shape) -> float:
            plus, minus = v.reshape(2, *shape)
            phi = plus - minus
            l1 = (plus + minus)[:, :-1].sum() - np.abs(phi[:, :-1]).sum()
            return objective(phi, z[g], y[g], weight[g], 0.05, 0.0) + 0.05 * l1

        size = found[g].size
        best = minimize(split, np.zeros(2 * size), bounds=[(0, None)] * (2 * size), options={"maxiter": 500})
        ours = objective(found[g], z[g], y[g], weight[g], 0.05, 0.0)
        assert ours <= best.fun + 1e-6
        assert ours == pytest.approx(best.fun, abs=1e-4)


def test_entropy_concentrates_the_heads_on_fewer_features() -> None:
    z, y, weight = tasks(seed=1)
    args: dict[str, Any] = {"alpha": 0.02, "ridge": RIDGE, "iterations": 200}
    alone, shared = solve_heads(z, y, weight, beta=0.0, **args), solve_heads(z, y, weight, beta=0.05, **args)
    for g in range(2):
        usage = [np.abs(phi[g, :, :-1]).sum(axis=0) for phi in (alone, shared)]
        assert smoothed_entropy(usage[1]) < smoothed_entropy(usage[0]) - 0.01
        values = [objective(phi[g], z[g], y[g], weight[g], 0.02, 0.05) for phi in (alone, shared)]
        assert values[1] < values[0]


@pytest.mark.parametrize("beta", [0.0, 0.02])
def test_derivative_of_the_heads_agrees_with_finite_differences(beta: float) -> None:
    z, y, weight = tasks(seed=2, groups=1, n=80)
    rng = np.random.default_rng(3)
    direction, target = rng.standard_normal(z.shape), torch.from_numpy(rng.standard_normal((1, 3, 5)))
    labels, weights = torch.from_numpy(y), torch.from_numpy(weight)
    args: dict[str, Any] = {"alpha": 0.03, "beta": beta, "ridge": RIDGE}
    start = solve_heads(z, y, weight, iterations=400, **args)

    def exact(features: np.ndarray) -> torch.Tensor:
        """The stationary point on the support of ``start``: Newton's method from there."""
        phi = start
        for _ in range(12):
            moved = newton_step(torch.from_numpy(features), labels, weights, phi, **args).numpy()
            phi = np.where(start == 0, 0.0, moved)
        return torch.from_numpy(phi)

    at_minimum = exact(z).numpy()
    features = torch.from_numpy(z).requires_grad_()
    ((newton_step(features, labels, weights, at_minimum, **args) - target) ** 2).sum().backward()
    assert features.grad is not None
    analytic = float((features.grad * torch.from_numpy(direction)).sum())
    h = 1e-5
    high, low = (float(((exact(z + sign * h * direction) - target) ** 2).sum()) for sign in (1, -1))
    assert abs(analytic) > 1e-3
    assert analytic == pytest.approx((high - low) / (2 * h), rel=1e-4)
    solved = differentiable_heads(torch.from_numpy(z), labels, weights, **args).numpy()
    np.testing.assert_allclose(solved, at_minimum, atol=0.02)


def small_view(**change: Any) -> TrainView:
    return replace(sparse_tasks(seed=0, d=3, d_observed=5, n_tasks=12, n_per_task=24, binary=True).train, **change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"target_type": "continuous"}, "needs binary targets"),
        ({"n_tasks": 1, "task": np.zeros(288, dtype=int)}, "one task only cannot tell 3 latents apart"),
        ({"y": np.ones(288)}, "12 with a constant target"),
        ({"n_latents": 288}, "samples are too few"),
    ],
)
def test_reasons_why_it_cannot_run(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        SparseShared(steps=5).fit(small_view(**change), seed=0, device="cpu", progress=silent)


def test_same_seed_same_codes_and_global_state_untouched() -> None:
    before = torch.random.get_rng_state()
    view = small_view()
    one, two = (SparseShared(steps=10, hidden=8).fit(view, seed=3, device="cpu", progress=silent) for _ in range(2))
    ablated = SparseShared(alpha=0.0, steps=10, hidden=8).fit(view, seed=3, device="cpu", progress=silent)
    assert torch.equal(before, torch.random.get_rng_state())
    codes = one.encode(view.x)
    assert codes.shape == (288, 3)
    np.testing.assert_array_equal(codes, two.encode(view.x))
    assert np.abs(codes - ablated.encode(view.x)).max() > 1e-3
    np.testing.assert_allclose(codes.std(axis=0), 1, atol=1e-3)


def test_variants_are_registered_with_their_ablated_weights() -> None:
    variants = {info.name: info for info in SparseShared.__bench__}  # type: ignore[attr-defined]
    assert variants["sparse-shared-no-l1"].defaults == {"alpha": 0.0}
    assert variants["sparse-shared-no-entropy"].defaults == {"beta": 0.0}
    assert variants["sparse-shared"].defaults == {}
    assert SparseShared().alpha > 0
    assert SparseShared().beta > 0


def test_held_out_tasks_are_judged_in_the_groups_of_training() -> None:
    z, y, weight = (torch.from_numpy(a) for a in tasks(groups=1, n_tasks=7))
    learner = SparseShared(tasks_per_step=4, beta=0.05)
    whole = learner._outer_loss(z, y, weight, 1.0)
    parts = [learner._outer_loss(z[:, part], y[:, part], weight[:, part], 1.0) for part in (slice(4), slice(4, 7))]
    share = weight[:, :4].sum() / weight.sum()
    torch.testing.assert_close(whole, share * parts[0] + (1 - share) * parts[1])
    together = SparseShared(tasks_per_step=7, beta=0.05)._outer_loss(z, y, weight, 1.0)
    assert (whole - together).abs() > 1e-4  # the entropy ties all tasks of a group together
