"""Stage 1: its loss has the gradient it claims, its encoder keeps the contract, and it never falls below the line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bench.api import NotApplicable, TrainView
from bench.toolkit.heads import own_heads, profiled_loss, shared_heads
from bench.toolkit.reduced_rank import reduced_rank_regression
from bench.toolkit.task_batches import Targets
from mtlcm.regression_network import MultiTaskRegressionNetwork, settings_for

QUICK = {"steps": 30, "batch": 256, "hidden": (16,)}


def fit(view: TrainView, seed: int = 0, **params: Any) -> MultiTaskRegressionNetwork:
    learner = MultiTaskRegressionNetwork(**{**QUICK, **params})
    return learner.fit(view, seed=seed, device="cpu", progress=lambda fraction, message: None)


def view(pattern: str = "own", *, n: int = 600, n_tasks: int = 12, curved: float = 1.0, seed: int = 0) -> TrainView:
    """Targets linear in 3 factors; x (n, 5) is linear in them too where ``curved`` is 0, else bent."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    x = z @ rng.normal(size=(3, 5))
    x = x + curved * np.sign(x) * x**2
    observed = {
        "own": np.arange(n)[:, None] % n_tasks == np.arange(n_tasks),
        "dense": np.ones((n, n_tasks), bool),
        "missing": rng.random((n, n_tasks)) < 0.6,
    }[pattern]
    sample, task = np.nonzero(observed)
    heads = rng.normal(size=(n_tasks, 3))
    y = (z[sample] * heads[task]).sum(1) + 0.02 * rng.normal(size=len(sample))
    return TrainView(x.astype(np.float32), sample, task, 10 * y + task, n_tasks=n_tasks, n_latents=3)


def loss_arguments(layout: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    rng = np.random.default_rng(1)
    shapes = {"own": ((4, 20, 3), (4, 20)), "shared": ((30, 3), (30, 5)), "complete": ((30, 3), (30, 5))}[layout]
    h, y = (torch.from_numpy(rng.normal(size=shape)) for shape in shapes)
    mask = torch.from_numpy((rng.random(shapes[1]) < 0.8).astype(float))
    return h, y, None if layout == "complete" else mask


@pytest.mark.parametrize("axes", ["own", "principal"])
def test_codes_have_unit_covariance_along_the_axes_that_are_asked_for(axes: str) -> None:
    data = view()
    learner = fit(data, axes=axes)
    codes, raw = learner.encode(data.x), learner._raw_codes(data.x)
    assert np.allclose(np.cov(codes.T, bias=True), np.eye(3), atol=1e-6)
    across = np.corrcoef(codes.T, raw.T)[:3, 3:]
    if axes == "own":  # each code stays near the network's of the same number, and the map turns nothing
        assert (np.abs(across).argmax(axis=1) == np.arange(3)).all()
        assert np.allclose(across, across.T, atol=1e-6)
        assert (np.diag(across) > 0).all()
    else:  # projections of the network's codes on eigenvectors of their covariance
        _, v = np.linalg.eigh(np.cov(raw.T, bias=True))
        along = np.corrcoef(codes.T, (raw @ v).T)[:3, 3:]
        assert np.allclose(np.abs(along), np.eye(3), atol=1e-6)


def test_axes_of_another_name_are_refused() -> None:
    with pytest.raises(ValueError, match="axes='pca': choose 'own' or 'principal'"):
        fit(view(), axes="pca")


@pytest.mark.parametrize("layout", ["own", "shared", "complete"])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_gradient_of_the_profiled_loss_matches_finite_differences(layout: str, ridge: float) -> None:
    h, y, mask = loss_arguments(layout)
    h.requires_grad_()
    (gradient,) = torch.autograd.grad(profiled_loss(h, y, mask, ridge), h)
    for index in [(0, 0), (3, 1), (2, 2)]:
        at = index if h.ndim == 2 else (index[0], 5, index[1])
        step = torch.zeros_like(h)
        step[at] = 1e-5
        with torch.no_grad():
            slope = (profiled_loss(h + step, y, mask, ridge) - profiled_loss(h - step, y, mask, ridge)) / 2e-5
        assert float(gradient[at]) == pytest.approx(float(slope), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("layout", ["own", "shared", "complete"])
def test_heads_and_loss_equal_ridge_regressions_written_out(layout: str) -> None:
    h, y, mask = loss_arguments(layout)
    penalty = torch.tensor(0.2)
    heads, intercepts = own_heads(h, y, mask, penalty) if h.ndim == 3 else shared_heads(h, y, mask, penalty)
    logs, counts = [], []
    for t in range(len(heads)):
        on = slice(None) if mask is None else (mask[t] if h.ndim == 3 else mask[:, t]).bool()
        a, b = (h[t][on], y[t][on]) if h.ndim == 3 else (h[on], y[on, t])
        ac, bc = a - a.mean(0), b - b.mean()
        w = torch.linalg.solve(ac.T @ ac / len(b) + 0.2 * torch.eye(3), ac.T @ bc / len(b))
        torch.testing.assert_close(heads[t], w, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(intercepts[t], b.mean() - a.mean(0) @ w, rtol=1e-7, atol=1e-9)
        free = torch.linalg.lstsq(ac, bc).solution
        logs.append(float(torch.log((bc - ac @ free).square().mean() + 1e-8)))
        counts.append(len(b))
    expected = 0.5 * np.average(logs, weights=counts)
    assert float(profiled_loss(h, y, mask, 0.0)) == pytest.approx(expected, rel=1e-6)


def test_loss_is_invariant_to_linear_maps_of_the_codes() -> None:
    h, y, mask = loss_arguments("own")
    mix = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 3)))
    assert float(profiled_loss(h @ mix + 4, y, mask, 0.0)) == pytest.approx(float(profiled_loss(h, y, mask, 0.0)))


