"""A tiny dataset for each kind of input: large enough to see that a learner runs on the kind, too small to judge it.

Two factors z, drawn in segments (each with its own deviations) and read through every kind: one blob on an image, noisy
constants along a sequence, random trees whose nodes add up. Each sample belongs to one task, y = w_t · z + noise; the
task is the auxiliary variable, the quadrant of z the class label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, EvalView, TrainView, dataset
from bench.toolkit.inputs import Graphs, Images, Sequences
from datasets.synthetic.common import extra_held_out

Array = NDArray[np.float64]
D, N_TASKS, SIDE, STEPS, CHANNELS = 2, 12, 16, 8, 4


@dataset(
    "tiny-images",
    properties={
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="none: to see that a learner runs on images",
    summary="one blob on a 16 × 16 image, at the place that two factors say",
    provides=("targets", "aux", "labels"),
    kind="image",
    testing=True,
    budgets={"smoke": {"n_per_task": 30}},
)
def tiny_images(*, seed: int, n_per_task: int = 80) -> Data:
    """Images (1, 16, 16): exp(−|p − c|² / 8) around the centre c = 7.5 + 5 tanh(z / 2)."""

    def draw(z: Array, rng: np.random.Generator) -> Images:
        centre = 7.5 + 5 * np.tanh(z / 2)
        grid = np.arange(SIDE)
        across = np.exp(-((grid - centre[:, :1]) ** 2) / 8)
        down = np.exp(-((grid - centre[:, 1:]) ** 2) / 8)
        pixels = 255 * down[:, :, None] * across[:, None, :]
        return Images(pixels[:, None].astype(np.uint8))

    return _data(seed, n_per_task, draw)


@dataset(
    "tiny-sequences",
    properties={
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="none: to see that a learner runs on sequences",
    summary="eight noisy readings of four linear functions of two factors",
    provides=("targets", "aux", "labels"),
    kind="sequence",
    testing=True,
    budgets={"smoke": {"n_per_task": 30}},
)
def tiny_sequences(*, seed: int, n_per_task: int = 80) -> Data:
    """Sequences (8, 4): z A + 0.3 ε at every step, A the same for all samples."""

    def draw(z: Array, rng: np.random.Generator) -> Sequences:
        mixing = np.random.default_rng([seed, 1]).standard_normal((D, CHANNELS))
        values = (z @ mixing)[:, None] + 0.3 * rng.standard_normal((len(z), STEPS, CHANNELS))
        return Sequences(values.astype(np.float32))

    return _data(seed, n_per_task, draw)


@dataset(
    "tiny-graphs",
    properties={
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="none: to see that a learner runs on graphs",
    summary="random trees of three to eight nodes whose two features add up to the two factors",
    provides=("targets", "aux", "labels"),
    kind="graph",
    testing=True,
    version=2,
    budgets={"smoke": {"n_per_task": 30}},
)
def tiny_graphs(*, seed: int, n_per_task: int = 80) -> Data:
    """Random recursive trees: each node has two features, random but for their sum over the tree, which is z."""

    def draw(z: Array, rng: np.random.Generator) -> Graphs:
        size = rng.integers(3, 9, len(z))
        offsets = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
        graph = np.repeat(np.arange(len(z)), size)
        features = rng.standard_normal((offsets[-1], D))
        total = np.add.reduceat(features, offsets[:-1])
        features += ((z - total) / size[:, None])[graph]
        place = np.arange(offsets[-1]) - offsets[:-1][graph]
        child = np.flatnonzero(place > 0)
        parent = (rng.random(len(child)) * place[child]).astype(np.int64)
        return Graphs(
            nodes=features.astype(np.float32),
            node_offsets=offsets,
            edges=np.stack([parent, place[child]], axis=1).astype(np.int64),
            edge_features=rng.standard_normal((len(child), 1)).astype(np.float32),
            edge_offsets=np.concatenate([[0], np.cumsum(size - 1)]).astype(np.int64),
        )

    return _data(seed, n_per_task, draw)


def _data(seed: int, n_per_task: int, draw: Callable[[Array, np.random.Generator], Any]) -> Data:
    """Factors, targets, segments and classes around the inputs that ``draw(z, rng)`` makes."""
    rng = np.random.default_rng(seed)
    deviation = rng.uniform(0.5, 2.0, (N_TASKS, D))
    weights = rng.standard_normal((N_TASKS, D))

    def sample(n: int) -> tuple[Any, Array, NDArray[np.int64], Array, NDArray[np.int64]]:
        task = np.repeat(np.arange(N_TASKS), n)
        z = rng.standard_normal((len(task), D)) * deviation[task]
        y = (z * weights[task]).sum(axis=1) + 0.1 * rng.standard_normal(len(task))
        return draw(z, rng), z, task, y, (z > 0) @ np.array([1, 2])

    x, z, task, y, quadrant = sample(n_per_task)
    x_test, z_test, task_test, y_test, _ = sample(extra_held_out(n_per_task))
    train = TrainView(
        x=x,
        sample=np.arange(len(z)),
        task=task,
        y=y,
        n_tasks=N_TASKS,
        n_latents=D,
        aux=task.copy(),
        labels=quadrant.astype(np.int64),
    )
    truth = EvalView(
        x_test=x_test,
        aux_test=task_test.copy(),
        sample_test=np.arange(len(z_test)),
        task_test=task_test,
        y_test=y_test,
        z_train=z,
        z_test=z_test,
    )
    return Data(train, truth, {"n_train": len(z), "n_test": len(z_test)})
