"""Factors of real molecules, recovered from graphs and from counts, on data that the board has not."""

from __future__ import annotations

import time

import pytest

from bench import registry
from bench.api import Data
from bench.metrics import mcc
from bench.run.plan import resolve
from datasets.molecular.molecules_causal import molecules_causal

SEED = 2024


@pytest.fixture(scope="module", params=["graph", "counts"])
def data(request: pytest.FixtureRequest) -> Data:
    return molecules_causal(seed=SEED, inputs=request.param)


def on_independent_factors(name: str, data: Data) -> float:
    """MCC of a learner with the settings it has on this kind of input."""
    info = registry.discover().learner(name)
    learner = registry.load(info)(**resolve(info, "standard", {}, data.train.kind))
    start = time.process_time()
    learner.fit(data.train, seed=1, device="cpu", progress=lambda fraction, message: None)
    cpu = time.process_time() - start
    codes = learner.encode(data.train.x), learner.encode(data.eval.x_independent)
    score = mcc(data.eval.z_train, codes[0], data.eval.z_independent, codes[1])
    print(f"{name} on {data.train.kind}: MCC {score:.4f} on independent factors, {cpu:.0f} CPU s")
    return score


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_paper_method_recovers_the_factors_of_molecules(data: Data) -> None:
    # measured: 0.977 and 0.970; on the three draws of the board 0.981 to 0.984 and 0.967 to 0.969
    assert on_independent_factors("mtlcm", data) >= (0.972 if data.train.kind == "graph" else 0.965)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_linear_method_comes_near_where_columns_keep_their_units(data: Data) -> None:
    assert on_independent_factors("rrr-ajd", data) >= 0.945  # measured: 0.954
