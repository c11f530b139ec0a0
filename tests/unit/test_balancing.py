"""Entropy balancing: matches moments, knows Gaussians, refuses what cannot be; sampling without repeats."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.molecular.balancing import TOLERANCE, Unmatched, Weights, balance, largest_sample, systematic_sample


def skewed(n: int, d: int) -> np.ndarray:
    z = np.random.default_rng(0).gamma(3.0, size=(n, d))
    return (z - z.mean(0)) / z.std(0)


def test_the_weighted_library_has_the_wanted_moments() -> None:
    z = skewed(5000, 4)
    root = np.random.default_rng(1).normal(size=(4, 4)) * 0.3
    wanted = 0.4 * np.eye(4) + root @ root.T
    weights = balance(z, wanted)
    assert (weights.share > 0).all()
    assert weights.share.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(weights.share @ z, 0.0, atol=2 * TOLERANCE)
    np.testing.assert_allclose((z * weights.share[:, None]).T @ z, wanted, atol=2 * TOLERANCE)
    assert weights.effective == pytest.approx(1 / (weights.share**2).sum())


def test_of_a_gaussian_library_the_weights_are_the_ratio_of_densities() -> None:
    z = np.random.default_rng(2).normal(size=(40000, 2))
    z = (z - z.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, bias=True))).T
    weights = balance(z, np.diag([0.5, 0.8]))
    ratio = np.exp(-0.5 * (z**2 @ (np.array([2.0, 1.25]) - 1.0)))
    np.testing.assert_allclose(weights.share, ratio / ratio.sum(), atol=0.02 * weights.share.max())


def test_moments_out_of_reach_are_refused_with_the_effective_sample_size() -> None:
    with pytest.raises(Unmatched, match=r"moments missed by .* at an effective sample size of \d+"):
        balance(skewed(200, 2), 400.0 * np.eye(2))


def test_systematic_samples_are_different_rows_with_the_stated_chances() -> None:
    share = np.random.default_rng(3).random(50)
    share /= share.sum()
    weights = Weights(share, float(1 / (share**2).sum()))
    n = largest_sample(weights)
    rng = np.random.default_rng(4)
    seen = np.zeros(50)
    for _ in range(4000):
        rows = systematic_sample(weights, n, rng)
        assert len(np.unique(rows)) == n
        seen[rows] += 1
    error = np.sqrt(n * share * (1 - n * share) / 4000).max()
    np.testing.assert_allclose(seen / 4000, n * share, atol=4.5 * error)
    with pytest.raises(Unmatched, match="would be drawn"):
        systematic_sample(weights, 2 * n, rng)
