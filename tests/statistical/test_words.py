"""Documents: the ceiling is the best estimate there is, and tasks recover what principal components do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.linear.rrr import ReducedRankRegression
from baselines.sparse.sparse_rotation import SparseRotation
from bench.metrics import linear_r2, mcc
from bench.metrics.few_shot import few_shot_scores
from bench.registry import discover
from bench.run.check_data import check_dataset
from datasets.shift.words import frequencies, load_words, posterior_mode

SEEDS = (0, 1, 2)
D = 6


def silent(fraction: float, message: str) -> None:
    pass


def pca(data: Any) -> tuple[np.ndarray, np.ndarray]:
    mean = data.train.x.mean(axis=0)
    axes = np.linalg.svd(data.train.x - mean, full_matrices=False)[2][:D]
    return (data.train.x - mean) @ axes.T, (data.eval.x_test - mean) @ axes.T


def learned(learner: Any, data: Any) -> tuple[np.ndarray, np.ndarray]:
    learner.fit(data.train, seed=0, device="cpu", progress=silent)
    return learner.encode(data.train.x), learner.encode(data.eval.x_test)


def test_the_estimate_is_where_the_posterior_has_no_slope() -> None:
    rng = np.random.default_rng(0)
    loadings, intercept = rng.standard_normal((50, 3)), rng.standard_normal(50)  # three times as strong as the default
    z = 2 * rng.standard_normal((300, 3))
    counts = rng.multinomial(150, frequencies(z, loadings, intercept))
    found = posterior_mode(counts, loadings, intercept)
    slope = (counts - 150 * frequencies(found, loadings, intercept)) @ loadings - found
    assert np.abs(slope).max() < 1e-5
    assert np.abs(posterior_mode(np.zeros((2, 50), dtype=np.int64), loadings, intercept)).max() == 0


def test_ceiling_and_recovery() -> None:
    rows = []
    for seed in SEEDS:
        data = load_words(seed=seed, n=4000)
        truth = data.eval
        z, z_test = truth.z_train, truth.z_test
        ceiling = 1 - np.square(z_test - truth.ceiling_test).mean() / z_test.var()
        r2 = [
            linear_r2(z, codes, z_test, codes_test)
            for codes, codes_test in (pca(data), learned(ReducedRankRegression(), data))
        ]
        found = [
            mcc(z, codes, z_test, codes_test) for codes, codes_test in (pca(data), learned(SparseRotation(), data))
        ]
        rows.append((ceiling, *r2, *found))
    print("ceiling R2, linear R2 of pca and rrr, MCC of pca and of sparse rotation:", np.round(rows, 3).tolist())
    ceiling, r2_pca, r2_tasks, mcc_pca, mcc_tasks = np.mean(rows, axis=0)
    assert ceiling == pytest.approx(0.95, abs=0.01)
    assert all(row[2] > row[1] for row in rows)
    assert all(row[2] < row[0] for row in rows)
    assert r2_tasks - r2_pca > 0.005
    assert mcc_pca < 0.8
    assert mcc_tasks > 0.9


def test_supports_mislead_and_learners_see_tasks_alone() -> None:
    data = load_words(seed=0, n=4000, episodes=4)
    assert data.train.labels is None
    assert data.train.aux is None
    assert {episode.shots for episode in data.eval.episodes} == {10, 25, 100}
    truth = few_shot_scores(data.eval.z_train, data.eval.z_test, data.eval.episodes)
    parts = few_shot_scores(*pca(data), data.eval.episodes)
    assert truth["few_shot_worst"].value > parts["few_shot_worst"].value


def test_inputs_are_counts_or_their_logarithms() -> None:
    logs = load_words(seed=0, n=3000, episodes=1, n_tasks=2)
    counts = load_words(seed=0, n=3000, episodes=1, n_tasks=2, inputs="counts")
    assert (counts.train.x.sum(axis=1) == 150).all()
    np.testing.assert_allclose(logs.train.x, np.log1p(counts.train.x), rtol=1e-6)
    with pytest.raises(ValueError, match="inputs='tfidf' is not one of 'log1p', 'counts'"):
        load_words(seed=0, inputs="tfidf")


def test_the_contract_is_kept() -> None:
    findings = list(check_dataset(discover().datasets["words"]))
    assert not [f"{finding.promise}: {finding.detail}" for finding in findings if not finding.kept]
    assert len(findings) == 9
