"""Does a learner keep the contract? A small conformance suite every plugin gets for free."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench import registry
from bench.api import Data, EvalView, Kind, LearnerInfo, NotApplicable, TrainView
from bench.run.outcome import checked_codes


@dataclass(frozen=True)
class Finding:
    """One promise of the contract: kept or not, and what was seen."""

    promise: str
    kept: bool
    detail: str = ""


def small_data(
    seed: int = 0,
    *,
    binary: bool = False,
    pairs: bool = False,
    n_tasks: int = 12,
    n_per_task: int = 30,
    d: int = 3,
    kind: Kind = "vector",
) -> Data:
    """A small linear problem that has everything: targets, auxiliary variable and labels (one task a sample).

    Returns Data with 8-dimensional x and d latent factors, each task driven by some of them. With the kind "sequence"
    the eight values come in two steps of four; an "image" has 10 × 10 pixels, and two classes, as most sets of images
    have fewer classes than factors. With ``pairs`` the auxiliary variable names two samples each.
    """
    import numpy as np

    from bench.toolkit.inputs import Images, Sequences

    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.5, 3.0, (n_tasks, d))
    weights = rng.standard_normal((n_tasks, d)) * (rng.random((n_tasks, d)) < 0.7)
    weights[np.arange(n_tasks), np.arange(n_tasks) % d] += 2.0
    mixing = rng.standard_normal((d, 100 if kind == "image" else 8))

    def draw() -> tuple[Any, ...]:
        task = np.repeat(np.arange(n_tasks), n_per_task)
        z = rng.laplace(size=(len(task), d)) * scale[task]
        y = (z * weights[task]).sum(1) + 0.1 * rng.standard_normal(len(task))
        x: Any = (z @ mixing + 0.01 * rng.standard_normal((len(task), mixing.shape[1]))).astype(np.float32)
        if kind == "sequence":
            x = Sequences(x.reshape(-1, 2, 4))
        elif kind == "image":
            x = Images((128 + 10 * x).clip(0, 255).astype(np.uint8).reshape(-1, 1, 10, 10))
        return (
            x,
            z,
            (y > 0).astype(np.float64) if binary else y,
            task,
        )

    x, z, y, task = draw()
    aux = np.arange(len(task)) // 2 if pairs else task
    x_test, z_test, y_test, task_test = draw()
    train = TrainView(
        x=x,
        sample=np.arange(len(x)),
        task=task,
        y=y,
        n_tasks=n_tasks,
        n_latents=d,
        aux=aux,
        labels=task % 2 if kind == "image" else task,
        target_type="binary" if binary else "continuous",
    )
    truth = EvalView(
        x_test=x_test,
        aux_test=aux[: len(task_test)] if pairs else task_test,
        sample_test=np.arange(len(x_test)),
        task_test=task_test,
        y_test=y_test,
        z_train=z,
        z_test=z_test,
    )
    return Data(train, truth)


def small_kind(info: LearnerInfo) -> Kind:
    """The kind of small data on which to try a learner: vectors, or sequences or images where it takes nothing else."""
    only = tuple(info.accepts)
    return "sequence" if only == ("sequence",) else "image" if only == ("image",) else "vector"


def small_data_for(info: LearnerInfo, seed: int = 0) -> Data:
    """Small data that have what the learner needs."""
    return small_data(seed, binary="binary" in info.needs, pairs="pairs" in info.needs, kind=small_kind(info))


def check_learner(info: LearnerInfo, budget: str = "smoke") -> Iterator[Finding]:
    """Try a learner on small data; yields a Finding for each promise. Stops where going on makes no sense."""
    import numpy as np

    data = small_data_for(info)
    view = data.train
    try:
        of_kind = info.by_kind.get(small_kind(info), {})
        parameters = registry.parameters(info) | dict(of_kind) | dict(info.budgets.get(budget, {}))
        learner_class = registry.load(info)
    except Exception as error:  # noqa: BLE001 -- a plugin may raise anything; the finding says what
        yield Finding("can be imported, every parameter has a default", False, f"{type(error).__name__}: {error}")
        return
    yield Finding("can be imported, every parameter has a default", True)

    def fitted(seed: int) -> Any:
        return learner_class(**parameters).fit(view, seed=seed, device="cpu", progress=lambda fraction, text="": None)

    def encode(learner: Any, rows: slice = slice(None)) -> Any:
        x, aux = data.eval.x_test[rows], data.eval.aux_test[rows]
        codes = learner.encode(x, aux) if info.aux_at_test else learner.encode(x)
        return checked_codes(codes, len(x), info.name)

    before_view, before_rng = copy.deepcopy(view), global_rng()
    try:
        learner = fitted(0)
    except NotApplicable as reason:
        yield Finding("fits small data that has all it needs", False, f"declined: {reason}")
        return
    except Exception as error:  # noqa: BLE001
        yield Finding("fits small data that has all it needs", False, f"{type(error).__name__}: {error}")
        return
    yield Finding("fits small data that has all it needs", True)
    yield Finding("fit returns the learner", hasattr(learner, "encode"), f"got {type(learner).__name__}")
    yield _tried("gives finite float codes, a row a sample", lambda: str(encode(learner).shape))
    try:
        codes, again, part = encode(learner), encode(fitted(0)), encode(learner, slice(0, 7))
    except Exception as error:  # noqa: BLE001
        yield Finding("encodes", False, f"{type(error).__name__}: {error}")
        return
    yield Finding("same seed, same codes to the bit", bool(np.array_equal(codes, again)))
    close = np.allclose(part, codes[:7], rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(codes).max())))
    yield Finding("a sample's code does not depend on the samples beside it", bool(close))
    yield Finding("leaves the view as it was", _same(view, before_view))
    yield Finding("leaves the global random state alone", global_rng() == before_rng)


def _tried(promise: str, action: Callable[[], str]) -> Finding:
    try:
        return Finding(promise, True, action())
    except Exception as error:  # noqa: BLE001 -- whatever it raises is the finding
        return Finding(promise, False, f"{type(error).__name__}: {error}")


def _same(first: TrainView, second: TrainView) -> bool:
    import numpy as np

    from bench.toolkit.inputs import content_hash

    pairs = ((getattr(first, name), getattr(second, name)) for name in ("sample", "task", "y", "aux", "labels"))
    return content_hash(first.x) == content_hash(second.x) and all(
        np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs
    )


def global_rng() -> tuple[Any, ...]:
    """The states of the generators everybody shares."""
    import random

    import numpy as np
    import torch

    state: Any = np.random.get_state()  # noqa: NPY002 -- reading it, to see that nobody touched it
    return random.getstate(), state[1].tobytes(), state[2], torch.get_rng_state().numpy().tobytes()
