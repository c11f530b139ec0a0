"""Time of stage 1's parts at the paper's size: 500 tasks of 160 samples, 100 observed dimensions, 20 factors.

No time is asserted; each part is checked to have done its work.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.api import Data
from bench.toolkit.reduced_rank import fit_view
from datasets.synthetic.causal import nonlinear_causal
from mtlcm.regression_network import MultiTaskRegressionNetwork
from tests.benchmarks.profiling.cost import note_peak
from tests.benchmarks.profiling.parts import flow_steps, network_epoch


@pytest.fixture(scope="module")
def data() -> Data:
    return nonlinear_causal(seed=0, d=20, n_tasks=500, n_per_task=200)


def test_reduced_rank_regression(benchmark: Any, data: Data) -> None:
    encoder = benchmark(fit_view, data.train)
    note_peak(benchmark, fit_view, data.train)
    assert encoder.singular_values[19] > 2 * encoder.singular_values[20]


def test_network_epoch(benchmark: Any, data: Data) -> None:
    """One pass over all tasks: encode, solve the heads, backward, update."""
    epoch, steps = network_epoch(data, batch=4096)
    assert benchmark(epoch) == steps
    note_peak(benchmark, epoch)


def test_flow_steps(benchmark: Any, data: Data) -> None:
    """Twenty steps of the flow on the linear codes, with the two looks at held-out samples that frame them."""
    work = flow_steps(data, batch=4096, steps=20)
    fit = benchmark.pedantic(work, rounds=3 if benchmark.enabled else 1)
    assert fit.helps
    note_peak(benchmark, work)


def test_encode(benchmark: Any, data: Data) -> None:
    learner = MultiTaskRegressionNetwork(steps=5, flow_steps=20)
    learner.fit(data.train, seed=0, device="cpu", progress=lambda fraction, message: None)
    codes = benchmark(learner.encode, data.eval.x_test)
    assert codes.shape == (20_000, 20)
