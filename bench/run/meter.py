"""Meters as context managers: wall and CPU time of each phase, peak resident memory, peak device memory."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 2**20


class Meter:
    """Collects phase times (seconds) and memory (MiB) of one cell's process.

    Times are taken after the device has finished its queue. CPU time counts all threads of the process.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.phases: dict[str, dict[str, float]] = {}
        self.memory: dict[str, float] = {}
        self._peak = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block as phase ``name``; times of one name add up."""
        self._synchronise()
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self._synchronise()
            spent = self.phases.setdefault(name, {"wall_s": 0.0, "cpu_s": 0.0})
            spent["wall_s"] += time.perf_counter() - wall
            spent["cpu_s"] += time.process_time() - cpu

    @contextmanager
    def peak_memory(self, name: str) -> Iterator[None]:
        """Peak resident memory of the block above what was resident before it, as ``memory[name]`` in MiB."""
        torch = _torch_on(self.device)
        if torch:
            torch.cuda.reset_peak_memory_stats()
        self.peak_so_far()
        before = resident_mib()
        with _PeakResident() as peak:
            try:
                yield
            finally:
                self.memory[name] = max(0.0, peak.read() - before)
                self._peak = max(self._peak, peak.read())
                if torch:
                    self.memory["device_peak_mib"] = torch.cuda.max_memory_allocated() / MIB

    def peak_so_far(self) -> float:
        """Peak resident memory of the process, in MiB; survives the resets of ``peak_memory``."""
        self._peak = max(self._peak, resident_mib(), _high_water_mark_mib())
        return self._peak

    def _synchronise(self) -> None:
        torch = _torch_on(self.device)
        if torch:
            torch.cuda.synchronize()


def resident_mib() -> float:
    """Resident memory of this process now, in MiB."""
    import psutil

    return float(psutil.Process().memory_info().rss) / MIB


def _torch_on(device: str) -> Any:
    """torch if the device is a GPU and torch is in use; never imports it."""
    return sys.modules.get("torch") if device == "cuda" else None


class _PeakResident:
    """Peak resident memory of a block: the kernel's high-water mark where it can be reset, else a sampling thread."""

    def __enter__(self) -> _PeakResident:
        self._kernel = _reset_high_water_mark()
        self._peak = resident_mib()
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
            return _high_water_mark_mib()
        return max(self._peak, resident_mib())

    def _sample(self) -> None:
        while not self._done.wait(0.01):
            self._peak = max(self._peak, resident_mib())


def _reset_high_water_mark() -> bool:
    """Linux: writing 5 to clear_refs sets VmHWM back to the present size (man 5 proc)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _high_water_mark_mib() > 0
    except OSError:
        return False


def _high_water_mark_mib() -> float:
    """VmHWM where the kernel tells it, else 0."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
