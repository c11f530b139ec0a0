"""What a piece of work costs: CPU seconds and peak resident memory, measured together."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.run.meter import Meter


@dataclass(frozen=True)
class Cost:
    """cpu_s: CPU seconds of all threads, median over rounds; peak_mib: resident memory above what was there before."""

    cpu_s: float
    peak_mib: float


def measure(work: Callable[[], Any], *, enough_s: float = 0.5, most_rounds: int = 5) -> Cost:
    """Repeat ``work`` until ``enough_s`` CPU seconds are spent or the rounds are over; rounds of at least 20 ms.

    The first round warms up, tells the memory, and counts as a time only where it is the only one: with
    ``most_rounds`` 0, or where it took two seconds, in which nobody sees a start.
    """
    first, peak = peak_mib_of(work)
    number = max(1, int(0.02 / max(first, 1e-6)))
    spent: list[float] = []
    while len(spent) < most_rounds and first < 2 and (not spent or first + number * sum(spent) < enough_s):
        start = time.process_time()
        for _ in range(number):
            work()
        spent.append((time.process_time() - start) / number)
    return Cost(statistics.median(spent) if spent else first, peak)


def peak_mib_of(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds and peak MiB of one run."""
    gc.collect()
    _release_free_memory()
    meter = Meter()
    with meter.peak_memory("peak"), meter.phase("work"):
        work()
    return meter.phases["work"]["cpu_s"], meter.memory["peak"]


def note_peak(benchmark: Any, work: Callable[..., Any], *arguments: Any) -> None:
    """Peak memory next to the times of pytest-benchmark; a plain test run does not repeat the work for it."""
    if benchmark.enabled:
        benchmark.extra_info["peak_mib"] = round(peak_mib_of(lambda: work(*arguments))[1], 1)


def _release_free_memory() -> None:
    """Give freed memory back to the system: the work would take it from there, and none would be seen to be used."""
    with contextlib.suppress(OSError, AttributeError):  # only the GNU C library has malloc_trim
        ctypes.CDLL("libc.so.6").malloc_trim(0)
