"""The multi-start of the bilevel learner's last linear map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.sparse.bilevel import Bilevel
from baselines.sparse.linear_map import Moments, best_map, outer_losses
from datasets.synthetic.sparse_tasks import draw_supports, sparse_tasks

Array = np.ndarray


def tasks(seed: int, k: int = 400, n: int = 50, d: int = 4) -> tuple[Array, Array]:
    """Factors (k, n, d) correlated 0.7 and targets (k, n) with sparse weights and a little noise."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((k, n, d)) @ np.linalg.cholesky(0.3 * np.eye(d) + 0.7).T
    w = rng.standard_normal((k, d)) * draw_supports(rng, k, d, "bernoulli", 0.5)
    return z, (z @ w[:, :, None])[:, :, 0] + 0.05 * rng.standard_normal((k, n))


def moments(features: Array, y: Array) -> Moments:
    return Moments.of(torch.from_numpy(features), torch.from_numpy(y), torch.ones(y.shape, dtype=torch.float64))


def search(features: Array, y: Array, *, starts: int, steps: int = 200) -> tuple[Array | None, list[float]]:
    every = moments(features, y)
    found, losses = best_map(
        every[:300],
        every[300:],
        starts=starts,
        steps=steps,
        ratio=0.1,
        start_ratio=0.5,
        rng=np.random.default_rng(5),
    )
    return (None if found is None else found.numpy()), losses


def test_it_unmixes_linearly_mixed_factors() -> None:
    z, y = tasks(0)
    mixing = np.random.default_rng(1).standard_normal((4, 4))
    found, losses = search(z @ mixing, y, starts=8)
    assert found is not None
    codes = (z @ mixing @ found).reshape(-1, 4)
    np.testing.assert_allclose(codes.std(axis=0), 1.0, atol=0.03)
    # Each factor's row of the map from factors to codes has one entry that matters, in a column of its own.
    share = np.abs(mixing @ found) / np.abs(mixing @ found).sum(axis=0)
    assert sorted(share.argmax(axis=0)) == [0, 1, 2, 3]
    assert share.max(axis=0).min() > 0.8
    assert len(losses) == 1 + 8
    assert min(losses) < 0.9 * losses[0]


def test_features_that_nothing_improves_are_left_alone() -> None:
    z, y = tasks(0)
    found, losses = search(z, y, starts=2, steps=0)
    assert found is None
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] < losses[2]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100.0))
def test_losses_do_not_depend_on_the_scale_of_the_codes(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    white = moments(rng.standard_normal((5, 30, 3)), rng.standard_normal((5, 30)))
    a = torch.from_numpy(rng.standard_normal((2, 3, 3)))
    torch.testing.assert_close(outer_losses(scale * a, white, 0.1), outer_losses(a, white, 0.1))
    assert (outer_losses(a, white, 1.1) == 0.5 * white.power.mean()).all()  # all weights vanish


def test_the_loss_is_the_learners_own() -> None:
    view = sparse_tasks(seed=0, d=3, d_observed=5, n_tasks=30).train
    z = np.random.default_rng(0).standard_normal((30, 50, 3))
    z = (z - z.mean(axis=(0, 1))) / z.std(axis=(0, 1))
    y, one = torch.from_numpy(view.y.reshape(30, 50)), torch.ones(30, 50, dtype=torch.float64)
    of_learner = Bilevel()._outer_loss(torch.from_numpy(z)[None], y[None], one[None], 1.0)
    ours = outer_losses(torch.eye(3, dtype=torch.float64)[None], moments(z, y.numpy()), 0.1)
    torch.testing.assert_close(ours, of_learner)


def test_the_learner_keeps_the_best_start_and_says_what_each_reached() -> None:
    view = sparse_tasks(seed=0, d=3, d_observed=5, n_tasks=100).train

    def silent(fraction: float, message: str) -> None:
        """No progress."""

    alone, several = (
        Bilevel(steps=60, hidden=16, starts=n, map_steps=40).fit(view, seed=0, device="cpu", progress=silent)
        for n in (0, 5)
    )
    assert alone.history_["map_losses"] == []
    losses = several.history_["map_losses"]
    assert len(losses) == 1 + 5
    assert min(losses) < losses[0]
    assert np.abs(alone.encode(view.x) - several.encode(view.x)).max() > 0.1
