"""What the kernel can keep from a process: files, signals, other processes' memory, and its own endless growth.

A learner's process reads no results, caches and data files, writes nowhere but in its scratch folder, and signals and
traces nobody outside (Landlock, Linux 5.13 and later; signals from 6.12); on a node of a cluster it reaches no service
of the cluster (6.7). Where the kernel offers none of it the
learner still has no truth in its memory, and ``protection`` says what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture

# linux/landlock.h
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
CHANGE_FOLDERS = 0x1FF0  # remove and make: bits 4 to 12
REFER, TRUNCATE = 1 << 13, 1 << 14
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1, 2
CONNECT_TCP, BENEATH, PORT = 2, 1, 2
WEB = (80, 443)
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Port(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


@cache
def landlock_version() -> int:
    """Version of the kernel's Landlock interface; 0 where there is none."""
    if not LINUX:
        return 0
    return max(0, _syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def protection() -> str:
    """What keeps learners from files and processes here, in a word for the record."""
    version = landlock_version()
    return f"process, landlock {version}" if version else "process"


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Be sent a signal when the parent ends (Linux); a parent that has ended before is noticed by the pipes."""
    _prctl(PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose parents end: none of them can leave the subtree (Linux)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def hide_memory() -> None:
    """No other process of the same user may read this one's memory or trace it, and it leaves no core (Linux)."""
    _prctl(PR_SET_DUMPABLE, 0)


class Fence:
    """Files a learner may not read. Made once, before cells are forked; ``enter`` closes it behind the process.

    closed   folders and files whose content is kept from the process; names in them may be listed
    writable folder under which scratch folders are made
    web      the process may connect to the TCP ports of the web alone (Linux 6.7): for a node of a cluster, whose
             services do what anybody tells them
    """

    def __init__(self, closed: Sequence[Path], writable: Path, *, web: bool = False) -> None:
        self._rules: int | None = None
        self._web = web
        if not landlock_version():
            return
        hidden = {os.path.realpath(path) for path in closed}
        self._rules = _ruleset(EXECUTE | READ_FILE | READ_DIR | _writing())
        _allow(self._rules, "/", READ_DIR)
        for path in _open_paths("/", hidden):
            _allow(self._rules, path, EXECUTE | READ_FILE)
        for path in ("/dev", "/proc", os.path.realpath(writable)):
            _allow(self._rules, path, _writing() | READ_FILE)

    def handles(self) -> set[int]:
        """Descriptors that a process needs until it enters."""
        return set() if self._rules is None else {self._rules}

    def enter(self, scratch: Path) -> None:
        """From here on this process and its children write in ``scratch`` alone; there is no way back."""
        if self._rules is None:
            return
        web = self._web and landlock_version() >= 4
        own = _ruleset(_writing(), CONNECT_TCP if web else 0)
        for port in WEB if web else ():
            _syscall(ADD_RULE, own, PORT, ctypes.byref(_Port(CONNECT_TCP, port)), 0)
        for path in ("/dev", "/proc", os.path.realpath(scratch)):
            _allow(own, path, _writing())
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        for rules in (self._rules, own):
            if _syscall(RESTRICT_SELF, rules, 0) != 0:
                raise OSError("the kernel refused to confine the learner")
            os.close(rules)


def limit_memory(pid: int, mib: float) -> None:
    """A ceiling that no allocation passes, for what grows faster than anybody looks (Linux).

    It is above the limit that the supervisor enforces: address space that was there before, thread stacks and arenas
    that are reserved but never used count for the kernel and not for us.
    """
    before = 0.0
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        before = next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmData:"))
    ceiling = int((before + mib + max(512.0, mib / 4)) * 2**20)
    if hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(pid, resource.RLIMIT_DATA, (ceiling, ceiling))


def no_cores() -> None:
    """A process that crashes leaves no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _open_paths(folder: str, hidden: set[str]) -> Iterator[str]:
    """The largest paths under the folder that hold nothing hidden."""
    if folder in hidden:
        return
    if not any(path.startswith(folder.rstrip("/") + "/") for path in hidden):
        yield folder
        return
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(folder)):
            path = os.path.join(folder, entry)
            if not os.path.islink(path):  # what a link leads to is opened, or stays closed, where it lies
                yield from _open_paths(path, hidden)


def _writing() -> int:
    version = landlock_version()
    return WRITE_FILE | CHANGE_FOLDERS | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)


def _ruleset(files: int, net: int = 0) -> int:
    version = landlock_version()
    scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if version >= 6 else 0
    size = 8 if version < 4 else 16 if version < 6 else 24
    made = _syscall(CREATE_RULESET, ctypes.byref(_Ruleset(files, net, scoped)), ctypes.c_size_t(size), 0)
    if made < 0:
        raise OSError("the kernel offers Landlock and makes no ruleset")
    return made


def _allow(rules: int, path: str, access: int) -> None:
    """Add a path, where it is there and the kernel takes it; what is not added stays closed."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            access = access if os.path.isdir(path) else access & ON_FILES
            _syscall(ADD_RULE, rules, BENEATH, ctypes.byref(_Beneath(access, handle)), 0)
        finally:
            os.close(handle)


def _syscall(number: int, *arguments: object) -> int:
    return int(_libc().syscall(ctypes.c_long(number), *arguments))


def _prctl(option: int, value: int) -> None:
    if LINUX:
        _libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor above standard error but those named: a learner inherits no pipe of ours."""
    last = 2
    for handle in sorted({*kept} - {0, 1, 2}):
        os.closerange(last + 1, handle)
        last = handle
    os.closerange(last + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] if not LINUX else 2**20)
