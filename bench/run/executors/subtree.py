"""The processes below one: listed, weighed, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil


def descendants(pid: int) -> list[int]:
    """All processes below this one, parents before children."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children(waiting.pop())
        found += below
        waiting += below
    return found


def weight_mib(pids: Iterable[int], limit: float) -> float:
    """Memory of the processes together, in MiB.

    First by what each has had resident at most, which is quick and counts shared pages several times; where that
    passes the limit, by the pages' fair shares, or what the largest process has had by itself.
    """
    these = list(pids)
    most = [_resident_mib(pid) for pid in these]
    if sum(most) <= limit or len(these) < 2:
        return sum(most)
    return max(*most, sum(_share_mib(pid) for pid in these))


def end(pids: Iterable[int]) -> None:
    """Kill these processes, stopping all before the first is killed, so that none forks in between."""
    these = list(pids)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in these:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def end_all_below(pid: int, *, but: Iterable[int] = (), patience_s: float = 5.0) -> None:
    """Kill everything below this process until nothing is left, and collect what has ended.

    Descendants whose parents are gone must be children of ``pid``, see ``confine.adopt_orphans``.
    """
    spared = set(but)
    give_up = time.monotonic() + patience_s
    while time.monotonic() < give_up:
        left = [one for one in descendants(pid) if one not in spared]
        if not left:
            return
        end(left)
        for one in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(one, os.WNOHANG)
        time.sleep(0.002)


def children(pid: int) -> list[int]:
    """The processes this one has started or adopted."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return [] if os.path.isdir("/proc/self") else _children_anywhere(pid)
    for task in tasks:
        try:
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except FileNotFoundError:
            if not _lists_children():
                return _children_anywhere(pid)
        except OSError:
            continue
    return found


def _lists_children() -> bool:
    """Does this kernel list the children of a process (CONFIG_PROC_CHILDREN)?"""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children_anywhere(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _resident_mib(pid: int) -> float:
    """The most that was resident at a time since somebody last asked the kernel to forget it, or now."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)
    except OSError:
        with contextlib.suppress(psutil.Error):
            return float(psutil.Process(pid).memory_info().rss) / 2**20
        return 0.0


def _share_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
    except OSError:
        return _resident_mib(pid)
