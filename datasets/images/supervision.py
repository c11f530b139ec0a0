"""What learners are told of images whose factors are known: sparse tasks, and classes that are cells or a category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.api import EvalView, TrainView
from bench.toolkit.inputs import Images
from datasets.images import factors
from datasets.images.factors import Float64, Int64
from datasets.synthetic.common import require_choice, require_range

LABELS = ("cells", "hard-cells", "category")
SAMPLES_A_CELL = 25  # at least, on average: fewer samples get fewer cells


@dataclass(frozen=True)
class Known:
    """Images with their factors z (n, d) and their category (n,)."""

    x: Images
    z: Float64
    category: Int64


@dataclass(frozen=True)
class Supervision:
    """n_tasks    sparse binary tasks; every image has all of them
    n_cells    classes that are cells of the factors, 25 samples a cell at least on average
    labels     "cells", drawn for every sample as ``factors.cells`` says; "hard-cells", the likeliest of them; or
               "category". The auxiliary variable is the same
    noise      standard deviation of the targets' noise over that of their signal

    Raises ValueError for parameters outside their ranges.
    """

    n_tasks: int
    n_cells: int
    labels: str
    noise: float

    def __post_init__(self) -> None:
        require_range("n_tasks", self.n_tasks, 1)
        require_range("n_cells", self.n_cells, 2)
        require_range("noise", self.noise, 0.0)
        require_choice("labels", self.labels, LABELS)

    def views(
        self,
        train: Known,
        test: Known,
        names: tuple[str, ...],
        *,
        rng_train: np.random.Generator,
        rng_test: np.random.Generator,
        rng_tasks: np.random.Generator,
        spread: Float64 | None = None,
    ) -> tuple[TrainView, EvalView]:
        """Both views. ``spread`` as of ``SparseTasks``; noise of the targets is drawn from the set's own generator."""
        n, d = train.z.shape
        tasks = factors.SparseTasks(rng_tasks, self.n_tasks, d, noise=self.noise, spread=spread)
        sample, task, y = tasks(train.z, rng_train)
        sample_test, task_test, y_test = tasks(test.z, rng_test)
        label, label_test = train.category.astype(np.int64), test.category.astype(np.int64)
        if self.labels != "category":
            hard = self.labels == "hard-cells"
            centre = factors.centres(rng_tasks, max(2, min(self.n_cells, n // SAMPLES_A_CELL)), d)
            label = factors.cells(train.z, centre, None if hard else rng_train)
            label_test = factors.cells(test.z, centre, None if hard else rng_test)
        shared: dict[str, Any] = {"n_tasks": self.n_tasks, "n_latents": d, "target_type": "binary"}
        view = TrainView(x=train.x, sample=sample, task=task, y=y, aux=label.copy(), labels=label, **shared)
        truth = EvalView(
            x_test=test.x,
            aux_test=label_test,
            sample_test=sample_test,
            task_test=task_test,
            y_test=y_test,
            z_train=train.z,
            z_test=test.z,
            causal=tasks.causal,
            latent_names=names,
        )
        return view, truth
