"""How much CPU time stage 1 takes to a held-out MCC: plain Adam from a random start, and ``mtlcm``.

Both are followed by the same stage 2, whose time counts too. The reference's points are looks at one training run; ours
are whole fits of rising length, each with its own schedule and start, so nothing is taken from the middle of one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from baselines.linear.rrr import DiagonalisedReducedRankRegression
from bench.api import Data
from bench.metrics import mcc
from mtlcm import MTLCM
from mtlcm.causal_model import LinearCausalModel
from mtlcm.moments import task_moments
from tests.benchmarks.reference_network import train_plainly

LEVELS = (0.85, 0.9, 0.92, 0.94, 0.96, 0.98, 0.99, 0.995)
"""Held-out MCC at which the two are compared, as far as the reference gets; and its best."""


@dataclass(frozen=True)
class Point:
    """What was trained, its CPU seconds with stage 2 behind it, and its held-out pooled MCC."""

    what: str
    cpu_s: float
    mcc: float


def held_out_mcc(data: Data, encode: Callable[[Any], np.ndarray]) -> float:
    truth = data.eval
    return float(mcc(truth.z_train, encode(data.train.x), truth.z_test, encode(truth.x_test)))


def plain_points(data: Data, looks: Sequence[int], seed: int = 0) -> Iterator[Point]:
    """The reference after each of the epochs ``looks``."""
    view = data.train
    next(iter(train_plainly(view, [1])))  # what torch's optimisers load on first use counts for nobody
    for look in train_plainly(view, looks, seed=seed):
        start = time.process_time()
        h = look.encode(view.x)
        model = LinearCausalModel().fit(task_moments(h, view.sample, view.task, view.y, view.n_tasks))
        spent = look.cpu_s + time.process_time() - start
        score = held_out_mcc(data, lambda x, look=look, model=model: model.encode(look.encode(x)))  # type: ignore[misc]
        yield Point(f"epoch {look.epoch:,}", spent, score)


def our_points(data: Data, steps: Sequence[int], flow_steps: Sequence[int] = ()) -> Iterator[Point]:
    """The linear start alone, the network in closed form from it for each of ``steps``, and behind the longest of them
    a flow for each of ``flow_steps``."""
    made: list[tuple[str, Callable[[], Any]]] = [("linear start", DiagonalisedReducedRankRegression)]
    network = {"batch": 4096, "flow_steps": 0, "flow_hidden": (256, 256)}
    for n in steps:
        settings = {**network, "steps": n}
        made.append((f"network, {n} steps", partial(MTLCM, representation="network", network=settings)))
    for n in flow_steps:
        settings = {**network, "steps": max(steps), "flow_steps": n}
        name = f"network, {max(steps)} steps, and flow, {n:,}"
        made.append((name, partial(MTLCM, representation="network", network=settings)))
    warm = MTLCM(representation="network", network={**network, "steps": 1})
    warm.fit(data.train, seed=0, device="cpu", progress=lambda fraction, message: None)  # as with the reference
    for name, make in made:
        start = time.process_time()
        learner = make().fit(data.train, seed=0, device="cpu", progress=lambda fraction, message: None)
        yield Point(name, time.process_time() - start, held_out_mcc(data, learner.encode))


def first_at(points: Sequence[Point], level: float) -> Point | None:
    """The cheapest of the points that reach ``level``."""
    return min((point for point in points if point.mcc >= level), key=lambda point: point.cpu_s, default=None)


def tables(plain: Sequence[Point], ours: Sequence[Point], caption: str) -> list[dict[str, Any]]:
    """For the profile: CPU seconds to first reach a level, and all points."""
    best = max(point.mcc for point in plain)
    rows: list[list[Any]] = []
    for level in (*(level for level in LEVELS if level < best), best):
        reference, found = first_at(plain, level), first_at(ours, level)
        assert reference is not None
        if found is None:
            rows.append([level, reference.what, reference.cpu_s, "not reached", None, None])
        else:
            ratio = reference.cpu_s / found.cpu_s
            rows.append([level, reference.what, reference.cpu_s, found.what, found.cpu_s, ratio])
    sides = [("plain Adam", plain), ("ours", ours)]
    return [
        {
            "caption": caption,
            "columns": ["held-out MCC", "plain Adam", "its CPU s", "ours", "our CPU s", "ratio of CPU"],
            "rows": rows,
        },
        {
            "caption": "All points. Plain Adam is one run looked at on the way; each of ours is a whole fit.",
            "columns": ["side", "trained for", "CPU s", "MCC"],
            "rows": [[side, point.what, point.cpu_s, point.mcc] for side, points in sides for point in points],
        },
    ]
