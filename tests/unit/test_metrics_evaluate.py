"""What the harness gets: scores with chance, ceiling and reasons."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from bench.metrics import MetricInfo, OutOfDomain, Score, ScoreInput, linear_r2, mcc, metric, normalised
from bench.metrics.evaluate import evaluate
from bench.registry import discover


def noisy(seed=0, n=400, d=4, sd=0.5):
    """Codes with noise, and a ceiling: the codes with half of that noise."""
    rng = np.random.default_rng(seed)
    z, noise = rng.standard_normal((2, n, d)), rng.standard_normal((2, n, d))
    codes, best = z + sd * noise, z + sd / 2 * noise
    return ScoreInput(
        z_train=z[0],
        codes_train=codes[0],
        z_test=z[1],
        codes_test=codes[1],
        ceiling_train=best[0],
        ceiling_test=best[1],
    )


def test_scores_carry_their_ceiling_and_normalise():
    inputs = noisy()
    scores = evaluate(inputs)
    truth = (inputs.z_train, inputs.codes_train, inputs.z_test, inputs.codes_test)
    assert scores["mcc"].value == mcc(*truth)
    assert scores["linear_r2"].value == linear_r2(*truth)
    best = mcc(inputs.z_train, inputs.ceiling_train, inputs.z_test, inputs.ceiling_test)
    assert scores["mcc"].ceiling == best
    assert scores["mcc"].normalised == pytest.approx(scores["mcc"].value / best)
    free = evaluate(replace(inputs, ceiling_train=None, ceiling_test=None))
    assert free["mcc"].ceiling == 1
    oracle = evaluate(replace(inputs, codes_train=inputs.z_train, codes_test=inputs.z_test, ceiling_train=None))
    assert oracle["mcc"].normalised == pytest.approx(1)


def test_normalised_is_none_where_a_part_is_unknown():
    assert normalised(Score(0.6, chance=0.2, ceiling=1.0)) == pytest.approx(0.5)
    assert normalised(Score(None, "why", chance=0.0, ceiling=1.0)) is None
    assert normalised(Score(0.5, ceiling=1.0)) is None
    assert normalised(Score(0.5, chance=0.5, ceiling=0.5)) is None


def test_without_truth_only_targets_are_scored():
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((200, 3))
    rows, task = np.arange(100), np.arange(100) % 2
    inputs = ScoreInput(
        codes_train=codes[:100],
        codes_test=codes[100:],
        sample_train=rows,
        task_train=task,
        y_train=codes[:100, 0],
        sample_test=rows,
        task_test=task,
        y_test=codes[100:, 0],
    )
    scores = evaluate(inputs)
    assert set(scores) == {"target_r2"}
    assert scores["target_r2"].value == pytest.approx(1, abs=1e-4)
    assert scores["target_r2"].ceiling is None


def test_tasks_are_recognised_from_the_long_format():
    inputs = noisy()
    n = len(inputs.codes_test)
    order = np.random.default_rng(0).permutation(n)
    task = np.arange(n) % 5
    direct = evaluate(replace(inputs, task_test=task))["mcc_per_task"]
    long = evaluate(replace(inputs, sample_test=order, task_test=task[order]))["mcc_per_task"]
    assert direct.value == long.value
    assert 0 < direct.chance < direct.value
    every = np.repeat(np.arange(n), 2)
    assert "mcc_per_task" not in evaluate(replace(inputs, sample_test=every, task_test=np.tile([0, 1], n)))


def test_scores_are_json_and_the_same_twice():
    inputs = replace(noisy(), task_test=np.arange(400) % 4, causal_true=np.eye(4) > 0, causal_found=np.eye(4) > 0)
    first, second = (json.dumps({k: asdict(v) for k, v in evaluate(inputs).items()}) for _ in range(2))
    assert first == second
    assert "NaN" not in first


def test_a_ceiling_that_cannot_be_scored_is_no_ceiling():
    inputs = noisy()
    scores = evaluate(replace(inputs, ceiling_train=np.full((400, 4), np.nan)))
    assert scores["mcc"].value is not None
    assert scores["mcc"].ceiling is None


def test_trees_are_scored_on_request_only():
    rng = np.random.default_rng(1)
    z = rng.standard_normal((1200, 3))
    inputs = ScoreInput(z_train=z[:1000], codes_train=z[:1000], z_test=z[1000:], codes_test=z[1000:])
    assert "dci_tree_d" not in evaluate(inputs)
    score = evaluate(inputs, full=True)["dci_tree_d"]
    assert score.value > 0.98 > 0.5 > score.chance


def test_another_distributions_metric_is_scored_with_chance_and_may_refuse():
    def first_pair(z_train, codes_train, z_test, codes_test):
        return np.corrcoef(z_test[:, 0], codes_test[:, 0])[0, 1]

    def fussy(z_train, codes_train, z_test, codes_test):
        raise OutOfDomain("only on Sundays")

    def broken(z_train, codes_train, z_test, codes_test):
        return float("nan")

    scores = evaluate(noisy(), plugins={"first-pair": first_pair, "fussy": fussy, "broken": broken})
    assert scores["first-pair"].value == pytest.approx(1 / np.sqrt(1.25), abs=0.05)
    assert abs(scores["first-pair"].chance) < 0.1
    assert scores["fussy"].reason == "only on Sundays"
    assert scores["broken"].value is None


def test_every_metric_is_listed_with_what_it_tests():
    listed = discover().metrics
    assert listed["mcc"].tests == "permutation+scaling"
    assert listed["linear_r2"].tests == "linear"
    assert listed["block_mcc"].tests == "block"
    assert all(info.summary and info.paper and info.range for info in listed.values())
    scored = evaluate(
        replace(
            noisy(n=1200),
            z_independent=noisy().z_train,
            codes_independent=noisy().codes_train,
            task_test=np.arange(1200) % 4,
            causal_true=np.array([[1, 1, 0, 0], [0, 0, 1, 1]]),
            causal_found=np.array([[1, 1, 0, 0], [0, 0, 1, 1]]),
            centre=np.zeros(4),
        ),
        full=True,
    )
    assert set(scored) <= set(listed)
    of_shifts = {"few_shot_acc", "few_shot_worst", "basis_gain", "held_out_r2"}  # they need episodes, a spread set
    assert set(listed) - set(scored) == {"consistency_strong", "consistency_weak", "target_r2"} | of_shifts


def test_importing_the_package_imports_no_numpy():
    code = "import sys, bench.metrics, bench.metrics.base; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_decorator_leaves_the_function_as_it_was():
    @metric("m", tests="none", range="[0, 1]", paper="p", needs=("truth", "task"))
    def f(a, b, c, d):
        return 0.5

    (info,) = f.__bench__
    assert isinstance(info, MetricInfo)
    assert (info.name, info.needs, f(1, 2, 3, 4)) == ("m", ("truth", "task"), 0.5)


def test_unknown_names_are_attribute_errors():
    import bench.metrics

    assert all(hasattr(bench.metrics, name) for name in bench.metrics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'mmc'"):
        _ = bench.metrics.mmc


def test_the_independent_set_has_a_ceiling_of_its_own():
    inputs = noisy()
    independent = replace(inputs, z_independent=inputs.z_test, codes_independent=inputs.codes_test)
    assert evaluate(independent)["mcc_independent"].ceiling is None
    score = evaluate(replace(independent, ceiling_independent=inputs.ceiling_test))["mcc_independent"]
    alone = evaluate(replace(independent, codes_independent=inputs.ceiling_test))["mcc_independent"]
    assert score.value < score.ceiling == alone.value < 1
