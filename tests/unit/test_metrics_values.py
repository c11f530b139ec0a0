"""The numbers are those of independent implementations, and the known pitfalls are closed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import entropy, pearsonr, spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import f1_score, r2_score
from sklearn.preprocessing import StandardScaler

from bench.metrics import (
    OutOfDomain,
    block_mcc,
    causal_f1,
    consistency,
    dci,
    linear_r2,
    mcc,
    mcc_per_task,
    nonlinear_r2,
    target_r2,
    weak_mcc,
)
from bench.metrics.chance import in_sample_mcc
from bench.metrics.pairs import decoy, pairs
from bench.metrics.partition import blocks_of_supports, found_blocks


@pytest.fixture(params=[(300, 150, 4, 4), (500, 200, 6, 3), (400, 100, 3, 8)], ids=str)
def arrays(request):
    """Latent factors and codes that are noisy, correlated functions of them."""
    n, n_test, d_z, d = request.param
    rng = np.random.default_rng(n)
    z = rng.standard_normal((n + n_test, d_z)) @ rng.uniform(-1, 1, (d_z, d_z))
    codes = np.tanh(z @ rng.standard_normal((d_z, d))) + 0.3 * rng.standard_normal((n + n_test, d)) + 5
    return z[:n], codes[:n], z[n:], codes[n:]


@pytest.fixture
def scored(arrays):
    """The same with the columns of the codes that are scored: at most as many as factors (tests/unit/test_width.py)."""
    z, codes, z_test, codes_test = arrays
    kept = pairs(*arrays).kept
    assert len(kept) == min(z.shape[1], codes.shape[1])
    return z, codes[:, kept], z_test, codes_test[:, kept]


@pytest.mark.parametrize(("kind", "correlate"), [("pearson", pearsonr), ("spearman", spearmanr)])
def test_mcc_is_the_textbook_one_with_the_matching_of_the_training_set(arrays, scored, kind, correlate):
    z, codes, z_test, codes_test = scored
    train = np.array([[correlate(a, b)[0] for b in codes.T] for a in z.T])
    rows, columns = linear_sum_assignment(-np.abs(train))
    signed = [
        np.sign(train[i, j]) * correlate(z_test[:, i], codes_test[:, j])[0] for i, j in zip(rows, columns, strict=True)
    ]
    assert mcc(*arrays, correlation=kind) == pytest.approx(sum(signed) / z.shape[1], abs=1e-9)


def test_tied_values_share_their_rank():
    rng = np.random.default_rng(0)
    z, codes = rng.integers(0, 4, (2, 200, 1)).astype(float)
    value = mcc(z[:100], codes[:100], z[100:], codes[100:], correlation="spearman")
    sign = np.sign(spearmanr(z[:100, 0], codes[:100, 0])[0])
    assert value == pytest.approx(sign * spearmanr(z[100:, 0], codes[100:, 0])[0], abs=1e-12)


def test_linear_r2_and_weak_mcc_are_those_of_scikit_learn(arrays, scored):
    z, codes, z_test, codes_test = scored
    predicted = LinearRegression().fit(codes, z).predict(codes_test)
    assert linear_r2(*arrays) == pytest.approx(r2_score(z_test, predicted), abs=1e-9)
    by_factor = [pearsonr(a, b)[0] for a, b in zip(predicted.T, z_test.T, strict=True)]
    assert weak_mcc(*arrays) == pytest.approx(np.mean(by_factor), abs=1e-9)


def test_dci_is_that_of_least_squares_importances(arrays):
    z, codes = (StandardScaler().fit_transform(a) for a in arrays[:2])
    weights = np.abs(LinearRegression().fit(codes, z).coef_.T)
    share = weights.sum(1) / weights.sum()
    d = (share * (1 - entropy(weights, axis=1, base=z.shape[1]))).sum()
    c = (weights.sum(0) / weights.sum() * (1 - entropy(weights, axis=0, base=codes.shape[1]))).sum()
    found = dci(*arrays)
    assert found.d == pytest.approx(d, abs=1e-9)
    assert found.c == pytest.approx(c, abs=1e-9)
    predicted = LinearRegression().fit(arrays[1], arrays[0]).predict(arrays[3])
    assert found.i == pytest.approx(r2_score(arrays[2], predicted), abs=1e-9)


def test_causal_f1_is_that_of_scikit_learn_after_the_matching():
    rng = np.random.default_rng(0)
    true, found = rng.random((50, 6)) < 0.3, rng.random((50, 6)) < 0.3
    order = rng.permutation(6)
    assert causal_f1(true, found[:, np.argsort(order)], order) == pytest.approx(f1_score(true.ravel(), found.ravel()))
    assert causal_f1(true, true) == 1
    # Two factors without a code are missed; a code without a factor is a false alarm.
    hits = true[:, :4].sum()
    assert causal_f1(true, true[:, :4], [0, 1, 2, 3, -1, -1]) == pytest.approx(2 * hits / (hits + true.sum()))
    assert causal_f1(true[:, :4], true, [0, 1, 2, 3]) == pytest.approx(2 * hits / (hits + true.sum()))
    with pytest.raises(OutOfDomain, match="no factor causes"):
        causal_f1(np.zeros((5, 2)), np.zeros((5, 2)))


def test_target_r2_is_ridge_regression_per_task():
    rng = np.random.default_rng(0)
    codes, codes_test = rng.standard_normal((600, 5)), rng.standard_normal((300, 5))
    weights = rng.standard_normal((5, 3))
    sample, task = np.arange(600), np.arange(600) % 3
    sample_test, task_test = np.arange(300), np.arange(300) % 3
    signal, signal_test = (codes @ weights)[sample, task], (codes_test @ weights)[sample_test, task_test]

    def score(noise):
        y, y_test = signal + noise * rng.standard_normal(600), signal_test + noise * rng.standard_normal(300)
        return target_r2(codes, sample, task, y, codes_test, sample_test, task_test, y_test)

    assert score(0.0) == pytest.approx(1, abs=1e-5)
    explained = (weights**2).sum() / 3
    assert score(1.0) == pytest.approx(explained / (explained + 1), abs=0.06)
    # Every sample in every task, in any order of the rows, is the same regression.
    order = rng.permutation(1800)
    wide, wide_task = np.repeat(np.arange(600), 3)[order], np.tile(np.arange(3), 600)[order]
    wide_test, wide_task_test = np.repeat(np.arange(300), 3), np.tile(np.arange(3), 300)
    dense = (codes @ weights)[wide, wide_task], (codes_test @ weights)[wide_test, wide_task_test]
    value = target_r2(codes, wide, wide_task, dense[0], codes_test, wide_test, wide_task_test, dense[1])
    assert value == pytest.approx(1, abs=1e-5)
    with pytest.raises(OutOfDomain, match="no task"):
        target_r2(codes, sample, task, np.ones(600), codes_test, sample_test, task_test, np.ones(300))


def test_mcc_per_task_averages_in_sample_scores():
    rng = np.random.default_rng(1)
    z, codes, task = rng.standard_normal((90, 3)), rng.standard_normal((90, 3)), np.arange(90) % 4
    by_task = []
    for t in range(4):
        corr = np.abs(np.corrcoef(z[task == t].T, codes[task == t].T)[:3, 3:])
        by_task.append(corr[linear_sum_assignment(-corr)].mean())
    assert mcc_per_task(z, codes, task) == pytest.approx(np.mean(by_task), abs=1e-12)


# What misleads, and that it no longer does.


def test_badly_scaled_columns_and_shifts_cost_nothing():
    rng = np.random.default_rng(2)
    z = rng.standard_normal((400, 5))
    mixed = z @ rng.standard_normal((5, 5))
    for codes in (mixed * np.logspace(0, 20, 5), mixed * np.logspace(-20, 20, 5) + 1e3 * np.logspace(-20, 20, 5)):
        assert linear_r2(z[:300], codes[:300], z[300:], codes[300:]) == pytest.approx(1, abs=1e-9)


def test_overcomplete_noise_scores_below_zero_not_above():
    rng = np.random.default_rng(3)
    z, codes = rng.standard_normal((200, 10)), rng.standard_normal((200, 20))
    in_sample = r2_score(z[:100], LinearRegression().fit(codes[:100], z[:100]).predict(codes[:100]))
    assert in_sample == pytest.approx(0.2, abs=0.04)
    assert linear_r2(z[:100], codes[:100], z[100:], codes[100:]) < 0


def test_exact_recovery_of_three_of_ten_factors_scores_three_tenths():
    z = np.random.default_rng(4).standard_normal((400, 10))
    assert mcc(z[:300], z[:300, :3], z[300:], z[300:, :3]) == pytest.approx(0.3, abs=1e-12)
    assert linear_r2(z[:300], z[:300, :3], z[300:], z[300:, :3]) == pytest.approx(0.3, abs=0.02)


def test_in_sample_chance_has_the_measured_constants():
    for d, constant in ((2, 1.03), (5, 1.40), (10, 1.72), (20, 2.00), (50, 2.34)):
        assert in_sample_mcc(1000, d, d)[0] * np.sqrt(1000) == pytest.approx(constant, rel=0.04)
    assert in_sample_mcc(50, 20, 20)[0] == pytest.approx(0.28, abs=0.01)


def test_exact_recovery_is_disentangled_at_any_sample_size_and_correlation():
    rng = np.random.default_rng(5)
    for n in (50, 100, 200):
        z = rng.standard_normal((2 * n, 10))
        assert dci(z[:n], z[:n], z[n:], z[n:])[:2] == pytest.approx((1, 1), abs=1e-9)
    close = np.sqrt(0.99) * rng.standard_normal((400, 1)) + 0.1 * rng.standard_normal((400, 10))
    assert dci(close[:200], close[:200], close[200:], close[200:])[:2] == pytest.approx((1, 1), abs=1e-9)


def test_tree_dci_refuses_where_exact_recovery_would_score_low():
    z = np.random.default_rng(6).standard_normal((1500, 4))
    with pytest.raises(OutOfDomain, match="tree importances"):
        dci(z[:900], z[:900], z[900:], z[900:], importances="trees")
    found = dci(z[:1000], z[:1000] ** 3, z[1000:], z[1000:] ** 3, importances="trees")
    assert min(found) > 0.98
    again = dci(z[:1000], z[:1000] ** 3, z[1000:], z[1000:] ** 3, importances="trees")
    assert found == again


def test_means_of_the_other_factors_are_announced_by_the_decoy_level():
    rng = np.random.default_rng(7)
    for rho in (0.0, 0.5, 0.9):
        z = np.sqrt(rho) * rng.standard_normal((5000, 1)) + np.sqrt(1 - rho) * rng.standard_normal((5000, 10))
        others = (z.sum(1, keepdims=True) - z) / 9
        fooled = np.mean([abs(np.corrcoef(z[:, i], others[:, i])[0, 1]) for i in range(10)])
        assert decoy(np.corrcoef(z.T), 5000) == pytest.approx(fooled, abs=0.03)
    # Adjusted for the sample size: few samples of independent factors are not taken for correlated ones.
    assert decoy(np.corrcoef(rng.standard_normal((60, 20)).T), 60) < 0.5


def test_nonlinear_r2_sees_what_linear_r2_cannot():
    rng = np.random.default_rng(8)
    z = rng.uniform(-1, 1, (1200, 3))
    codes = np.column_stack([z[:, 0] ** 3, np.exp(2 * z[:, 1]), np.sin(2 * z[:, 2]) + z[:, 0]])
    split = z[:800], codes[:800], z[800:], codes[800:]
    assert linear_r2(*split) < 0.9
    assert nonlinear_r2(*split) > 0.97


def test_block_mcc_forgives_mixing_inside_blocks_only():
    rng = np.random.default_rng(9)
    z = rng.standard_normal((600, 6))
    inside = np.kron(np.eye(3), [[1.0, 2.0], [-1.0, 0.5]])
    codes = (z @ inside)[:, rng.permutation(6)]
    split = z[:400], codes[:400], z[400:], codes[400:]
    blocks = [[0, 1], [2, 3], [4, 5]]
    assert block_mcc(*split, blocks=blocks) == pytest.approx(1, abs=1e-9)
    assert found_blocks(pairs(*split)) == blocks
    assert block_mcc(*split) == pytest.approx(1, abs=1e-9)
    assert mcc(*split) < 0.95
    assert block_mcc(*split, blocks=[[i] for i in range(6)]) == pytest.approx(mcc(*split), abs=1e-9)
    with pytest.raises(OutOfDomain, match="once each"):
        block_mcc(*split, blocks=[[0, 1], [2, 3]])
    assert blocks_of_supports(np.array([[1, 0, 1], [0, 1, 0]])) == [[0, 2], [1]]


# Bad input: the reason in one line.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codes_train": np.full((50, 2), np.nan)}, "codes_train is not finite in column 0"),
        ({"codes_test": np.array([[np.inf, 0.0]] * 50)}, "codes_test is not finite"),
        ({"codes_train": np.zeros(50)}, r"shape \(50,\)"),
        ({"codes_train": np.zeros((49, 2))}, "z_train has 50 samples and codes_train has 49"),
        ({"codes_test": np.ones((50, 3))}, "codes_train has 2 columns and codes_test has 3"),
        ({"codes_train": np.zeros((50, 2), dtype=complex)}, "complex"),
        ({"codes_train": np.array([["a", "b"]] * 50)}, "not real numbers"),
        ({"codes_train": np.zeros((50, 0))}, "d ≥ 1"),
        ({"z_test": np.ones((50, 2))}, "factor 0 is constant on the held-out"),
    ],
)
@pytest.mark.parametrize("metric", [mcc, weak_mcc, linear_r2, nonlinear_r2, dci])
def test_bad_input_is_refused_in_one_line(metric, change, words):
    rng = np.random.default_rng(0)
    good = {name: rng.standard_normal((50, 2)) for name in ("z_train", "codes_train", "z_test", "codes_test")}
    with pytest.raises(OutOfDomain, match=words) as caught:
        metric(**(good | change))
    assert "\n" not in str(caught.value)


def test_consistency_refuses_what_it_cannot_compare():
    rng = np.random.default_rng(0)
    with pytest.raises(OutOfDomain, match="same ones"):
        consistency(rng.standard_normal((50, 2)), rng.standard_normal((60, 2)))
    with pytest.raises(OutOfDomain, match="too few"):
        consistency(rng.standard_normal((50, 20)), rng.standard_normal((50, 20)))
