"""Codes made elsewhere: the metrics of the harness, an interval that covers, errors that name the array."""

import numpy as np
import pytest

import bench
from bench.errors import UsageError
from bench.metrics.base import ScoreInput
from bench.metrics.evaluate import evaluate as harness
from bench.statistics.jackknife import groups, jackknife_interval


def noisy(n: int, rng: np.random.Generator, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    z = rng.standard_normal((n, 3))
    return z, z[:, ::-1] * [2.0, -1.0, 0.5] + noise * rng.standard_normal((n, 3))


def test_the_scores_are_the_harness_own() -> None:
    rng = np.random.default_rng(0)
    (z, codes), (z_test, codes_test) = noisy(400, rng), noisy(300, rng)
    made = bench.evaluate(z=z, codes=codes, z_test=z_test, codes_test=codes_test)
    expected = harness(ScoreInput(z_train=z, codes_train=codes, z_test=z_test, codes_test=codes_test))
    assert {name: score.value for name, score in made.items()} == {n: s.value for n, s in expected.items()}
    assert made["mcc"].chance == 0.0
    low, high = made["mcc"].low, made["mcc"].high
    assert low is not None
    assert high is not None
    assert low < made["mcc"].value < high  # type: ignore[operator]
    assert "| mcc " in str(made)
    assert made.rows()[0]["metric"] == "mcc"


def test_the_interval_covers_the_correlation_it_estimates() -> None:
    """Correlation 0.8 at n = 200: 95 % intervals over 400 draws cover it about 95 % of the time (sd of that: 1.1 %)."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        a = rng.standard_normal(200)
        b = 0.8 * a + 0.6 * rng.standard_normal(200)
        without = []
        for rows in groups(200):
            keep = np.ones(200, bool)
            keep[rows] = False
            without.append(float(np.corrcoef(a[keep], b[keep])[0, 1]))
        covered += jackknife_interval(float(np.corrcoef(a, b)[0, 1]), without).covers(0.8)
    assert 0.90 <= covered / 400 <= 0.99


def test_without_truth_another_models_codes_are_the_measure() -> None:
    rng = np.random.default_rng(0)
    z, codes = noisy(400, rng, noise=0.0)
    made = bench.evaluate(codes=codes, codes_other=z)
    assert set(made) == {"consistency_strong", "consistency_weak"}
    assert made["consistency_strong"].value == pytest.approx(1.0)


def test_tasks_and_plugins_are_scored_too() -> None:
    rng = np.random.default_rng(0)
    z, codes = noisy(600, rng)
    made = bench.evaluate(
        z=z, codes=codes, task=np.repeat(["a", "b", "c"], 200), plugins={"mine": lambda *arrays: 0.25}
    )
    assert made["mcc_per_task"].value is not None
    assert made["mine"].value == 0.25


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": None}, "nothing to score codes against"),
        ({"z": np.zeros((5, 3))}, "codes has 100 samples and z has 5"),
        ({"codes_test": np.zeros((5, 3))}, "codes_test and z_test belong together"),
        ({"codes": np.full((100, 3), np.nan)}, "codes has a NaN or an infinity in row 0"),
        ({"codes": [["a"]]}, "codes must be an array of numbers"),
        ({"task": [1, 2]}, "task has 2 rows, codes has 100"),
        ({"z_test": np.zeros((9, 3)), "codes_test": np.zeros((9, 2))}, "codes has 3 columns and codes_test 2"),
        ({"codes_other": np.zeros((7, 3))}, "codes has 100 samples and codes_other has 7"),
    ],
)
def test_wrong_arrays_are_named(change: dict, words: str) -> None:
    z, codes = noisy(100, np.random.default_rng(0))
    with pytest.raises(UsageError, match=words):
        bench.evaluate(**({"z": z, "codes": codes} | change))
