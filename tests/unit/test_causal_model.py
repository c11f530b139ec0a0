"""The linear causal model and the learner around it: symmetries, indicators, refusals, awkward data."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from bench.api import Data, NotApplicable, TrainView
from datasets.synthetic.causal import linear_causal
from mtlcm import MTLCM
from mtlcm.causal_model import LinearCausalModel, infer_causal
from mtlcm.model import samples_are_shared
from mtlcm.moments import task_moments


def silent(fraction: float, message: str) -> None:
    assert 0 <= fraction <= 1
    assert message


def small(seed: int = 0, **parameters: Any) -> Data:
    return linear_causal(seed=seed, **{"d": 5, "k": 2, "n_tasks": 60, "n_per_task": 60} | parameters)


def fit(view: TrainView, **parameters: Any) -> MTLCM:
    return MTLCM(**parameters).fit(view, seed=0, device="cpu", progress=silent)


def factors(data: Data) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True factors of training and held-out samples, and which are causal in which task."""
    assert data.eval.z_train is not None
    assert data.eval.z_test is not None
    assert data.eval.causal is not None
    return data.eval.z_train, data.eval.z_test, data.eval.causal


def match(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Absolute correlations of the columns of a with those of b that fit best, and which those are."""
    d = a.shape[1]
    correlation = np.abs(np.corrcoef(a.T, b.T)[:d, d:])
    rows, columns = linear_sum_assignment(-correlation)
    return correlation[rows, columns], columns


def test_codes_are_the_factors_up_to_order_and_scale() -> None:
    data = small()
    learner = fit(data.train)
    found, _ = match(factors(data)[1], learner.encode(data.eval.x_test))
    assert found.min() > 0.999
    codes = learner.encode(data.train.x)
    np.testing.assert_allclose(codes.std(0), 1.0, atol=0.02)
    np.testing.assert_allclose(codes.mean(0), 0.0, atol=1e-6)
    assert learner.causal_model_.noise_ == pytest.approx(0.01, rel=0.5)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_rotation_of_x_changes_no_code(seed: int) -> None:
    """Noise is isotropic in the units of h, so rotations, shifts and one common scale are symmetries."""
    view = small().train
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    moved = replace(view, x=7.0 * (view.x.astype(float) @ rotation) + rng.standard_normal(5))
    plain, rotated = fit(view).encode(view.x), fit(moved).encode(moved.x)
    assert match(plain, rotated)[0].min() > 1 - 1e-6


def test_order_of_samples_and_names_of_tasks_do_not_matter() -> None:
    view = small().train
    rng = np.random.default_rng(1)
    order, names = rng.permutation(len(view.y)), rng.permutation(view.n_tasks)
    shuffled = replace(view, sample=view.sample[order], task=names[view.task[order]], y=view.y[order])
    first, second = fit(view), fit(shuffled)
    found, columns = match(first.encode(view.x), second.encode(view.x))
    assert found.min() > 1 - 1e-8
    np.testing.assert_array_equal(first.causal_, second.causal_[names][:, columns])


def test_indicators_and_coefficients() -> None:
    """On data that follow the paper's equations: which factors are causal, and γ of the others."""
    data = small(standardise=False, n_tasks=200, n_per_task=100)
    learner = fit(data.train)
    z, _, causal = factors(data)
    _, columns = match(z, learner.encode(data.train.x))
    found, gamma = learner.causal_[:, columns], learner.spurious_[:, columns]
    precision, recall = (found & causal).sum() / found.sum(), (found & causal).sum() / causal.sum()
    print(f"causal indicators: precision {precision:.4f}, recall {recall:.4f}")
    assert min(precision, recall) > 0.98
    assert np.all(gamma[found] == 0)
    for t in (0, 1):  # γ by least squares on the true factors, in units of their pooled deviation
        rows = data.train.task == t
        y = data.train.y[rows] - data.train.y[rows].mean()
        truth = (y @ (z[rows] - z[rows].mean(0))) / (y @ y) / z.std(0)
        spurious = ~causal[t] & ~found[t]
        np.testing.assert_allclose(np.abs(gamma[t, spurious]), np.abs(truth[spurious]), atol=0.01)


def test_indicator_rule_by_hand() -> None:
    variances = np.array([[1.0, 0.01, 0.9], [0.02, 0.02, 1.0], [1.1, 0.01, 1.1], [0.9, 0.02, 1.0]])
    slopes = np.where(variances < 0.5, 1.0, 0.1)
    causal = infer_causal(variances, slopes, np.ones(4))
    np.testing.assert_array_equal(causal[:, 0], [True, False, True, True])
    assert not causal[:, 1].any()  # always spurious: one level, explained by the target
    assert causal[:, 2].all()


def test_weak_directions_are_damped_not_amplified() -> None:
    """Posterior means: with much noise, codes explain z better than the true inverse of the mixing does."""
    data = small(noise=0.3, n_tasks=200, n_per_task=100)
    learner = fit(data.train)
    found, _ = match(factors(data)[1], learner.encode(data.eval.x_test))
    model = learner.causal_model_
    inverse, _ = match(factors(data)[1], np.linalg.solve(model.mixing_, (data.eval.x_test - model.mean_).T).T)
    print(f"mean correlation: posterior mean {found.mean():.4f}, inverse {inverse.mean():.4f}")
    assert found.mean() > inverse.mean() + 0.005


def test_useless_tasks_are_dropped_and_counted() -> None:
    view = small().train
    y = view.y.copy()
    y[view.task == 0] = 3.0
    keep = (view.task != 1) | (np.arange(len(y)) < np.flatnonzero(view.task == 1)[2])
    learner = fit(replace(view, sample=view.sample[keep], task=view.task[keep], y=y[keep]))
    assert learner.history_["n_tasks_dropped"] == 2
    assert learner.history_["n_tasks_used"] == 58
    assert not learner.causal_[:2].any()
    assert np.isnan(learner.causal_model_.variances_[:2]).all()
    assert np.isfinite(learner.causal_model_.variances_[2:]).all()


def test_tasks_smaller_than_the_number_of_factors() -> None:
    """Singular covariances: padded by the pooled one, and the factors are still found."""
    data = small(d=8, k=3, n_tasks=400, n_per_task=9)  # 7 samples to fit, 5 degrees of freedom
    learner = fit(data.train)
    assert learner.history_["n_tasks_padded"] == 400
    found, _ = match(factors(data)[1], learner.encode(data.eval.x_test))
    print(f"7 samples a task, 8 factors: mean correlation {found.mean():.3f}")
    assert found.mean() > 0.95


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"y": "constant"}, "0 of 60 tasks"),
        ({"tasks": 4}, "tasks cannot"),
        ({"y": "none"}, "no targets"),
        ({"x": "constant"}, "does not vary"),
        ({"x": "nan"}, "not finite"),
    ],
)
def test_impossible_data_is_refused_in_words(change: dict[str, Any], reason: str) -> None:
    view = small().train
    none = np.zeros(0, dtype=int)
    changed = {
        "constant": {"y": np.ones_like(view.y)},
        "none": {"y": np.zeros(0), "task": none, "sample": none},
        "nan": {"x": np.full_like(view.x, np.nan)},
    }
    if "tasks" in change:
        view = replace(view, n_tasks=4, task=view.task % 4)
    elif change == {"x": "constant"}:
        view = replace(view, x=np.ones_like(view.x))
    else:
        view = replace(view, **changed[next(iter(change.values()))])
    with pytest.raises(NotApplicable, match=reason):
        fit(view)


