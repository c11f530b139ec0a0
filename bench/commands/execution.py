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
    from bench.run.executors.jobs import Executor, Limits
    from bench.run.plan import Cell
    from bench.run.spec import RunSpec
    from bench.run.store import Store

PRELOADED = ("bench.run.cell", "bench.metrics.evaluate", "bench.run.references", "psutil", "threadpoolctl")
TIMEOUT_S = {"smoke": 120.0, "standard": 900.0, "paper": 6 * 3600.0}


@contextmanager
def cell_pool(options: argparse.Namespace, found: Registry) -> Iterator[Executor[Any]]:
    """Where cells will run, made before the plan: plugins are imported there to learn their parameters, never here."""
    from bench.run import provenance
    from bench.run.executors.imports import foreign_imports

    provenance.software()  # before any code of the cells is imported: this is the code that will run
    with _executor(options) as pool:
        datasets = [info.origin for info in found.datasets.values()]

        def describe(info: Info) -> Mapping[str, Any]:
            # once, and what the plugin needs before the plugin: it takes seconds to import torch
            pool.preload([*PRELOADED, *foreign_imports([info.origin])])
            if info.origin in datasets and not info.origin.endswith(".py"):
                pool.preload([info.origin] if info.origin.split(".")[0] in registry_module.BUILTIN_PACKAGES else [])
            return pool.describe(info)

        with registry_module.described_by(describe):
            yield pool


def _executor(options: argparse.Namespace) -> Executor[Any]:
    from bench.run.executors.local import Pool
    from bench.run.sources import private_folders

    closed = [Path(options.out), *private_folders()]
    if options.executor == "ray":
        from bench.run.executors.on_ray import Nodes

        return Nodes(threads=options.threads, closed=closed, address=options.address)
    if options.address:
        raise UsageError("--address is that of a Ray cluster: give --executor ray as well")
    return Pool(threads=options.threads, closed=closed)


def execute(
    options: argparse.Namespace,
    cells: Sequence[Cell],
    store: Store,
    found: Registry,
    pool: Executor[Any],
    *,
    alone: Collection[str] = (),
) -> bool:
    """Bring every cell to a record, running what is not done; True if interrupted.

    alone   keys of cells that share their fit with no other, whatever the options say
    """
    store.put_plan((cell.spec.key, asdict(cell.spec)) for cell in cells)
    unique = {cell.spec.key: cell for cell in cells}
    todo = [cell.spec for cell in still_to_do(cells, store, found, fresh=options.fresh)]
    rescore = set() if options.fresh else rescored(todo, store, found)
    entries = store.entries()
    for key, cell in unique.items():
        if cell.skip and (key not in entries or entries[key].reason != cell.skip):
            store.put(key, _skipped(cell))
    _announce(cells, len(todo), len(rescore))
    return bool(todo) and _run_cells(options, todo, store, found, pool, rescore, alone)


def _run_cells(
    options: argparse.Namespace,
    specs: Sequence[RunSpec],
    store: Store,
    found: Registry,
    pool: Executor[Any],
    rescore: set[str],
    alone: Collection[str],
) -> bool:
    from bench.commands.display import Display
    from bench.run.cell import job_of
    from bench.run.executors import jobs as executor
    from bench.run.progress import Sharing
    from bench.run.spec import RunSpec

    at_once = options.jobs or pool.at_once(specs[0].device)
    limits = limits_of(options)
    fitted = [spec for spec in specs if spec.key not in rescore]
    groups = _fitted_together(fitted, found, alone) if options.share else [[spec] for spec in fitted]
    groups += [[spec] for spec in specs if spec.key in rescore]
    for name in sorted({spec.learner for spec in specs} | {spec.dataset for spec in specs}):
        if name in found.broken:
            print(f"warning: '{name}' cannot be used, its cells will fail: {found.broken[name]}", file=sys.stderr)
    keep = getattr(options, "keep_codes", False)
    jobs = [job_of(group, found, threads=options.threads, salt=store.salt, keep_codes=keep) for group in groups]
    with Display(len(specs), at_once) as display, _killed_as_interrupted():
        elsewhere = lambda record: display.done(RunSpec.from_dict(record["spec"]), record)  # noqa: E731
        with Sharing(store, rescore=rescore, elsewhere=elsewhere) as sharing:
            sharing.expect(spec.key for spec in specs)
            outcomes = executor.run(
                jobs,
                pool,
                at_once=at_once,
                limits=limits,
                turns=sharing,
                stored=sharing.stored,
                on_change=display.show,
            )
            try:
                for outcome in outcomes:
                    display.done(outcome.spec, sharing.keep(outcome))
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
        many = spec.learner not in found.broken and registry_module.fits_many(found.learners[spec.learner])
        same = replace(spec, repetition=0, model_seed=0)
        groups.setdefault(same.key if many and spec.key not in alone else spec.key, []).append(spec)
    return list(groups.values())


