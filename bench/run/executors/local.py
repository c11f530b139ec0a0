"""The harness' end of cells on this machine: starts the zygote, asks it for cells, hears what becomes of them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.api import Info
from bench.errors import UsageError
from bench.registry import BrokenPlugin
from bench.run import provenance
from bench.run.cell import Job, Outcome
from bench.run.executors.describe import question
from bench.run.executors.supervisor import ANY_SIZE, Limits
from bench.run.spec import RunSpec
from bench.run.wire import Channel, Closed, Malformed

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ANSWER_S = 120.0
# a socket's path has at most 107 characters, of which multiprocessing takes 33 and we 26
LONGEST_PLACE, SHORT_PLACES = 48, ("/tmp", "/var/tmp", "/dev/shm")

ENDS_WITH_PARENT = """
import ctypes, os, sys
def end_with(parent):
    if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)  # SIGTERM when the parent ends
    if os.getppid() != parent: os._exit(0)
end_with(int(sys.argv.pop(1)))
"""
SHIELD = """
shield = os.getpid()
if os.fork():
    os.wait()
    os._exit(0)
end_with(shield)
"""
BECOMES_ZYGOTE = """
import json
sys.path[:] = json.loads(sys.argv.pop(1))
from bench.run.executors.zygote import main
main(sys.argv[1:])
"""


@dataclass
class Running:
    """A cell under way, as the display shows it: one, or several that are fitted together."""

    job: Job
    channel: Channel
    started: float = field(default_factory=time.monotonic)
    fraction: float = 0.0
    message: str = "starting"
    finished: int = 0
    over: bool = False

    @property
    def specs(self) -> Sequence[RunSpec]:
        return self.job.specs

    def fileno(self) -> int:
        return self.channel.fileno()

    def heard(self) -> list[Outcome]:
        """What has come since: finished cells; sets ``over`` when there will be no more."""
        found: list[Outcome] = []
        try:
            messages = self.channel.available()
        except (Closed, Malformed):
            self.over = True
            return [self._lost(spec) for spec in self.specs[self.finished :]]
        for message in messages:
            if message.type == "record":
                found.append(Outcome(self.specs[self.finished], message.values["record"], message.arrays))
                self.finished += 1
            else:
                self.fraction, self.message = message.values["fraction"], message.values["message"]
        return found

    def _lost(self, spec: RunSpec) -> Outcome:
        self.finished += 1
        return Outcome(
            spec,
            {
                "spec": asdict(spec),
                "status": "killed",
                "reason": "the process that watches the cell was ended from outside",
                "phases": {"total": {"wall_s": time.monotonic() - self.started, "cpu_s": 0.0}},
                "memory": {},
                "provenance": provenance.finished(self.job.stamp),
            },
        )


class Pool:
    """Cells in processes of their own. Close it, or use it in ``with``: no process and no file of it is left then.

    threads   of the numerical libraries in each cell
    closed    files and folders that learners may not read
    on_node   of a Ray cluster: learners do not reach its services; and there is a process between this one and the
              zygote, so that Ray, which kills the children of its workers, leaves the zygote the time to clean up

    Raises UsageError where no process or temporary file can be made.
    """

    def __init__(self, *, threads: int = 1, closed: Sequence[Path] = (), on_node: bool = False) -> None:
        self.threads = threads
        self._closed = [str(path.resolve()) for path in closed]
        self._on_node = on_node
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._imported: set[str] = set()
        self._running: list[Running] = []
        self.scratch = Path()
        """Where the cells' temporary folders are, once it has begun: a learner may read here, not write."""

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        """Start the process that cells are forked from, if it does not run; ``start`` does so when it is asked."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._begin()

    def preload(self, modules: Sequence[str]) -> None:
        """Import modules once, for all cells that are started later; never a learner's."""
        new = [module for module in modules if module not in self._imported]
        if new:
            self._ask({"do": "import", "modules": new})
            self._imported.update(new)

    def start(self, job: Job, limits: Limits, codes: Mapping[str, Any] | None = None) -> Running:
        """Begin a job; what becomes of it is heard from the answer. With ``codes`` it is only scored, not fitted."""
        channel = self._speak("cell")
        # without its spec and info no process could say what it is for: a supervisor that is gone is heard of later
        with contextlib.suppress(Closed):
            channel.send("job", {"job": job.as_json(), "limits": asdict(limits)}, codes)
        running = Running(job, channel)
        self._running.append(running)
        return running

    def ready(self, running: Sequence[Running], seconds: float) -> list[Running]:
        return select.select(running, [], [], seconds)[0]

    def at_once(self, device: str) -> int:
        """How many cells have a place here at a time; one on a GPU."""
        return 1 if device == "cuda" else max(1, provenance.usable_cores() // self.threads)

    def forget(self, running: Running) -> None:
        """Close what is left of a job; one that has not ended is ended."""
        running.channel.close()
        if running in self._running:
            self._running.remove(running)

    def describe(self, info: Info) -> Mapping[str, Any]:
        """Parameters of a plugin and whether it has ``fit_many``; raises BrokenPlugin where it cannot be imported."""
        channel = self._speak("describe")
        channel.connection.settimeout(ANSWER_S)
        try:
            channel.send("question", question(info))
            answer = channel.receive()
        except (Closed, Malformed):
            raise BrokenPlugin(
                f"{info.origin}: the process that imports '{info.name}' ended or did not answer within {ANSWER_S:g} s"
            ) from None
        finally:
            channel.close()
        if answer.type != "done":
            raise BrokenPlugin(str(answer.values.get("reason", ""))[:2000])
        return answer.values

    def close(self) -> None:
        """End all cells and the zygote, and wait until they are gone."""
        for running in list(self._running):
            self.forget(running)
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=20)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _speak(self, kind: str) -> Channel:
        near, far = socket.socketpair()
        with far:
            self._ask({"do": kind}, far.fileno())
        return Channel(near, ANY_SIZE)

    def _ask(self, request: Mapping[str, Any], *handles: int) -> dict[str, Any]:
        for _ in range(2):
            control = self._control or self._begin()
            try:
                socket.send_fds(control, [json.dumps(request).encode()], list(handles))
                answer = control.recv(2**16)
            except OSError:
                answer = b""
            if answer:
                found: dict[str, Any] = json.loads(answer)
                return found
            self.close()
        raise UsageError("the process that starts the cells cannot be started or ends at once; see above for its words")

    def _begin(self) -> socket.socket:
        near, far = socket.socketpair()
        code = ENDS_WITH_PARENT + (SHIELD if self._on_node else "") + BECOMES_ZYGOTE
        search_path = [os.path.abspath(path) for path in sys.path]
        words = [str(os.getpid()), json.dumps(search_path)]
        words += [str(far.fileno()), json.dumps(self._closed), json.dumps(_places()), json.dumps(self._on_node)]
        # a learner on a node of a Ray cluster need not know of the cluster
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, *words],
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise UsageError(f"no process can be started: {error.strerror}") from None
        finally:
            far.close()
        self._control = near
        greeting = near.recv(2**16)
        said = json.loads(greeting or b"{}")
        if "error" in said:
            raise UsageError(str(said["error"]))
        self.scratch = Path(said.get("scratch", ""))
        modules, self._imported = sorted(self._imported), set()
        self.preload(modules)
        return near


def _places() -> list[str]:
    """Where a temporary folder may be made, short names first: a learner's own processes make sockets in it."""
    try:
        usual = [tempfile.gettempdir()]
    except OSError:
        usual = []
    short = [place for place in (*usual, *SHORT_PLACES) if len(place) <= LONGEST_PLACE]
    return list(dict.fromkeys([*short, *usual]))
