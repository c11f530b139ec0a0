"""Ratios of CPU time, both sides measured in one process, one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from baselines.contrastive.tcl import TCL
from baselines.variational.ivae import IVAE
from baselines.variational.vae import VAE
from bench.api import TrainView
from datasets.synthetic.causal import linear_causal, nonlinear_causal
from datasets.synthetic.segments import tcl_segments
from tests.benchmarks.profiling.parts import fit_stage2, silent
from tests.benchmarks.reference_adam import fit_adam
from tests.benchmarks.stage1_curves import held_out_mcc, our_points, plain_points, tables

SEEDS = (0, 1, 2, 3, 4)
STEPS = 250
RELEASED = {"layers": 3, "batch_size": 64}
ENSEMBLES: dict[str, tuple[Callable[..., Any], int]] = {
    "ivae": (IVAE, 2000),
    "ivae, network and batch as released: 3 layers, 64 rows": (partial(IVAE, **RELEASED), 2000),
    "ivae, 64 rows": (partial(IVAE, batch_size=64), 2000),
    "ivae, 128 rows": (partial(IVAE, batch_size=128), 2000),
    "ivae, 256 rows": (partial(IVAE, batch_size=256), 2000),
    "vae": (VAE, 2000),
    "tcl": (TCL, 2500),
}
"""Learners, or one at other settings than its standard ones, and about how many steps they take at the standard budget:
what it takes to scale the looks at held-out rows."""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds and result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def fit(learner: Any, view: TrainView, seed: int = 0) -> Any:
    return learner.fit(view, seed=seed, device="cpu", progress=silent)


def batched_seeds(learner: Any, view: TrainView, rounds: int) -> dict[str, float]:
    """CPU seconds of one seed, of five one by one and of five together, and how far the codes are apart at most."""
    one, apart, together, difference = [], [], [], 0.0
    for _ in range(rounds):
        fits = [timed(partial(fit, learner(), view, seed)) for seed in SEEDS]
        spent, many = timed(partial(learner().fit_many, view, seeds=SEEDS, device="cpu", progress=silent))
        one.append(statistics.median(seconds for seconds, _ in fits))
        apart.append(sum(seconds for seconds, _ in fits))
        together.append(spent)
        for (_, single), joint in zip(fits, many, strict=True):
            aux = [view.aux] if getattr(single, "aux_in_encoder", False) else []
            codes = single.encode(view.x, *aux), joint.encode(view.x, *aux)
            difference = max(difference, float(np.abs(codes[0] - codes[1]).max()))
    return {
        "one": statistics.median(one),
        "apart": statistics.median(apart),
        "together": statistics.median(together),
        "difference": difference,
    }


def stage2_against_adam(epochs: int, **size: Any) -> dict[str, float]:
    """Stage 2 and the paper's optimiser on one data set: CPU seconds and held-out MCC of both."""
    data = linear_causal(seed=0, **size)
    view = data.train
    runs = [timed(partial(fit_stage2, view)) for _ in range(5)]
    fit_adam(
        view.x, view.task, view.y, view.n_tasks, epochs=1, per="closed"
    )  # torch's optimisers load much on first use
    adam = fit_adam(view.x, view.task, view.y, view.n_tasks, epochs=epochs, per="closed", seed=0)
    mean = view.x.mean(0)
    return {
        "adam_s": adam.cpu_seconds,
        "adam_mcc": held_out_mcc(data, lambda x: adam.encode(x - mean)),
        "s": statistics.median(seconds for seconds, _ in runs),
        "mcc": held_out_mcc(data, runs[-1][1].encode),
    }


def seeds_together(quick: bool) -> dict[str, Any]:
    """Five seeds in one pass, one by one, and one alone."""
    view = tcl_segments(seed=0, n_per_segment=40 if quick else 250).train
    steps, rows = 10 if quick else STEPS, []
    for name, (learner, standard) in ENSEMBLES.items():
        # A fit looks at its held-out rows 25 times, however short it is: as many fewer of them keep their share of it.
        make = partial(learner, steps=steps, validation_fraction=0.1 * steps / standard)
        cost = batched_seeds(make, view, 1 if quick else 2)
        times = [cost[key] for key in ("one", "apart", "together")]
        ratio = [cost["together"] / cost["one"], cost["apart"] / cost["together"]]
        rows.append([name, *times, *ratio, f"{cost['difference']:.0e}" if cost["difference"] else "0"])
    return {
        "note": f"`fit_many` on `tcl-segments`, {view.n_samples:,} samples, {steps} steps, held-out rows in"
        " proportion. The codes of a seed are the same in any company up to the difference in the last column.",
        "tables": [
            {
                "caption": "",
                "columns": [
                    "learner",
                    "one seed, CPU s",
                    "five one by one, CPU s",
                    "five together, CPU s",
                    "together / one",
                    "one by one / together",
                    "largest difference of codes",
                ],
                "rows": rows,
            }
        ],
        "curves": [],
    }


def ratios(quick: bool) -> dict[str, Any]:
    """Two tables: stage 2 against Adam, stage 1 against Adam."""
    size = {"d": 4, "k": 1, "n_tasks": 30, "n_per_task": 40} if quick else {"d": 10, "k": 2, "n_tasks": 200}
    epochs = 5 if quick else 1000
    two = stage2_against_adam(epochs, **size)
    shape: dict[str, Any] = (
        {"d": 3, "k": 1, "n_tasks": 30, "n_per_task": 40}
        if quick
        else {"d": 10, "k": 4, "n_tasks": 500, "n_per_task": 200}
    )
    data = nonlinear_causal(seed=0, **shape)
    plain = list(plain_points(data, (1, 2) if quick else (1, 2, 3, 5, 7, 10, 15, 20, 50, 100)))
    ours = list(our_points(data, (5,) if quick else (25, 100, 500)))
    caption = (
        "Stage 1 against plain Adam from a random start, stage 2 behind both, CPU seconds until a held-out MCC is first"
        " reached: `nonlinear-causal`, data seed 0, "
        + ", ".join(f"{key}={value}" for key, value in shape.items())
        + f". Plain Adam is looked at until {plain[-1].what}; a section below has all 2,000 epochs of"
        " the released training."
    )
    return {
        "note": "",
        "tables": [
            {
                "caption": "Stage 2 against the paper's optimiser, Adam on every sample's likelihood in the form that"
                f" costs least (one covariance a task, gradient written out), {epochs:,} epochs: `linear-causal`, "
                + ", ".join(f"{key}={value}" for key, value in size.items())
                + ". `python tests/benchmarks/ratio_stage2.py` has the other forms, and d = 20 and 50.",
                "columns": ["Adam, CPU s", "Adam, MCC", "stage 2, CPU s", "stage 2, MCC", "ratio of CPU"],
                "rows": [[two["adam_s"], two["adam_mcc"], two["s"], two["mcc"], two["adam_s"] / two["s"]]],
            },
            *tables(plain, ours, caption),
        ],
        "curves": [],
    }
