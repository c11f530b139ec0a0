"""Selections × seeds × budget -> the list of cells; those that cannot run carry the reason."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from bench import registry as registry_module
from bench.api import BUDGETS, BadData, DatasetInfo, Info, LearnerInfo, MissingData
from bench.errors import UsageError, unknown
from bench.registry import BrokenPlugin, Registry
from bench.run.effort import efforts_of
from bench.run.spec import RunSpec, derive_data_seed, derive_seed
from bench.run.sweep import Override, parse_sweeps
from bench.run.wire import strict_json

NEED_WORDS = {
    "targets": "targets",
    "aux": "an auxiliary variable",
    "labels": "class labels",
    "binary": "binary targets",
    "pairs": "pairs of samples",
    "truth": "the true latents",
}
MOST_SEEDS = 1_000_000
ONE_FILE = "comes in one file with the dataset, which a judged run does not take: move one of them"


@dataclass(frozen=True)
class Cell:
    """A planned cell: to be run when ``skip`` is empty, otherwise recorded as skipped for that reason."""

    spec: RunSpec
    skip: str = ""


@dataclass(frozen=True)
class Selection:
    """What the user asked for; names may be patterns (``*-causal``), empty means all.

    salt     of a judged run: goes into the data seeds, see ``spec.derive_data_seed``
    sweeps   parameters of datasets and their values (``bench.run.sweep``); the datasets are then those named there
    """

    learners: Sequence[str] = ()
    datasets: Sequence[str] = ()
    repetitions: Sequence[int] = (0, 1, 2)
    budget: str = "standard"
    device: str = "cpu"
    data_seed: int | None = None
    settings: Sequence[str] = ()
    threads: int = 1
    salt: str = ""
    efforts: Sequence[float] = (1.0,)
    sweeps: Sequence[str] = ()


def plan(selection: Selection, registry: Registry) -> list[Cell]:
    """All cells of the selection, dataset by dataset, repetition by repetition.

    Raises UsageError for unknown names, budgets and parameters, and where effort scales what is no whole number.
    """
    if selection.budget not in BUDGETS:
        raise unknown("budget", selection.budget, BUDGETS)
    learners = [registry.learners[name] for name in _select("learner", selection.learners, registry.learners)]
    sweeps = parse_sweeps(selection.sweeps, registry)
    usual = [name for name, info in registry.datasets.items() if not info.on_request or name in selection.datasets]
    datasets = [registry.datasets[name] for name in sweeps or _select("dataset", selection.datasets, usual)]
    if not (sweeps or selection.datasets) and selection.budget != "smoke":
        datasets = [info for info in datasets if not info.testing]
    settings = parse_settings(selection.settings, registry)
    params: dict[str, dict[str, Any]] = {}
    by_kind: dict[tuple[str, str], dict[str, Any]] = {}

    def resolved(info: Info, kind: str = "") -> dict[str, Any]:
        try:
            return resolve(info, selection.budget, settings.get(info.name, {}), kind)
        except BrokenPlugin as error:
            # its cells are run all the same, fail by themselves and say why; the others are none the worse
            registry.broken[info.name] = str(error)
            return {}

    for data in datasets:
        params[data.name] = resolved(data)
    for learner in learners:
        for kind in sorted({data.kind for data in datasets}):
            found = by_kind[learner.name, kind] = resolved(learner, kind)
            for name in learner.effort:
                if not isinstance(found.get(name, 1), int):
                    raise UsageError(
                        f"{learner.origin}: effort of '{learner.name}' scales '{name}', which is no whole number"
                    )
    unused = sorted(set(settings) - {info.name for info in [*learners, *datasets]})
    if unused:
        raise UsageError(f"--set {unused[0]}.…: '{unused[0]}' is not among the selected learners and datasets")
    trained = [(learner, effort) for learner in learners for effort in efforts_of(learner, selection.efforts)]
    cells = []
    for data in datasets:
        file_hash, absent = data_hash(data)
        variants = _variants(data, params[data.name], sweeps.get(data.name), selection.budget)
        for repetition, data_params in itertools.product(selection.repetitions, variants):
            base = repetition if selection.data_seed is None else selection.data_seed
            for learner, effort in trained:
                spec = RunSpec(
                    learner=learner.name,
                    dataset=data.name,
                    repetition=repetition,
                    data_seed=derive_data_seed(data.name, base, selection.salt),
                    model_seed=derive_seed("model", learner.name, data.name, repetition),
                    budget=selection.budget,
                    device=selection.device,
                    learner_version=learner.version_on(data.kind),
                    dataset_version=data.version,
                    learner_params=by_kind[learner.name, data.kind],
                    dataset_params=data_params,
                    data_sha256=file_hash,
                    threads=selection.threads,
                    effort=effort,
                )
                shared = selection.salt and learner.origin == data.origin
                cells.append(Cell(spec, why_not(learner, data) or absent or (ONE_FILE if shared else "")))
    return cells


def _variants(
    data: DatasetInfo, params: dict[str, Any], overrides: Sequence[Override] | None, budget: str
) -> list[dict[str, Any]]:
    """The parameters of a dataset with each override by itself, no two alike; as they are without a sweep."""
    if overrides is None or not params:
        return [params]
    found: dict[str, dict[str, Any]] = {}
    for override in overrides:
        values = params | {name: resolve(data, budget, override)[name] for name in override}
        found.setdefault(json.dumps(values, sort_keys=True), values)
    return list(found.values())


def why_not(learner: LearnerInfo, data: DatasetInfo) -> str:
    """Why this learner cannot run on this dataset, in words; "" if it can."""
    if data.kind not in learner.accepts:
        return f"takes {' or '.join(learner.accepts)} inputs, the data is {data.kind}s"
    provided = {*data.provides, *(["truth"] if data.truth else [])}
    for need in learner.needs:
        options = need.split("|")
        if not provided.intersection(options):
            return f"needs {' or '.join(NEED_WORDS.get(option, option) for option in options)}, which the data has not"
    for info in (learner, data):
        lacking = registry_module.missing_requirements(info)
        if lacking:
            return f"{info.name} needs the package {lacking[0]}: pip install {lacking[0]}"
    return ""


def parse_seeds(text: str) -> list[int]:
    """'0-4' or '0,3,7-9' -> the repetitions named, at most a million; raises UsageError."""

    def number(word: str) -> bool:
        return word.isascii() and word.isdigit() and len(word) < 10

    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not number(first) or (dash and not number(last)) or (dash and int(last) < int(first)):
            raise UsageError(f"--seeds '{text}': '{part}' is neither a number nor a range such as 0-4")
        if int(last or first) - int(first) + len(seeds) >= MOST_SEEDS:
            raise UsageError(f"--seeds '{text[:40]}': more than {MOST_SEEDS:,} repetitions")
        seeds.extend(range(int(first), int(last or first) + 1))
    return sorted(set(seeds))


def _select(what: str, patterns: Sequence[str], known: Iterable[str]) -> list[str]:
    names = list(known)
    if not patterns:
        return names
    chosen: list[str] = []
    for pattern in patterns:
        matches = [name for name in names if fnmatchcase(name, pattern)]
        if not matches:
            raise unknown(what, pattern, names)
        chosen.extend(name for name in matches if name not in chosen)
    return chosen


def parse_settings(settings: Sequence[str], registry: Registry) -> dict[str, dict[str, str]]:
    """["ivae.steps=100", …] -> {"ivae": {"steps": "100"}}; raises UsageError."""
    parsed: dict[str, dict[str, str]] = {}
    for setting in settings:
        target, equals, value = setting.partition("=")
        name, dot, parameter = target.rpartition(".")
        if not equals or not dot:
            raise UsageError(f"--set '{setting}': write LEARNER.PARAM=VALUE or DATASET.PARAM=VALUE")
        if name not in registry.learners and name not in registry.datasets:
            raise unknown("learner or dataset", name, [*registry.learners, *registry.datasets])
        parsed.setdefault(name, {})[parameter] = value
    return parsed


def resolve(info: Info, budget: str, overrides: Mapping[str, str], kind: str = "") -> dict[str, Any]:
    """All parameters of a plugin, each of the default's type: its defaults, then those for the kind of x of the data
    that a learner is to meet, then the budget's, then the overrides."""
    if registry_module.missing_requirements(info):
        return {}
    values = registry_module.parameters(info)
    of_kind = info.by_kind.get(kind, {}) if isinstance(info, LearnerInfo) else {}
    for source, further in ((f"kind '{kind}'", of_kind), (f"budget '{budget}'", info.budgets.get(budget, {}))):
        for name, value in further.items():
            if name not in values:
                raise BrokenPlugin(f"{info.origin}: {source} of '{info.name}' sets '{name}', which is no parameter")
            values[name] = value
    for name, text in overrides.items():
        if name not in values:
            raise unknown(f"parameter of {info.name}:", name, values)
        values[name] = _convert(text, values[name], f"--set {info.name}.{name}={text}")
    return values


