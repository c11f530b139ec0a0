"""Brings planned cells to records: shared by the commands that run something."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry as registry_module
from bench.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, UsageError
from bench.registry import Registry

if TYPE_CHECKING:
    from bench.run.plan import Cell
    from bench.run.spec import RunSpec
    from bench.run.store import Store

TIMEOUT_S = {"smoke": 120.0, "standard": 900.0, "paper": 6 * 3600.0}


def execute(
    options: argparse.Namespace,
    cells: Sequence[Cell],
    store: Store,
    found: Registry,
    *,
    alone: Collection[str] = (),
) -> bool:
    """Bring every cell to a record, running what is not done; True if interrupted.

    alone   keys of cells that share their fit with no other, whatever the options say
    """
    store.put_plan((cell.spec.key, asdict(cell.spec)) for cell in cells)
    todo = _still_to_do(cells, store, fresh=options.fresh)
    for cell in cells:
        if cell.skip:
            store.put(cell.spec.key, _skipped(cell))
    _announce(cells, todo)
    return bool(todo) and _run_cells(options, todo, store, found, alone)


def _run_cells(
    options: argparse.Namespace, todo: Sequence[Cell], store: Store, found: Registry, alone: Collection[str]
) -> bool:
    from bench.commands.display import Display
    from bench.run.executors import local

    specs = [cell.spec for cell in todo]
    jobs = options.jobs or (1 if specs[0].device == "cuda" else max(1, (os.cpu_count() or 1) // options.threads))
    limits = local.Limits(options.timeout or TIMEOUT_S[options.budget], options.memory_limit)
    origins = {found.learners[spec.learner].origin for spec in specs} | {
        found.datasets[spec.dataset].origin for spec in specs
    }
    preload = [
        "bench.run.cell",
        "bench.metrics.evaluate",
        *sorted(name for name in origins if not name.endswith(".py")),
    ]
    with Display(len(specs), jobs) as display:
        outcomes = local.run(
            _fitted_together(specs, found, alone) if options.share else [[spec] for spec in specs],
            store,
            jobs=jobs,
            limits=limits,
            threads=options.threads,
            plugin_files=[str(Path(file).resolve()) for file in options.plugin],
            preload=preload,
            on_change=display.show,
        )
        try:
            for spec, record in outcomes:
                display.done(spec, record)
        except KeyboardInterrupt:
            outcomes.close()  # type: ignore[attr-defined]
            return True
    return False


def _fitted_together(specs: Sequence[RunSpec], found: Registry, alone: Collection[str]) -> list[list[RunSpec]]:
    """Cells that differ in the model seed alone, for learners that fit many seeds in one pass; others by themselves."""
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        many = hasattr(registry_module.load(found.learners[spec.learner]), "fit_many")
        same = replace(spec, repetition=0, model_seed=0)
        groups.setdefault(same.key if many and spec.key not in alone else spec.key, []).append(spec)
    return list(groups.values())


def _still_to_do(cells: Iterable[Cell], store: Store, *, fresh: bool) -> list[Cell]:
    def done(cell: Cell) -> bool:
        record = store.get(cell.spec.key)
        return record is not None and record["status"] == "ok"

    # two paper settings may share a cell: it is run once
    unique = {cell.spec.key: cell for cell in cells}.values()
    return [cell for cell in unique if not cell.skip and (fresh or not done(cell))]


def _skipped(cell: Cell) -> dict[str, Any]:
    from bench.run import provenance

    return {
        "spec": asdict(cell.spec),
        "status": "skipped",
        "reason": cell.skip,
        "phases": {},
        "memory": {},
        "provenance": provenance.stamp("cpu", 1),
    }


def _announce(cells: Sequence[Cell], todo: Sequence[Cell]) -> None:
    skipped: dict[str, int] = Counter(cell.skip for cell in cells if cell.skip)
    total = len({cell.spec.key for cell in cells})
    done = total - len(todo) - sum(skipped.values())
    print(f"{total} cells: {len(todo)} to run, {done} done before, {sum(skipped.values())} do not apply")
    for reason, count in sorted(skipped.items()):
        print(f"  {count} skipped: {reason}")
    sys.stdout.flush()


def closing_words(cells: Sequence[Cell], store: Store, out: str, *, interrupted: bool) -> int:
    records = [store.get(key) for key in dict.fromkeys(cell.spec.key for cell in cells)]
    counts = Counter(record["status"] if record else "not run" for record in records)
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) + f"; records in {out}/runs")
    if interrupted:
        print("interrupted; the same command resumes where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    if set(counts) - {"ok", "skipped"}:
        print(f"some cells failed: python -m bench status --out {out}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def device_of(wanted: str) -> str:
    if wanted == "cpu":
        return "cpu"
    # torch takes seconds to import: only ask it where a driver is installed
    has_driver = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()
    if wanted == "auto" and not has_driver:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu or install a CUDA build")
    return "cpu"


def warn_of_broken(found: Registry) -> None:
    for where, reason in found.broken.items():
        print(f"warning: {where} is left out: {reason}", file=sys.stderr)
