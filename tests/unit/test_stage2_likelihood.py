"""The likelihood of stage 2: its value, its gradient, its coordinates, and a fit that only ever improves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import multivariate_normal

from mtlcm.diagonalisation import joint_diagonaliser
from mtlcm.likelihood import (
    FreeVariances,
    RelaxedIndicators,
    _Coordinates,
    maximise_likelihood,
    negative_log_likelihood,
    variance_prior,
)


def covariances(seed: int, d: int = 4, n_tasks: int = 12, n: int = 60, noise: float = 0.3) -> Any:
    """Sample residual covariances of the model, with the truth: residual, dof, mixing, variances."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((d, d))
    variances = np.where(rng.random((n_tasks, d)) < 0.4, 1.0, rng.uniform(0.01, 0.3, (n_tasks, d)))
    z = np.sqrt(variances)[:, None] * rng.standard_normal((n_tasks, n, d))
    h = z @ mixing.T + noise * rng.standard_normal((n_tasks, n, d))
    return h.swapaxes(1, 2) @ h / n, np.full(n_tasks, float(n)), mixing, variances


def test_value_is_the_gaussian_log_density() -> None:
    """Summed over samples written out one by one."""
    rng = np.random.default_rng(0)
    mixing, variances, noise = rng.standard_normal((3, 3)), rng.uniform(0.1, 1, (2, 3)), 0.2
    samples = [rng.standard_normal((20, 3)), rng.standard_normal((30, 3))]
    expected = 0.0
    for x, v in zip(samples, variances, strict=True):
        covariance = mixing @ np.diag(v) @ mixing.T + noise * np.eye(3)
        expected -= multivariate_normal(np.zeros(3), covariance).logpdf(x).sum() / 50
    residual = np.stack([x.T @ x / len(x) for x in samples])
    value, _ = negative_log_likelihood(residual, np.array([0.4, 0.6]), np.eye(3), mixing, variances, noise)
    assert value == pytest.approx(expected - 1.5 * np.log(2 * np.pi), abs=1e-10)


