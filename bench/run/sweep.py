"""Sweeps: one parameter of a dataset takes several values, all others stay as they are.

A dataset declares the parameters that make it easier or harder, with values from easy to hard (``difficulty`` in its
decorator). ``--sweep`` names datasets, parameters and values; what it leaves out is taken from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from bench.api import DatasetInfo
from bench.errors import UsageError, unknown
from bench.registry import Registry

Override = dict[str, str]


def parse_sweeps(texts: Sequence[str], registry: Registry) -> dict[str, list[Override]]:
    """What each dataset's parameters are changed to, one at a time: {dataset: [{parameter: value as text}, …]}.

    A text is "DATASET.PARAMETER=VALUE,VALUE", "DATASET.PARAMETER" for the declared values, or "DATASET", which may be
    a pattern, for all declared parameters. Raises UsageError for what is unknown or not declared.
    """
    found: dict[str, list[Override]] = {}
    for text in texts:
        target, equals, values = text.partition("=")
        if target in registry.datasets or not (equals or _has_dataset(target, registry)):
            if equals:
                raise UsageError(f"--sweep '{text}': write DATASET.PARAMETER=VALUE,VALUE")
            for info in _matching(target, registry):
                own = found.setdefault(info.name, [])
                own += [over for name, declared in info.difficulty.items() for over in _each(name, declared)]
            continue
        dataset, dot, parameter = target.rpartition(".")
        if not dot or dataset not in registry.datasets:
            raise unknown("dataset", dataset or target, registry.datasets)
        own = found.setdefault(dataset, [])
        if equals:
            own += [{parameter: value.strip()} for value in values.split(",")]
        elif parameter in registry.datasets[dataset].difficulty:
            own += _each(parameter, registry.datasets[dataset].difficulty[parameter])
        else:
            raise UsageError(
                f"--sweep '{text}': {dataset} declares no values of '{parameter}'; write {text}=VALUE,VALUE"
            )
    return found


def _has_dataset(target: str, registry: Registry) -> bool:
    return target.rpartition(".")[0] in registry.datasets


def _matching(pattern: str, registry: Registry) -> list[DatasetInfo]:
    """The datasets of that name, or those of that pattern that declare anything."""
    infos = [info for name, info in registry.datasets.items() if fnmatchcase(name, pattern)]
    if not infos:
        raise unknown("dataset", pattern, registry.datasets)
    declaring = [info for info in infos if info.difficulty]
    if not declaring:
        raise UsageError(f"--sweep '{pattern}': declares no difficulty; write DATASET.PARAMETER=VALUE,VALUE")
    return declaring


def _each(parameter: str, values: Iterable[Any]) -> list[Override]:
    return [{parameter: value if isinstance(value, str) else json.dumps(value)} for value in values]
