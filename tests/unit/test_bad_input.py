"""What no learner can learn from: each says why in one line, or learns from what is left; none makes codes up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bench import registry
from bench.api import LearnerInfo, NotApplicable, TrainView
from bench.run.check import small_data

FOUND = registry.discover()
LEARNERS = [
    name
    for name, info in FOUND.learners.items()
    if "vector" in info.accepts and not {"truth", "pairs"} & set(info.needs)
]
ONE_TASK_IS_ENOUGH = {"single-task-regression"}


def one_task(view: TrainView) -> TrainView:
    return replace(view, task=np.zeros_like(view.task), n_tasks=1)


def fewer_samples_than_latents(view: TrainView) -> TrainView:
    rows = np.array([0, len(view.x) - 1])
    kept = {name: getattr(view, name)[rows] for name in ("x", "task", "y", "aux", "labels")}
    return replace(view, sample=np.arange(2), **kept)


def constant_targets(view: TrainView) -> TrainView:
    return replace(view, y=np.ones_like(view.y))


def no_targets(view: TrainView) -> TrainView:
    return replace(view, sample=view.sample[:0], task=view.task[:0], y=view.y[:0])


def no_auxiliary_variable(view: TrainView) -> TrainView:
    return replace(view, aux=None, labels=None)


def a_class_with_one_sample(view: TrainView) -> TrainView:
    labels = np.array(view.labels)
    labels[0] = labels.max() + 1
    return replace(view, labels=labels)


def one_constant_target(view: TrainView) -> TrainView:
    return replace(view, y=np.where(view.task == 2, 1.0, view.y))


def a_task_without_targets(view: TrainView) -> TrainView:
    kept = view.task != 2
    return replace(view, sample=view.sample[kept], task=view.task[kept], y=view.y[kept])


def needs_targets(info: LearnerInfo) -> bool:
    return "targets" in info.needs or "binary" in info.needs


def never(info: LearnerInfo) -> bool:
    return False


REFUSED: dict[Callable[[TrainView], TrainView], Callable[[LearnerInfo], bool]] = {
    one_task: lambda info: needs_targets(info) and info.name not in ONE_TASK_IS_ENOUGH,
    fewer_samples_than_latents: lambda info: True,
    constant_targets: needs_targets,
    no_targets: needs_targets,
    no_auxiliary_variable: lambda info: bool({"aux", "labels|aux", "aux|labels"} & set(info.needs)),
    a_class_with_one_sample: lambda info: info.name == "single-task-classification",
    one_constant_target: never,
    a_task_without_targets: never,
}
"""Which learners cannot take which data; all others must learn something finite from it."""


@pytest.mark.parametrize("name", LEARNERS)
def test_bad_input_is_refused_in_words_or_survived(name: str) -> None:
    info = FOUND.learners[name]
    whole = small_data(binary="binary" in info.needs, n_tasks=6).train
    params = registry.parameters(info) | dict(info.budgets.get("smoke", {}))
    if "steps" in params:
        params["steps"] = min(params["steps"], 10)
    for damage, refuses in REFUSED.items():
        view = damage(whole)
        learner = registry.load(info)(**params)
        if refuses(info):
            with pytest.raises(NotApplicable) as refused:
                learner.fit(view, seed=0, device="cpu", progress=lambda fraction, text: None)
            reason = str(refused.value)
            assert 15 < len(reason) < 250, damage.__name__
            assert "\n" not in reason
        else:
            learner.fit(view, seed=0, device="cpu", progress=lambda fraction, text: None)
            codes = learner.encode(view.x, *([view.aux] if info.aux_at_test else []))
            assert codes.shape[0] == len(view.x), damage.__name__
            assert np.isfinite(codes).all(), damage.__name__
            assert codes.std(axis=0).max() > 0.0, f"{damage.__name__}: constant codes are no codes"
