"""Runs cells on this machine, each in a process of its own, several at a time.

A cell that crashes, hangs or eats the memory costs that cell alone: the parent watches every child's time and memory,
kills it at its limits, and turns the way it died into a record.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from bench.run import provenance
from bench.run.spec import RunSpec
from bench.run.store import Store

POLL_S = 0.1
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """Of one cell: wall seconds and resident MiB."""

    timeout_s: float
    memory_mib: float


@dataclass
class Running:
    """A process under way, as the display shows it: one cell, or several that are fitted together."""

    specs: Sequence[RunSpec]
    process: Any
    connection: Connection
    log: Path
    started: float = field(default_factory=time.monotonic)
    fraction: float = 0.0
    message: str = "starting"
    records: list[dict[str, Any]] = field(default_factory=list)
    killed_for: tuple[str, str] | None = None
    peak_mib: float = 0.0


def run(
    groups: Sequence[Sequence[RunSpec]],
    store: Store,
    *,
    jobs: int,
    limits: Limits,
    threads: int = 1,
    plugin_files: Sequence[str] = (),
    preload: Sequence[str] = (),
    on_change: Callable[[Sequence[Running]], None] = lambda running: None,
) -> Iterator[tuple[RunSpec, dict[str, Any]]]:
    """Run the cells, ``jobs`` processes at a time; every record is in the store before it is yielded.

    groups   cells that are fitted together share a process; most groups have one cell

    Closing the generator (Ctrl-C does) ends the children; their cells have no record and are run the next time.
    """
    context = _context(threads, preload)
    waiting = list(reversed(groups))
    running: list[Running] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(_start(context, waiting.pop(), store, Path(scratch), threads, plugin_files))
                wait([item.process.sentinel for item in running] + [item.connection for item in running], POLL_S)
                for item in list(running):
                    _receive(item)
                    _enforce(item, limits)
                    if item.process.exitcode is not None:
                        _receive(item)
                        running.remove(item)
                        item.process.join()
                        item.connection.close()
                        records = [*item.records, *_deaths(item, threads)]
                        for spec, record in zip(item.specs, records, strict=True):
                            store.put(spec.key, record)
                            yield spec, record
                on_change(running)
        finally:
            for item in running:
                item.process.kill()
                item.process.join()


def _context(threads: int, preload: Sequence[str]) -> Any:
    # read by numerical libraries when they are first imported, that is, in the fork server
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    root = str(Path(__file__).resolve().parents[3])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])
    if "forkserver" not in mp.get_all_start_methods():
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    os.environ["BENCH_PRELOAD"] = ",".join(preload)
    context.set_forkserver_preload(["bench.run.executors.preload"])
    return context


def _start(
    context: Any, specs: Sequence[RunSpec], store: Store, scratch: Path, threads: int, plugin_files: Sequence[str]
) -> Running:
    receiver, sender = context.Pipe(duplex=False)
    log = scratch / f"{specs[0].key}.log"
    arguments = (sender, [asdict(spec) for spec in specs], str(store.root), str(log), threads, list(plugin_files))
    name = f"{specs[0].dataset}/{specs[0].learner}"
    process = context.Process(target=_child, args=arguments, name=name, daemon=True)
    process.start()
    sender.close()
    return Running(specs, process, receiver, log)


def _child(
    connection: Connection, cells: list[dict[str, Any]], root: str, log: str, threads: int, plugins: Sequence[str]
) -> None:
    """Body of a process: run its cells, send progress and the records through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C ends
    _redirect_output(log)
    _limit_threads(threads)
    last = 0.0

    def progress(fraction: float, message: str = "") -> None:
        nonlocal last
        if time.monotonic() - last > POLL_S:
            last = time.monotonic()
            connection.send(("progress", min(1.0, max(0.0, float(fraction))), str(message)))

    from bench import registry
    from bench.run.cell import run_cells

    found, store = registry.discover(plugins), Store(root)
    specs = [RunSpec.from_dict(values) for values in cells]
    paths = {spec.key: store.codes_path(spec.key) for spec in specs}
    made = run_cells(specs, found, codes_path=lambda spec: paths[spec.key], threads=threads, progress=progress)
    for record in made:
        if record["status"] not in ("ok", "skipped"):
            record["log"] = _tail(Path(log))
        connection.send(("record", record, ""))
    connection.close()


def _redirect_output(log: str) -> None:
    """What libraries print must not tear the display; it goes into the record of a cell that fails."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)


def _limit_threads(threads: int) -> None:
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _receive(item: Running) -> None:
    try:
        while item.connection.poll():
            kind, first, second = item.connection.recv()
            if kind == "record":
                item.records.append(first)
            else:
                item.fraction, item.message = first, second
    except (EOFError, OSError):
        pass


def _enforce(item: Running, limits: Limits) -> None:
    if item.killed_for or len(item.records) == len(item.specs):
        return
    with contextlib.suppress(psutil.Error):
        item.peak_mib = max(item.peak_mib, psutil.Process(item.process.pid).memory_info().rss / 2**20)
    allowed = limits.timeout_s * len(item.specs)
    if time.monotonic() - item.started > allowed:
        item.killed_for = ("timeout", f"not done after {allowed:g} s; allow more with --timeout")
    elif item.peak_mib > limits.memory_mib:
        item.killed_for = ("oom", f"used more than {limits.memory_mib:g} MiB; allow more with --memory-limit")
    if item.killed_for:
        item.process.kill()


def _deaths(item: Running, threads: int) -> list[dict[str, Any]]:
    """Records of the cells whose process ended without one."""
    code = item.process.exitcode
    if item.killed_for:
        status, reason = item.killed_for
    elif code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (the system's out-of-memory killer?)" if name == "SIGKILL" else ""
        status, reason = "killed", f"process ended by {name}{hint}"
    else:
        status, reason = "failed", f"process ended with exit code {code} and no record"
    return [
        {
            "spec": asdict(spec),
            "status": status,
            "reason": reason,
            "log": _tail(item.log),
            "phases": {"total": {"wall_s": time.monotonic() - item.started, "cpu_s": 0.0}},
            "memory": {"peak_mib": item.peak_mib},
            "provenance": provenance.stamp("cpu", threads),
        }
        for spec in item.specs[len(item.records) :]
    ]


def _tail(path: Path, lines: int = 30) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
