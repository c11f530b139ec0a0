"""The rotations to simple structure and the learner on top of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import check_grad

from baselines.sparse.rotation import oblique, oblique_loss, orthogonal, random_rotations, sparsest_angle
from baselines.sparse.sparse_rotation import SparseRotation
from bench.statistics.convergence import from_history
from datasets.synthetic.sparse_tasks import sparse_tasks

Float64 = NDArray[np.float64]


def silent(fraction: float, message: str) -> None:
    """A progress callback that says nothing."""


def sparse_heads(seed: int, tasks: int = 200, d: int = 4) -> Float64:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((tasks, d)) < 0.5, rng.standard_normal((tasks, d)), 0.0)


def one_code_a_factor(mixing: Float64) -> bool:
    """Is every row and column of the matrix dominated by one entry?"""
    strength = np.abs(mixing) / np.linalg.norm(mixing, axis=0)
    return bool((strength.max(axis=0) > 0.99).all()) and len(set(strength.argmax(axis=0))) == len(mixing)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), tasks=st.integers(1, 30))
def test_the_angle_of_a_plane_is_the_best_of_all(seed: int, tasks: int) -> None:
    a, b = np.random.default_rng(seed).standard_normal((2, 3, tasks))

    def loss(angle: Float64) -> Float64:
        cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
        return (np.abs(a * cos + b * sin) + np.abs(b * cos - a * sin)).sum(axis=-1)

    grid = loss(np.linspace(0, np.pi / 2, 2001)[:, None].repeat(3, axis=1))
    found = loss(sparsest_angle(a, b))
    assert (found <= grid.min(axis=0) + 1e-9).all()


def test_starts_are_orthogonal_and_the_first_changes_nothing() -> None:
    starts = random_rotations(5, 7, np.random.default_rng(0))
    np.testing.assert_allclose(starts @ starts.swapaxes(1, 2), np.broadcast_to(np.eye(5), (7, 5, 5)), atol=1e-12)
    np.testing.assert_array_equal(starts[0], np.eye(5))


def test_a_rotation_of_sparse_heads_is_undone() -> None:
    heads = sparse_heads(1)
    turn = random_rotations(4, 2, np.random.default_rng(2))[1]
    found = orthogonal(heads @ turn, random_rotations(4, 10, np.random.default_rng(3)))
    best = found.rotations[found.losses.argmin()]
    assert one_code_a_factor(turn @ best)
    np.testing.assert_allclose(best.T @ best, np.eye(4), atol=1e-10)
    assert found.losses.min() == pytest.approx(np.abs(heads).sum() / len(heads), rel=1e-3)
    np.testing.assert_allclose(found.losses, np.abs(heads @ turn @ found.rotations).sum(axis=(1, 2)) / len(heads))


def test_the_gradient_of_the_oblique_loss_is_its_derivative() -> None:
    rng = np.random.default_rng(0)
    heads, epsilon = sparse_heads(0, 30), rng.uniform(0.01, 0.1, 30)
    at = np.eye(4) + 0.3 * rng.standard_normal((4, 4))
    error = check_grad(
        lambda b: oblique_loss(heads, b.reshape(4, 4), epsilon)[0],
        lambda b: oblique_loss(heads, b.reshape(4, 4), epsilon)[1].ravel(),
        at.ravel(),
    )
    assert error < 1e-5


def test_correlated_factors_need_the_oblique_map() -> None:
    heads, correlation = sparse_heads(4, 400), 0.5 + 0.5 * np.eye(4)
    root = np.linalg.cholesky(correlation)  # factors z = h rootᵀ of white codes h, hence heads on h: heads @ root
    found = orthogonal(heads @ root, random_rotations(4, 10, np.random.default_rng(5)))
    rotation = found.rotations[found.losses.argmin()]
    map_, before, after = oblique(heads @ root, rotation, np.full(400, 0.01))
    codes_of_factors = np.linalg.inv(root.T)  # codes h B = z (rootᵀ)⁻¹ B
    assert one_code_a_factor(codes_of_factors @ map_)
    assert not one_code_a_factor(codes_of_factors @ rotation)
    assert after < before
    np.testing.assert_allclose(np.linalg.norm(map_, axis=0), 1.0)


def test_codes_have_unit_variance_and_history_tells_the_losses() -> None:
    data = sparse_tasks(seed=0, d=3, d_observed=6, n_tasks=60, n_per_task=30)
    learner = SparseRotation(steps=30, restarts=5).fit(data.train, seed=1, device="cpu", progress=silent)
    codes = learner.encode(data.train.x)
    np.testing.assert_allclose(codes.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(codes.std(axis=0), 1.0, rtol=1e-6)
    for name in ("orthogonal_loss", "oblique_loss"):
        before, after = learner.history_[name]
        assert after < before
    assert learner.causal_.shape == (60, 3)
    again = SparseRotation(steps=30, restarts=5).fit(data.train, seed=1, device="cpu", progress=silent)
    np.testing.assert_array_equal(codes, again.encode(data.train.x))


def test_tasks_without_a_target_are_left_out() -> None:
    data = sparse_tasks(seed=0, d=3, d_observed=6, n_tasks=60, n_per_task=30)
    keep = data.train.task != 7
    view = replace(data.train, sample=data.train.sample[keep], task=data.train.task[keep], y=data.train.y[keep])
    learner = SparseRotation(steps=20, restarts=3).fit(view, seed=1, device="cpu", progress=silent)
    assert np.isfinite(learner.encode(view.x)).all()
    assert not learner.causal_[7].any()


def test_no_restart_is_refused() -> None:
    data = sparse_tasks(seed=0, d=3, d_observed=6, n_tasks=10, n_per_task=10)
    with pytest.raises(ValueError, match="restarts=0"):
        SparseRotation(restarts=0).fit(data.train, seed=0, device="cpu", progress=silent)


def test_the_networks_training_is_handed_on_so_that_it_can_be_judged() -> None:
    """Without it a longer and worse training would stand for a row (``bench.statistics.convergence``)."""
    view = sparse_tasks(seed=0, d=3, d_observed=6, n_tasks=60, n_per_task=30).train
    learner = SparseRotation(steps=20, restarts=2).fit(view, seed=0, device="cpu", progress=silent)
    curve = learner.history_["validation_curve"]
    assert len(curve) == len(learner.history_["evaluated_at"]) > 4
    assert learner.history_["best_step"] in learner.history_["evaluated_at"]
    assert from_history(learner.history_).converged is not None
