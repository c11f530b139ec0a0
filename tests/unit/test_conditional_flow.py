"""The flow's determinant and profiled parameters are what they claim; it helps where codes are bent, only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import TrainView
from bench.toolkit.task_batches import Targets
from mtlcm.conditional_flow import Flow, fit_flow, profiled_variances
from mtlcm.regression_network import MultiTaskRegressionNetwork


def bent_flow() -> Flow:
    generator = torch.Generator().manual_seed(0)
    flow = Flow(np.array([[2.0, 0.3], [-0.5, 1.0]]), np.array([0.5, -1.0]), (7, 5), generator)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return flow.double()


def test_log_determinant_is_that_of_the_jacobian() -> None:
    flow = bent_flow()
    u = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda v: flow(v[None])[0], row) for row in u])
    expected = torch.linalg.slogdet(jacobians)[1] - np.log(2.15)  # up to log |det B|
    torch.testing.assert_close(flow.double().log_determinant(u), expected, rtol=1e-5, atol=1e-6)


def test_a_fresh_flow_is_its_linear_start() -> None:
    start, shift = np.array([[2.0, 0.3], [-0.5, 1.0]]), np.array([0.5, -1.0])
    flow = Flow(start, shift, (7,), torch.Generator().manual_seed(0))
    u = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(flow(torch.from_numpy(u)).numpy(), (u - shift) @ start.T, atol=1e-6)
        np.testing.assert_allclose(flow.log_determinant(torch.from_numpy(u)).numpy(), 0, atol=1e-7)


def test_profiled_parameters_are_least_squares_per_task() -> None:
    rng = np.random.default_rng(2)
    z, y = torch.from_numpy(rng.normal(size=(3, 12, 2))), torch.from_numpy(rng.normal(size=(3, 12)))
    mask = torch.ones(3, 12, dtype=torch.float64)
    mask[1, 9:] = 0
    variance, mean, slope = profiled_variances(z, y, mask)
    for t in range(3):
        n = int(mask[t].sum())
        design = np.column_stack([np.ones(n), y[t, :n].numpy()])
        coefficients, rss = np.linalg.lstsq(design, z[t, :n].numpy(), rcond=None)[:2]
        np.testing.assert_allclose(mean[t], coefficients[0], atol=1e-10)
        np.testing.assert_allclose(slope[t], coefficients[1], atol=1e-10)
        np.testing.assert_allclose(variance[t], rss / (n - 2), rtol=1e-6)


def causal_view(bend: float, *, n_tasks: int = 30, n: int = 60) -> tuple[TrainView, np.ndarray]:
    """Two factors whose slopes and variances given y change from task to task; x (N, 2) bends them together."""
    rng = np.random.default_rng(3)
    y = rng.normal(size=(n_tasks, n))
    slope, deviation = rng.uniform(-1, 1, (n_tasks, 1, 2)), np.exp(rng.uniform(-2.5, 0, (n_tasks, 1, 2)))
    z = (slope * y[:, :, None] + deviation * rng.normal(size=(n_tasks, n, 2))).reshape(-1, 2)
    mixed = z @ np.array([[1.0, 0.5], [-0.4, 1.0]])
    x = mixed + bend * np.column_stack([np.sin(mixed[:, 1]), np.tanh(mixed[:, 0])])
    task = np.repeat(np.arange(n_tasks), n)
    return TrainView(x.astype(np.float32), np.arange(len(x)), task, y.ravel(), n_tasks=n_tasks, n_latents=2), z


def linear_r2(codes: np.ndarray, z: np.ndarray) -> float:
    design = np.column_stack([codes, np.ones(len(codes))])
    residual = z - design @ np.linalg.lstsq(design, z, rcond=None)[0]
    return float(1 - residual.var() / z.var())


@pytest.mark.parametrize("bend", [0.0, 0.8])
def test_the_flow_helps_where_the_codes_are_bent_and_only_there(bend: float) -> None:
    view, z = causal_view(bend)
    targets = Targets(view, batch=600, rng=np.random.default_rng(0), device="cpu")
    codes = view.x.astype(np.float64)
    fit = fit_flow(
        codes,
        targets,
        hidden=(32,),
        steps=300,
        learning_rate=2e-2,
        weight_decay=0.01,
        stride=2,
        checkpoints=6,
        generator=torch.Generator().manual_seed(0),
        progress=lambda fraction, message: None,
    )
    assert fit.helps is (bend > 0)
    with torch.no_grad():
        straightened = fit.flow(torch.from_numpy(view.x)).numpy()
    if bend:
        assert 1 - linear_r2(straightened, z) < 0.3 * (1 - linear_r2(codes, z))
    else:
        assert linear_r2(straightened, z) > 0.999


def test_network_with_flow_is_deterministic_and_says_what_it_chose() -> None:
    view, _ = causal_view(0.8)
    torch_state = torch.get_rng_state()

    def fit() -> MultiTaskRegressionNetwork:
        learner = MultiTaskRegressionNetwork(hidden=(16,), steps=20, batch=600, flow_steps=60, flow_hidden=(16,))
        return learner.fit(view, seed=4, device="cpu", progress=lambda fraction, message: None)

    first = fit()
    assert first.history_["chosen"] == "network+flow"
    assert first.history_["flow"]["gain"] > 0
    np.testing.assert_array_equal(first.encode(view.x), fit().encode(view.x))
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("params", [{"skip": False, "heads": "sgd"}, {"hidden": (8, 8)}])
def test_flow_codes_are_what_the_stored_parts_make_of_new_inputs(params: dict[str, Any]) -> None:
    view, _ = causal_view(0.8)
    learner = MultiTaskRegressionNetwork(steps=20, batch=600, flow_steps=100, flow_hidden=(16,), **params)
    learner.fit(view, seed=0, device="cpu", progress=lambda fraction, message: None)
    assert learner.history_["chosen"].endswith("+flow")
    codes = learner.encode(view.x)
    np.testing.assert_allclose(learner.encode(view.x[:9]), codes[:9], atol=1e-5)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(2), atol=1e-4)


def test_no_flow_where_its_likelihood_does_not_hold_or_nothing_is_held_out() -> None:
    view, z = causal_view(0.8)
    sample, task = (index.ravel() for index in np.indices((len(z), 4)))
    y = (z[sample] * np.array([[1.0, 0], [0, 1], [1, 1], [1, -1]])[task]).sum(1)
    shared = TrainView(view.x, sample, task, y, n_tasks=4, n_latents=2)
    learner = MultiTaskRegressionNetwork(steps=5, batch=600, flow_steps=5)
    learner.fit(shared, seed=0, device="cpu", progress=lambda fraction, message: None)
    assert not learner.history_["chosen"].endswith("+flow")
    assert "share" in learner.history_["flow"]["skipped"]
    binary = replace(view, y=(view.y > 0).astype(float), target_type="binary")
    learner.fit(binary, seed=0, device="cpu", progress=lambda fraction, message: None)
    assert "binary targets" in learner.history_["flow"]["skipped"]
    assert not learner.history_["chosen"].endswith("+flow")
    few = slice(0, 9)
    tiny = TrainView(view.x[few], np.arange(9), np.arange(9) % 2, view.y[few], n_tasks=2, n_latents=2)
    learner.fit(tiny, seed=0, device="cpu", progress=lambda fraction, message: None)
    assert not learner.history_["chosen"].endswith("+flow")
    assert np.isfinite(learner.encode(tiny.x)).all()


def test_a_flow_that_diverges_leaves_what_was_best_before() -> None:
    view, _ = causal_view(0.8)
    learner = MultiTaskRegressionNetwork(steps=5, batch=600, flow_steps=30, flow_learning_rate=1e30)
    learner.fit(view, seed=0, device="cpu", progress=lambda fraction, message: None)
    assert learner.history_["flow"]["diverged_at"] is not None
    assert np.isfinite(learner.encode(view.x)).all()
