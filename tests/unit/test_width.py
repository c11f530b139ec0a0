"""Codes wider than the factors: reduced by a rule that sees no factors, and worth no more for their width."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from bench.metrics import OutOfDomain, ScoreInput, linear_r2, mcc, nonlinear, weak_mcc
from bench.metrics.evaluate import evaluate
from bench.metrics.width import principal_variables

N = 500


def rotation(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def test_a_rotated_code_in_3000_directions_scores_no_more_than_the_rotated_code():
    gains = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        z, z_test = rng.standard_normal((2, N, 5))
        turn, directions = rotation(rng, 5), rng.standard_normal((5, 3000))
        alone = mcc(z, z @ turn, z_test, z_test @ turn)
        gains.append(mcc(z, z @ turn @ directions, z_test, z_test @ turn @ directions) - alone)
    assert np.mean(gains) <= 0.03
    assert max(gains) < 0.95 - 0.73, "the best of 3000 directions scores 0.99"


def test_the_factors_do_not_choose_among_the_codes():
    rng = np.random.default_rng(0)
    z, codes = rng.standard_normal((N, 4)), rng.standard_normal((N, 12))
    kept = [
        evaluate(ScoreInput(codes, codes, z_train=factors, z_test=factors))["mcc"].extra["kept"]
        for factors in (z, rng.permutation(z), codes[:, :4])
    ]
    assert kept[0] == kept[1] == kept[2]


def test_copies_of_the_factors_are_found_among_noise_and_none_is_taken_twice():
    rng = np.random.default_rng(1)
    z, z_test, noise, noise_test = rng.standard_normal((4, N, 3))
    wide, wide_test = np.hstack([noise, z, -2 * z]), np.hstack([noise_test, z_test, -2 * z_test])
    assert mcc(z, wide, z_test, wide_test) == pytest.approx(1, abs=1e-9)
    found = evaluate(ScoreInput(wide, wide_test, z_train=z, z_test=z_test))
    assert found["mcc"].extra["kept"] == [3, 4, 5]
    assert found["mcc"].extra["code_of_factor"] == [3, 4, 5]
    assert found["linear_r2"].extra["all_codes"] == pytest.approx(1, abs=1e-9)


def test_principal_variables_take_what_explains_most_and_fill_up_in_order():
    cc = np.eye(5)
    cc[1, 2] = cc[2, 1] = 0.9
    assert principal_variables(cc, 1).tolist() in ([1], [2])
    assert principal_variables(cc, 2).tolist() in ([0, 1], [0, 2])
    assert principal_variables(np.ones((4, 4)), 3).tolist() == [0, 1, 2]
    constant = np.diag([0.0, 1.0, 1.0])
    assert principal_variables(constant, 2).tolist() == [1, 2]
    assert principal_variables(constant, 3).tolist() == [0, 1, 2]


def test_the_choice_does_not_depend_on_the_scale_of_a_code():
    rng = np.random.default_rng(2)
    z, z_test = rng.standard_normal((2, N, 3))
    hidden, scale = rng.standard_normal((3, 20)), 10.0 ** rng.integers(-20, 20, 20)
    codes, codes_test = np.tanh(z @ hidden), np.tanh(z_test @ hidden)
    for score in (mcc, weak_mcc, linear_r2):
        expected = score(z, codes, z_test, codes_test)
        assert score(z, codes * scale, z_test, codes_test * scale) == pytest.approx(expected, abs=1e-9)


def test_indicators_of_causes_are_read_from_the_codes_that_are_kept():
    rng = np.random.default_rng(3)
    z, z_test, noise = rng.standard_normal((3, N, 3))
    causal = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], dtype=bool)
    found = np.hstack([np.zeros((4, 3), dtype=bool), causal, np.zeros((4, 3), dtype=bool)])
    wide, wide_test = np.hstack([noise, z, z]), np.hstack([noise, z_test, z_test])
    inputs = ScoreInput(wide, wide_test, z_train=z, z_test=z_test, causal_true=causal, causal_found=found)
    assert evaluate(inputs)["causal_f1"].value == 1.0


def test_more_than_3000_codes_are_refused_with_the_number():
    codes = np.random.default_rng(4).standard_normal((20, 3001))
    with pytest.raises(OutOfDomain, match="3001 columns"):
        mcc(codes[:, :2], codes, codes[:, :2], codes)
    scores = evaluate(ScoreInput(codes, codes, z_train=codes[:, :2], z_test=codes[:, :2]))
    assert scores["mcc"].value is None
    assert "3001" in scores["mcc"].reason


@pytest.mark.parametrize("columns", [30, 90])
def test_the_nonlinear_probe_is_scikit_learns_ridge_whether_codes_are_wide_or_not(columns: int) -> None:
    rng = np.random.default_rng(5)
    x, x_test = rng.standard_normal((60, columns)) + 2.0, rng.standard_normal((7, columns))
    y = np.c_[x[:, :2].sum(1), rng.standard_normal(60)]
    predicted = nonlinear._ridge(x, y, x_test)
    top = np.linalg.norm(x - x.mean(0), 2) ** 2
    plain = [Ridge(alpha=penalty * top).fit(x, y).predict(x_test) for penalty in nonlinear.PENALTIES]
    for target in range(2):
        assert min(np.abs(predicted[:, target] - p[:, target]).max() for p in plain) < 1e-10
    assert np.array_equal(nonlinear._ridge(np.zeros((20, columns)), y[:20], x_test), np.tile(y[:20].mean(0), (7, 1)))
