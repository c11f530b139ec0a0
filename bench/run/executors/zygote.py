"""The process all cells are forked from: it has imported what is slow to import, no learner, and knows no cell.

It is asked through a socket and ends when that closes, or when whoever started it is killed, also in the middle of an
import; everything it has forked ends with it, and so does the scratch folder.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.run.executors.confine import Fence, adopt_orphans
from bench.run.executors.describe import describe
from bench.run.executors.subtree import children, end
from bench.run.executors.supervisor import fork, supervise

POLL_S = 0.1
PATIENCE_S = 8.0


class Zygote:
    """Serves requests: {"do": "import", "modules": […]}; "cell" and "describe", each with a socket to speak through."""

    def __init__(self, control: socket.socket, closed: list[str], scratch: Path, *, on_node: bool) -> None:
        self.control, self.scratch = control, scratch
        self.fence = Fence([Path(path) for path in closed], self.scratch, web=on_node)
        self.ours: dict[int, str] = {}

    def run(self) -> None:
        """Serve until the other end closes, then end everything."""
        try:
            self.control.sendall(json.dumps({"scratch": str(self.scratch)}).encode())
            while True:
                ready, _, _ = select.select([self.control], [], [], POLL_S)
                self._collect()
                if ready and not self._serve():
                    return
        finally:
            self._finish()

    def _serve(self) -> bool:
        data, handles, _, _ = socket.recv_fds(self.control, 2**20, 1)
        if not data:
            return False
        request = json.loads(data)
        answer: dict[str, Any] = {}
        if request["do"] == "import":
            for module in request["modules"]:
                # what cannot be imported fails again in the cell that needs it, and its record says why
                with contextlib.suppress(Exception):
                    importlib.import_module(module)
        else:
            answer["pid"] = self._fork(request, socket.socket(fileno=handles[0]))
        self.control.sendall(json.dumps(answer).encode())
        return True

    def _fork(self, request: dict[str, Any], connection: socket.socket) -> int:
        with connection:
            fence, scratch = self.fence, self.scratch

            def body() -> None:
                if request["do"] == "cell":
                    supervise(connection, fence, scratch)
                describe(connection, fence, scratch)

            pid = fork(body, 2, {connection.fileno()} | fence.handles())
        self.ours[pid] = request["do"]
        return pid

    def _collect(self) -> None:
        """Note who has ended; a child nobody here forked is what a supervisor that was killed has left behind."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self.ours.pop(found[0], None)
        end(pid for pid in _own_children() if pid not in self.ours)

    def _finish(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid, kind in self.ours.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM if kind == "cell" else signal.SIGKILL)
        give_up = time.monotonic() + PATIENCE_S
        while _own_children():
            self._collect()
            if time.monotonic() > give_up:
                end(_own_children())
            time.sleep(0.005)


def _own_children() -> list[int]:
    return children(os.getpid())


def main(arguments: list[str]) -> None:
    """``arguments``: number of the control socket; as JSON closed paths, places for a scratch folder, whether this is a
    node of a cluster.

    Whoever starts this has asked the kernel for SIGTERM at the end of its parent before anything was imported.
    """
    handle, closed, places, on_node = arguments
    for number in (signal.SIGINT, signal.SIGHUP):  # the process that asks decides what they end
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    control = socket.socket(fileno=int(handle))
    scratch: Path | None = None
    error = ""
    for place in json.loads(places):
        try:
            scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=place))
            break
        except OSError as reason:
            error = error or f"no temporary folder can be made in '{place}': {reason.strerror}; set TMPDIR"
    if scratch is None:
        control.sendall(json.dumps({"error": error}).encode())
        return
    # some packages make files when they are imported
    os.environ["TMPDIR"], tempfile.tempdir = str(scratch), None
    try:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        with contextlib.suppress(SystemExit):
            Zygote(control, json.loads(closed), scratch, on_node=json.loads(on_node)).run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)  # taking down an interpreter with torch in it can take seconds, for which somebody may wait
