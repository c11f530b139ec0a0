"""The sparse and single-task learners recover what their theory says, and only that, at reduced size.

The full sizes (3000 steps on 20,000 tasks; 500,000 samples in clusters) are ``python -m bench reproduce``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from baselines.sparse.bilevel import Bilevel
from baselines.sparse.sparse_shared import SparseShared
from baselines.supervised.classification import SingleTaskClassification
from baselines.supervised.diet import Diet
from baselines.supervised.regression import SingleTaskRegression
from bench.api import Data
from bench.metrics import linear_r2, mcc
from datasets.synthetic.clusters import clusters
from datasets.synthetic.sparse_tasks import sparse_tasks


def fit(learner: Any, data: Data, seed: int = 0) -> Any:
    return learner.fit(data.train, seed=seed, device="cpu", progress=lambda fraction, message: None)


def held_out(learner: Any, data: Data) -> tuple[float, float]:
    """MCC and linear R² on held-out samples, printed."""
    z_train, z_test = data.eval.z_train, data.eval.z_test
    assert z_train is not None
    assert z_test is not None
    arrays = (z_train, learner.encode(data.train.x), z_test, learner.encode(data.eval.x_test))
    scores = mcc(*arrays), linear_r2(*arrays)
    print(f"{type(learner).__name__}: MCC {scores[0]:.4f}, linear R² {scores[1]:.4f}")
    return scores


@pytest.fixture(scope="module")
def sparse() -> Callable[[float], Data]:
    return lambda rho: sparse_tasks(seed=0, rho=rho, n_tasks=2000)


@pytest.mark.parametrize(("rho", "at_least"), [(0.0, 0.97), (0.9, 0.94)])
def test_inner_lasso_recovers_the_factors(sparse: Callable[[float], Data], rho: float, at_least: float) -> None:
    data = sparse(rho)
    learner = fit(Bilevel(steps=1500), data)
    score, r2 = held_out(learner, data)
    assert score >= at_least
    assert r2 >= 0.94


def test_inner_lasso_finds_the_supports_of_the_tasks(sparse: Callable[[float], Data]) -> None:
    data = sparse(0.0)
    learner = fit(Bilevel(steps=1000), data)
    codes, z = learner.encode(data.train.x), data.eval.z_train
    assert z is not None
    assert data.eval.causal is not None
    match = np.abs(np.corrcoef(z.T, codes.T)[:6, 6:]).argmax(axis=1)
    assert sorted(match) == list(range(6))
    agreement = (learner.causal_[:, match] == data.eval.causal).mean()
    print(f"supports: {agreement:.3f} of the entries agree")
    assert agreement >= 0.85


def test_inner_ridge_recovers_the_span_alone(sparse: Callable[[float], Data]) -> None:
    data = sparse(0.0)
    scores = [held_out(fit(Bilevel(inner="ridge", steps=700), data, seed), data) for seed in range(3)]
    assert np.mean([score for score, _ in scores]) <= 0.75  # a random rotation of six factors: 0.5-0.8
    assert min(r2 for _, r2 in scores) >= 0.94


def test_classes_identify_the_latents_linearly_and_one_target_does_not() -> None:
    data = clusters(seed=0, n_samples=50_000)
    raw = linear_r2(data.eval.z_train, data.train.x, data.eval.z_test, data.eval.x_test)
    _, classified = held_out(fit(SingleTaskClassification(steps=1500), data), data)
    _, regressed = held_out(fit(SingleTaskRegression(steps=500), data), data)
    print(f"raw x: linear R² {raw:.4f}")
    assert classified >= 0.96
    assert regressed <= raw - 0.1


def test_one_target_identifies_its_own_direction() -> None:
    data = clusters(seed=0, n_samples=20_000)
    learner = fit(SingleTaskRegression(steps=500), data)
    codes = learner.encode(data.eval.x_test)
    design = np.column_stack([codes, np.ones(len(codes))])
    y = data.eval.y_test
    assert y is not None
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    explained = 1 - residual.var() / y.var()
    print(f"target explained by the codes: {explained:.4f} (0.99 is the noise)")
    assert explained >= 0.96


def test_diet_needs_several_views_of_an_instance() -> None:
    n, per_cluster = 100_000, 20
    data = clusters(seed=0, n_samples=n)
    assert data.train.labels is not None
    # As in the paper's program: instances belong to clusters, and their views are draws around the cluster's centre.
    views = data.train.labels * per_cluster + np.random.default_rng(7).integers(0, per_cluster, n)
    with_views = replace(data, train=replace(data.train, aux=views, labels=None))
    _, informed = held_out(fit(Diet(instances="aux", steps=700), with_views), data)
    _, alone = held_out(fit(Diet(steps=150), with_views), data)
    assert informed >= 0.94
    assert alone <= 0.8


def test_sparse_shared_needs_its_l1_penalty() -> None:
    data = sparse_tasks(seed=0, binary=True)
    full, _ = held_out(fit(SparseShared(steps=250), data), data)
    dense, _ = held_out(fit(SparseShared(alpha=0.0, steps=250), data), data)
    assert full >= dense + 0.1


def test_the_entropy_favours_the_true_features_where_they_are_used_unevenly() -> None:
    """How much the outer loss rises from the factors to rotations of them, with the entropy and without."""
    rise = {}
    for support in ("skewed", "bernoulli"):
        data = sparse_tasks(seed=0, binary=True, n_tasks=320, support=support)
        assert data.eval.z_train is not None
        z = torch.from_numpy(data.eval.z_train).view(1, 320, 50, 6)
        y = torch.from_numpy(data.train.y).view(1, 320, 50)
        rng = np.random.default_rng(1)
        rotations = [torch.from_numpy(np.linalg.qr(rng.standard_normal((6, 6)))[0]) for _ in range(5)]
        for beta in (0.03, 0.0):
            learner = SparseShared(beta=beta)
            true, *rotated = (
                float(learner._outer_loss(z @ q, y, torch.ones_like(y), 1.0))
                for q in (torch.eye(6, dtype=z.dtype), *rotations)
            )
            rise[support, beta] = np.mean(rotated) - true
            print(f"{support}, beta {beta}: true {true:.4f}, rotated {np.mean(rotated):.4f}")
    assert rise["skewed", 0.03] >= rise["skewed", 0.0] + 0.003
    assert rise["skewed", 0.03] > rise["bernoulli", 0.03]