def test_gradient_against_finite_differences() -> None:
    residual, dof, mixing, variances = covariances(1, d=3, n_tasks=4)
    weights = dof / dof.sum()
    shape = np.diag([1.0, 2.0, 0.5]) + 0.1

    def unpack(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        return u[:9].reshape(3, 3), u[9:-1].reshape(4, 3), float(u[-1])

    def value(u: np.ndarray) -> float:
        return negative_log_likelihood(residual, weights, shape, *unpack(u))[0]

    def gradient(u: np.ndarray) -> np.ndarray:
        g = negative_log_likelihood(residual, weights, shape, *unpack(u))[1]
        return np.concatenate([g.mixing.ravel(), g.variances.ravel(), [g.noise]])

    at = np.concatenate([mixing.ravel() + 0.1, variances.ravel() + 0.05, [0.2]])
    assert np.linalg.norm(gradient(at)) > 0.1
    assert check_grad(value, gradient, at) < 1e-5


@pytest.mark.parametrize("link_type", [FreeVariances, RelaxedIndicators])
def test_coordinates_pull_gradients_back_and_start_at_the_start(link_type: Any) -> None:
    rng = np.random.default_rng(2)
    variances, shape = rng.uniform(0.1, 0.9, (5, 3)), np.eye(3) + 0.3
    link = link_type(variances)
    np.testing.assert_allclose(link.variances(link.start), variances, rtol=1e-12)
    coordinates = _Coordinates(np.full(5, 0.2), shape, 0.05, link)
    mixing, parameters, log_noise = coordinates.unpack(np.zeros(coordinates.size))
    np.testing.assert_array_equal(mixing, np.eye(3))
    np.testing.assert_array_equal(parameters, link.start)
    assert log_noise == np.log(0.05)

    slopes = rng.standard_normal((3, 3)), rng.standard_normal((5, 3)), float(rng.standard_normal())

    def linear(u: np.ndarray) -> float:
        mixing, parameters, log_noise = coordinates.unpack(u)
        return float((slopes[0] * mixing).sum() + (slopes[1] * parameters).sum() + slopes[2] * log_noise)

    at = 0.1 * rng.standard_normal(coordinates.size)
    assert check_grad(linear, lambda u: coordinates.pull_back(*slopes), at) < 1e-5


def test_coordinates_make_the_expected_hessian_the_identity() -> None:
    """At the start and under the model, for Q diagonal, where the approximation in their derivation is exact."""
    rng = np.random.default_rng(3)
    variances, shape, noise = rng.uniform(0.3, 0.9, (6, 3)), np.diag([1.0, 0.7, 1.3]), 0.02
    weights = np.full(6, 1 / 6)
    link = FreeVariances(variances)
    coordinates = _Coordinates(weights, shape, noise, link)
    truth = np.zeros((6, 3, 3))
    truth[:, range(3), range(3)] = variances + noise * np.diagonal(shape)

    def gradient(u: np.ndarray) -> np.ndarray:
        mixing, parameters, log_noise = coordinates.unpack(u)
        sigma2 = np.exp(log_noise)
        g = negative_log_likelihood(truth, weights, shape, mixing, link.variances(parameters), sigma2)[1]
        return coordinates.pull_back(g.mixing, g.variances * link.slope(parameters), g.noise * sigma2)

    step = 1e-5
    hessian = np.stack([(gradient(step * e) - gradient(-step * e)) / (2 * step) for e in np.eye(coordinates.size)])
    without_noise = hessian[:-1, :-1]  # σ is not identified here, its curvature is floored
    np.testing.assert_allclose(without_noise, np.eye(coordinates.size - 1), atol=1e-6)


@pytest.mark.parametrize("variances", ["free", "relaxed"])
def test_fit_never_gets_worse_and_ends_at_a_stationary_point(variances: Any) -> None:
    residual, dof, _, _ = covariances(4)
    start = joint_diagonaliser(residual, dof).unmixing
    fit = maximise_likelihood(residual, dof, start, variances=variances, tolerance=1e-12, max_iterations=2000)
    assert fit.converged
    assert fit.trace[-1] < fit.trace[0] - 1e-4
    assert np.all(np.diff(fit.trace) <= 0)
    weights = dof / dof.sum()
    value, gradient = negative_log_likelihood(residual, weights, np.eye(4), fit.mixing, fit.variances, fit.noise)
    prior, slope = variance_prior(fit.variances, dof) if variances == "free" else (0.0, 0.0)
    assert value + prior == pytest.approx(fit.trace[-1], abs=1e-8)
    assert np.abs(fit.mixing.T @ gradient.mixing).max() < 1e-4
    assert np.abs((gradient.variances + slope) * fit.variances).max() < 1e-4
    assert abs(gradient.noise * fit.noise) < 1e-4


def test_fit_recovers_mixing_and_noise_where_diagonalisation_cannot() -> None:
    """With much noise the joint diagonaliser is biased; the likelihood finds A and σ."""
    residual, dof, mixing, _ = covariances(5, n_tasks=200, n=400, noise=0.5)
    start = joint_diagonaliser(residual, dof).unmixing
    fit = maximise_likelihood(residual, dof, start)
    assert np.sqrt(fit.noise) == pytest.approx(0.5, rel=0.05)

    def misfit(unmixing: np.ndarray) -> float:
        a = np.abs(unmixing @ mixing)
        return float(np.mean(a.sum(1) / a.max(1) - 1))

    before, after = misfit(start), misfit(np.linalg.inv(fit.mixing))
    print(f"row misfit: joint diagonalisation {before:.3f}, likelihood {after:.3f}")
    assert after < 0.1 < before


def test_impossible_covariance_is_infinitely_unlikely() -> None:
    residual, dof, mixing, variances = covariances(6)
    value, _ = negative_log_likelihood(residual, dof / dof.sum(), np.eye(4), mixing, -variances, 0.0)
    assert value == np.inf
