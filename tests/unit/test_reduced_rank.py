"""Reduced-rank regression against the same thing written out task by task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.linear.rrr import LARGER_RIDGES, DiagonalisedReducedRankRegression, ReducedRankRegression
from bench.api import NotApplicable, TrainView
from bench.toolkit.reduced_rank import RIDGES, Standardiser, reduced_rank_regression, task_ridge

Targets = tuple[np.ndarray, np.ndarray, np.ndarray]


def targets(x: np.ndarray, pattern: str, rng: np.random.Generator, *, n_tasks: int = 12, rank: int = 3) -> Targets:
    """(sample, task, y): noisy linear functions of ``rank`` linear factors of x."""
    n, p = x.shape
    coefficients = rng.normal(size=(n_tasks, rank)) @ rng.normal(size=(rank, p))
    observed = {
        "dense": np.ones((n, n_tasks), bool),
        "own": np.arange(n)[:, None] % n_tasks == np.arange(n_tasks),
        "missing": rng.random((n, n_tasks)) < 0.4,
    }[pattern]
    sample, task = np.nonzero(observed)
    shuffle = rng.permutation(len(sample))
    sample, task = sample[shuffle], task[shuffle]
    y = (x[sample] * coefficients[task]).sum(1) + 0.3 * rng.normal(size=len(sample)) + task
    return sample, task, y


def explicit(x: np.ndarray, sample: np.ndarray, task: np.ndarray, y: np.ndarray, ridge: float) -> Targets:
    """Coefficients (T, p), noise (T,) and log GCV summed, one task at a time by plain solves."""
    coefficients, noise, score = [], [], 0.0
    for t in range(task.max() + 1):
        a, b = x[sample[task == t]], y[task == t]
        a, b, n = a - a.mean(0), b - b.mean(), len(b)
        solve = np.linalg.solve(a.T @ a / n + ridge * np.eye(a.shape[1]), a.T / n)
        spare = 1 - (1 + np.trace(a @ solve)) / n
        rss = np.square(b - a @ solve @ b).mean()
        coefficients.append(solve @ b)
        noise.append(rss / spare)
        score += n * np.log(rss / spare**2)
    return np.array(coefficients), np.array(noise), np.array(score)


@pytest.mark.parametrize("pattern", ["dense", "own", "missing"])
def test_task_ridge_equals_plain_solves(pattern: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(180, 8)) @ rng.normal(size=(8, 8))
    sample, task, y = targets(x, pattern, rng)
    grid = (1e-3, 1e-1, 1e1)
    got = task_ridge(x, sample, task, y, n_tasks=12, ridges=grid)
    scores = [explicit(x, sample, task, y, r)[2] for r in grid]
    assert got.ridge == grid[int(np.argmin(scores))]
    coefficients, noise, _ = explicit(x, sample, task, y, got.ridge)
    np.testing.assert_allclose(got.coefficients, coefficients, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(got.noise, noise, rtol=1e-8)
    np.testing.assert_array_equal(got.n, np.bincount(task))


def test_tasks_with_fewer_samples_than_columns_use_the_dual_and_agree() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(60, 30))
    sample, task, y = targets(x, "own", rng, n_tasks=5)
    got = task_ridge(x, sample, task, y, n_tasks=5, ridges=(0.5,))
    np.testing.assert_allclose(got.coefficients, explicit(x, sample, task, y, 0.5)[0], rtol=1e-8, atol=1e-10)


def test_span_is_that_of_the_explicit_weighted_factorisation() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
    sample, task, y = targets(x, "missing", rng)
    got = reduced_rank_regression(x, sample, task, y, n_tasks=12, n_latents=3)
    xs = (x - x.mean(0)) / x.std(0)
    coefficients, noise, _ = explicit(xs, sample, task, y, got.ridge)
    values, vectors = np.linalg.eigh(xs.T @ xs / len(xs))
    root = vectors * np.sqrt(values) @ vectors.T
    stacked = coefficients @ root * np.sqrt(np.bincount(task) / noise)[:, None]
    rows = np.linalg.svd(stacked)[2][:3]
    expected = xs @ np.linalg.solve(root, rows.T)
    codes = got.encode(x)
    residual = expected - codes @ np.linalg.lstsq(codes, expected, rcond=None)[0]
    assert np.abs(residual).max() < 1e-8
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(3), atol=1e-8)
    np.testing.assert_allclose(got.singular_values[:6], np.linalg.svd(stacked)[1][:6], rtol=1e-8)


@pytest.mark.parametrize("pattern", ["dense", "own", "missing"])
def test_recovers_the_factors_without_noise(pattern: str) -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(600, 7))
    sample, task, y = targets(x, pattern, rng)
    mixing = rng.normal(size=(3, 7))
    heads = rng.normal(size=(12, 3))
    y = (x[sample] @ mixing.T * heads[task]).sum(1)
    codes = reduced_rank_regression(x, sample, task, y, n_tasks=12, n_latents=3).encode(x)
    factors = x @ mixing.T
    design = np.column_stack([codes, np.ones(len(x))])
    residual = factors - design @ np.linalg.lstsq(design, factors, rcond=None)[0]
    assert np.square(residual).mean() / factors.var() < 1e-6


def test_order_of_the_targets_and_units_do_not_matter() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(300, 6))
    sample, task, y = targets(x, "missing", rng)
    one = reduced_rank_regression(x, sample, task, y, n_tasks=12, n_latents=3)
    order = rng.permutation(len(y))
    units = 10.0 ** rng.integers(-3, 4, 12)
    other = reduced_rank_regression(
        1e3 * x + 5, sample[order], task[order], (y * units[task])[order], n_tasks=12, n_latents=3
    )
    a, b = one.encode(x), other.encode(1e3 * x + 5)
    np.testing.assert_allclose(np.linalg.svd(a.T @ b / len(x))[1], 1, atol=1e-9)  # same subspace


def test_constant_columns_and_constant_targets_are_left_out() -> None:
    rng = np.random.default_rng(8)
    x = np.column_stack([rng.normal(size=(200, 5)), np.full(200, 0.1)]).astype(np.float32)
    sample, task, y = targets(x.astype(float), "own", rng, n_tasks=5)
    y = np.where(task == 2, 7.0, y)
    got = reduced_rank_regression(x, sample, task, y, n_tasks=6, n_latents=2)  # task 5 has no targets at all
    moved = x.copy()
    moved[:, 5] += 100  # what never varied in training must not reach the code
    np.testing.assert_array_equal(got.encode(x), got.encode(moved))
    assert np.isfinite(got.encode(x)).all()
    assert not Standardiser.of(x).varies[5]
    fit = task_ridge(x.astype(float), sample, task, y, n_tasks=6)
    np.testing.assert_array_equal(fit.usable, [True, True, False, True, True, False])
    assert (fit.coefficients[[2, 5]] == 0).all()


def view(x: np.ndarray, n_latents: int, n_tasks: int = 12, **change: Any) -> TrainView:
    sample, task, y = targets(x.astype(float), "own", np.random.default_rng(0), n_tasks=n_tasks)
    fields = {"x": x, "sample": sample, "task": task, "y": y, "n_tasks": n_tasks, "n_latents": n_latents}
    return TrainView(**{**fields, **change})


@pytest.mark.parametrize("learner", [ReducedRankRegression, DiagonalisedReducedRankRegression])
def test_learners_are_deterministic_and_refuse_what_they_cannot_take(learner: Any) -> None:
    x = np.random.default_rng(9).normal(size=(300, 6)).astype(np.float32)

    def fit(v: TrainView, seed: int = 0) -> Any:
        return learner().fit(v, seed=seed, device="cpu", progress=lambda fraction, message: None)

    codes = fit(view(x, 3)).encode(x[:40])
    assert codes.shape == (40, 3)
    assert codes.dtype == np.float64
    np.testing.assert_array_equal(codes, fit(view(x, 3), seed=1).encode(x[:40]))
    none = np.empty(0, dtype=np.int64)
    with pytest.raises(NotApplicable, match="2 tasks cannot span 3 latent factors"):
        fit(view(x, 3, n_tasks=2))
    with pytest.raises(NotApplicable, match="no targets"):
        fit(view(x, 3, sample=none, task=none, y=np.empty(0)))
    with pytest.raises(NotApplicable, match="0 tasks with a target that varies"):
        fit(view(x, 3, y=np.ones(300)))
    with pytest.raises(NotApplicable, match="x is not finite"):
        fit(view(np.where(np.arange(300)[:, None] == 7, np.nan, x), 3, y=np.ones(300)))
    with pytest.raises(NotApplicable, match="varies in 2 directions"):
        fit(view(x[:, [0, 1, 1, 0]], 3))


def test_where_tasks_fit_their_samples_whatever_the_truth_held_out_samples_choose_the_ridge() -> None:
    """70 columns, 60 noisy samples a task: generalised cross-validation takes no ridge."""
    rng, n = np.random.default_rng(4), 3600
    z, task = rng.normal(size=(n, 3)), np.arange(n) % 60
    of_factors = z @ rng.normal(size=(3, 20)) + 0.3 * rng.normal(size=(n, 20))
    others = rng.normal(size=(n, 8)) @ rng.normal(size=(8, 50)) + 0.3 * rng.normal(size=(n, 50))
    x = np.hstack([of_factors, others])
    y = (z * rng.normal(size=(60, 3))[task]).sum(1) + rng.normal(size=n)
    data = TrainView(x=x, sample=np.arange(n), task=task, y=y, n_tasks=60, n_latents=3)

    def unexplained(**params: Any) -> float:
        made = ReducedRankRegression(**params).fit(data, seed=0, device="cpu", progress=lambda *_: None)
        codes = np.column_stack([made.encode(x), np.ones(n)])
        residual = z - codes @ np.linalg.lstsq(codes, z, rcond=None)[0]
        chosen.append(made.history_["chosen_by"])
        return float(np.mean(residual.var(0) / z.var(0)))

    chosen: list[str] = []
    held_out, smallest = unexplained(), unexplained(ridges=(1e-8,))
    best = min(unexplained(ridges=(ridge,)) for ridge in LARGER_RIDGES)
    assert chosen[0] == "held-out samples"
    assert set(chosen[1:]) == {"generalised cross-validation"}
    assert held_out < 0.3 * smallest
    assert held_out < 1.1 * best


def test_where_held_out_samples_choose_they_choose_the_units_of_counts_too() -> None:
    """120 columns from rare to frequent, of which the 40 most frequent matter, 60 samples a task."""
    unexplained = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        task = np.arange(3600) % 60
        x = rng.poisson(np.geomspace(0.02, 3.0, 120), size=(3600, 120)).astype(float)
        z = x[:, -40:] @ rng.normal(size=(40, 3))
        y = (z * rng.normal(size=(60, 3))[task]).sum(1) + 5 * rng.normal(size=3600)
        data = TrainView(x=x, sample=np.arange(3600), task=task, y=y, n_tasks=60, n_latents=3)

        def one_fit(data: TrainView = data, z: np.ndarray = z) -> tuple[float, str]:
            made = ReducedRankRegression().fit(data, seed=0, device="cpu", progress=lambda *_: None)
            codes = np.column_stack([made.encode(data.x), np.ones(3600)])
            residual = z - codes @ np.linalg.lstsq(codes, z, rcond=None)[0]
            assert made.history_["chosen_by"] == "held-out samples"
            return float(np.mean(residual.var(0) / z.var(0))), made.history_["units"]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Standardiser, "in_own_units", lambda self: self)
            before, _ = one_fit()
        after, units = one_fit()
        assert units == "own"
        unexplained.append((before, after))
    before, after = np.mean(unexplained, axis=0)
    print(f"1 - R² of the factors: standardised columns {before:.3f}, their own units tried too {after:.3f}")
    assert after < 0.6 * before


def test_every_default_ridge_is_positive_and_ascending() -> None:
    assert min(RIDGES) > 0
    assert list(RIDGES) == sorted(RIDGES)
