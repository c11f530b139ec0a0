"""Single-task learners: what they take, what they refuse, and that their losses are what they claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from baselines.supervised.classification import SingleTaskClassification, class_labels
from baselines.supervised.diet import Diet, InstanceHead
from baselines.supervised.regression import SingleTaskRegression
from bench.api import NotApplicable, TrainView
from bench.toolkit.encoders.vector import ResidualMLP
from bench.toolkit.networks import Streams
from datasets.synthetic.clusters import clusters
from datasets.synthetic.sparse_tasks import sparse_tasks

QUICK: dict[str, Any] = {"steps": 20, "batch_size": 64, "hidden": 8, "blocks": 1}


def silent(fraction: float, message: str) -> None:
    """A progress callback that says nothing."""


def view(**change: Any) -> TrainView:
    return replace(clusters(seed=0, d=3, n_clusters=8, n_samples=240).train, **change)


@pytest.mark.parametrize("learner", [SingleTaskClassification, SingleTaskRegression, Diet])
def test_same_seed_same_codes_and_global_state_untouched(learner: Any) -> None:
    before = torch.random.get_rng_state()
    one, two, other = (learner(**QUICK).fit(view(), seed=s, device="cpu", progress=silent) for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    x = view().x[:50]
    assert one.encode(x).shape == (50, 3)
    np.testing.assert_array_equal(one.encode(x), two.encode(x))
    assert np.abs(one.encode(x) - other.encode(x)).max() > 0.1


def test_encoder_is_affine_without_blocks_and_members_are_independent() -> None:
    x = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))
    affine = ResidualMLP(3, 16, 0, 2, Streams([0, 1], "init"))
    design = torch.cat([x[0], torch.ones(40, 1)], dim=1)
    fitted = design @ torch.linalg.lstsq(design, affine(x)[0]).solution
    torch.testing.assert_close(fitted, affine(x)[0], atol=1e-5, rtol=0)
    pair, single = ResidualMLP(3, 16, 2, 2, Streams([0, 1], "init")), ResidualMLP(3, 16, 2, 2, Streams([1], "init"))
    torch.testing.assert_close(pair(x)[1], single(x[1:])[0])


def test_class_labels_are_renumbered_and_fall_back_to_an_integer_auxiliary_variable() -> None:
    labels = np.array([30, 10, 10, 30, 20, 20])
    base = view(x=np.zeros((6, 3), dtype=np.float32), labels=labels, aux=None)
    np.testing.assert_array_equal(class_labels(base), [2, 0, 0, 2, 1, 1])
    np.testing.assert_array_equal(class_labels(replace(base, labels=None, aux=labels)), [2, 0, 0, 2, 1, 1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": None, "aux": None}, "needs labels"),
        ({"labels": None, "aux": np.zeros((240, 2))}, "needs labels"),
        ({"labels": np.zeros(240, dtype=int)}, "at least two classes"),
        ({"labels": np.r_[np.arange(239) % 5, 99]}, "class 99 has one sample"),
        ({"labels": np.arange(240) % 3}, "3 classes cannot span 3 latents"),
        ({"n_latents": 240}, "samples are too few"),
    ],
)
def test_classification_says_why_it_cannot_run(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        SingleTaskClassification(**QUICK).fit(view(**change), seed=0, device="cpu", progress=silent)


@pytest.mark.parametrize(
    ("params", "change", "reason"),
    [
        ({"task": 3}, {}, "task 3 does not exist: the data has 1"),
        ({}, {"y": np.full(240, 2.5)}, "task 0 is constant"),
        ({}, {"y": np.r_[np.nan, np.arange(239.0)]}, "not finite"),
        ({}, {"sample": np.arange(3), "task": np.zeros(3, dtype=int), "y": np.arange(3.0)}, "3 targets, too few"),
        ({}, {"sample": np.arange(0), "task": np.arange(0), "y": np.empty(0), "n_tasks": 0}, "does not exist"),
    ],
)
def test_regression_says_why_it_cannot_run(params: dict[str, Any], change: dict[str, Any], reason: str) -> None:
    with pytest.raises(NotApplicable, match=reason):
        SingleTaskRegression(**QUICK, **params).fit(view(**change), seed=0, device="cpu", progress=silent)


def test_regression_uses_its_task_alone() -> None:
    data = sparse_tasks(seed=0, d=3, d_observed=5, n_tasks=6, n_per_task=30).train
    scrambled = replace(data, y=np.where(data.task == 2, data.y, data.y[::-1]))
    codes = [
        SingleTaskRegression(task=2, **QUICK).fit(v, seed=0, device="cpu", progress=silent).encode(v.x)
        for v in (data, scrambled)
    ]
    np.testing.assert_array_equal(codes[0], codes[1])


def test_instance_logits_count_every_instance_of_the_batch_once() -> None:
    head = InstanceHead(5, 2, Streams([0], "init"))
    instance = torch.tensor([[3, 1, 3, 0]])
    features = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0))
    w = head.table.weight[0]
    expected = torch.stack(
        [torch.logsumexp(features[0, b] @ w[[3, 1, 0]].T, dim=0) - features[0, b] @ w[instance[0, b]] for b in range(4)]
    )
    logits = head(features, instance)
    torch.testing.assert_close((logits.logsumexp(2) - logits.diagonal(dim1=1, dim2=2))[0], expected)


def test_diet_counts_instances_and_refuses_missing_views() -> None:
    by_sample = Diet(**QUICK).fit(view(aux=None), seed=0, device="cpu", progress=silent)
    by_view = Diet(instances="aux", **QUICK).fit(view(aux=np.arange(240) // 4), seed=0, device="cpu", progress=silent)
    assert (by_sample.history_["n_instances"], by_view.history_["n_instances"]) == (240, 60)
    with pytest.raises(NotApplicable, match="needs labels"):
        Diet(instances="aux", **QUICK).fit(view(aux=None), seed=0, device="cpu", progress=silent)
    with pytest.raises(ValueError, match="choose auto, sample or aux"):
        Diet(instances="views").fit(view(), seed=0, device="cpu", progress=silent)
