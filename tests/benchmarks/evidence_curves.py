"""How well the factors of ``evidence`` are known, against time, number of tasks, noise and number of factors.

    python -m tests.benchmarks.evidence_curves [time tasks noise factors ...] [--seeds 0 1 2] [--to docs]

Prints a table a curve and, with ``--to``, draws each as an SVG there. ``time`` is on the encoder as published, 40 wide:
an ``rnn`` that answers after every step is read at each of them, beside the exact posterior mean and the theory
1 − 12σ²/t of Vafidis et al. (2024). The others show out-of-orthant R² of ``rnn`` beside that of the time average
(``raw``) and the ceiling; means over seeds with their standard deviations, a data and a model seed each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines.sequence.evidence_aggregation import EvidenceAggregation
from bench.api import Data
from bench.metrics import linear_r2, ood_r2
from bench.toolkit.inputs import Sequences
from datasets.sequences.evidence import evidence
from datasets.sequences.posterior import truncated_normal_mean

SWEEPS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tasks": ("n_tasks", (2, 3, 6, 12, 24)),
    "noise": ("sigma", (0.1, 0.2, 0.4, 0.6)),
    "factors": ("d", (2, 4, 6)),
}
TIMES = (1, 2, 3, 5, 7, 10, 15, 20)
AS_PUBLISHED: dict[str, Any] = {"encoder_out": 40, "encoder_draws": 1}


@dataclass(frozen=True)
class Curve:
    """One table: the values of ``variable`` and, a row each, scores (k, seeds) by the name of what was scored."""

    name: str
    variable: str
    at: tuple[Any, ...]
    scores: dict[str, np.ndarray[Any, np.dtype[np.float64]]]

    def rows(self) -> Iterator[str]:
        """Markdown."""
        yield f"| {self.variable} | {' | '.join(map(str, self.at))} |"
        yield "|---" * (len(self.at) + 1) + "|"
        for name, values in self.scores.items():
            cells = (f"{v.mean():.3f}" + (f" ± {v.std(ddof=1):.3f}" if len(v) > 1 else "") for v in values)
            yield f"| {name} | {' | '.join(cells)} |"


def fitted(data: Data, seed: int, **parameters: Any) -> EvidenceAggregation:
    return EvidenceAggregation(**parameters).fit(data.train, seed=seed, device="cpu", progress=lambda *_: None)


def ceiling_after(t: int, seed: int, sigma: float = 0.2, n: int = 20_000) -> float:
    """R² of the exact posterior mean after t readings, on trials of its own: neither encoder nor tasks matter to it."""
    rng = np.random.default_rng([seed, t])
    z = rng.uniform(-0.5, 0.5, (2, n, 2))
    error = np.array(sigma / np.sqrt(t))
    mean = truncated_normal_mean(z + error * rng.standard_normal(z.shape), error)
    return linear_r2(z[0], mean[0], z[1], mean[1])


def in_time(seeds: list[int], n: int, steps: int) -> Curve:
    """R² of the factors after each number of readings."""
    found: dict[str, list[list[float]]] = {"rnn": [], "time average": [], "ceiling": [], "theory": []}
    for seed in seeds:
        data = evidence(seed=seed, n=n, **AS_PUBLISHED)
        learner = fitted(data, seed, answer="every-step", codes="state", steps=steps)
        train, test = data.train.x, data.eval.x_test

        def cut(x: Sequences, t: int) -> Sequences:
            return replace(x, values=np.ascontiguousarray(x.values[:, :t]))

        scores: dict[str, list[float]] = {name: [] for name in found}
        for t in TIMES:
            z = data.eval.z_train, data.eval.z_test
            scores["rnn"].append(linear_r2(z[0], learner.encode(cut(train, t)), z[1], learner.encode(cut(test, t))))
            scores["time average"].append(linear_r2(z[0], cut(train, t).flat(), z[1], cut(test, t).flat()))
            scores["ceiling"].append(ceiling_after(t, seed))
            scores["theory"].append(1 - 12 * 0.2**2 / t)
        for name, values in scores.items():
            found[name].append(values)
    return Curve("time", "readings t", TIMES, {name: np.array(values).T for name, values in found.items()})


def sweep(name: str, seeds: list[int], n: int, steps: int) -> Curve:
    """Out-of-orthant R² against one parameter of the data."""
    variable, values = SWEEPS[name]
    found: dict[str, list[list[float]]] = {"rnn, answers": [], "rnn, state": [], "time average": [], "ceiling": []}
    for value in values:
        scores: dict[str, list[float]] = {row: [] for row in found}
        for seed in seeds:
            data = evidence(seed=seed, n=n, **{variable: value})
            truth, learner = data.eval, fitted(data, seed, steps=steps)
            codes = {
                "rnn, answers": (learner.encode(data.train.x), learner.encode(truth.x_test)),
                "time average": (data.train.x.flat(), truth.x_test.flat()),
                "ceiling": (truth.ceiling_train, truth.ceiling_test),
            }
            learner.codes = "state"  # of the same network
            codes["rnn, state"] = learner.encode(data.train.x), learner.encode(truth.x_test)
            for row, (train, test) in codes.items():
                scores[row].append(ood_r2(truth.z_train, train, truth.z_test, test, truth.centre))
        for row, one in scores.items():
            found[row].append(one)
    return Curve(name, variable, values, {row: np.array(one) for row, one in found.items()})


def draw(curve: Curve, folder: Path) -> None:
    """``evidence_NAME.svg`` in the folder, the same bytes for the same numbers."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "evidence", "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(4.6, 3.3), layout="constrained")
        axes = figure.add_subplot()
        for name, values in curve.scores.items():
            spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else None
            dashed = "--" if name in ("ceiling", "theory") else "-"
            axes.errorbar(curve.at, values.mean(axis=1), spread, label=name, linestyle=dashed, marker="o", markersize=3)
        axes.set(xlabel=curve.variable, ylabel="R²" if curve.name == "time" else "R² out of orthant", ylim=(0, 1.02))
        axes.legend()
        figure.savefig(folder / f"evidence_{curve.name}.svg", metadata={"Date": None})


def main() -> None:
    """Print each table as it is ready."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("curves", nargs="*", default=["time", *SWEEPS], help="time, tasks, noise, factors")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n", type=int, default=10_000, help="training trials")
    parser.add_argument("--steps", type=int, default=1200, help="of the rnn")
    parser.add_argument("--to", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.curves:
        run = in_time if name == "time" else lambda *rest, name=name: sweep(name, *rest)
        curve = run(options.seeds, options.n, options.steps)
        print("\n".join(["", name, "", *curve.rows()]), flush=True)
        if options.to:
            draw(curve, options.to)


if __name__ == "__main__":
    main()