def limits_of(options: argparse.Namespace) -> Limits:
    """What one cell may cost, by option or budget."""
    from bench.run.executors.jobs import Limits

    return Limits(options.timeout or TIMEOUT_S[options.budget], options.memory_limit)


def still_to_do(cells: Iterable[Cell], store: Store | None, found: Registry, *, fresh: bool) -> list[Cell]:
    """The cells to run: not done yet, or done with other metrics than there are now."""
    from bench.run.progress import state_of

    # two paper settings may share a cell: it is run once
    unique = {cell.spec.key: cell for cell in cells}
    done = state_of(store, unique, *_metrics(found)).done if store and not fresh else set()
    return [cell for key, cell in unique.items() if not cell.skip and key not in done]


def rescored(specs: Sequence[RunSpec], store: Store, found: Registry) -> set[str]:
    """Of the cells to run, those that lack nothing but scores: their codes are stored."""
    from bench.run.progress import state_of

    return state_of(store, (spec.key for spec in specs), *_metrics(found)).rescore


def _metrics(found: Registry) -> tuple[dict[str, int], set[str]]:
    """Versions of all metrics by name, and the names of those that plugins bring."""
    versions = {info.name: info.version for info in found.metrics.values()}
    return versions, {info.name for info in found.foreign_metrics()}


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


def _announce(cells: Sequence[Cell], todo: int, rescore: int) -> None:
    skipped: dict[str, int] = Counter(cell.skip for cell in cells if cell.skip)
    total = len({cell.spec.key for cell in cells})
    done = total - todo - sum(skipped.values())
    apply = "does not apply" if sum(skipped.values()) == 1 else "do not apply"
    print(f"{counted(total, 'cell')}: {todo} to run, {done} done before, {sum(skipped.values())} {apply}")
    for reason, count in sorted(skipped.items()):
        print(f"  {count} skipped: {reason}")
    if rescore:
        print(f"  {rescore} of those to run are only scored, with metrics that are new: codes are stored")
    sys.stdout.flush()


def closing_words(cells: Sequence[Cell], store: Store, out: str, *, interrupted: bool) -> int:
    entries = store.entries()
    keys = dict.fromkeys(cell.spec.key for cell in cells)
    counts = Counter(entries[key].status if key in entries else "not run" for key in keys)
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) + f"; records in {out}/runs")
    if interrupted:
        print("interrupted; the same command resumes where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    if set(counts) - {"ok", "skipped"}:
        print(f"some cells failed: python -m bench status --out {out}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def require_fence(options: argparse.Namespace) -> None:
    """Raise UsageError where a judged run would not be one: where learners could read its salt."""
    from bench.run.executors.confine import landlock_version

    if not landlock_version():
        raise UsageError(
            "a judged run needs a kernel that closes files to learners (Landlock: Linux 5.13 or later), this one does"
            " not; run it elsewhere, or without --judge"
        )
    if options.executor == "ray":
        raise UsageError(
            "a judged run keeps its salt on this machine, and a learner on a node may speak to Ray, which knows it; use"
            " --executor local with --shard on several machines"
        )


def device_of(options: argparse.Namespace) -> str:
    """Where learners run, "cpu" or "cuda"; raises UsageError for a device that is not there."""
    wanted: str = options.device
    if wanted == "cpu":
        return "cpu"
    if options.executor == "ray":
        from bench.run.executors.on_ray import cluster_has_gpu

        return "cuda" if wanted == "cuda" or cluster_has_gpu() else "cpu"
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
    """One line for each plugin that cannot be used."""
    for where, reason in found.broken.items():
        print(f"warning: {where} is left out: {reason}", file=sys.stderr)
