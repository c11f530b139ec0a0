"""Sparse heads turn a linearly identified code into the factors where supports separate them, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from baselines.sparse.sparse_rotation import SparseRotation
from bench.metrics import block_mcc, mcc
from datasets.synthetic.sparse_tasks import sparse_tasks

SEEDS = (0, 1, 2)


def fitted(seed: int, **parameters: Any) -> tuple[Any, tuple[Any, Any, Any, Any]]:
    data = sparse_tasks(seed=seed, **parameters)
    learner = SparseRotation().fit(data.train, seed=seed, device="cpu", progress=lambda fraction, message: None)
    arrays = (data.eval.z_train, learner.encode(data.train.x), data.eval.z_test, learner.encode(data.eval.x_test))
    return data, arrays


@pytest.mark.parametrize(
    ("parameters", "at_least"), [({}, 0.985), ({"rho": 0.5}, 0.97), ({"binary": True}, 0.91)], ids=str
)
def test_factors_are_found(parameters: dict[str, Any], at_least: float) -> None:
    scores = [mcc(*fitted(seed, **parameters)[1]) for seed in SEEDS]
    print(f"{parameters}: MCC {np.round(scores, 4)}")
    assert np.mean(scores) >= at_least


def test_factors_that_no_task_tells_apart_stay_mixed() -> None:
    scores = []
    for seed in SEEDS:
        data, arrays = fitted(seed, support="blocks")
        blocks = [[0, 1], [2, 3], [4, 5]]
        assert all((data.eval.causal[:, one[0]] == data.eval.causal[:, one[1]]).all() for one in blocks)
        scores.append((mcc(*arrays), block_mcc(*arrays, blocks)))
    print(f"blocks: MCC and block MCC {np.round(scores, 4).tolist()}")
    assert np.mean(scores, axis=0)[0] <= 0.95
    assert np.mean(scores, axis=0)[1] >= 0.97
