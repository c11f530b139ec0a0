"""The rows that know the truth: the oracle is perfect, the random unmixing scores what rotating alone scores."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import ortho_group

from bench.api import Data, EvalView, NotApplicable, TrainView
from bench.metrics import linear_r2, mcc
from bench.run.check import small_data
from bench.run.references import BestLinear, Oracle, RandomUnmixing


def gaussian_data(seed: int, n: int, d: int) -> Data:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((2 * n, d))
    none = np.zeros(0, dtype=np.int64)
    x = np.zeros((n, 1), dtype=np.float32)
    train = TrainView(x=x, sample=none, task=none, y=np.zeros(0), n_tasks=0, n_latents=d)
    return Data(train, EvalView(x_test=x, z_train=z[:n], z_test=z[n:]))


def score(codes: tuple[np.ndarray, np.ndarray, object], data: Data) -> float:
    return mcc(data.eval.z_train, codes[0], data.eval.z_test, codes[1])


def test_oracle_scores_one() -> None:
    data = small_data()
    assert score(Oracle().codes(data, seed=0), data) == pytest.approx(1.0, abs=1e-12)


def test_random_unmixing_scores_its_chance_level() -> None:
    """MCC of a random rotation of independent factors: mean matched |entry| of a Haar rotation, here by simulation."""
    d, draws = 8, 60
    found = []
    for seed in range(draws):
        data = gaussian_data(seed, 4000, d)
        codes = RandomUnmixing().codes(data, seed=seed)
        found.append(score(codes, data))
        assert linear_r2(data.eval.z_train, codes[0], data.eval.z_test, codes[1]) == pytest.approx(1.0)
    expected = []
    for rotation in ortho_group.rvs(d, size=400, random_state=np.random.default_rng(7)):
        rows, columns = linear_sum_assignment(-np.abs(rotation))
        expected.append(np.abs(rotation[rows, columns]).mean())
    error = np.hypot(np.std(found) / np.sqrt(draws), np.std(expected) / 20)
    print(f"random unmixing: MCC {np.mean(found):.4f}, rotations {np.mean(expected):.4f}, standard error {error:.4f}")
    assert abs(np.mean(found) - np.mean(expected)) < 3 * error + 0.002


def test_best_linear_is_least_squares_and_survives_bad_columns() -> None:
    data = small_data()
    plain = BestLinear().codes(data, seed=0)
    assert score(plain, data) > 0.999
    x = np.asarray(data.train.x)
    wider = np.hstack([x, np.full((len(x), 1), 3.0), x[:, :1] * 1e6])
    test = np.asarray(data.eval.x_test)
    wider_test = np.hstack([test, np.full((len(test), 1), 3.0), test[:, :1] * 1e6])
    same = replace(data, train=replace(data.train, x=wider), eval=replace(data.eval, x_test=wider_test))
    np.testing.assert_allclose(BestLinear().codes(same, seed=0)[1], plain[1], rtol=1e-4, atol=1e-4)


def test_without_truth_they_decline() -> None:
    data = small_data()
    blind = replace(data, eval=replace(data.eval, z_train=None, z_test=None))
    for reference in (Oracle(), BestLinear(), RandomUnmixing()):
        with pytest.raises(NotApplicable, match="true latents"):
            reference.codes(blind, seed=0)


def test_best_linear_of_wide_inputs_is_a_bound_on_other_samples_too() -> None:
    """300 columns for 400 samples, three factors and noise: plain least squares would follow the noise."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((3, 300))

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        z = rng.standard_normal((n, 3))
        return z, z @ mixing + 8.0 * rng.standard_normal((n, 300))

    (z, x), (z_test, x_test) = draw(400), draw(2000)
    train = TrainView(x=x, n_latents=3, sample=np.arange(400), task=np.zeros(400, int), y=z[:, 0], n_tasks=1)
    data = Data(train, EvalView(x_test=x_test, z_train=z, z_test=z_test))
    found = BestLinear().codes(data, seed=0)[1]
    plain = x_test @ np.linalg.lstsq(x, z, rcond=None)[0]
    errors = [np.square(codes - z_test).mean() for codes in (found, plain)]
    best = np.linalg.solve(mixing.T @ mixing + 64.0 * np.eye(300), mixing.T)
    reachable = np.square(x_test @ best - z_test).mean()
    assert errors[0] < 1.3 * reachable + 0.1
    assert errors[0] < 0.5 * errors[1]
