"""Does stage 2 recover the factors? Held-out pooled MCC beside the best linear unmixing, on every data seed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.api import Data
from bench.metrics import mcc
from datasets.synthetic.causal import linear_causal, linear_causal_binary
from mtlcm import MTLCM

CONDITION_LIMIT = 300.0
"""Beyond this condition number of the mixing the gap is printed, not asserted."""


def fitted(data: Data, **parameters: Any) -> tuple[MTLCM, float]:
    start = time.process_time()
    learner = MTLCM(**parameters).fit(data.train, seed=0, device="cpu", progress=lambda fraction, message: None)
    return learner, time.process_time() - start


def scores(data: Data, learner: MTLCM) -> tuple[float, float]:
    """MCC of the learner and of the least-squares unmixing fitted with the true factors."""
    truth = data.eval
    assert truth.z_train is not None
    assert truth.z_test is not None

    def affine(x: Any) -> np.ndarray:
        return np.c_[np.asarray(x, dtype=float), np.ones(len(x))]

    best = np.linalg.lstsq(affine(data.train.x), truth.z_train, rcond=None)[0]
    found = mcc(truth.z_train, learner.encode(data.train.x), truth.z_test, learner.encode(truth.x_test))
    ceiling = mcc(truth.z_train, affine(data.train.x) @ best, truth.z_test, affine(truth.x_test) @ best)
    return found, ceiling


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("d", "k", "n_tasks", "gap"),
    [
        pytest.param(10, 2, 200, 0.002, id="d10"),
        pytest.param(20, 4, 200, 0.002, id="d20"),
        pytest.param(50, 10, 500, 0.02, id="d50", marks=pytest.mark.slow),
    ],
)
def test_recovery_reaches_the_best_linear_unmixing(seed: int, d: int, k: int, n_tasks: int, gap: float) -> None:
    data = linear_causal(seed=seed, d=d, k=k, n_tasks=n_tasks, n_per_task=100)
    learner, seconds = fitted(data)
    found, ceiling = scores(data, learner)
    condition = data.info["cond"]
    print(
        f"d={d} seed {seed}: MCC {found:.4f}, best linear {ceiling:.4f}, gap {ceiling - found:.5f}, "
        f"cond(M) {condition:.0f}, noise {learner.causal_model_.noise_:.4f}, {seconds:.2f} CPU s"
    )
    assert learner.history_["likelihood_converged"]
    if condition <= CONDITION_LIMIT:
        assert ceiling - found <= gap
        if d == 50:
            assert found >= 0.99
    else:
        assert ceiling - found <= 0.05  # reported above; still no collapse


@pytest.mark.parametrize(
    ("d", "seed"), [(10, 155), (10, 225), (15, 119), (20, 42), pytest.param(20, 200, marks=pytest.mark.slow)]
)
def test_ill_conditioned_mixing_comes_close_to_the_best_linear_unmixing(d: int, seed: int) -> None:
    data = linear_causal(seed=seed, d=d, n_tasks=200)
    assert 1e3 < data.info["cond"] < 1e4
    learner, seconds = fitted(data)
    found, ceiling = scores(data, learner)
    print(
        f"d={d} seed {seed}, cond {data.info['cond']:.0f}: {found:.4f}, best linear {ceiling:.4f}, {seconds:.1f} CPU s"
    )
    assert learner.history_["likelihood_converged"]
    assert ceiling - found <= 0.005


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("standardise", [True, False])
def test_binary_labels_are_as_good_as_targets(seed: int, standardise: bool) -> None:
    """Factors are correlated given a label; regressed as numbers, labels of seeds 0, 1, 2 gave 0.706, 0.681, 0.688."""
    data = linear_causal_binary(seed=seed, standardise=standardise)
    assert set(np.unique(data.train.y)) == {0.0, 1.0}
    learner, seconds = fitted(data)
    found, ceiling = scores(data, learner)
    excess = learner.history_["label_excess"]
    print(f"labels, seed {seed}: MCC {found:.4f}, best linear {ceiling:.4f}, s {excess:.3f}, {seconds:.1f} CPU s")
    assert learner.history_["likelihood_converged"]
    assert learner.history_["warnings"] == []
    assert found >= 0.95
    assert ceiling - found <= 0.002
    assert excess == pytest.approx(np.pi / 2 - 1, abs=0.05)


def test_labels_in_other_units_and_unequal_classes() -> None:
    """Each column of x in units of its own; labels split where one class in seven is rare."""
    data = linear_causal(seed=0)
    rare = (data.train.y > np.quantile(data.train.y, 6 / 7)).astype(float)
    data = in_units(replace(data, train=replace(data.train, y=rare, target_type="binary")), np.logspace(0, 5, 10))
    learner, _ = fitted(data)
    found, ceiling = scores(data, learner)
    print(
        f"rare labels: MCC {found:.4f}, best linear {ceiling:.4f}, {learner.history_['n_tasks_dropped']} tasks dropped"
    )
    assert ceiling - found <= 0.01


def test_causal_indicators_from_labels() -> None:
    data = linear_causal_binary(seed=0, standardise=False)
    learner, _ = fitted(data)
    f1 = f1_of_indicators(data, learner)
    print(f"labels: F1 of the causal indicators {f1:.3f}")
    assert f1 > 0.95


@pytest.mark.parametrize("seed", range(5))
def test_one_latent_too_few_loses_one_factor(seed: int) -> None:
    """Nine of ten factors are asked for: found after all ten are told apart, where nine dimensions mix them.

    A missing factor counts as 0, so that the most there is to have is nine tenths of the ceiling, about.
    """
    data = linear_causal(seed=seed)
    asked = replace(data, train=replace(data.train, n_latents=9))
    after, ceiling = scores(asked, fitted(asked)[0])
    before, _ = scores(asked, fitted(asked, representation="rrr")[0])
    print(
        f"n_latents 9 of 10, seed {seed}: cut after stage 2 {after:.4f}, before {before:.4f}, best linear {ceiling:.4f}"
    )
    assert after >= 0.9 * ceiling - 0.005
    assert after > before


def in_units(data: Data, scale: np.ndarray) -> Data:
    """The same data with the columns of x multiplied by ``scale``."""
    train = replace(data.train, x=(data.train.x * scale).astype(np.float32))
    test = replace(data.eval, x_test=(data.eval.x_test * scale).astype(np.float32))
    return replace(data, train=train, eval=test)


@pytest.mark.parametrize("seed", [0, 1, 3])
@pytest.mark.parametrize("scale", [np.r_[1e5, np.ones(9)], np.logspace(0, 5, 10), np.r_[np.ones(9), 1e-3]])
def test_units_of_x_do_not_matter(seed: int, scale: np.ndarray) -> None:
    data = linear_causal(seed=seed)
    assert data.info["cond"] <= CONDITION_LIMIT
    learner, _ = fitted(in_units(data, scale))
    assert data.eval.z_train is not None
    assert data.eval.ceiling_train is not None
    found, _ = scores(in_units(data, scale), learner)
    ceiling = mcc(data.eval.z_train, data.eval.ceiling_train, data.eval.z_test, data.eval.ceiling_test)
    print(f"seed {seed}, scales {scale.min():g} to {scale.max():g}: MCC {found:.5f}, ceiling {ceiling:.5f}")
    assert learner.history_["rank"] == 10
    assert learner.history_["warnings"] == []
    assert found >= ceiling - 0.002


def test_noise_model_beats_joint_diagonalisation_on_ill_conditioned_mixing() -> None:
    data = linear_causal(seed=0, d=10, k=2, n_tasks=200, noise=0.1)
    full, _ = scores(data, fitted(data)[0])
    diagonal, ceiling = scores(data, fitted(data, noise=False)[0])
    print(f"noise 0.1: likelihood {full:.4f}, joint diagonalisation {diagonal:.4f}, best linear {ceiling:.4f}")
    assert ceiling - full < 0.002
    assert full > diagonal + 0.005


def f1_of_indicators(data: Data, learner: MTLCM) -> float:
    assert data.eval.causal is not None
    assert data.eval.z_train is not None
    codes = learner.encode(data.train.x)
    correlation = np.abs(np.corrcoef(data.eval.z_train.T, codes.T)[:10, 10:])
    found, truth = learner.causal_[:, correlation.argmax(1)], data.eval.causal
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


@pytest.mark.parametrize("standardise", [True, False])
def test_causal_indicators(standardise: bool) -> None:
    """F1 of the indicators; standardised factors hide what a spurious factor with small γ is (see the docs)."""
    data = linear_causal(seed=0, d=10, k=2, n_tasks=200, standardise=standardise)
    learner, _ = fitted(data)
    f1 = f1_of_indicators(data, learner)
    print(f"standardised {standardise}: F1 of the causal indicators {f1:.3f}")
    assert f1 > (0.9 if standardise else 0.99)


def test_paper_parametrisation() -> None:
    """D = c + σ_s² (1 − c) on data that obey it: as good as free variances."""
    data = linear_causal(seed=1, standardise=False)
    relaxed, _ = fitted(data, variances="relaxed")
    found, ceiling = scores(data, relaxed)
    print(f"paper's parametrisation: MCC {found:.4f}, best linear {ceiling:.4f}")
    assert ceiling - found < 0.002
