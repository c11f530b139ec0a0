"""The evidence dataset: its noise, its exact posteriors, what is shown of a trial, and the frozen encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import dblquad, quad
from scipy.spatial import cKDTree
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from bench.api import NotApplicable
from bench.metrics import linear_r2
from bench.toolkit.inputs import Sequences, content_hash
from datasets.sequences.evidence import boundary_normals, evidence
from datasets.sequences.frozen import choose_encoder
from datasets.sequences.log_odds import task_log_odds
from datasets.sequences.noise import AR_COEFFICIENT, draw_noise, likelihood_of
from datasets.sequences.posterior import Likelihood, posterior_mean, truncated_normal_mean

Float64 = NDArray[np.float64]


@settings(max_examples=60, deadline=None)
@given(m=st.floats(-1.5, 1.5), s=st.floats(0.02, 3.0))
def test_truncated_normal_mean_agrees_with_integration(m: float, s: float) -> None:
    def weight(x: float) -> float:
        return float(np.exp(-0.5 * ((x - m) / s) ** 2 + 0.5 * ((np.clip(m, -0.5, 0.5) - m) / s) ** 2))

    peak = [float(np.clip(m, -0.499, 0.499))]
    mass = quad(weight, -0.5, 0.5, points=peak, limit=200)[0]
    mean = quad(lambda x: x * weight(x), -0.5, 0.5, points=peak, limit=200)[0] / mass
    assert float(truncated_normal_mean(np.array(m), np.array(s))) == pytest.approx(mean, abs=1e-7)


def test_means_far_outside_stay_finite_and_inside() -> None:
    m, s = np.array([-40.0, -1.0, 0.0, 1.0, 40.0]), np.array(0.01)
    found = truncated_normal_mean(m, s)
    assert (np.abs(found) <= 0.5).all()
    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(found, -found[::-1], atol=1e-12)


def readings(noise: str, sigma: float, seed: int = 0, n: int = 4, steps: int = 6) -> tuple[Float64, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.5, 0.5, (n, 1, 2)) + draw_noise(noise, sigma, (n, steps, 2), rng)
    return x, rng.integers(1, steps + 1, n)


def test_gumbel_posterior_agrees_with_integration() -> None:
    sigma = 0.3
    x, counts = readings("gumbel", sigma)
    found = posterior_mean(likelihood_of("gumbel", sigma, x, counts))
    beta = sigma * np.sqrt(6) / np.pi

    def density(value: float, of: Float64) -> float:
        u = (of - value) / beta + np.euler_gamma
        return float(np.exp(np.sum(-u - np.exp(-u))))

    for i in range(len(x)):
        for j in range(2):
            of = x[i, : counts[i], j]
            mass = quad(density, -0.5, 0.5, args=(of,), epsabs=0, limit=200)[0]
            moment = quad(lambda v, of=of: v * density(v, of), -0.5, 0.5, epsabs=0, limit=200)[0]
            assert found[i, j] == pytest.approx(moment / mass, abs=1e-6)


def test_posterior_of_correlated_factors_agrees_with_integration() -> None:
    sigma, rho = 0.5, 0.6
    x, counts = readings("iid", sigma, n=2)
    likelihood = likelihood_of("iid", sigma, x, counts)
    found = posterior_mean(likelihood, rho)
    scale = np.broadcast_to(likelihood.scale, found.shape)
    joint = multivariate_normal([0, 0], [[1, rho], [rho, 1]])

    def density(v: float, u: float, i: int) -> float:
        g, h = ndtri(u + 0.5), ndtri(v + 0.5)
        copula = joint.pdf([g, h]) * 2 * np.pi * np.exp(0.5 * (g**2 + h**2))
        distance = ((np.array([u, v]) - likelihood.statistic[i]) / scale[i]) ** 2
        return float(copula * np.exp(-0.5 * distance.sum()))

    edge, loose = 0.5 - 1e-9, {"epsabs": 1e-7, "epsrel": 1e-5}
    for i in range(len(x)):
        mass, one, other = (
            dblquad(lambda v, u, f=f, i=i: f(u, v) * density(v, u, i), -edge, edge, -edge, edge, **loose)[0]
            for f in (lambda u, v: 1.0, lambda u, v: u, lambda u, v: v)
        )
        np.testing.assert_allclose(found[i], [one / mass, other / mass], atol=1e-4)


def test_without_correlation_the_grid_gives_the_closed_form() -> None:
    x, counts = readings("iid", 0.2, n=50)
    likelihood = likelihood_of("iid", 0.2, x, counts)
    np.testing.assert_allclose(posterior_mean(likelihood, 1e-9), posterior_mean(likelihood), atol=1e-7)


def test_autocorrelated_readings_are_weighed_by_their_inverse_covariance() -> None:
    sigma = 0.3
    x, counts = readings("ar1", sigma, n=8)
    likelihood = likelihood_of("ar1", sigma, x, counts)
    for i, t in enumerate(counts):
        covariance = sigma**2 * AR_COEFFICIENT ** np.abs(np.subtract.outer(np.arange(t), np.arange(t)))
        weight = np.linalg.solve(covariance, np.ones(t))
        np.testing.assert_allclose(likelihood.statistic[i], weight @ x[i, :t] / weight.sum())
        np.testing.assert_allclose(likelihood.scale[i], weight.sum() ** -0.5)


@pytest.mark.parametrize("noise", ["iid", "ar1", "anisotropic", "gumbel"])
def test_noise_has_the_moments_it_promises(noise: str) -> None:
    drawn = draw_noise(noise, 0.3, (20_000, 6, 2), np.random.default_rng(0))
    second = 0.6 if noise == "anisotropic" else 0.3
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), 0.0, atol=0.01)
    np.testing.assert_allclose(drawn.std(axis=0), np.tile([0.3, second], (6, 1)), rtol=0.03)
    step = np.mean(drawn[:, 1:] * drawn[:, :-1], axis=(0, 1)) / drawn.var(axis=(0, 1))
    np.testing.assert_allclose(step, AR_COEFFICIENT if noise == "ar1" else 0.0, atol=0.02)


@pytest.mark.parametrize("n_tasks", [2, 5])
def test_log_odds_agree_with_integration(n_tasks: int) -> None:
    likelihood = Likelihood(np.array([[0.1, -0.2], [0.45, 0.3], [-0.7, 0.05]]), np.array([[0.15, 0.25]]))
    normals = boundary_normals(2, n_tasks, np.random.default_rng(0))
    found = task_log_odds(likelihood, normals)
    middle = (np.arange(2000) + 0.5) / 2000 - 0.5
    for i in range(3):
        one, other = (np.exp(likelihood.log(j, middle)[i]) for j in range(2))
        density = one[:, None] * other
        for t, (a, b) in enumerate(normals):
            share = density[a * middle[:, None] + b * middle > 0].sum() / density.sum()
            assert found[i, t] == pytest.approx(np.log(share) - np.log1p(-share), abs=5e-3)


def test_log_odds_of_certain_answers_keep_their_digits() -> None:
    likelihood = Likelihood(np.array([[0.4, 0.4], [-0.4, -0.4]]), np.array([[0.02, 0.02]]))
    found = task_log_odds(likelihood, np.array([[np.sqrt(0.5), np.sqrt(0.5)]]))
    assert found[0, 0] > 300
    assert found[1, 0] == pytest.approx(-found[0, 0], rel=1e-6)


def test_the_ceiling_is_the_best_estimate_and_follows_the_theory() -> None:
    for steps in (5, 20):
        data = evidence(seed=0, steps=steps, n=4000)
        truth = data.eval
        z = (truth.z_train, truth.z_test)
        statistic = truth.oracles["sufficient-statistic"]()
        best = linear_r2(z[0], truth.ceiling_train, z[1], truth.ceiling_test)
        plain = linear_r2(z[0], statistic[0], z[1], statistic[1])
        assert best == pytest.approx(1 - 12 * 0.2**2 / steps, abs=0.02)
        assert plain < best
        error = np.mean((truth.ceiling_test - z[1]) ** 2, axis=0)
        assert (error < np.mean((statistic[1] - z[1]) ** 2, axis=0)).all()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"d": 3, "n_tasks": 5},
        {"noise": "ar1"},
        {"noise": "anisotropic"},
        {"noise": "gumbel"},
        {"rho": 0.5},
        {"boundaries": "product"},
        {"fixation": True, "encoder_out": 40, "encoder_draws": 1},
        {"free_time": True},
    ],
    ids=str,
)
def test_every_variant_is_whole_and_reproducible(parameters: dict[str, Any]) -> None:
    data = evidence(seed=3, n=60, steps=5, **parameters)
    train, truth = data.train, data.eval
    assert isinstance(train.x, Sequences)
    assert len(train.x) == 60
    assert len(truth.x_test) == 15
    assert train.y.shape == (60 * train.n_tasks,)
    assert truth.ceiling_train is not None
    assert np.isfinite(truth.ceiling_train).all()
    assert np.abs(truth.ceiling_train).max() <= 0.5
    assert train.target_type == ("continuous" if parameters.get("free_time") else "binary")
    assert (truth.x_independent is not None) == ("rho" in parameters)
    again, other = evidence(seed=3, n=60, steps=5, **parameters), evidence(seed=4, n=60, steps=5, **parameters)
    assert content_hash(again.train.x) == content_hash(train.x) != content_hash(other.train.x)
    np.testing.assert_array_equal(again.train.y, train.y)


def test_targets_say_on_which_side_the_factors_lie() -> None:
    data = evidence(seed=0, n=200, n_tasks=7)
    y = data.train.y.reshape(200, 7)
    normals = boundary_normals(2, 7, np.random.default_rng(0))
    assert data.eval.z_train is not None
    np.testing.assert_array_equal(y, data.eval.z_train @ normals.T > 0)
    np.testing.assert_array_equal(data.train.sample.reshape(200, 7)[:, 0], np.arange(200))


def test_products_hide_the_signs_and_are_balanced() -> None:
    data = evidence(seed=0, n=4000, n_tasks=9, boundaries="product")
    share = data.train.y.reshape(4000, 9).mean(axis=0)
    np.testing.assert_allclose(share, 1 - (np.arange(9) + 0.5) / 9, atol=0.03)


def test_fixation_and_answer_steps_carry_no_stimulus() -> None:
    values = evidence(seed=0, n=50, steps=5, fixation=True).train.x.values
    assert values.shape == (50, 7, 6)
    assert (values[:, [0, -1]] == values[0, [0, -1]]).all()
    np.testing.assert_array_equal(values[:, :, -1], np.tile([1, 1, 1, 1, 1, 1, 0], (50, 1)))


def test_trials_of_free_duration_end_where_they_say() -> None:
    data = evidence(seed=0, n=400, steps=5, free_time=True)
    values = data.train.x.values
    on = values[:, :, -1]
    assert set(on.sum(axis=1)) == {1, 2, 3, 4, 5}
    assert (np.diff(on, axis=1) <= 0).all()
    assert len(np.unique(values[on == 0], axis=0)) == 1
    assert np.abs(data.train.y).max() <= 5.0


@pytest.mark.parametrize("seed", range(5))
def test_the_narrow_encoder_is_injective(seed: int) -> None:
    """No two readings on [−1, 1]² that are 0.25 apart have the same outputs, and the Jacobian has full rank."""
    encoder = choose_encoder(2, 5, 32, np.random.default_rng(seed))
    grid = np.linspace(-1, 1, 201)
    at = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    values = np.linalg.svd(encoder.jacobian(at), compute_uv=False)
    assert (values[:, 1] > 1e-3).all()
    assert encoder.condition_numbers(at).max() < 100
    # every reading is within half a diagonal of the grid, and its outputs within ``reach`` of that point's
    reach = values[:, 0].max() * np.sqrt(0.5) * (grid[1] - grid[0])
    outputs = encoder(at)
    near = cKDTree(outputs).query_pairs(2 * reach, output_type="ndarray")
    apart = np.linalg.norm(at[near[:, 0]] - at[near[:, 1]], axis=1).max()
    print(f"outputs closer than {2 * reach:.4f} come from readings at most {apart:.3f} apart")
    assert apart < 0.25


@pytest.mark.parametrize(
    "parameters",
    [
        {"d": 3, "rho": 0.3},
        {"noise": "pink"},
        {"boundaries": "curved"},
        {"boundaries": "product", "free_time": True},
        {"steps": 0},
        {"encoder_out": 0},
    ],
    ids=str,
)
def test_parameters_outside_their_range_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|is not one of|needs"):
        evidence(seed=0, n=20, **parameters)


def test_log_odds_are_refused_where_they_are_not_known() -> None:
    with pytest.raises(NotApplicable, match="two independent factors"):
        evidence(seed=0, n=20, d=3).eval.oracles["task-log-odds"]()
