"""Codes keep all their dimensions: no learner loses one in silence."""

import numpy as np
import pytest

from baselines.linear.fastica import FastICA, unmix
from bench import registry
from bench.api import TrainView
from bench.run.check import small_data

FOUND = registry.discover()
LEARNERS = [
    name
    for name, info in FOUND.learners.items()
    if "vector" in info.accepts and not {"truth", "pairs"} & set(info.needs)
]


def silent(fraction: float, message: str = "") -> None:
    """No progress is shown."""


@pytest.mark.parametrize("name", LEARNERS)
def test_codes_have_full_rank_or_the_learner_says_why(name: str) -> None:
    info = FOUND.learners[name]
    data = small_data(binary="binary" in info.needs)
    learner = registry.load(info)(**registry.parameters(info) | dict(info.budgets.get("smoke", {})))
    learner.fit(data.train, seed=0, device="cpu", progress=silent)
    x, aux = data.train.x, data.train.aux
    codes = learner.encode(x, aux) if info.aux_at_test else learner.encode(x)
    values = np.linalg.eigvalsh(np.atleast_2d(np.corrcoef(codes.T)))
    rank = int((values > 1e-8 * values[-1]).sum())
    wanted = np.linalg.matrix_rank(x) if name == "raw" else data.train.n_latents
    said = (getattr(learner, "history_", None) or {}).get("rank")
    assert rank == wanted or said == rank, f"{rank} of {wanted} dimensions, and nothing said"


@pytest.mark.parametrize("seed", range(3))
def test_fastica_unmixes_laplace_factors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.laplace(size=(10_000, 10))
    x = (z @ rng.standard_normal((10, 10))).astype(np.float32)
    nothing = np.zeros(0, dtype=np.int64)
    view = TrainView(x, nothing, nothing, np.zeros(0), 0, 10)
    codes = FastICA().fit(view, seed=seed, device="cpu", progress=silent).encode(x)
    correlation = np.abs(np.corrcoef(z.T, codes.T)[:10, 10:])
    assert np.linalg.matrix_rank(codes) == 10
    assert correlation.max(axis=1).mean() > 0.99


def test_white_features_keep_every_direction() -> None:
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.laplace(size=(5000, 6)) - 0.0)
    white = q * np.sqrt(5000)
    rotation, _ = unmix(white, seed=0, max_iter=500, tol=1e-4)
    assert np.allclose(rotation @ rotation.T, np.eye(6), atol=1e-6)