@pytest.mark.parametrize("pattern", ["own", "dense", "missing"])
def test_batches_hold_every_training_target_once_and_no_held_out_one(pattern: str) -> None:
    data = view(pattern)
    targets = Targets(data, batch=100, rng=np.random.default_rng(0), device="cpu")
    assert targets.shared is (pattern != "own")
    held = targets.held_out[np.asarray(data.sample)]
    assert 0.05 < held.mean() < 0.15
    seen: list[tuple[int, float]] = []
    for batch in targets.epoch(torch.Generator().manual_seed(0)):
        rows = batch.rows if batch.rows.ndim == 2 else batch.rows[:, None].expand_as(batch.y)
        on = torch.ones_like(batch.y).bool() if batch.mask is None else batch.mask.bool()
        seen += zip(rows[on].tolist(), batch.y[on].tolist(), strict=True)
    y, task, rows = np.asarray(data.y)[~held], np.asarray(data.task)[~held], np.asarray(data.sample)[~held]
    for t in range(data.n_tasks):
        y[task == t] = (y[task == t] - y[task == t].mean()) / y[task == t].std()
    expected = sorted(zip(rows.tolist(), y.tolist(), strict=True))
    np.testing.assert_allclose(np.array(sorted(seen)), np.array(expected), atol=1e-5)


@pytest.mark.parametrize("pattern", ["own", "dense", "missing"])
@pytest.mark.parametrize("params", [{}, {"heads": "sgd", "skip": False}])
def test_codes_are_finite_white_and_deterministic(pattern: str, params: dict[str, Any]) -> None:
    data = view(pattern)
    torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    learner = fit(data, **params)
    codes = learner.encode(data.x)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state()) == numpy_state  # noqa: NPY002
    assert codes.shape == (600, 3)
    assert codes.dtype == np.float64
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(3), atol=1e-4)
    np.testing.assert_array_equal(codes, fit(data, **params).encode(data.x))
    assert learner.n_parameters_ > 0
    np.testing.assert_allclose(learner.encode(data.x[:7]), codes[:7], atol=1e-5)


def test_the_network_is_used_and_its_losses_are_told() -> None:
    learner = fit(view(n=2400), steps=200, hidden=(64,), learning_rate=1e-2)
    history = learner.history_
    assert history["model"] == "network with a linear path"
    assert history["chosen"] == "network"
    assert history["loss"] < history["linear_loss"] - 0.5
    assert history["evaluated_at"][0] == 0
    assert history["evaluated_at"][-1] == history["steps"] == 200
    assert len(history["validation_curve"]) == len(history["evaluated_at"])
    at_best = history["validation_curve"][history["evaluated_at"].index(history["best_step"])]
    assert at_best == min(history["validation_curve"]) == pytest.approx(history["loss"], abs=1e-6)
    assert history["warnings"] == []


