"""Who runs a cell: two runs on one results folder share the work, and one takes over what the other leaves.

A claim is a file named after the cell that says who holds it: machine, process, and how long the holder is believed
without a sign of life. A holder renews its claims; a claim that is not renewed, or whose process on this machine is
gone, is anybody's.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

LEASE_S = 60.0


class Claims:
    """The claims of one run in a results folder."""

    def __init__(self, folder: Path, lease_s: float = LEASE_S) -> None:
        self.folder, self.lease_s = folder, lease_s
        self._me = json.dumps(
            {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), "lease_s": lease_s}
        )
        self._held: set[str] = set()
        self._renewed = time.monotonic()

    def take(self, keys: Iterable[str]) -> bool:
        """Claim all cells, or none where one of them is somebody else's."""
        taken: list[str] = []
        for key in keys:
            if not self._take(key):
                self.release(taken)
                return False
            taken.append(key)
        return True

    def release(self, keys: Iterable[str]) -> None:
        """Give cells back."""
        for key in list(keys):
            self._held.discard(key)
            with contextlib.suppress(OSError):
                self._path(key).unlink()

    def release_all(self) -> None:
        self.release(self._held)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def renew(self) -> None:
        """Show that this run is alive; cheap, and to be called often."""
        if time.monotonic() - self._renewed < self.lease_s / 4:
            return
        self._renewed = time.monotonic()
        for key in self._held:
            with contextlib.suppress(OSError):
                os.utime(self._path(key))

    def _take(self, key: str) -> bool:
        path = self._path(key)
        for _ in range(3):
            try:
                self.folder.mkdir(exist_ok=True)
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            except FileExistsError:
                if not self._is_stale(path):
                    return False
                # of several that find it stale one renames it away, and the file has one new holder
                aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
                with contextlib.suppress(OSError):
                    os.rename(path, aside)
                    aside.unlink()
                continue
            except OSError:
                return True  # a folder that takes no claims is not shared
            with os.fdopen(handle, "w") as file:
                file.write(self._me)
            self._held.add(key)
            return True
        return False

    def _is_stale(self, path: Path) -> bool:
        try:
            age = time.time() - path.stat().st_mtime
            holder = json.loads(path.read_text())
            lease, host, pid = float(holder["lease_s"]), holder["host"], int(holder["pid"])
        except FileNotFoundError:
            return True
        except (OSError, ValueError, TypeError, KeyError):
            return age > self.lease_s  # being written now, or damaged
        if host == socket.gethostname():
            return abs(_started(pid) - float(holder.get("started", 0))) > 2.0
        return age > lease

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.claim"


def _started(pid: int) -> float:
    """When a process of this machine started, which tells it from another that has its number later; 0: it is gone."""
    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, ValueError, OverflowError):
        return 0.0
