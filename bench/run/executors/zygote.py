"""The process all cells are forked from: it has imported what is slow to import, no learner, and knows no cell.

It is asked through a socket and ends when that closes, which is also how it notices that whoever started it was killed;
everything it has forked ends with it, and so does the scratch folder.
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

    def __init__(self, control: socket.socket, closed: list[str], scratch: str) -> None:
        self.control, self.scratch = control, Path(scratch)
        self.fence = Fence([Path(path) for path in closed], self.scratch)
        self.ours: set[int] = set()

    def run(self) -> None:
        """Serve until the other end closes, then end everything."""
        try:
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
        self.ours.add(pid)
        return pid

    def _collect(self) -> None:
        """Note who has ended; a child nobody here forked is what a supervisor that was killed has left behind."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self.ours.discard(found[0])
        end(pid for pid in _own_children() if pid not in self.ours)

    def _finish(self) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while _own_children():
            self._collect()
            if time.monotonic() > give_up:
                end(_own_children())
            time.sleep(0.005)
        shutil.rmtree(self.scratch, ignore_errors=True)


def _own_children() -> list[int]:
    return children(os.getpid())


def main(arguments: list[str]) -> None:
    """``arguments``: number of the control socket, closed paths as JSON, scratch folder."""
    handle, closed, scratch = arguments
    for number in (signal.SIGINT, signal.SIGHUP):  # the process that asks decides what they end
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    Zygote(socket.socket(fileno=int(handle)), json.loads(closed), scratch).run()
    sys.exit(0)
