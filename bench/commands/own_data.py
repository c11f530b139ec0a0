"""Own data in a run: a file becomes a dataset for this command, planned like the others."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import BadData, MissingData
from bench.errors import UsageError
from bench.registry import Registry, guard_package

if TYPE_CHECKING:
    from bench.run.plan import Cell, Selection

NAMES = {True: "own-with-truth", False: "own"}


def plan_own(options: argparse.Namespace, selection: Selection, found: Registry) -> list[Cell]:
    """The cells of every file named with ``--data``: the selected learners, as far as the file has what they need.

    Raises UsageError for a file that cannot be used.
    """
    from bench.run.plan import plan

    cells: list[Cell] = []
    for file in options.data:
        facts = _described(file, options.columns or "", found)
        if not facts["latents"] and not options.latents:
            raise UsageError(f"--data '{file}' holds no z: say how many latent factors to recover with --latents D")
        name = NAMES[facts["truth"]]
        defaults = {"path": str(Path(file)), "columns": options.columns or "", "latents": options.latents or 0}
        info = replace(
            found.datasets[name],
            provides=facts["provides"],
            kind=facts["kind"],
            defaults=defaults,
        )
        known = replace(found, datasets={**found.datasets, name: info})
        planned = plan(replace(selection, datasets=(name,)), known)
        # the file's content is part of the cell's identity: a changed file is run again
        cells += [replace(cell, spec=replace(cell.spec, data_sha256=facts["sha256"])) for cell in planned]
    return cells


def _described(file: str, columns: str, found: Registry) -> dict[str, Any]:
    module = found.datasets[NAMES[True]].origin
    guard_package(module.split(".")[0])
    try:
        facts: dict[str, Any] = importlib.import_module(module).describe(file, columns)
    except (BadData, MissingData) as error:
        raise UsageError(f"--data {error}") from None
    return facts