def test_a_network_that_only_gets_worse_is_its_start_and_says_so() -> None:
    data = view(curved=0.0)
    learner = fit(data, learning_rate=3.0, weight_decay=0.0, steps=4)
    assert learner.history_["best_step"] == 0
    assert "no step improved" in learner.history_["warnings"][0]
    assert "held-out targets too" in learner.history_["refitted"]
    codes = np.column_stack([learner.encode(data.x), np.ones(len(data.x))])
    inputs = np.column_stack([data.x, np.ones(len(data.x))])
    linear = inputs @ np.linalg.lstsq(inputs, codes, rcond=None)[0]
    np.testing.assert_allclose(codes, linear, atol=1e-4)


def test_a_start_that_is_kept_is_the_linear_regression_of_all_targets() -> None:
    rng = np.random.default_rng(0)
    data = view(curved=0.0)
    x = np.hstack([data.x, rng.normal(size=(len(data.x), 5))]).astype(np.float32)  # columns that say nothing, to err in
    data = replace(data, x=x, y=data.y + 3 * rng.normal(size=len(data.y)))
    kept = fit(data, learning_rate=3.0, weight_decay=0.0, steps=4)
    assert kept.history_["best_step"] == 0
    whole = reduced_rank_regression(
        data.x, data.sample, data.task, data.y, n_tasks=data.n_tasks, n_latents=3, ridges=(kept.history_["ridge"],)
    ).encode(data.x)
    codes = kept.encode(data.x)
    turned = whole @ np.linalg.lstsq(whole, codes, rcond=None)[0]
    np.testing.assert_allclose(codes, turned, atol=1e-5)


@pytest.mark.parametrize(("pattern", "decay"), [("own", 10.0), ("dense", 3.0)])
def test_decay_is_stronger_where_tasks_have_samples_of_their_own(pattern: str, decay: float) -> None:
    curves = [fit(view(pattern), weight_decay=w).history_["validation_curve"] for w in (None, decay, 1.0)]
    assert curves[0] == curves[1] != curves[2]


def test_small_components_of_vectors_stay_small() -> None:
    rng = np.random.default_rng(0)
    data = view()
    noise = 1e-3 * rng.normal(size=(len(data.x), 5))
    learner = fit(
        TrainView(
            np.hstack([data.x, data.x + noise]).astype(np.float32),
            data.sample,
            data.task,
            data.y,
            n_tasks=12,
            n_latents=3,
        )
    )
    deviations = np.sort(learner._flat_inputs(np.hstack([data.x, data.x + noise])).std(0).numpy())
    assert deviations[0] < 0.01
    assert deviations[-1] > 1.0


def test_unusable_tasks_are_left_out_and_impossible_data_is_refused() -> None:
    data = view()
    y = np.where(data.task == 4, 3.0, data.y)
    with_constant = TrainView(data.x, data.sample, data.task, y, n_tasks=14, n_latents=3)  # tasks 12, 13 are empty
    assert np.isfinite(fit(with_constant).encode(data.x)).all()
    few = data.task < 2
    with pytest.raises(NotApplicable, match=r"2 tasks .* cannot span 3"):
        fit(TrainView(data.x, data.sample[few], data.task[few], data.y[few], n_tasks=12, n_latents=3))
    with pytest.raises(ValueError, match="choose 'closed' or 'sgd'"):
        fit(data, heads="adam")


@pytest.mark.parametrize(("pattern", "chosen"), [("own", "log"), ("dense", "squared")])
def test_the_automatic_loss_is_squared_where_targets_share_samples(pattern: str, chosen: str) -> None:
    data = view(pattern)
    automatic, named = fit(data, loss="auto"), fit(data, loss=chosen)
    assert automatic.history_["validation_curve"] == named.history_["validation_curve"]
    np.testing.assert_array_equal(automatic.encode(data.x), named.encode(data.x))


def test_learners_on_the_network_have_its_settings_for_a_kind_and_none_for_vectors() -> None:
    assert settings_for("vector") == {}
    of_graphs = settings_for("graph")
    assert of_graphs["loss"] == "auto"
    of_graphs["loss"] = "log"
    assert settings_for("graph")["loss"] == "auto", "a copy: the decorator's own stay as they are"


def test_only_networks_of_graphs_start_smoothly(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    class Seen(Exception):
        pass

    def start(*args: Any, smooth: bool, **options: Any) -> None:
        asked.append(smooth)
        raise Seen

    monkeypatch.setattr("bench.toolkit.joint_rank.needed", lambda *args: True)
    monkeypatch.setattr("bench.toolkit.joint_rank.joint_rank_regression", start)
    for kind in ("vector", "graph"):
        monkeypatch.setattr(TrainView, "kind", property(lambda self, kind=kind: kind))
        with pytest.raises(Seen):
            fit(view())
    assert asked == [False, True]
