"""The likelihood of stage 2 given labels: its value, its gradient, and a fit that only ever improves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import multivariate_normal

from mtlcm.binary_targets import LabelParameters, label_likelihood, maximise_label_likelihood
from mtlcm.diagonalisation import joint_diagonaliser
from mtlcm.likelihood import maximise_likelihood


def parameters(rng: np.random.Generator, n_tasks: int, d: int) -> LabelParameters:
    return LabelParameters(
        rng.standard_normal((d, d)),
        rng.uniform(0.5, 1.0, (n_tasks, d)),
        rng.standard_normal((n_tasks, d)),
        rng.uniform(0.3, 1.0, n_tasks),
        0.2,
    )


def moments(x: Any, label: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residual covariance, slope on the label and degrees of freedom of one task after the other."""
    residual, slopes, dof = [], [], []
    for h, b in zip(x, label, strict=True):
        design = np.c_[np.ones(len(h)), (b - b.mean()) / b.std()]
        coefficients = np.linalg.lstsq(design, h, rcond=None)[0]
        rest = h - design @ coefficients
        residual.append(rest.T @ rest / (len(h) - 2))
        slopes.append(coefficients[1])
        dof.append(len(h) - 2.0)
    return np.stack(residual), np.stack(slopes), np.array(dof)


def test_value_is_the_gaussian_log_density_where_means_are_integrated_out() -> None:
    """n − 1 of the n samples of a task are left when its mean is free: any contrasts of them have the density."""
    rng = np.random.default_rng(0)
    at = parameters(rng, 2, 3)
    x, label = [rng.standard_normal((20, 3)), rng.standard_normal((30, 3))], [np.arange(20) % 2, np.arange(30) % 3 == 0]
    expected, rows = 0.0, 0
    for t, (h, b) in enumerate(zip(x, label, strict=True)):
        s = (b - b.mean()) / b.std()
        contrasts = np.linalg.svd(np.ones((1, len(h))))[2][1:]  # orthonormal, all but the mean
        m = at.slopes[t]
        covariance = at.mixing @ (np.diag(at.variances[t]) + at.excess[t] * np.outer(m, m)) @ at.mixing.T
        covariance += at.noise * np.eye(3)
        rest = contrasts @ (h - np.outer(s, at.mixing @ m))
        expected -= multivariate_normal(np.zeros(3), covariance).logpdf(rest).sum()
        rows += len(rest)
    value, _ = label_likelihood(*moments(x, label), np.eye(3), at)
    assert value == pytest.approx(expected / rows - 1.5 * np.log(2 * np.pi), abs=1e-10)


def test_gradient_against_finite_differences() -> None:
    rng = np.random.default_rng(1)
    x, label = rng.standard_normal((4, 25, 3)), np.tile(np.arange(25) % 2, (4, 1))
    data, shape = moments(x, label), np.diag([1.0, 2.0, 0.5]) + 0.1

    def unpack(u: np.ndarray) -> LabelParameters:
        return LabelParameters(
            u[:9].reshape(3, 3), u[9:21].reshape(4, 3), u[21:33].reshape(4, 3), u[33:37], float(u[37])
        )

    def pack(p: LabelParameters) -> np.ndarray:
        return np.concatenate([p.mixing.ravel(), p.variances.ravel(), p.slopes.ravel(), p.excess, [p.noise]])

    def value(u: np.ndarray) -> float:
        return label_likelihood(*data, shape, unpack(u))[0]

    def gradient(u: np.ndarray) -> np.ndarray:
        found = label_likelihood(*data, shape, unpack(u))[1]
        assert found is not None
        return pack(found)

    at = pack(parameters(rng, 4, 3))
    assert np.linalg.norm(gradient(at)) > 0.1
    assert check_grad(value, gradient, at) < 1e-5


def labelled(seed: int, *, hidden: bool, n_tasks: int = 40, d: int = 4, n: int = 80) -> tuple[Any, np.ndarray]:
    """Moments of data whose factors follow a Gaussian target (``hidden``) or its sign itself, and the mixing."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((d, d))
    deviation = np.where(rng.random((n_tasks, 1, d)) < 0.4, 1.0, rng.uniform(0.05, 0.3, (n_tasks, 1, d)))
    target = rng.standard_normal((n_tasks, n, 1))
    cause = target if hidden else np.sign(target)
    z = rng.uniform(-1, 1, (n_tasks, 1, d)) * cause + deviation * rng.standard_normal((n_tasks, n, d))
    h = z @ mixing.T + 0.01 * rng.standard_normal(z.shape)
    return moments(h, target[..., 0] > 0), mixing


def misfit(unmixing: np.ndarray, mixing: np.ndarray) -> float:
    """How far the rows of unmixing · mixing are from having one entry each."""
    entries = np.abs(unmixing @ mixing)
    return float(np.mean(entries.sum(1) / entries.max(1) - 1))


def test_fit_never_gets_worse_and_finds_the_mixing_that_numbers_do_not() -> None:
    (residual, slopes, dof), mixing = labelled(2, hidden=True)
    fit = maximise_label_likelihood(residual, slopes, dof)
    start = joint_diagonaliser(residual, dof).unmixing
    numbers = maximise_likelihood(residual, dof, start)
    after, before = misfit(np.linalg.inv(fit.mixing), mixing), misfit(np.linalg.inv(numbers.mixing), mixing)
    print(f"row misfit: labels {after:.3f}, labels taken for numbers {before:.3f}, s {np.median(fit.excess):.2f}")
    assert fit.converged
    assert np.all(np.diff(fit.trace) <= 0)
    assert after < 0.05
    assert before > 3 * after
    assert np.median(fit.excess) == pytest.approx(np.pi / 2 - 1, abs=0.1)


def test_a_target_that_was_binary_from_the_start_has_no_excess() -> None:
    (residual, slopes, dof), mixing = labelled(3, hidden=False)
    fit = maximise_label_likelihood(residual, slopes, dof)
    after = misfit(np.linalg.inv(fit.mixing), mixing)
    print(f"row misfit {after:.3f}, s {np.median(fit.excess):.4f}")
    assert np.median(fit.excess) < 0.01
    assert after < 0.1


def test_out_of_steps_is_not_converged() -> None:
    (residual, slopes, dof), _ = labelled(2, hidden=True)
    fit = maximise_label_likelihood(residual, slopes, dof, max_iterations=60)
    assert not fit.converged
    assert len(fit.trace) <= 61


def test_impossible_covariance_is_infinitely_unlikely() -> None:
    (residual, slopes, dof), _ = labelled(4, hidden=True)
    at = parameters(np.random.default_rng(0), *slopes.shape)
    wrong = LabelParameters(at.mixing, -at.variances, at.slopes, at.excess, 0.0)
    assert label_likelihood(residual, slopes, dof, np.eye(4), wrong) == (np.inf, None)
