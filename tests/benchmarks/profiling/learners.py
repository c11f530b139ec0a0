"""What a step of every learner costs at the standard budget, read from its own fit."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from bench import registry
from bench.api import Data, LearnerInfo, TrainView
from bench.registry import Registry
from bench.run.plan import why_not
from tests.benchmarks.profiling.cost import peak_mib_of

GROUNDS = ("tcl-segments", "nonlinear-causal", "sparse-tasks-binary", "evidence", "sprites-pairs", "sprites-shape")
"""Every learner is measured on the first of these that it can take."""


class _EnoughError(Exception):
    """Ends a fit that has told what a step costs."""


@dataclass
class Stopwatch:
    """A fit's progress callback that remembers when what part was done, and ends the fit after ``enough_s``."""

    enough_s: float
    marks: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, fraction: float, message: str) -> None:
        self.marks.append((fraction, time.process_time()))
        if len(self.marks) > 2 and self.marks[-1][1] - self.marks[0][1] > self.enough_s:
            raise _EnoughError

    def per_fit(self) -> float | None:
        """CPU seconds from the first mark to the last, for the whole of what progress counts; None without two."""
        if len(self.marks) < 2 or self.marks[-1][0] <= self.marks[0][0]:
            return None
        (first, start), (last, end) = self.marks[0], self.marks[-1]
        return (end - start) / (last - first)


def ground_of(info: LearnerInfo, found: Registry) -> str | None:
    """Name of the data set a learner is measured on."""
    return next((name for name in GROUNDS if not why_not(info, found.datasets[name])), None)


def draw(found: Registry, name: str, budget: str) -> Data:
    """The data set at a budget."""
    info = found.datasets[name]
    data: Data = registry.load(info)(seed=0, **registry.parameters(info) | dict(info.budgets.get(budget, {})))
    return data


def _fit(learner: Any, view: TrainView, watch: Stopwatch) -> None:
    with contextlib.suppress(_EnoughError):
        learner.fit(view, seed=0, device="cpu", progress=watch)


def learners(quick: bool) -> dict[str, Any]:
    """A row a learner: its step, how many it takes, memory of the fit; whole fits where there are no steps."""
    found = registry.discover()
    budget = "smoke" if quick else "standard"
    data = {name: draw(found, name, budget) for name in GROUNDS}
    rows: list[list[Any]] = []
    for info in found.learners.values():
        ground = ground_of(info, found)
        if ground is None or "truth" in info.needs:
            continue
        params = registry.parameters(info) | dict(info.budgets.get(budget, {}))
        watch = Stopwatch(0.05 if quick else 0.8)

        learner = registry.load(info)(**params)
        spent, peak = peak_mib_of(partial(_fit, learner, data[ground].train, watch))
        steps = sum(int(params.get(name) or 0) for name in ("steps", "flow_steps"))
        whole = watch.per_fit()
        if steps and whole is not None:
            rows.append([info.name, ground, 1000 * whole / steps, steps, None, peak])
        else:
            rows.append([info.name, ground, None, None, spent, peak])
    rows.sort(key=lambda row: (GROUNDS.index(row[1]), -(row[2] or 0), -(row[4] or 0)))
    sizes = "; ".join(
        f"`{name}` {view.n_samples:,} × {np.shape(view.x)[1]}, d={view.n_latents}"
        for name, view in ((name, item.train) for name, item in data.items())
    )
    return {
        "note": f"Read from each learner's own fit at the `{budget}` budget, which is ended once the cost of a step is"
        f" known; looks at held-out samples are in it. Training sets: {sizes}. Whole fits are on the leaderboard;"
        " here only those without steps. `mtlcm` and `mtrn` are read in the network's steps.",
        "tables": [
            {
                "caption": "",
                "columns": ["learner", "dataset", "CPU ms a step", "steps", "CPU s, whole fit", "peak MiB"],
                "rows": rows,
            }
        ],
        "curves": [],
    }
