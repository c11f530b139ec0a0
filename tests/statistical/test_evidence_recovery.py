"""Many classifications of noisy evidence make its axes linear; two do not, nor does averaging.

Three seeds and all learners are ``python -m bench reproduce``.
"""

from __future__ import annotations

import numpy as np

from baselines.sequence.evidence_aggregation import EvidenceAggregation
from bench.api import Data
from bench.metrics import linear_r2, ood_r2
from datasets.sequences.evidence import evidence


def held_out(data: Data, train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """R² of the factors, and out of orthant."""
    z_train, z_test = data.eval.z_train, data.eval.z_test
    assert z_train is not None
    assert z_test is not None
    return linear_r2(z_train, train, z_test, test), ood_r2(z_train, train, z_test, test, data.eval.centre)


def test_tasks_make_the_axes() -> None:
    found = {}
    for n_tasks in (24, 2):
        data = evidence(seed=0, n_tasks=n_tasks)
        learner = EvidenceAggregation().fit(data.train, seed=0, device="cpu", progress=lambda *_: None)
        found[n_tasks, "answers"] = held_out(data, learner.encode(data.train.x), learner.encode(data.eval.x_test))
        learner.codes = "state"
        found[n_tasks, "state"] = held_out(data, learner.encode(data.train.x), learner.encode(data.eval.x_test))
    average = held_out(data, data.train.x.flat(), data.eval.x_test.flat())
    print(f"R², out of orthant: {found}, average over time {average}")
    assert found[24, "answers"][0] >= 0.95
    assert min(found[24, "answers"][1], found[24, "state"][1]) >= 0.90
    assert found[2, "state"][1] <= found[24, "state"][1] - 0.05
    assert average[1] <= 0.85
