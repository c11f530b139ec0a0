"""Watches one cell: a process that holds the truth, a process that learns, and whatever they start.

    supervisor ─┬─ scorer    loads the data, hands the TrainView over, scores; never imports a learner
                └─ learner   imports and runs the learner; was forked before the cell was known, in a session and a
                             scratch folder of its own, behind a fence (``confine``)

The supervisor knows the limits of the cell and nothing of its data. It ends both processes, and all that they have
started, when the cell is done, at its limits, and when whoever asked for the cell goes away.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from bench.run import provenance
from bench.run.cell import Job, Stored, run_cells
from bench.run.executors.confine import (
    Fence,
    adopt_orphans,
    close_all_but,
    die_with_parent,
    hide_memory,
    limit_memory,
    no_cores,
)
from bench.run.executors.subtree import descendants, end_all_below, weight_mib
from bench.run.learning import RemoteLearning, limit_threads, serve
from bench.run.wire import Channel, Closed, Malformed

POLL_S = 0.05
LOG_BYTES, LOG_LINES, LOG_WIDTH = 2**16, 30, 500
LEARNER_GONE = 77  # exit code of a scorer that finds nobody at the other end
ANY_SIZE = 2**40  # of messages that come from the harness itself


@dataclass(frozen=True)
class Limits:
    """Of one cell: wall seconds, and MiB of all its processes together."""

    timeout_s: float
    memory_mib: float


def supervise(control: socket.socket, fence: Fence, scratch: Path) -> NoReturn:
    """Body of a supervisor's process: run the job that comes through ``control``, answer with its records."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    adopt_orphans()
    die_with_parent(signal.SIGTERM)
    folder = Path(tempfile.mkdtemp(prefix="c", dir=scratch))
    try:
        _Cell(Channel(control, ANY_SIZE), fence, folder).run()
    except (Closed, Malformed, SystemExit):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_all_below(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


class _Cell:
    def __init__(self, control: Channel, fence: Fence, folder: Path) -> None:
        self.control = control
        near, far = socket.socketpair()
        self.output, writing = os.pipe()
        # forked first: nothing that this process learns of the cell is in the learner's memory
        self.learner = fork(lambda: _learn(far, fence, folder), writing, {far.fileno()} | fence.handles())
        order = control.receive()
        self.job, self.limits = _job_of(order.values)
        limit_memory(self.learner, self.limits.memory_mib)
        report, sending = socket.socketpair()
        size = int(self.limits.memory_mib * 2**20)
        learner, job = self.learner, self.job
        self.scorer = fork(
            lambda: _score(job, order.arrays, Channel(near, size), learner, Channel(sending, size)),
            writing,
            {near.fileno(), sending.fileno()},
        )
        limit_memory(self.scorer, self.limits.memory_mib)
        for unused in (near, far, sending):
            unused.close()
        os.close(writing)
        self.report = Channel(report, size)
        self.started = time.monotonic()
        self.log = b""
        self.done = 0
        self.peak_mib = 0.0
        self.ended: dict[int, int] = {}
        self.reason: tuple[str, str] | None = None

    def run(self) -> None:
        """Watch until every cell has a record."""
        listening: list[Any] = [self.control, self.report, self.output]
        while self.report in listening and self.done < len(self.job.specs):
            ready, _, _ = select.select(listening, [], [], POLL_S)
            if self.control in ready:
                self.control.available()  # nothing is said after the job: this is the end, and raises Closed
            if self.output in ready and not self._read_output():
                listening.remove(self.output)
            if self.report in ready and not self._read_report():
                listening.remove(self.report)
            self._collect()
            self._enforce()
            if self.reason:
                break
        if self.done == len(self.job.specs):
            return
        self._collect(patience_s=1.0)
        self._read_output()
        for spec in self.job.specs[self.done :]:
            self._send({**self._death(), "spec": asdict(spec)}, {})

    def _read_output(self) -> bool:
        """Keep the end of what the processes print; False when nobody can print any more."""
        if not select.select([self.output], [], [], 0)[0]:
            return True
        data = os.read(self.output, 2**20)
        self.log = (self.log + data)[-LOG_BYTES:]
        return bool(data)

    def _read_report(self) -> bool:
        """Pass on what the scorer says; False when it has gone."""
        try:
            messages = self.report.available()
        except Closed:
            return False
        except Malformed as error:
            self.reason = ("failed", f"the process that scores sent {error}")
            return True
        for message in messages:
            if message.type == "record":
                self._read_output()
                self._send(self._completed(message.values["record"]), message.arrays)
            else:
                self.control.send("progress", message.values)
        return True

    def _completed(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record with what only the supervisor knows."""
        if record["status"] not in ("ok", "skipped"):
            record["log"] = self._tail()
        if record["status"] == "oom" and self.peak_mib > 0.8 * self.limits.memory_mib:
            record["reason"] = self._too_large()
        return record

    def _send(self, record: dict[str, Any], codes: dict[str, Any]) -> None:
        self.control.send("record", {"index": self.done, "record": record}, codes)
        self.done += 1

    def _collect(self, patience_s: float = 0.0) -> None:
        """Note who has ended; what a learner leaves behind ends with it."""
        give_up = time.monotonic() + patience_s
        while True:
            with contextlib.suppress(ChildProcessError):
                while (found := os.waitpid(-1, os.WNOHANG))[0]:
                    self.ended[found[0]] = found[1]
                    if found[0] == self.learner:
                        end_all_below(os.getpid(), but=[self.scorer])
            if self.reason or {self.scorer, self.learner} <= set(self.ended) or time.monotonic() >= give_up:
                return
            time.sleep(0.002)

    def _enforce(self) -> None:
        allowed = self.limits.timeout_s * len(self.job.specs)
        self.peak_mib = max(self.peak_mib, weight_mib(descendants(os.getpid()), self.limits.memory_mib))
        if time.monotonic() - self.started > allowed:
            self.reason = ("timeout", f"not done after {allowed:g} s; allow more with --timeout")
        elif self.peak_mib > self.limits.memory_mib:
            self.reason = ("oom", self._too_large())

    def _too_large(self) -> str:
        return f"used more than {self.limits.memory_mib:g} MiB; allow more with --memory-limit"

    def _death(self) -> dict[str, Any]:
        """The record, but for its spec, of a cell whose processes ended without one."""
        scorer = self.ended.get(self.scorer)
        if self.reason:
            status, reason = self.reason
        elif scorer is not None and os.waitstatus_to_exitcode(scorer) not in (0, LEARNER_GONE):
            status, reason = how_it_ended("the process that loads the data and scores", scorer)
        elif self.learner in self.ended:
            status, reason = how_it_ended("process", self.ended[self.learner])
        else:
            status, reason = "failed", "the learner's process closed its connection"
        return {
            "status": status,
            "reason": reason,
            "log": self._tail(),
            "phases": {"total": {"wall_s": time.monotonic() - self.started, "cpu_s": 0.0}},
            "memory": {"peak_mib": self.peak_mib},
            "provenance": provenance.finished(self.job.stamp),
        }

    def _tail(self) -> str:
        lines = self.log.decode(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(line[:LOG_WIDTH] for line in lines)


def how_it_ended(who: str, status: int) -> tuple[str, str]:
    """Status and reason of a cell whose process ended with this wait status."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return "failed", f"{who} ended with exit code {code} and no record"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (the system's out-of-memory killer?)" if name == "SIGKILL" else ""
    return "killed", f"{who} ended by {name}{hint}"


def fork(body: Callable[[], None], output: int, kept: set[int]) -> int:
    """A child that runs ``body`` in this process' image with no descriptors but ``kept``, and prints to ``output``."""
    # a signal that comes while Python forks is raised where nobody hears it, and lost
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return pid
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        for stream in (1, 2):
            os.dup2(output, stream)
        close_all_but(kept)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 -- for the life of the process
        sys.stdout = open(1, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        die_with_parent()
        no_cores()
        body()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 -- the child must never run on into its parent's code
        with contextlib.suppress(BaseException):
            sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        os._exit(code & 0xFF)


def enclose(fence: Fence, folder: Path) -> None:
    """From here on this process is a plugin's: a session, a working folder and temporary files of its own."""
    os.setsid()
    os.chdir(folder)
    os.environ |= dict.fromkeys(("TMPDIR", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"), str(folder))
    tempfile.tempdir = None
    fence.enter(folder)


def _learn(connection: socket.socket, fence: Fence, folder: Path) -> None:
    enclose(fence, folder)
    serve(Channel(connection, ANY_SIZE))


def _score(job: Job, codes: dict[str, Any], learner: Channel, pid: int, report: Channel) -> None:
    os.setsid()
    hide_memory()
    limit_threads(job.threads)

    def progress(fraction: float, message: str = "") -> None:
        report.send("progress", {"fraction": min(1.0, max(0.0, fraction)), "message": message[:200]})

    try:
        learning = Stored(codes) if codes else RemoteLearning(learner, pid, progress)
        for outcome in run_cells(job, learning, progress=progress):
            report.send("record", {"record": outcome.record}, outcome.codes)
    except Closed:
        sys.exit(LEARNER_GONE)


def _job_of(values: dict[str, Any]) -> tuple[Job, Limits]:
    return Job.from_json(values["job"]), Limits(**values["limits"])
