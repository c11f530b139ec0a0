"""Brings planned cells to records: shared by the commands that run something."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry as registry_module
from bench.api import Info
from bench.commands.terminal import counted
from bench.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, UsageError
from bench.registry import Registry

if TYPE_CHECKING:
    from bench.run.executors.local import Limits
    from bench.run.executors.pool import Pool
    from bench.run.plan import Cell
    from bench.run.spec import RunSpec
    from bench.run.store import Store

PRELOADED = ("bench.run.cell", "bench.metrics.evaluate", "bench.run.references", "psutil", "threadpoolctl")
TIMEOUT_S = {"smoke": 120.0, "standard": 900.0, "paper": 6 * 3600.0}


@contextmanager
def cell_pool(options: argparse.Namespace, found: Registry) -> Iterator[Pool]:
    """Where cells will run, made before the plan: plugins are imported there to learn their parameters, never here."""
    from bench.run import provenance
    from bench.run.executors.imports import foreign_imports
    from bench.run.executors.pool import Pool
    from bench.run.sources import private_folders

    provenance.software()  # before any code of the cells is imported: this is the code that will run
    with Pool(threads=options.threads, closed=[Path(options.out), *private_folders()]) as pool:
        datasets = [info.origin for info in found.datasets.values()]

        def describe(info: Info) -> Mapping[str, Any]:
            # once, and what the plugin needs before the plugin: it takes seconds to import torch
            pool.preload([*PRELOADED, *foreign_imports([info.origin])])
            if info.origin in datasets and not info.origin.endswith(".py"):
                pool.preload([info.origin] if info.origin.split(".")[0] in registry_module.BUILTIN_PACKAGES else [])
            return pool.describe(info)

        with registry_module.described_by(describe):
            yield pool


def execute(
    options: argparse.Namespace,
    cells: Sequence[Cell],
    store: Store,
    found: Registry,
    pool: Pool,
    *,
    alone: Collection[str] = (),
) -> bool:
    """Bring every cell to a record, running what is not done; True if interrupted.

    alone   keys of cells that share their fit with no other, whatever the options say
    """
    store.put_plan((cell.spec.key, asdict(cell.spec)) for cell in cells)
    todo = still_to_do(cells, store, found, fresh=options.fresh)
    for cell in cells:
        if cell.skip:
            store.put(cell.spec.key, _skipped(cell))
    _announce(cells, todo)
    return bool(todo) and _run_cells(options, todo, store, found, pool, alone)


def _run_cells(
    options: argparse.Namespace,
    todo: Sequence[Cell],
    store: Store,
    found: Registry,
    pool: Pool,
    alone: Collection[str],
) -> bool:
    from bench.commands.display import Display
    from bench.run.cell import job_of
    from bench.run.executors import local
    from bench.run.provenance import usable_cores

    specs = [cell.spec for cell in todo]
    at_once = options.jobs or (1 if specs[0].device == "cuda" else max(1, usable_cores() // options.threads))
    limits = limits_of(options)
    groups = _fitted_together(specs, found, alone) if options.share else [[spec] for spec in specs]
    jobs = [job_of(group, found, threads=options.threads, salt=store.salt) for group in groups]
    with Display(len(specs), at_once) as display, _killed_as_interrupted():
        outcomes = local.run(jobs, pool, at_once=at_once, limits=limits, on_change=display.show)
        try:
            for outcome in outcomes:
                if outcome.codes:
                    store.put_codes(outcome.spec.key, outcome.codes)
                store.put(outcome.spec.key, outcome.record)
                display.done(outcome.spec, outcome.record)
        except KeyboardInterrupt:
            outcomes.close()  # type: ignore[attr-defined]
            return True
    return False


@contextmanager
def _killed_as_interrupted() -> Iterator[None]:
    """``kill`` and a closed terminal end a run as Ctrl-C does: children ended, records kept."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP: the run goes on
            before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fitted_together(specs: Sequence[RunSpec], found: Registry, alone: Collection[str]) -> list[list[RunSpec]]:
    """Cells that differ in the model seed alone, for learners that fit many seeds in one pass; others by themselves."""
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        many = registry_module.fits_many(found.learners[spec.learner])
        same = replace(spec, repetition=0, model_seed=0)
        groups.setdefault(same.key if many and spec.key not in alone else spec.key, []).append(spec)
    return list(groups.values())


def limits_of(options: argparse.Namespace) -> Limits:
    """What one cell may cost, by option or budget."""
    from bench.run.executors.local import Limits

    return Limits(options.timeout or TIMEOUT_S[options.budget], options.memory_limit)


def still_to_do(cells: Iterable[Cell], store: Store | None, found: Registry, *, fresh: bool) -> list[Cell]:
    """The cells to run: not done yet, or done before a plugin brought a metric that they have no value of."""
    added = {info.name for info in found.foreign_metrics()}

    def done(cell: Cell) -> bool:
        record = store.get(cell.spec.key) if store else None
        if record is None or record["status"] != "ok":
            return False
        scores = record.get("metrics", {})
        # metrics of plugins read the true latents: only where MCC has a value would they have one
        has_truth = (scores.get("mcc") or {}).get("value") is not None
        return not has_truth or added <= set(scores)

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
        "provenance": provenance.finished(provenance.stamp("cpu", 1)),
    }


def _announce(cells: Sequence[Cell], todo: Sequence[Cell]) -> None:
    skipped: dict[str, int] = Counter(cell.skip for cell in cells if cell.skip)
    total = len({cell.spec.key for cell in cells})
    done = total - len(todo) - sum(skipped.values())
    apply = "does not apply" if sum(skipped.values()) == 1 else "do not apply"
    print(f"{counted(total, 'cell')}: {len(todo)} to run, {done} done before, {sum(skipped.values())} {apply}")
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


def require_fence() -> None:
    """Raise UsageError where a judged run would not be one: where learners could read its salt."""
    from bench.run.executors.confine import landlock_version

    if not landlock_version():
        raise UsageError(
            "a judged run needs a kernel that closes files to learners (Landlock: Linux 5.13 or later), this one does"
            " not; run it elsewhere, or without --judge"
        )


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
