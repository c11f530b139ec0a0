"""Costs of both stages of MTLCM, of the metrics and of the data sets, and how they grow."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from bench import registry
from bench.api import Data, TrainView
from bench.metrics import dci, linear_r2, mcc, nonlinear_r2, weak_mcc
from bench.toolkit.encoders.skip import Encoder
from bench.toolkit.heads import profiled_loss
from bench.toolkit.inputs import flat
from bench.toolkit.reduced_rank import fit_view
from bench.toolkit.task_batches import Targets
from datasets.synthetic.causal import linear_causal, nonlinear_causal
from mtlcm import MTLCM
from mtlcm.conditional_flow import fit_flow
from mtlcm.moments import MomentAccumulator
from tests.benchmarks.profiling.cost import Cost, measure

Work = Callable[[], Any]
DRAWS = (3, 4, 5)
"""Data seeds of stage 2's curves: the number of its steps depends on how well conditioned the mixing is."""


def silent(fraction: float, message: str) -> None:
    """No progress is shown."""


def curve(what: str, variable: str, fixed: str, costs: Mapping[int, Cost]) -> dict[str, Any]:
    """A curve as ``report`` takes it."""
    points = [{"size": size, "cpu_s": cost.cpu_s, "peak_mib": cost.peak_mib} for size, cost in costs.items()]
    return {"what": what, "variable": variable, "fixed": fixed, "points": points}


def costs_of(sizes: Iterable[int], work_of: Callable[[int], Work]) -> dict[int, Cost]:
    """Cost at every size; ``work_of`` prepares the input, which is not measured. The largest come first: what
    libraries set up on first use would otherwise count as the cost of the smallest."""
    return {size: measure(work_of(size)) for size in sorted(sizes, reverse=True)}


def measured_once(work: Work) -> tuple[Cost, Any]:
    """Cost of a single run, and its result."""
    results: list[Any] = []
    return measure(lambda: results.append(work()), most_rounds=0), results[-1]


def fit_stage2(view: TrainView) -> MTLCM:
    return MTLCM().fit(view, seed=0, device="cpu", progress=silent)


