"""Does a dataset keep the contract? Loaded at its smallest budget, twice with one seed and once with another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bench import registry
from bench.api import Data, DatasetInfo, NotApplicable
from bench.run.cell import json_values
from bench.run.check import Finding, global_rng


def check_dataset(info: DatasetInfo, budget: str = "smoke") -> Iterator[Finding]:
    """Load a dataset; yields a Finding for each promise. Stops where going on makes no sense."""
    try:
        parameters = registry.parameters(info) | dict(info.budgets.get(budget, {}))
        load = registry.load(info)
    except Exception as error:  # noqa: BLE001 -- a plugin may raise anything; the finding says what
        yield Finding("can be imported, every parameter has a default", False, f"{type(error).__name__}: {error}")
        return
    yield Finding("can be imported, every parameter has a default", True)
    before = global_rng()
    try:
        data, again, other = (load(seed=seed, **parameters) for seed in (0, 0, 1))
    except NotApplicable as reason:
        yield Finding("loads, or says what it lacks", bool(str(reason)), f"not loaded: {reason}")
        return
    except Exception as error:  # noqa: BLE001
        yield Finding("loads, or says what it lacks", False, f"{type(error).__name__}: {error}")
        return
    yield Finding("loads, or says what it lacks", True)
    yield Finding("leaves the global random state alone", global_rng() == before)
    yield Finding("returns Data", isinstance(data, Data), f"got {type(data).__name__}")
    if not isinstance(data, Data):
        return
    for promise, wrong in (
        ("its arrays belong together", _mismatch(data)),
        ("has what it says it provides", _lacking(data, info)),
        ("info holds JSON values", _not_json(data)),
    ):
        yield Finding(promise, not wrong, wrong)
    yield Finding("same seed, same data to the bit", prints(data) == prints(again))
    if info.truth:
        yield Finding("another seed, other data", prints(data)["x"] != prints(other)["x"])
    else:
        same = prints(data)["x_test"] == prints(other)["x_test"]
        yield Finding("without truth, the held-out samples do not depend on the seed", same)


def prints(data: Data) -> dict[str, str]:
    """Fingerprints of what a learner and the metrics are given."""
    import hashlib

    import numpy as np

    from bench.toolkit.inputs import content_hash

    def of(value: Any) -> str:
        array = np.ascontiguousarray(value)
        return hashlib.sha256(array.tobytes() + str((array.shape, array.dtype)).encode()).hexdigest()

    train, truth = data.train, data.eval
    found = {"x": content_hash(train.x), "x_test": content_hash(truth.x_test)}
    rest: dict[str, Any] = {
        "y": train.y,
        "task": train.task,
        "sample": train.sample,
        "aux": train.aux,
        "z": truth.z_train,
    }
    return found | {name: of(value) for name, value in rest.items() if value is not None}


def _mismatch(data: Data) -> str:
    """What does not fit together, in words; "" where all does."""
    import numpy as np

    train, truth = data.train, data.eval
    n, m = len(train.x), len(train.y)
    if not len(train.sample) == len(train.task) == m:
        return f"sample, task and y have {len(train.sample)}, {len(train.task)} and {m} entries"
    for name, values, limit in (("sample", train.sample, n), ("task", train.task, train.n_tasks)):
        if m and not (np.issubdtype(values.dtype, np.integer) and 0 <= values.min() <= values.max() < limit):
            return f"{name} must be integers from 0 to {limit - 1}"
    if m and not np.isfinite(train.y).all():
        return "y is not finite: leave missing targets out of the long format"
    if train.n_latents < 1:
        return f"n_latents is {train.n_latents}"
    rows: tuple[tuple[str, Any, int], ...] = (
        ("aux", train.aux, n),
        ("labels", train.labels, n),
        ("z_train", truth.z_train, n),
        ("z_test", truth.z_test, len(truth.x_test)),
        ("aux_test", truth.aux_test, len(truth.x_test)),
    )
    for name, values, expected in rows:
        if values is not None and len(values) != expected:
            return f"{name} has {len(values)} rows for {expected} samples"
    if train.kind == "vector" and not np.isfinite(train.x).all():
        return "x is not finite"
    return ""


def _lacking(data: Data, info: DatasetInfo) -> str:
    train, truth = data.train, data.eval
    has = {
        "targets": len(train.y) > 0,
        "aux": train.aux is not None,
        "labels": train.labels is not None,
        "binary": train.target_type == "binary",
    }
    for name in info.provides:
        if name not in has:
            return f"'{name}' is nothing a dataset can provide; known: {', '.join(has)}"
        if not has[name]:
            return f"the decorator names '{name}', the TrainView has none"
    if info.truth != (truth.z_test is not None and truth.z_train is not None):
        return f"truth={info.truth}, but z_train and z_test are {'absent' if info.truth else 'there'}"
    return "" if train.kind == info.kind else f"kind='{info.kind}', but x is of the kind '{train.kind}'"


def _not_json(data: Data) -> str:
    try:
        json_values(dict(data.info), "info")
    except Exception as error:  # noqa: BLE001 -- whatever it raises is the finding
        return str(error)
    return ""
