"""The command that makes a row's records again, from what the records say and nothing else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api import Info, LearnerInfo
from bench.registry import Registry
from bench.report.naming import plain
from bench.run.plan import resolve
from bench.run.spec import derive_seed
from bench.run.store import Record

SEARCHED = 100_000
"""``--data-seed`` numbers that are tried to find the one behind a record's derived data seed."""


def commands(records: Iterable[Record], found: Registry) -> list[str]:
    """Command lines that run exactly these cells, one for each effort, fixed data seed and kind of machine.

    Parameters that differ from what this version would take by itself are given with ``--set``. A plugin from a file
    is named by the file's name, to be run from its folder.
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(_run(record), []).append(record)
    return [_command(members, found) for members in groups.values()]


def usual_params(info: Info, budget: str, kind: str = "") -> dict[str, Any]:
    """What every parameter is when nothing is set, of a learner on data of that kind.

    As far as the decorator tells where the plugin cannot be loaded.

    In the form that records have: tuples are lists.
    """
    try:
        values = resolve(info, budget, {}, kind)
    except Exception:  # noqa: BLE001 -- a plugin may raise anything when it is imported; its literals remain
        of_kind = info.by_kind.get(kind, {}) if isinstance(info, LearnerInfo) else {}
        values = {**info.defaults, **of_kind, **info.budgets.get(budget, {})}
    as_stored: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return as_stored


def _run(record: Record) -> tuple[Any, ...]:
    """What a command says once for all its cells."""
    spec = record["spec"]
    same = ("learner", "dataset", "budget", "device", "learner_params", "dataset_params")
    return (
        json.dumps([spec[name] for name in same], sort_keys=True),
        float(spec.get("effort", 1.0)),
        _fixed_data_seed(spec["dataset"], spec["repetition"], spec["data_seed"]),
        record.get("provenance", {}).get("threads", 1),
    )


def _command(records: Sequence[Record], found: Registry) -> str:
    spec = records[0]["spec"]
    learner, dataset = found.learners[spec["learner"]], found.datasets[spec["dataset"]]
    words = ["python", "-m", "bench", "run", "--learners", spec["learner"], "--datasets", spec["dataset"]]
    words += ["--seeds", seed_span({record["spec"]["repetition"] for record in records})]
    data_seed = _fixed_data_seed(spec["dataset"], spec["repetition"], spec["data_seed"])
    words += ["--data-seed", str(data_seed)] if data_seed is not None else []
    words += ["--budget", spec["budget"]]
    effort = float(spec.get("effort", 1.0))
    words += ["--effort", _fraction(effort)] if effort != 1.0 else []
    for info, params in ((learner, spec["learner_params"]), (dataset, spec["dataset_params"])):
        for setting in _settings(info, params, spec["budget"], dataset.kind):
            words += ["--set", setting]
    words += ["--device", spec["device"]] if spec["device"] != "cpu" else []
    threads = records[0].get("provenance", {}).get("threads", 1)
    words += ["--threads", str(threads)] if threads != 1 else []
    for origin in dict.fromkeys([learner.origin, dataset.origin]):
        words += ["--plugin", Path(origin).name] if origin.endswith(".py") else []
    return shlex.join(words) + ("  # its data seed is not derived from a number" if data_seed == -1 else "")


def _settings(info: Info, params: Mapping[str, Any], budget: str, kind: str) -> list[str]:
    usual = usual_params(info, budget, kind)
    # where the plugin cannot be asked, what its decorator does not tell is taken to be as usual
    changed = {name: value for name, value in params.items() if name in usual and usual[name] != value}
    return [f"{info.name}.{name}={plain(value)}" for name, value in sorted(changed.items())]


def _fraction(effort: float) -> str:
    """0.25 -> "1/4", so that the number read back is the same to the bit."""
    near = Fraction(effort).limit_denominator(1024)
    return str(near) if float(near) == effort else repr(effort)


def seed_span(seeds: Iterable[int]) -> str:
    """{0, 1, 2, 5} -> "0-2,5"."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and runs[-1][-1] == seed - 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


@lru_cache(maxsize=4096)
def _fixed_data_seed(dataset: str, repetition: int, data_seed: int) -> int | None:
    """The number given as ``--data-seed``; None where the repetition is it, -1 where none is found."""
    if derive_seed("data", dataset, repetition) == data_seed:
        return None
    return next((s for s in range(SEARCHED) if derive_seed("data", dataset, s) == data_seed), -1)
