"""What a record must say for anybody to judge it: code, versions, machine, time."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import __version__
from bench.api import Info
from bench.run.executors.confine import protection

ROOT = Path(__file__).resolve().parents[2]
PACKAGES_OF_OURS = ("bench", "datasets", "mtlcm", "baselines")
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "rdkit", "pandas")


@functools.cache
def software() -> dict[str, Any]:
    """Git revision of the checkout, dirty flag, hash of our source, versions of the packages numbers depend on.

    Asked first when a run begins, before any cell is started: it describes the code that cells are going to import,
    and ``edited`` tells whether that is still so.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    _first_look()
    revision, dirty = _git()
    return {
        "bench": __version__,
        "git_revision": revision,
        "git_dirty": dirty,
        "code_sha256": _code_sha256(),
        "python": platform.python_version(),
        "packages": versions,
    }


@functools.cache
def hardware() -> dict[str, Any]:
    """CPU model, cores, memory, operating system; ``class`` groups machines whose times may be compared."""
    import psutil

    cpu = _cpu_model()
    cores = os.cpu_count() or 1
    return {
        "cpu": cpu,
        "cores": cores,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "class": f"{cpu}, {cores} cores",
    }


def stamp(device: str, threads: int, *plugins: Info) -> dict[str, Any]:
    """The provenance of the cells of one job: code, plugins, machine. ``finished`` completes it.

    plugins   whose code is used: each is recorded with its origin and the hash of its file
    """
    return {
        **software(),
        "plugins": {info.name: {"origin": info.origin, "sha256": _hash_of(info)} for info in plugins},
        "hardware": dict(hardware()),
        "isolation": protection(),
        "device": device,
        "threads": threads,
    }


def finished(stamp: Mapping[str, Any], machine: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The provenance of one cell that ends now; ``machine`` is what its process said of its device."""
    hardware = dict(stamp.get("hardware", {}))
    gpu = (machine or {}).get("gpu")
    if isinstance(gpu, str):
        hardware |= {"gpu": gpu, "class": f"{gpu}; {hardware.get('class', '')}"}
    return {**stamp, "hardware": hardware, "finished_utc": datetime.now(UTC).isoformat(timespec="seconds")}


def if_changed(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance, marked as changed and with the files named where source has been edited since the run began."""
    plugins = provenance.get("plugins", {}).values()
    files = [plugin for plugin in plugins if plugin["origin"].endswith(".py")]
    changed = edited() + [plugin["origin"] for plugin in files if _sha256(plugin["origin"]) != plugin["sha256"]]
    if not changed:
        return dict(provenance)
    return {**provenance, "git_dirty": True, "edited_while_running": changed}


def edited() -> list[str]:
    """Source files of ours that are not what they were when this process first looked, by path within the checkout."""
    before, now = _first_look(), _look()
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def usable_cores() -> int:
    """Cores this process may use: what the scheduler's affinity and the cgroup's quota leave of the machine's."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota, period in _cgroup_quotas():
        cores = min(cores, max(1, -(-quota // period)))
    return cores


def _cgroup_quotas() -> Iterator[tuple[int, int]]:
    """Quota and period of every control group this process is in, version 2 and version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        mount = Path("/sys/fs/cgroup" + ("" if not controllers else "/cpu"))
        if controllers and "cpu" not in controllers.split(","):
            continue
        for folder in (mount / group.lstrip("/"), *(mount / group.lstrip("/")).parents):
            if not folder.is_relative_to(mount):
                break
            with contextlib.suppress(OSError, ValueError):
                if controllers:
                    quota = (folder / "cpu.cfs_quota_us").read_text()
                    period = (folder / "cpu.cfs_period_us").read_text()
                else:
                    quota, period = (folder / "cpu.max").read_text().split()
                if int(quota) > 0:
                    yield int(quota), int(period)


def _git() -> tuple[str, bool | None]:
    def run(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        # what the runs themselves write must not make a clean checkout look changed; a file that nobody has added
        # counts where code is looked for
        changed = run("status", "--porcelain", "--untracked-files=no", "--", ".", ":!leaderboard")
        added = run("ls-files", "--others", "--exclude-standard", "--", *(f"{name}/*.py" for name in PACKAGES_OF_OURS))
        return run("rev-parse", "HEAD"), bool(changed or added)
    except (OSError, subprocess.SubprocessError):
        return "unknown", None


@functools.cache
def _first_look() -> dict[str, tuple[int, int]]:
    return _look()


def _look() -> dict[str, tuple[int, int]]:
    """Modification time and size of every source file of ours, by path within the checkout."""
    found = {}
    for path in sources():
        with contextlib.suppress(OSError):
            state = path.stat()
            found[str(path.relative_to(ROOT))] = (state.st_mtime_ns, state.st_size)
    return found


def sources() -> list[Path]:
    """All source files of ours."""
    return sorted(path for name in PACKAGES_OF_OURS for path in (ROOT / name).rglob("*.py"))


@functools.cache
def _code_sha256() -> str:
    """sha256 over names and contents of all source files of ours."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        with contextlib.suppress(OSError):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def _hash_of_file(path: str) -> str:
    return _sha256(path)


def _sha256(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _hash_of(info: Info) -> str:
    if info.origin.endswith(".py"):
        return _hash_of_file(info.origin)
    try:
        spec = importlib.util.find_spec(info.origin)
    except (ImportError, ValueError):
        return ""
    return _hash_of_file(spec.origin) if spec and spec.origin else ""


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
