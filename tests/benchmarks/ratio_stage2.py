"""Stage 2 against the paper's optimiser: CPU time and held-out MCC of both in one run on one machine.

    python tests/benchmarks/ratio_stage2.py [--d 10 20 50] [--epochs 1000] [--seed 0] [--per sample task closed]

prints a markdown table. The full reference takes minutes to hours: about 16 steps an epoch on 16,000 samples at
d = 10. With fewer epochs than 1000 the table says so; nothing is extrapolated.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
SIZES = {10: (2, 200), 20: (4, 200), 50: (10, 500)}
"""d: (k, T); 100 samples a task, 80 of them for training."""
FORMS = {
    "sample": "covariance per sample",
    "task": "covariance per task",
    "closed": "covariance per task, gradient written out",
}


@dataclass(frozen=True)
class Row:
    """One line of the table; MCC on held-out samples, best: of the least-squares unmixing fitted with true factors."""

    d: int
    per: str
    epochs: int
    condition: float
    reference_seconds: float
    reference_mcc: float
    seconds: float
    mcc: float
    best: float

    def markdown(self) -> str:
        return (
            f"| {self.d} | {self.condition:.0f} | {FORMS[self.per]}, {self.epochs} epochs | "
            f"{self.reference_seconds:.1f} | {self.reference_mcc:.4f} | {self.seconds:.3f} | {self.mcc:.4f} | "
            f"{self.best:.4f} | {self.reference_seconds / self.seconds:,.0f} |"
        )


HEADER = (
    "| d | cond(M) | reference: Adam | CPU s | MCC | stage 2, CPU s | MCC | best linear | ratio of CPU time |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def compare(d: int, per: Any, *, epochs: int = 1000, seed: int = 0) -> Row:
    """Both fits of one data set, one thread each. The faster one is timed as the median of five runs."""
    import torch

    from bench.metrics import mcc
    from datasets.synthetic.causal import linear_causal
    from mtlcm import MTLCM
    from tests.benchmarks.reference_adam import fit_adam

    k, n_tasks = SIZES[d]
    data = linear_causal(seed=seed, d=d, k=k, n_tasks=n_tasks)
    view, truth = data.train, data.eval
    assert truth.z_train is not None
    assert truth.z_test is not None
    seconds = []
    for _ in range(5):
        start = time.process_time()
        learner = MTLCM().fit(view, seed=seed, device="cpu", progress=lambda fraction, message: None)
        seconds.append(time.process_time() - start)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        slow = fit_adam(view.x, view.task, view.y, view.n_tasks, epochs=epochs, per=per, seed=seed)
    finally:
        torch.set_num_threads(threads)

    def affine(x: Any) -> np.ndarray:
        return np.c_[np.asarray(x, dtype=float), np.ones(len(x))]

    best = np.linalg.lstsq(affine(view.x), truth.z_train, rcond=None)[0]
    mean = view.x.mean(0)

    def held_out(encode: Any) -> float:
        return mcc(truth.z_train, encode(view.x), truth.z_test, encode(truth.x_test))

    return Row(
        d,
        per,
        epochs,
        data.info["cond"],
        slow.cpu_seconds,
        held_out(lambda x: slow.encode(x - mean)),
        float(np.median(seconds)),
        held_out(learner.encode),
        held_out(lambda x: affine(x) @ best),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d", type=int, nargs="+", default=[10], choices=sorted(SIZES))
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--per", nargs="+", default=["sample"], choices=["sample", "task", "closed"])
    options = parser.parse_args()
    print(HEADER, flush=True)
    for d in options.d:
        for per in options.per:
            print(compare(d, per, epochs=options.epochs, seed=options.seed).markdown(), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
