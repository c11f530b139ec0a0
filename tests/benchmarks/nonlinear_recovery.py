"""Recovery of the factors under nonlinear mixing, with its cost: the table of stage 1 in docs/performance.md.

    python -m tests.benchmarks.nonlinear_recovery [--d 10 20] [--layers 1 2 3] [--seeds 0 1 2] [--methods ...]

``nonlinear-causal`` with 500 tasks of 200 samples (160 of them for training) and 100 observed dimensions; MCC and
linear R² are held-out and pooled over tasks, CPU seconds are those of the whole fit. ``mtlcm`` is both stages:
network, flow, linear causal model. ``mtlcm, no flow`` leaves the flow out. ``plain`` is the network as in the released
program, Adam 1e-3 on ½ squared error from a random start, 1024 rows a step, then the same stage 2; ``--plain-steps``
is for how long (the released training takes 2000 epochs, here 140,000 steps).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from baselines.linear.rrr import DiagonalisedReducedRankRegression
from bench.metrics import linear_r2, mcc
from datasets.synthetic.causal import nonlinear_causal
from mtlcm.model import MTLCM

NETWORK: dict[str, Any] = {"steps": 500, "batch": 4096}
FLOW: dict[str, Any] = {"flow_steps": 1000, "flow_hidden": (256, 256)}


def methods(plain_steps: int) -> dict[str, Callable[[], Any]]:
    """Learners by name."""
    plain = {"heads": "sgd", "skip": False, "learning_rate": 1e-3, "batch": 1024, "steps": plain_steps}
    return {
        "rrr-ajd": DiagonalisedReducedRankRegression,
        "mtlcm, no flow": lambda: MTLCM(representation="network", network={**NETWORK, "flow_steps": 0}),
        "mtlcm": lambda: MTLCM(representation="network", network={**NETWORK, **FLOW}),
        "plain": lambda: MTLCM(representation="network", network={**plain, "flow_steps": 0}),
    }


def main() -> None:
    """Print the table, row by row as they are ready."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--d", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--layers", type=int, nargs="+", default=[1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=["rrr-ajd", "mtlcm, no flow", "mtlcm"])
    parser.add_argument("--plain-steps", type=int, default=7000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = methods(options.plain_steps)
    print("| d | mixing layers | data seed | method | MCC | linear R² | CPU s |\n|---|---|---|---|---|---|---|")
    for d in options.d:
        for layers in options.layers:
            for seed in options.seeds:
                data = nonlinear_causal(seed=seed, d=d, n_tasks=500, n_per_task=200, n_mixing_layers=layers)
                truth = data.eval
                for name in options.methods:
                    start = time.process_time()
                    learner = known[name]().fit(data.train, seed=0, device="cpu", progress=lambda *_: None)
                    cpu = time.process_time() - start
                    codes = learner.encode(data.train.x), learner.encode(truth.x_test)
                    pairs = truth.z_train, codes[0], truth.z_test, codes[1]
                    scores = f"{mcc(*pairs):.4f} | {linear_r2(*pairs):.4f} | {cpu:.1f}"
                    print(f"| {d} | {layers} | {seed} | {name} | {scores} |", flush=True)


if __name__ == "__main__":
    main()
