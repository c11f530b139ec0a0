"""The joint fit of rank d, where tasks have fewer samples than x has columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.toolkit import joint_rank
from bench.toolkit.joint_rank import joint_rank_regression, needed, refitted
from bench.toolkit.reduced_rank import reduced_rank_regression


def few_samples_a_task(seed: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    n_tasks, n, p, d = 60, 30, 50, 3
    x = rng.normal(size=(n_tasks * n, p))
    encoder = rng.normal(size=(p, d)) / np.sqrt(p)
    task = np.repeat(np.arange(n_tasks), n)
    y = (x @ encoder * rng.normal(size=(n_tasks, d))[task]).sum(1) + 0.2 * rng.normal(size=len(x))
    return x, np.arange(len(x)), task, y, rng.random(len(x)) < 0.1, x @ encoder


def _r2(codes: np.ndarray, z: np.ndarray) -> float:
    design = np.column_stack([codes, np.ones(len(codes))])
    residual = z - design @ np.linalg.lstsq(design, z, rcond=None)[0]
    return float(1 - (residual**2).sum() / ((z - z.mean(0)) ** 2).sum())


def test_all_tasks_together_find_the_encoder_that_single_ones_cannot() -> None:
    x, sample, task, y, held, z = few_samples_a_task(0)
    separate = reduced_rank_regression(x, sample[~held], task[~held], y[~held], n_tasks=60, n_latents=3)
    joint = joint_rank_regression(x, sample, task, y, held, n_tasks=60, n_latents=3)
    codes = joint.encode(x)
    print(f"R² of the factors: tasks by themselves {_r2(separate.encode(x), z):.3f}, jointly {_r2(codes, z):.3f}")
    assert _r2(codes, z) > 0.99
    assert 1 - _r2(codes, z) < 0.25 * (1 - _r2(separate.encode(x), z))
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(3), atol=1e-6)


def test_the_held_out_targets_are_of_use_once_they_have_chosen() -> None:
    errors = []
    for seed in range(3):
        x, sample, task, y, _, z = few_samples_a_task(seed)
        held = np.arange(len(y)) % 3 == 0
        chosen = joint_rank_regression(x, sample, task, y, held, n_tasks=60, n_latents=3)
        again = refitted(chosen, x, sample, task, y, n_tasks=60)
        assert again.ridge == chosen.ridge
        assert (again.units == chosen.units).all()
        np.testing.assert_allclose(np.cov(again.encode(x).T, bias=True), np.eye(3), atol=1e-6)
        errors.append([1 - _r2(found.encode(x), z) for found in (chosen, again)])
    before, after = np.mean(errors, axis=0)
    print(f"1 - R² of the factors: two thirds of the targets {before:.4f}, all {after:.4f}")
    assert after < 0.8 * before


def test_a_gram_that_rounding_left_short_of_positive_definite_is_solved_all_the_same() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    gram = turn @ np.diag([1.0, 0.5, 0.1, -1e-6]) @ turn.T
    np.testing.assert_allclose(gram @ joint_rank._solved(gram, np.ones(4)), np.ones(4), atol=1e-6)


def test_it_is_asked_for_only_where_no_ridge_was_chosen_and_samples_are_few() -> None:
    x, sample, task, y, _, _ = few_samples_a_task(1)
    interpolating = reduced_rank_regression(x, sample, task, y, n_tasks=60, n_latents=3, ridges=(1e-8,))
    ridged = reduced_rank_regression(x, sample, task, y, n_tasks=60, n_latents=3, ridges=(1e-2,))
    assert needed(interpolating, task, 60)
    assert not needed(ridged, task, 60)
    assert not needed(interpolating, task // 2, 30)


def test_counts_with_many_rare_columns_are_fitted_in_their_own_units() -> None:
    n_tasks, n, p, d = 60, 30, 120, 3
    errors = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.poisson(np.geomspace(0.02, 3.0, p), size=(n_tasks * n, p)).astype(float)
        encoder = rng.normal(size=(p, d)) / np.sqrt(p)
        task, sample = np.repeat(np.arange(n_tasks), n), np.arange(n_tasks * n)
        y = (x @ encoder * rng.normal(size=(n_tasks, d))[task]).sum(1) + rng.normal(size=len(x))
        held = rng.random(len(x)) < 0.1
        found = joint_rank_regression(x, sample, task, y, held, n_tasks=n_tasks, n_latents=d)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(joint_rank, "own_units", lambda standardise: np.ones(len(standardise.mean)))
            standardised = joint_rank_regression(x, sample, task, y, held, n_tasks=n_tasks, n_latents=d)
        errors.append([1 - _r2(fit.encode(x), x @ encoder) for fit in (standardised, found)])
        np.testing.assert_allclose(np.cov(found.encode(x).T, bias=True), np.eye(d), atol=1e-6)
    before, after = np.mean(errors, axis=0)
    print(f"1 - R² of the factors: standardised columns {before:.3f}, their own units tried too {after:.3f}")
    assert after < 0.8 * before


def test_a_smooth_start_has_the_largest_ridge_that_held_out_targets_cannot_tell_from_the_best() -> None:
    rng = np.random.default_rng(0)
    x, sample, task, y, _, _ = few_samples_a_task(0)
    first = joint_rank_regression(x, sample, task, y, np.zeros(len(y), bool), n_tasks=60, n_latents=3)
    tasks = np.repeat(np.arange(50), 4)
    common = rng.exponential(size=200)
    noise = rng.normal(size=50)[tasks]  # the same for all targets of a task: tasks are the units, not targets

    def path(*excess: float) -> list[tuple[np.ndarray, joint_rank.JointEncoder]]:
        ridges = (1e-1, 3e-2, 1e-2)
        errors = [common + e + 0.3 * noise * (e > 0) for e in excess]
        return [(error, replace(first, ridge=ridge)) for error, ridge in zip(errors, ridges, strict=True)]

    noise -= noise.mean()
    noise *= np.sqrt(49 / 50) / noise.std()  # a standard error of .3 / √50 = .042 for the mean of a difference
    assert joint_rank._smoothest(path(0.05, 0.04, 0.0), tasks).ridge == 3e-2
    assert joint_rank._smoothest(path(0.04, 0.0, 0.01), tasks).ridge == 1e-1
    assert joint_rank._smoothest(path(0.5, 0.1, 0.0), tasks).ridge == 1e-2


def test_a_smooth_start_is_never_rougher_and_the_best_is_taken_unless_it_is_asked_for() -> None:
    rougher = []
    for seed in range(3):
        x, sample, task, y, _, _ = few_samples_a_task(seed)
        held = np.random.default_rng(seed).random(len(y)) < 0.2
        best, smooth = (
            joint_rank_regression(x, sample, task, y, held, n_tasks=60, n_latents=3, smooth=asked)
            for asked in (False, True)
        )
        np.testing.assert_array_equal(smooth.units, best.units)
        assert smooth.ridge >= best.ridge
        rougher.append(best.ridge < smooth.ridge)
    assert any(rougher)
