"""The paper's optimisers run to their end: a quarter of an hour of CPU time and more each, measured on request only."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from bench.api import Data
from datasets.synthetic.causal import linear_causal, nonlinear_causal
from tests.benchmarks.profiling.parts import fit_stage2
from tests.benchmarks.reference_adam import AdamFit, fit_adam
from tests.benchmarks.stage1_curves import Point, held_out_mcc, our_points, plain_points, tables

EPOCHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000, 1300, 1600, 2000)
STEPS = (25, 50, 100, 200, 500)
FLOW_STEPS = (200, 1000)
SHAPE = {"d": 10, "k": 4, "n_tasks": 500, "n_per_task": 200}
TINY = {"d": 3, "k": 1, "n_tasks": 30, "n_per_task": 40}
MOST_EPOCHS = 1000


def stage1(quick: bool) -> dict[str, Any]:
    """The released training of stage 1 from its first epoch to its last."""
    shape = TINY if quick else SHAPE
    data = nonlinear_causal(seed=0, **shape)
    plain = list(plain_points(data, EPOCHS[:2] if quick else EPOCHS))
    ours = list(our_points(data, STEPS[:1] if quick else STEPS, flow_steps=() if quick else FLOW_STEPS))
    return stage1_section(plain, ours, shape)


def stage1_section(plain: Sequence[Point], ours: Sequence[Point], shape: dict[str, int]) -> dict[str, Any]:
    caption = (
        "CPU seconds until a held-out MCC is first reached, stage 2 behind both: `nonlinear-causal`, data seed 0, "
        + ", ".join(f"{key}={value}" for key, value in shape.items())
        + "."
    )
    return {
        "note": "Plain Adam is the released training: learning rate 1e-3, batches of 1,024, 200 hidden units, ½ squared"
        " error, random start, 2,000 epochs, written to be fast. Its first point pays for imports.",
        "tables": tables(plain, ours, caption),
        "curves": [],
    }


def stage2(quick: bool) -> dict[str, Any]:
    """The paper's optimiser at d=50, as many epochs as the paper takes."""
    shape: dict[str, Any] = (
        {"d": 4, "k": 1, "n_tasks": 30, "n_per_task": 40} if quick else {"d": 50, "k": 10, "n_tasks": 500}
    )
    data = linear_causal(seed=0, **shape)
    view, epochs = data.train, 4 if quick else MOST_EPOCHS
    points: list[Point] = []
    mean = view.x.mean(0)

    def look(fit: AdamFit) -> None:
        if fit.epochs in (1, 10) or fit.epochs % (2 if quick else 100) == 0:
            score = held_out_mcc(data, lambda x: fit.encode(x - mean))
            points.append(Point(f"{fit.epochs:,}", fit.cpu_seconds, score))

    fit_adam(view.x, view.task, view.y, view.n_tasks, epochs=epochs, per="closed", seed=0, look=look)
    return stage2_section(points, *our_stage2(data), shape)


def our_stage2(data: Data, rounds: int = 3) -> tuple[float, float]:
    """CPU seconds, median of ``rounds``, and held-out MCC."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        learner = fit_stage2(data.train)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), held_out_mcc(data, learner.encode)


def stage2_section(points: Sequence[Point], seconds: float, score: float, shape: dict[str, Any]) -> dict[str, Any]:
    return {
        "note": "Adam on the likelihood of every sample as in the paper (0.1, halved on plateaus, batches of 1,024),"
        f" {points[-1].what} of the paper's {MOST_EPOCHS:,} epochs, in its cheapest form: one covariance a task,"
        " gradient written out. `linear-causal`, data seed 0, "
        + ", ".join(f"{key}={value}" for key, value in shape.items())
        + ".",
        "tables": [
            {
                "caption": f"Stage 2 takes {seconds:.1f} CPU s to MCC {score:.4f}.",
                "columns": ["Adam, epochs", "its CPU s", "its MCC", "ratio of CPU"],
                "rows": [[point.what, point.cpu_s, point.mcc, point.cpu_s / seconds] for point in points],
            }
        ],
        "curves": [],
    }