def _convert(text: str, like: Any, where: str) -> Any:
    """The text as a value of the default's type; None and lists accept any JSON."""
    if isinstance(like, str):
        return text
    try:
        value = strict_json({"True": "true", "False": "false", "None": "null"}.get(text, text))
    except ValueError:
        if like is None and not text.lstrip("+-").lower().startswith(("nan", "inf")):
            return text
        raise _no_value(where, text, like) from None
    if isinstance(like, bool) != isinstance(value, bool) and like is not None and value is not None:
        raise _no_value(where, text, like)
    if isinstance(like, int) and isinstance(value, float):
        raise UsageError(f"{where}: '{text}' is not a whole number")
    if isinstance(like, float) and isinstance(value, int):
        return float(value)
    if isinstance(like, int | float) and isinstance(value, str | list | dict):
        raise _no_value(where, text, like)
    return value


def _no_value(where: str, text: str, like: Any) -> UsageError:
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    return UsageError(f"{where}: '{text}' is not {words.get(type(like), f'a JSON {type(like).__name__}')}")


def data_hash(info: DatasetInfo) -> tuple[str, str]:
    """Hash of the dataset's file, and why it cannot be read."""
    if not info.source or registry_module.missing_requirements(info):
        return "", ""
    from bench.run.sources import locate

    try:
        return locate(info.source).sha256, ""
    except MissingData as error:
        return "", str(error)
    except BadData:
        return "", ""  # the cell runs into the same error and records it as a failure
