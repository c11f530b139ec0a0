"""The reference rows do exactly what their names say."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from baselines.linear.fastica import FastICA
from baselines.linear.pca import PCA
from baselines.linear.raw import Raw
from baselines.linear.untrained import Untrained
from bench.api import NotApplicable, TrainView
from bench.toolkit.preprocess import Standardizer

ROWS: list[Any] = [Raw, PCA, FastICA, Untrained]


def make_view(x: np.ndarray, n_latents: int) -> TrainView:
    none = np.empty(0, dtype=np.int64)
    return TrainView(x=x, sample=none, task=none, y=np.empty(0), n_tasks=0, n_latents=n_latents)


def fit(row: Any, x: np.ndarray, n_latents: int = 2, seed: int = 0, **params: Any) -> Any:
    return row(**params).fit(make_view(x, n_latents), seed=seed, device="cpu", progress=lambda fraction, message: None)


@pytest.fixture
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) * [1, 10, 1e3, 1e-3] + [0, 5, 1e3, 0]
    return np.column_stack([columns, np.full(300, 0.1)]).astype(np.float32)


def test_standardizer_handles_constant_and_badly_scaled_columns(x: np.ndarray) -> None:
    s = Standardizer.fit(x)(x)
    np.testing.assert_allclose(s[:, :4].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(s[:, :4].std(0), 1, rtol=1e-9)
    assert (s[:, 4] == 0).all()
    # Unseen variation of a column that was constant in training must not reach the code.
    moved = x.copy()
    moved[:, 4] += 100
    np.testing.assert_array_equal(Standardizer.fit(x)(moved), s)


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_deterministic_finite_float64_and_leave_global_random_state_alone(row: Any, x: np.ndarray) -> None:
    torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    first, again = fit(row, x).encode(x[:50]), fit(row, x).encode(x[:50])
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state()) == numpy_state  # noqa: NPY002
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float64
    assert first.shape == (50, 5 if row is Raw else 2)
    assert np.isfinite(first).all()


@pytest.mark.parametrize("row", ROWS)
def test_too_few_columns_or_samples_is_not_applicable(row: Any, x: np.ndarray) -> None:
    with pytest.raises(NotApplicable, match="4 varying columns, fewer than the 5"):
        fit(row, x, n_latents=5)
    with pytest.raises(NotApplicable, match="3 samples"):
        fit(row, x[:3], n_latents=3)
    with pytest.raises(NotApplicable, match="not finite"):
        fit(row, np.where(np.arange(300)[:, None] == 7, np.nan, x))


def test_pca_equals_singular_vectors_and_whitens(x: np.ndarray) -> None:
    codes = fit(PCA, x, n_latents=3).encode(x)
    np.testing.assert_allclose(codes.T @ codes / len(x), np.eye(3), atol=1e-9)
    u = np.linalg.svd(Standardizer.fit(x)(x), full_matrices=False)[0][:, :3] * np.sqrt(len(x))
    np.testing.assert_allclose(np.abs(u.T @ codes) / len(x), np.eye(3), atol=1e-9)


def test_pca_refuses_rank_below_latents() -> None:
    column = np.random.default_rng(1).normal(size=(100, 1))
    with pytest.raises(NotApplicable, match="rank 1"):
        fit(PCA, np.hstack([column, -2 * column]))


def test_fastica_separates_linear_non_gaussian_sources() -> None:
    rng = np.random.default_rng(2)
    z = rng.uniform(-1, 1, size=(5000, 3))
    x = (z @ rng.normal(size=(3, 3))).astype(np.float32)
    ica = fit(FastICA, x, n_latents=3)
    correlation = np.abs(np.corrcoef(z.T, ica.encode(x).T)[:3, 3:])
    assert correlation.max(axis=1).min() > 0.99
    assert ica.history_["converged"] is True


def test_fastica_records_that_it_did_not_converge_instead_of_printing(x: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ica = fit(FastICA, x, n_latents=3, max_iter=1, tol=1e-12)
    assert ica.history_ == {"iterations": 1, "converged": False}


def test_untrained_depends_on_its_seed_only(x: np.ndarray) -> None:
    assert not np.allclose(fit(Untrained, x, seed=0).encode(x), fit(Untrained, x, seed=1).encode(x))
    assert fit(Untrained, x, seed=0, hidden=7, layers=2).n_parameters_ == (5 + 1) * 7 + (7 + 1) * 2
