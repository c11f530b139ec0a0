"""Stage 1 on nonlinear mixing: the linear floor, the network above it, the flow above both."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from baselines.linear.rrr import DiagonalisedReducedRankRegression, ReducedRankRegression
from bench.api import Data
from bench.metrics import linear_r2, mcc
from datasets.synthetic.causal import nonlinear_causal
from mtlcm.causal_model import LinearCausalModel
from mtlcm.model import MTLCM
from mtlcm.moments import task_moments
from mtlcm.regression_network import MultiTaskRegressionNetwork


def codes_of(learner: Any, data: Data) -> tuple[Any, Any, float]:
    """Training and held-out codes, CPU seconds of the fit."""
    start = time.process_time()
    learner.fit(data.train, seed=0, device="cpu", progress=lambda fraction, message: None)
    cpu = time.process_time() - start
    return learner.encode(data.train.x), learner.encode(data.eval.x_test), cpu


@pytest.mark.parametrize(("d", "at_least"), [(10, 0.983), (20, 0.945)])
def test_rrr_ajd_recovers_most_of_the_factors(d: int, at_least: float) -> None:
    data = nonlinear_causal(seed=0, d=d, n_tasks=500, n_per_task=200)
    train, test, cpu = codes_of(DiagonalisedReducedRankRegression(), data)
    score = mcc(data.eval.z_train, train, data.eval.z_test, test)
    print(f"rrr-ajd, d={d}: held-out pooled MCC {score:.4f}, {cpu:.1f} CPU s")
    assert score >= at_least


@pytest.mark.parametrize(("layers", "margin"), [(1, 0.5), (3, 0.35)])
def test_network_is_closer_to_linear_than_rrr(layers: int, margin: float) -> None:
    """The share of the factors' variance that no linear map of the codes explains falls by ``margin`` at least."""
    data = nonlinear_causal(seed=1, n_mixing_layers=layers)
    scores = {}
    for name, learner in (("rrr", ReducedRankRegression()), ("mtrn", MultiTaskRegressionNetwork())):
        train, test, cpu = codes_of(learner, data)
        scores[name] = linear_r2(data.eval.z_train, train, data.eval.z_test, test)
        print(f"{name}, {layers} mixing layers: held-out linear R² {scores[name]:.4f}, {cpu:.1f} CPU s")
    assert 1 - scores["mtrn"] < (1 - margin) * (1 - scores["rrr"])


@pytest.mark.parametrize(("layers", "at_least"), [(1, 0.997), (3, 0.965)])
def test_flow_codes_and_causal_model_recover_the_factors(layers: int, at_least: float) -> None:
    data = nonlinear_causal(seed=1, n_mixing_layers=layers)
    view, truth = data.train, data.eval
    train, test, cpu = codes_of(MultiTaskRegressionNetwork(flow_steps=600), data)
    model = LinearCausalModel().fit(task_moments(train, view.sample, view.task, view.y, view.n_tasks))
    score = mcc(truth.z_train, model.encode(train), truth.z_test, model.encode(test))
    floor_train, floor_test, _ = codes_of(DiagonalisedReducedRankRegression(), data)
    floor = mcc(truth.z_train, floor_train, truth.z_test, floor_test)
    print(f"{layers} mixing layers: held-out pooled MCC {score:.4f} (rrr-ajd {floor:.4f}), {cpu:.1f} CPU s")
    assert score >= at_least
    assert 1 - score < 0.6 * (1 - floor)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_the_papers_two_stages_reach_099_without_a_flow(seed: int) -> None:
    data = nonlinear_causal(seed=seed)
    train, test, cpu = codes_of(learner := MTLCM(), data)
    score = mcc(data.eval.z_train, train, data.eval.z_test, test)
    print(f"mtlcm, data seed {seed}: held-out pooled MCC {score:.4f}, {cpu:.1f} CPU s")
    assert learner.history_["chosen"] == "network"
    assert score >= 0.993


@pytest.mark.parametrize("layers", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_ten_factors_are_told_at_least_as_well_as_by_the_best_linear_map_of_x(layers: int) -> None:
    """The map that is fitted with the truth in hand; at one hidden layer, where it is nearly right, as well as it."""
    data = nonlinear_causal(seed=0, n_mixing_layers=layers)
    train, test, cpu = codes_of(MTLCM(), data)
    z, x = data.eval.z_train, np.column_stack([data.train.x, np.ones(len(data.train.x))])
    best = np.linalg.lstsq(x, z, rcond=None)[0]
    linear = x @ best, np.column_stack([data.eval.x_test, np.ones(len(data.eval.x_test))]) @ best
    score, line = mcc(z, train, data.eval.z_test, test), mcc(z, linear[0], data.eval.z_test, linear[1])
    print(
        f"mtlcm, {layers} mixing layers: held-out pooled MCC {score:.4f}, best linear map {line:.4f}, {cpu:.1f} CPU s"
    )
    assert score >= line - (0.002 if layers == 1 else 0.0)