def test_wrong_parameters_name_the_choices() -> None:
    view = small().train
    with pytest.raises(ValueError, match="auto, identity, network, rrr"):
        fit(view, representation="pca")
    with pytest.raises(ValueError, match='"free" or "relaxed"'):
        fit(view, variances="fixed")
    with pytest.raises(NotApplicable, match="at least as many columns of x as latents: 5 and 6"):
        fit(replace(view, n_latents=6), representation="identity")


def test_columns_beyond_the_latents_are_dropped_as_factors() -> None:
    """A sixth column that no target has to do with, mixed into the others, is the factor that goes."""
    data = small()
    rng = np.random.default_rng(5)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]

    def widened(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.c_[x, rng.standard_normal(len(x))] @ turn)

    learner = fit(replace(data.train, x=widened(data.train.x)), representation="identity")
    found, _ = match(factors(data)[1], learner.encode(widened(data.eval.x_test)))
    assert found.min() > 0.999
    assert learner.history_["factors_dropped"] == 1
    assert learner.causal_.shape == learner.spurious_.shape == (60, 5)
    assert learner.causal_model_.mixing_.shape == (6, 5)


def test_rank_deficient_representation_gives_finite_codes() -> None:
    view = small().train
    x = view.x.astype(float)
    x[:, 4] = x[:, 0] + x[:, 1]
    learner = fit(replace(view, x=x))
    codes = learner.encode(x)
    assert learner.history_["rank"] == 4
    assert codes.shape == (len(x), 4)
    assert np.isfinite(codes).all()
    assert np.linalg.matrix_rank(codes) == 4


