"""Meters as context managers: wall and CPU time of each phase, peak resident memory, peak device memory."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 2**20


class Meter:
    """Collects phase times (seconds) and memory (MiB) of one process: this one, or another by its number.

    Times are taken after the device has finished its queue. CPU time counts all threads of the process, and those of
    its children that have ended. Another process is measured from outside, so that it cannot say less than it took.
    """

    def __init__(self, device: str = "cpu", pid: int | None = None) -> None:
        self.device, self.pid = device, pid
        self.phases: dict[str, dict[str, float]] = {}
        self.memory: dict[str, float] = {}
        self._peak = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block as phase ``name``; times of one name add up."""
        self._synchronise()
        wall, cpu = time.perf_counter(), cpu_seconds(self.pid)
        try:
            yield
        finally:
            self._synchronise()
            spent = self.phases.setdefault(name, {"wall_s": 0.0, "cpu_s": 0.0})
            spent["wall_s"] += time.perf_counter() - wall
            spent["cpu_s"] += max(0.0, cpu_seconds(self.pid) - cpu)

    @contextmanager
    def peak_memory(self, name: str) -> Iterator[None]:
        """Peak resident memory of the block above what was resident before it, as ``memory[name]`` in MiB."""
        self.peak_so_far()
        before = resident_mib(self.pid)
        with _PeakResident(self.pid) as peak:
            try:
                yield
            finally:
                self.memory[name] = max(0.0, peak.read() - before)
                self._peak = max(self._peak, peak.read())

    def peak_so_far(self) -> float:
        """Peak resident memory of the process, in MiB; survives the resets of ``peak_memory``."""
        self._peak = max(self._peak, resident_mib(self.pid), high_water_mark_mib(self.pid))
        return self._peak

    def _synchronise(self) -> None:
        torch = _torch_on(self.device)
        if torch:
            torch.cuda.synchronize()


def cpu_seconds(pid: int | None = None) -> float:
    """CPU seconds of a process and its children that have ended; what is no longer there has used none."""
    if pid is None:
        ended = os.times()
        return time.process_time() + ended.children_user + ended.children_system
    try:
        # the clock of another process has the number that clock_getcpuclockid(3) would give
        own = time.clock_gettime(~pid << 3 | 2)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return own + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return _cpu_seconds_anywhere(pid)


def _cpu_seconds_anywhere(pid: int) -> float:
    import psutil

    try:
        spent = psutil.Process(pid).cpu_times()
        return float(spent.user + spent.system)
    except psutil.Error:
        return 0.0


def resident_mib(pid: int | None = None) -> float:
    """Resident memory of a process (default: this one) now, in MiB; 0 where it is gone."""
    import psutil

    try:
        return float(psutil.Process(pid).memory_info().rss) / MIB
    except psutil.Error:
        return 0.0


def _torch_on(device: str) -> Any:
    """torch if the device is a GPU and torch is in use; never imports it."""
    return sys.modules.get("torch") if device == "cuda" else None


class _PeakResident:
    """Peak resident memory of a block: the kernel's high-water mark where it can be reset, else a sampling thread."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid

    def __enter__(self) -> _PeakResident:
        self._kernel = _reset_high_water_mark(self._pid)
        self._peak = resident_mib(self._pid)
        self._done = threading.Event()
        if not self._kernel:
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def read(self) -> float:
        """Peak so far, in MiB."""
        if self._kernel:
            return high_water_mark_mib(self._pid)
        return max(self._peak, resident_mib(self._pid))

    def _sample(self) -> None:
        while not self._done.wait(0.01):
            self._peak = max(self._peak, resident_mib(self._pid))


def _reset_high_water_mark(pid: int | None) -> bool:
    """Linux: writing 5 to clear_refs sets VmHWM back to the present size (man 5 proc)."""
    try:
        Path(f"/proc/{pid or 'self'}/clear_refs").write_text("5")
        return high_water_mark_mib(pid) > 0
    except OSError:
        return False


def high_water_mark_mib(pid: int | None = None) -> float:
    """VmHWM of a process (default: this one) where the kernel tells it, else 0."""
    try:
        for line in Path(f"/proc/{pid or 'self'}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
