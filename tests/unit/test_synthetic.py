"""The synthetic datasets keep their contract: shapes, splits, seeds, checks, and x = g(z) of the stated kind."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import Data
from bench.registry import discover
from datasets.synthetic.causal import linear_causal, linear_causal_binary, nonlinear_causal
from datasets.synthetic.clusters import clusters
from datasets.synthetic.common import extra_held_out, linear_mmse, n_held_out, product_of_marginals
from datasets.synthetic.mixing import (
    Mixing,
    condition_numbers,
    conditioned_mixing,
    linear_matrix,
    normalised_uniform,
    relu_mixing,
)
from datasets.synthetic.segments import segment_covariances, tcl_segments
from datasets.synthetic.sparse_tasks import draw_supports, sparse_tasks

Generator = Callable[..., Data]
GENERATORS: dict[str, tuple[Generator, str]] = {
    "linear-causal": (linear_causal, "d"),
    "linear-causal-binary": (linear_causal_binary, "d"),
    "nonlinear-causal": (nonlinear_causal, "d_observed"),
    "tcl-segments": (tcl_segments, "d"),
    "sparse-tasks": (sparse_tasks, "d_observed"),
    "sparse-tasks-binary": (sparse_tasks, "d_observed"),
    "clusters": (clusters, "d"),
}


def smoke(name: str, seed: int = 0, **parameters: Any) -> Data:
    """The dataset ``name`` at the sizes of its smoke budget."""
    info = discover().dataset(name)
    return GENERATORS[name][0](seed=seed, **{**info.defaults, **info.budgets["smoke"], **parameters})


def arrays(data: Data) -> dict[str, np.ndarray]:
    """All arrays of both views by name."""
    return {
        f"{type(view).__name__}.{field.name}": getattr(view, field.name)
        for view in (data.train, data.eval)
        for field in dataclasses.fields(view)
        if isinstance(getattr(view, field.name), np.ndarray)
    }


@pytest.mark.parametrize("name", GENERATORS)
def test_every_number_follows_from_the_seed(name: str) -> None:
    first, again, other = arrays(smoke(name)), arrays(smoke(name)), arrays(smoke(name, seed=1))
    assert len(first) >= 8
    for key, value in first.items():
        np.testing.assert_array_equal(value, again[key], err_msg=key)
    for key in ("TrainView.x", "EvalView.x_test", "EvalView.z_train"):
        assert not np.array_equal(first[key], other[key]), key


@pytest.mark.parametrize("name", GENERATORS)
def test_global_random_state_is_left_alone(name: str) -> None:
    np.random.seed(7)  # noqa: NPY002 - the legacy state is what must not move
    before = np.random.get_state()  # noqa: NPY002
    smoke(name)
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(before[1], after[1])  # type: ignore[index]
    assert before[2] == after[2]  # type: ignore[index]


@pytest.mark.parametrize("name", GENERATORS)
def test_the_two_views_fit_each_other(name: str) -> None:
    data = smoke(name)
    train, held_out = data.train, data.eval
    parameters = {**discover().dataset(name).budgets["smoke"]}
    width = GENERATORS[name][1]
    if width in parameters:
        assert train.x.shape[1] == parameters[width]
    n, n_test, d = train.n_samples, len(held_out.x_test), train.n_latents
    assert train.x.dtype == held_out.x_test.dtype == np.float32
    assert held_out.z_train is not None
    assert held_out.z_test is not None
    assert held_out.z_train.shape == (n, d)
    assert held_out.z_test.shape == (n_test, d)
    assert held_out.z_train.dtype == np.float64
    assert n_test == pytest.approx(0.2 * (n + n_test), rel=0.06)  # rounded within each task
    assert train.aux.shape == (n,)
    assert held_out.aux_test.shape == (n_test,)
    assert set(np.unique(held_out.aux_test)) == set(np.unique(train.aux))
    assert len(train.sample) == len(train.task) == len(train.y)
    if train.n_tasks:
        assert held_out.sample_test is not None
        assert held_out.task_test is not None
        assert held_out.y_test is not None
        assert set(train.task) == set(held_out.task_test) == set(range(train.n_tasks))
        assert len(held_out.sample_test) == len(held_out.task_test) == len(held_out.y_test) == n_test
    if held_out.causal is not None:
        assert held_out.causal.shape == (train.n_tasks, d)
    if held_out.z_independent is not None:
        rows = len(held_out.z_independent)
        assert held_out.x_independent.shape == (rows, train.x.shape[1])
        assert held_out.aux_independent.shape == (rows,)
        assert rows >= min(1000, n)
    for value in arrays(data).values():
        assert np.isfinite(value).all()
    assert data.info["n_train"] == n
    assert json.loads(json.dumps(dict(data.info), allow_nan=False)) == data.info


@pytest.mark.parametrize("name", GENERATORS)
def test_registration_tells_what_the_data_has(name: str) -> None:
    info, train = discover().dataset(name), smoke(name).train
    has = {
        "targets": len(train.y) > 0,
        "aux": train.aux is not None,
        "labels": train.labels is not None,
        "binary": train.target_type == "binary",
    }
    assert set(info.provides) == {part for part, there in has.items() if there}
    assert info.paper
    assert info.summary
    assert info.truth
    assert set(info.budgets) == {"smoke", "paper"} or name.startswith("linear-causal")


@pytest.mark.parametrize(
    ("generator", "parameters", "message"),
    [
        (linear_causal, {"k": 11}, "k=11 must be between 1 and 10"),
        (linear_causal, {"k": 0}, "k=0 must be between 1 and 10"),
        (linear_causal, {"n_per_task": 2}, "n_per_task=2 must be at least 3"),
        (linear_causal, {"mixing": "dense"}, "mixing='dense' is not one of 'identity', 'orthogonal', 'random'"),
        (linear_causal, {"noise": -1.0}, "noise=-1.0 must be at least 0"),
        (linear_causal, {"noise": float("nan")}, "noise=nan must be at least 0"),
        (nonlinear_causal, {"mixing": "identity"}, "mixing='identity' is not one of 'random', 'orthogonal'"),
        (nonlinear_causal, {"d_observed": 5}, "d_observed=5 must be at least 10"),
        (nonlinear_causal, {"n_mixing_layers": 0}, "n_mixing_layers=0 must be at least 1"),
        (tcl_segments, {"n_segments": 0}, "n_segments=0 must be at least 1"),
        (tcl_segments, {"coupling": -0.5}, "coupling=-0.5 must be at least 0"),
        (sparse_tasks, {"rho": 1.0}, "rho=1.0 must lie strictly between -0.2 and 1 for d=6"),
        (sparse_tasks, {"support": "dense"}, "support='dense' is not one of 'bernoulli', 'fixed', 'blocks', 'skewed'"),
        (sparse_tasks, {"support": "skewed", "density": 0.7}, "density=0.7 must be between 0.01 and 0.5"),
        (sparse_tasks, {"density": 0.0}, "density=0.0 must be between 0.01 and 1"),
        (clusters, {"d": 1}, "d=1 must be at least 2"),
        (clusters, {"distribution": "cauchy"}, "distribution='cauchy' is not one of 'vmf', 'laplace', 'normal'"),
        (clusters, {"n_samples": 50}, "n_samples=50 must be at least 100"),
    ],
)
def test_nonsense_is_refused_in_one_line(generator: Generator, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        generator(seed=0, **parameters)


def test_importing_the_generators_imports_neither_torch_nor_sklearn() -> None:
    modules = ", ".join(f"datasets.synthetic.{name}" for name in ("causal", "clusters", "segments", "sparse_tasks"))
    code = f"import sys, {modules}; print([m for m in ('torch', 'sklearn', 'pandas') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# --- linear-causal, nonlinear-causal ---------------------------------------------------------------------------------


def test_standardised_factors_have_mean_0_and_deviation_1_in_each_task() -> None:
    data = linear_causal(seed=3, d=6, n_tasks=30, n_per_task=40)
    assert data.eval.z_train is not None
    assert data.eval.z_test is not None
    z = np.concatenate([data.eval.z_train.reshape(30, 32, 6), data.eval.z_test.reshape(30, 8, 6)], axis=1)
    np.testing.assert_allclose(z.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=1), 1.0, atol=1e-12)


def test_targets_do_not_depend_on_standardisation() -> None:
    standardised, raw = (linear_causal(seed=3, standardise=flag).train for flag in (True, False))
    np.testing.assert_array_equal(standardised.y, raw.y)
    assert not np.allclose(standardised.x, raw.x)


def test_identity_mixing_shows_the_factors_themselves() -> None:
    data = linear_causal(seed=0, mixing="identity", noise=0.0)
    assert data.eval.z_train is not None
    np.testing.assert_allclose(data.train.x, data.eval.z_train, rtol=1e-6)
    assert data.info["cond"] == 1.0
    assert data.eval.ceiling_train is None


@pytest.mark.parametrize("mixing", ["identity", "orthogonal", "random"])
def test_linear_mixing_is_one_matrix_for_all_three_sets(mixing: str) -> None:
    data = linear_causal(seed=1, mixing=mixing, noise=0.0)
    truth = data.eval
    assert truth.z_train is not None
    matrix = np.linalg.lstsq(truth.z_train, data.train.x, rcond=None)[0].T
    for x, z in ((truth.x_test, truth.z_test), (truth.x_independent, truth.z_independent)):
        assert z is not None
        np.testing.assert_allclose(x, z @ matrix.T, atol=1e-4)
    assert np.linalg.cond(matrix) == pytest.approx(data.info["cond"], rel=1e-3)
    assert (data.info["cond"] == pytest.approx(1.0)) == (mixing != "random")


def test_single_factor_and_single_task() -> None:
    data = linear_causal(seed=0, d=1, k=1, n_tasks=1, n_per_task=10)
    assert data.train.x.shape == (8, 1)
    assert data.eval.ceiling_test is not None
    assert data.eval.ceiling_test.shape == (2, 1)


@pytest.mark.parametrize(("k", "n_causal"), [(1, 1), (4, 4), (10, 10)])
def test_every_task_has_k_causes(k: int, n_causal: int) -> None:
    causal = linear_causal(seed=0, k=k).eval.causal
    assert causal is not None
    np.testing.assert_array_equal(causal.sum(axis=1), n_causal)
    assert causal.any(axis=0).all()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_nonlinear_observations_have_the_width_asked_for(layers: int) -> None:
    data = nonlinear_causal(seed=0, n_tasks=10, n_per_task=10, n_mixing_layers=layers, d_hidden=30, d_observed=25)
    assert data.train.x.shape == (80, 25)
    assert 1.0 < data.info["cond"] < 100.0


# --- tcl-segments ----------------------------------------------------------------------------------------------------


def test_segments_have_no_targets_and_the_segment_as_label() -> None:
    data = tcl_segments(seed=0, n_segments=7, n_per_segment=8)
    assert data.train.n_tasks == 0
    assert len(data.train.y) == 0
    np.testing.assert_array_equal(data.train.labels, np.repeat(np.arange(7), 8))
    np.testing.assert_array_equal(data.train.labels, data.train.aux)
    np.testing.assert_array_equal(data.eval.aux_test, np.repeat(np.arange(7), 2))


def test_uncoupled_covariances_are_the_variances() -> None:
    sigma = np.random.default_rng(0).uniform(0.5, 3.0, (6, 4))
    covariance = segment_covariances(sigma, 0.0, np.ones(3))
    np.testing.assert_allclose(covariance, np.eye(4) * sigma[:, None, :] ** 2, atol=1e-12)


@pytest.mark.parametrize("coupling", [0.1, 1.0, 10.0])
def test_coupled_segments_differ_by_diagonal_precisions_only(coupling: float) -> None:
    sigma = np.random.default_rng(0).uniform(0.5, 3.0, (6, 4))
    covariance = segment_covariances(sigma, coupling, np.array([1.0, -1.0, 1.0]))
    precision = np.linalg.inv(covariance)
    differences = precision - precision[:1]
    off_diagonal = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(differences[:, off_diagonal], 0.0, atol=1e-9)
    assert np.abs(precision[:, off_diagonal]).max() > 0.05 * coupling
    np.testing.assert_allclose(np.diagonal(covariance, axis1=1, axis2=2).mean(0), (sigma**2).mean(0))


def test_coupled_segments_identify_a_linear_mixing_up_to_permutation_and_scaling() -> None:
    rng = np.random.default_rng(0)
    covariance = segment_covariances(rng.uniform(0.5, 3.0, (3, 4)), 2.0, np.ones(3))
    matrix = rng.standard_normal((4, 4))
    precision = np.linalg.inv(matrix @ covariance @ matrix.T)
    # Differences of precisions are M⁻ᵀ (diagonal) M⁻¹, so one eigendecomposition finds the columns of M.
    found = np.linalg.eig(np.linalg.solve(precision[1] - precision[0], precision[2] - precision[0]))[1].real
    cosines = np.abs((found / np.linalg.norm(found, axis=0)).T @ (matrix / np.linalg.norm(matrix, axis=0)))
    np.testing.assert_allclose(np.sort(cosines.max(axis=0)), 1.0, atol=1e-8)
    assert sorted(cosines.argmax(axis=0)) == [0, 1, 2, 3]


def test_shared_matrix_changes_the_mixing_alone() -> None:
    own, shared = (tcl_segments(seed=0, shared_matrix=flag) for flag in (False, True))
    np.testing.assert_array_equal(own.eval.z_train, shared.eval.z_train)
    assert not np.allclose(own.train.x, shared.train.x)


# --- sparse-tasks ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 9),
    support=st.sampled_from(["bernoulli", "fixed", "blocks", "skewed"]),
    density=st.floats(0.05, 1.0),
)
def test_no_support_is_empty(seed: int, d: int, support: str, density: float) -> None:
    density = min(density, 0.5) if support == "skewed" else density
    mask = draw_supports(np.random.default_rng(seed), 40, d, support, density)
    assert mask.shape == (40, d)
    assert mask.any(axis=1).all()
    if support == "fixed":
        np.testing.assert_array_equal(mask.sum(axis=1), max(1, round(density * d)))
    if support == "blocks":
        np.testing.assert_array_equal(mask[:, 0 : d - d % 2 : 2], mask[:, 1::2])


def test_skewed_supports_share_the_first_factors() -> None:
    mask = draw_supports(np.random.default_rng(0), 20_000, 6, "skewed", 0.5)
    probability = (11 - 2 * np.arange(6)) / 12
    not_empty = 1 - np.prod(1 - probability)
    np.testing.assert_allclose(mask.mean(axis=0), probability / not_empty, atol=0.01)


def test_binary_targets_are_the_signs_of_the_continuous_ones() -> None:
    binary, continuous = (sparse_tasks(seed=5, binary=flag).train for flag in (True, False))
    assert binary.target_type == "binary"
    assert continuous.target_type == "continuous"
    np.testing.assert_array_equal(binary.y, continuous.y > 0)
    np.testing.assert_array_equal(binary.x, continuous.x)


def test_sparse_targets_depend_on_their_support_alone() -> None:
    data = sparse_tasks(seed=0, noise=0.0, n_tasks=20)
    truth = data.eval
    assert truth.z_train is not None
    assert truth.causal is not None
    for task in range(20):
        z, y = truth.z_train[data.train.task == task], data.train.y[data.train.task == task]
        weights = np.linalg.lstsq(z, y, rcond=None)[0]
        np.testing.assert_array_equal(np.abs(weights) > 1e-9, truth.causal[task])


# --- clusters --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["vmf", "laplace", "normal"])
def test_cluster_latents_lie_on_the_sphere_and_clusters_are_even(distribution: str) -> None:
    data = clusters(seed=0, n_clusters=12, n_samples=600, distribution=distribution)
    np.testing.assert_allclose(np.linalg.norm(data.eval.z_train, axis=1), 1.0)  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.bincount(data.train.labels), 50)  # type: ignore[arg-type]
    assert data.train.n_tasks == 1
    assert data.eval.x_independent is None
    assert data.eval.causal is None


# --- mixing and shared parts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "smooth"])
def test_jacobian_is_the_derivative(activation: Any) -> None:
    rng = np.random.default_rng(0)
    weights = tuple(rng.standard_normal(shape) for shape in ((7, 3), (6, 7), (5, 6)))
    mixing = Mixing(weights, tuple(rng.standard_normal(len(w)) for w in weights), activation)
    z, step = rng.standard_normal((4, 3)), 1e-6
    numeric = np.stack([(mixing(z + step * e) - mixing(z - step * e)) / (2 * step) for e in np.eye(3)], axis=2)
    np.testing.assert_allclose(mixing.jacobian(z), numeric, atol=1e-6)


def test_condition_number_of_a_matrix_and_of_a_singular_network() -> None:
    matrix = np.diag([4.0, 2.0, 1.0])
    z = np.random.default_rng(0).standard_normal((10, 3))
    assert Mixing((matrix,), (np.zeros(3),)).condition_number(z) == pytest.approx(4.0)
    assert Mixing((0.0 * matrix + np.diag([1.0, 1.0, 0.0]),), (np.zeros(3),)).condition_number(z) == np.inf


def test_condition_numbers_pass_the_rule_that_picked_them() -> None:
    draws = condition_numbers(normalised_uniform(4000, 5, 5, np.random.default_rng(99)))
    quartile = np.quantile(draws, 0.25)
    picked = [
        condition_numbers(
            np.stack(conditioned_mixing((5,) * 9, np.random.default_rng(seed), activation="smooth").weights)
        )
        for seed in range(5)
    ]
    # The bound is estimated from 1,000 draws a layer; 15 % covers its sampling error.
    assert np.max(picked) < 1.15 * quartile
    assert np.std(picked) > 0.1
    best = conditioned_mixing((5,) * 5, np.random.default_rng(0), activation="leaky-relu", pick="best").weights
    assert condition_numbers(np.stack(best)).max() < np.quantile(draws, 0.01)


@pytest.mark.parametrize(("unit", "axis"), [("outgoing", 1), ("incoming", 2)])
def test_unit_weights(unit: Any, axis: int) -> None:
    draws = normalised_uniform(5, 4, 3, np.random.default_rng(0), unit)
    assert draws.shape == (5, 4, 3)
    np.testing.assert_allclose(np.linalg.norm(draws, axis=axis), 1.0)


def test_orthogonal_weights_keep_lengths() -> None:
    mixing = relu_mixing((4, 20, 20, 9), np.random.default_rng(0), kind="orthogonal")
    assert [w.shape for w in mixing.weights] == [(20, 4), (20, 20), (9, 20)]
    np.testing.assert_allclose(mixing.weights[0].T @ mixing.weights[0], np.eye(4), atol=1e-12)
    np.testing.assert_allclose(mixing.weights[2] @ mixing.weights[2].T, np.eye(9), atol=1e-12)
    matrix = linear_matrix("orthogonal", 6, np.random.default_rng(0))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(6), atol=1e-12)


@pytest.mark.parametrize(("n", "held_out", "extra"), [(3, 1, 1), (50, 10, 12), (100, 20, 25), (1000, 200, 250)])
def test_a_fifth_is_held_out(n: int, held_out: int, extra: int) -> None:
    assert n_held_out(n) == held_out
    assert extra_held_out(n) == extra


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30), d=st.integers(1, 4))
def test_product_of_marginals_keeps_each_marginal(seed: int, n: int, d: int) -> None:
    z = np.random.default_rng(seed).standard_normal((n, d))
    shuffled = product_of_marginals(z, np.random.default_rng(seed + 1))
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(z, axis=0))


def test_linear_mmse_inverts_where_there_is_no_noise() -> None:
    rng = np.random.default_rng(0)
    matrix, z = rng.standard_normal((7, 4)), rng.standard_normal((20, 4)) + 3.0
    # A little noise keeps the 7 x 7 covariance of x, of rank 4, invertible.
    estimate = linear_mmse(z @ matrix.T, matrix, 1e-5, np.full(4, 3.0), np.eye(4))
    np.testing.assert_allclose(estimate, z, atol=1e-6)
    np.testing.assert_allclose(linear_mmse(z @ matrix.T, matrix, 1e5, np.full(4, 3.0), np.eye(4)), 3.0, atol=1e-6)


def test_instances_are_views_around_their_clusters() -> None:
    """Every instance belongs to one cluster; nothing else of the data changes with their number."""
    plain, views = (
        clusters(seed=0, n_clusters=10, n_samples=2000),
        clusters(seed=0, n_clusters=10, n_samples=2000, n_instances=37),
    )
    assert np.array_equal(plain.train.x, views.train.x)
    assert np.array_equal(plain.train.aux, plain.train.labels)
    assert views.train.labels is not None
    assert np.array_equal(views.train.aux % 10, views.train.labels)
    assert len(np.unique(views.train.aux)) == 37
    with pytest.raises(ValueError, match="n_instances"):
        clusters(seed=0, n_clusters=10, n_samples=2000, n_instances=5)