def stage2(quick: bool) -> dict[str, Any]:
    """Whole fits by factors, tasks and samples a task; the one pass by samples; the two largest sizes."""
    draws = DRAWS[:1] if quick else DRAWS

    def mean_cost(**size: Any) -> tuple[Cost, Cost]:
        costs, steps = [], []
        for seed in draws:
            view = linear_causal(seed=seed, **size).train
            steps.append(max(1, fit_stage2(view).history_["likelihood_iterations"]))
            costs.append(measure(partial(fit_stage2, view), enough_s=0.3))
        peak = max(cost.peak_mib for cost in costs)
        whole = statistics.mean(cost.cpu_s for cost in costs)
        step = statistics.mean(cost.cpu_s / n for cost, n in zip(costs, steps, strict=True))
        return Cost(whole, peak), Cost(step, peak)

    def over(fixed: str, variable: str, sizes: Iterable[int], of: Callable[[int], dict[str, int]]) -> list[Any]:
        costs = {size: mean_cost(**of(size)) for size in sorted(sizes, reverse=True)}
        whole = curve("whole fit", variable, fixed, {size: both[0] for size, both in costs.items()})
        step = curve("whole fit / its steps", variable, fixed, {size: both[1] for size, both in costs.items()})
        return [whole, step]

    factors = over(
        "T=200, n=100 a task",
        "factors d",
        [5, 8] if quick else [5, 8, 12, 20, 30, 45],
        lambda d: {"d": d, "k": max(1, d // 5), "n_tasks": 200},
    )
    tasks = over(
        "d=10, n=100 a task",
        "tasks T",
        [50, 100] if quick else [100, 200, 400, 800, 1600, 3200],
        lambda t: {"d": 10, "k": 2, "n_tasks": t},
    )
    samples = over(
        "d=10, T=200",
        "samples n a task",
        [50, 100] if quick else [50, 100, 200, 400, 800, 1600],
        lambda n: {"d": 10, "k": 2, "n_tasks": 200, "n_per_task": n},
    )
    stream = costs_of(
        [10_000, 30_000] if quick else [100_000, 300_000, 1_000_000, 3_000_000, 10_000_000],
        lambda n: lambda: one_pass(n),
    )
    rows = []
    for d, k, n_tasks in [(5, 1, 50)] if quick else [(50, 10, 500), (20, 4, 10_000)]:
        data = linear_causal(seed=0, d=d, k=k, n_tasks=n_tasks)
        cost, learner = measured_once(partial(fit_stage2, data.train))
        codes = learner.encode(data.train.x), learner.encode(data.eval.x_test)
        score = mcc(data.eval.z_train, codes[0], data.eval.z_test, codes[1])
        steps = int(learner.history_["likelihood_iterations"])
        rows.append([f"d={d}, k={k}, T={n_tasks:,}, n=100", cost.cpu_s, cost.peak_mib, steps, score])
    return {
        "note": f"`linear-causal`; every point of a whole fit is the mean over data seeds {draws[0]} to {draws[-1]}."
        " How many likelihood steps it takes depends on how well conditioned the drawn mixing is, from 10 to over 100;"
        " divided by them, what is left grows with size alone.",
        "tables": [
            {"caption": "", "columns": ["whole fit", "CPU s", "peak MiB", "likelihood steps", "MCC"], "rows": rows}
        ],
        "curves": [
            *factors,
            *tasks,
            *samples,
            curve("one pass to moments", "samples n", "d=10, T=200, random order", stream),
        ],
    }


def one_pass(n: int, n_tasks: int = 200, d: int = 10, chunk: int = 1 << 16) -> MomentAccumulator:
    """Moments of n samples in chunks that repeat: only the pass over them is measured."""
    rng = np.random.default_rng(0)
    chunk = min(chunk, n)
    h, y, task = rng.standard_normal((chunk, d)), rng.standard_normal(chunk), rng.integers(0, n_tasks, chunk)
    gather = MomentAccumulator(n_tasks, d)
    for begin in range(0, n, chunk):
        size = min(chunk, n - begin)
        gather.update(h[:size], task[:size], y[:size])
    return gather


def network_epoch(data: Data, batch: int) -> tuple[Callable[[], int], int]:
    """One pass of the network over all tasks (encode, solve the heads, backward, AdamW), and its number of steps."""
    targets = Targets(data.train, batch=batch, rng=np.random.default_rng(0), device="cpu")
    generator = torch.Generator().manual_seed(0)
    x = torch.from_numpy(data.train.x)
    d = data.train.n_latents
    network = Encoder((x.shape[1], 200, d), torch.zeros(x.shape[1], d), generator)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def epoch() -> int:
        steps = 0
        for part in targets.epoch(generator):
            h = network(x[part.rows.reshape(-1)]).reshape(*part.rows.shape, -1)
            optimiser.zero_grad()
            profiled_loss(h, part.y, part.mask, 1e-3).backward()
            optimiser.step()
            steps += 1
        return steps

    return epoch, targets.steps_per_epoch


def flow_steps(data: Data, batch: int, steps: int) -> Work:
    """So many steps of the flow on the linear codes, with the looks at held-out samples that frame them."""
    targets = Targets(data.train, batch=batch, rng=np.random.default_rng(0), device="cpu")
    codes = fit_view(data.train).encode(data.train.x)
    return lambda: fit_flow(
        codes,
        targets,
        hidden=(256,),
        steps=steps,
        learning_rate=2e-2,
        weight_decay=0.01,
        stride=16,
        checkpoints=1,
        generator=torch.Generator().manual_seed(0),
        progress=silent,
    )


def stage1(quick: bool) -> dict[str, Any]:
    """Parts at the paper's size and their growth with tasks and factors."""
    batch = 4096

    def draw(d: int = 20, n_tasks: int = 500) -> Data:
        return nonlinear_causal(seed=0, d=d, k=max(1, d // 5), n_tasks=n_tasks, n_per_task=40 if quick else 200)

    data = draw(5, 50) if quick else draw()
    epoch, steps = network_epoch(data, batch)
    whole = measure(epoch)
    short, long = (measure(flow_steps(data, batch, n), most_rounds=2) for n in (5, 25))
    linear = measure(lambda: fit_view(data.train))
    encoder = fit_view(data.train)
    encode = measure(lambda: encoder.encode(data.train.x))
    rows = [
        ["reduced-rank regression, whole fit", linear.cpu_s, linear.peak_mib],
        [f"network, one epoch of {steps} steps", whole.cpu_s, whole.peak_mib],
        ["network, one step", whole.cpu_s / steps, whole.peak_mib],
        ["flow, one step", (long.cpu_s - short.cpu_s) / 20, long.peak_mib],
        ["linear encoder, all training samples", encode.cpu_s, encode.peak_mib],
    ]
    tasks = [25, 50] if quick else [50, 100, 200, 400]
    factors = [3, 5] if quick else [5, 10, 20, 40]
    view = data.train
    return {
        "note": f"`nonlinear-causal`, {view.n_samples:,} training samples of {view.x.shape[1]} observed dimensions,"
        f" T={view.n_tasks}, d={view.n_latents}; steps of {batch:,} targets.",
        "tables": [{"caption": "", "columns": ["part", "CPU s", "peak MiB"], "rows": rows}],
        "curves": [
            curve(
                "reduced-rank regression",
                "tasks T",
                "d=10, 160 samples a task",
                costs_of(tasks, lambda t: partial(fit_view, draw(10, t).train)),
            ),
            curve(
                "network, one epoch",
                "tasks T",
                "d=10, 160 samples a task",
                costs_of(tasks, lambda t: network_epoch(draw(10, t), batch)[0]),
            ),
            curve(
                "network, one epoch",
                "factors d",
                "T=100",
                costs_of(factors, lambda d: network_epoch(draw(d, 100), batch)[0]),
            ),
            curve(
                "flow, five steps and two looks",
                "factors d",
                "T=100",
                costs_of(factors, lambda d: flow_steps(draw(d, 100), batch, 5)),
            ),
        ],
    }


METRICS: dict[str, Callable[..., Any]] = {
    "mcc": mcc,
    "mcc, Spearman": partial(mcc, correlation="spearman"),
    "weak_mcc": weak_mcc,
    "linear_r2": linear_r2,
    "dci, linear": dci,
    "nonlinear_r2": nonlinear_r2,
}


def codes_and_factors(n: int, d: int) -> tuple[np.ndarray, ...]:
    """Factors and their random rotation, n rows of which a fifth are held out."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((n, d))
    codes = z @ np.linalg.qr(rng.standard_normal((d, d)))[0]
    cut = n * 4 // 5
    return z[:cut], codes[:cut], z[cut:], codes[cut:]


def metrics(quick: bool) -> dict[str, Any]:
    """Every metric of factors and codes, by samples and by factors."""
    samples = [1000, 2000] if quick else [10**3, 10**4, 10**5]
    factors = [5, 10] if quick else [5, 10, 20, 50]
    largest = samples[-1], factors[-1]
    curves, rows = [], []
    for name, metric in METRICS.items():

        def work(n: int, d: int, metric: Callable[..., Any] = metric) -> Work:
            return partial(metric, *codes_and_factors(n, d))

        by_n = costs_of(samples, lambda n: work(n, largest[1]))
        by_d = costs_of(factors[:-1], lambda d: work(largest[0], d)) | {largest[1]: by_n[largest[0]]}
        curves += [curve(name, "samples n", f"d={largest[1]}", by_n)]
        curves += [curve(name, "factors d", f"n={largest[0]:,}", by_d)]
        rows.append([name, by_n[largest[0]].cpu_s, by_n[largest[0]].peak_mib])
    size = sum(array.nbytes for array in codes_and_factors(*largest)) / 2**20
    return {
        "note": f"Factors and a random rotation of them, a fifth held out; memory is beyond the input"
        f" ({size:.0f} MiB at n={largest[0]:,}, d={largest[1]}).",
        "tables": [
            {
                "caption": f"n={largest[0]:,}, d={largest[1]}",
                "columns": ["metric", "CPU s", "peak MiB"],
                "rows": rows,
            }
        ],
        "curves": curves,
    }


def generation(quick: bool) -> dict[str, Any]:
    """Every generated data set at its registered size, and by tasks."""
    found = registry.discover()
    rows = []
    for info in found.datasets.values():
        if info.source or info.on_request:
            continue
        load, params = registry.load(info), registry.parameters(info)
        params |= info.budgets.get("smoke", {}) if quick else {}
        cost, data = measured_once(partial(load, seed=0, **params))
        view = data.train
        rows.append([info.name, int(view.n_samples), int(flat(view.x).shape[1]), cost.cpu_s, cost.peak_mib])
    tasks = [25, 50] if quick else [50, 100, 200, 400, 800]
    sizes = "d=10, n=100 a task"
    return {
        "note": f"At the `{'smoke' if quick else 'standard'}` budget, with held-out and independent sets.",
        "tables": [
            {
                "caption": "",
                "columns": ["dataset", "training samples", "columns", "CPU s", "peak MiB"],
                "rows": rows,
            }
        ],
        "curves": [
            curve(name, "tasks T", sizes, costs_of(tasks, partial(_draws, draw)))
            for name, draw in (("linear-causal", linear_causal), ("nonlinear-causal", nonlinear_causal))
        ],
    }


def _draws(draw: Callable[..., Data], n_tasks: int) -> Work:
    return partial(draw, seed=0, d=10, n_tasks=n_tasks)