def shared_view(seed: int, observed: float = 1.0) -> tuple[TrainView, np.ndarray, np.ndarray]:
    """Every sample has (nearly) every task; each target needs one or two of four factors."""
    rng = np.random.default_rng(seed)
    n, d, n_tasks = 800, 4, 30
    z = rng.standard_normal((n, d))
    weights = np.zeros((n_tasks, d))
    for t in range(n_tasks):
        chosen = rng.choice(d, rng.integers(1, 3), replace=False)
        weights[t, chosen] = rng.choice([-1, 1], len(chosen)) * rng.uniform(0.7, 1.5, len(chosen))
    y = z @ weights.T + 0.5 * rng.standard_normal((n, n_tasks))
    sample, task = np.nonzero(rng.random(y.shape) < observed)
    x = (z @ rng.standard_normal((d, d))).astype(np.float32)
    return TrainView(x, sample, task, y[sample, task], n_tasks, d), z, weights != 0


@pytest.mark.parametrize("observed", [1.0, 0.3])
def test_shared_samples_find_factors_that_few_targets_need(observed: float) -> None:
    view, z, causal = shared_view(0, observed)
    assert samples_are_shared(view)
    learner = fit(view)
    assert learner.history_["shared_samples"]
    assert learner.causal_model_.noise_ == 0
    found, columns = match(z, learner.encode(view.x))
    agreement = (learner.causal_[:, columns] == causal).mean()
    print(f"shared samples, {observed:.0%} observed: worst correlation {found.min():.3f}, causal {agreement:.3f} right")
    assert found.min() > 0.95
    assert agreement > 0.8
    assert np.all(learner.spurious_ == 0)


def test_shared_samples_with_dense_targets_stay_finite() -> None:
    """Nothing but the span is identified here; a target that h explains without rest is no reason to fail."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((200, 3))
    y = x @ rng.standard_normal((3, 6))
    sample, task = np.repeat(np.arange(200), 6), np.tile(np.arange(6), 200)
    view = TrainView(x, sample, task, y.ravel(), 6, 3)
    codes = fit(view).encode(x)
    assert np.isfinite(codes).all()
    assert np.linalg.matrix_rank(codes) == 3


@pytest.mark.parametrize("d", [1, 3])
def test_targets_explained_to_the_last_digit(d: int) -> None:
    """y is one of the factors, without noise: nothing is left of it given the target, and it is found."""
    rng = np.random.default_rng(3)
    n_tasks, n = 12, 40
    task = np.repeat(np.arange(n_tasks), n)
    z = rng.standard_normal((len(task), d))
    x = z @ rng.standard_normal((d, d))
    view = TrainView(x, np.arange(len(task)), task, z[np.arange(len(task)), task % d], n_tasks, d)
    assert not samples_are_shared(view)
    codes = fit(view).encode(x)
    assert np.isfinite(codes).all()
    assert match(z, codes)[0].min() > 0.999


def test_streamed_moments_fit_without_a_view() -> None:
    view = small().train
    moments = task_moments(view.x, view.sample, view.task, view.y, view.n_tasks)
    direct = LinearCausalModel().fit(moments).encode(view.x)
    np.testing.assert_array_equal(direct, fit(view).encode(view.x))


def test_linear_path_needs_no_torch() -> None:
    code = (
        "import sys\nfrom mtlcm import MTLCM\nfrom datasets.synthetic.causal import linear_causal\n"
        "view = linear_causal(seed=0, d=3, k=1, n_tasks=20, n_per_task=20).train\n"
        "MTLCM().fit(view, seed=0, device='cpu', progress=lambda f, m: None)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
