"""What a record must say for anybody to judge it: code, versions, machine, time."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import __version__

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "rdkit", "pandas")


@functools.cache
def software() -> dict[str, Any]:
    """Git revision of the checkout, dirty flag, versions of the packages that numbers depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    revision, dirty = _git()
    return {
        "bench": __version__,
        "git_revision": revision,
        "git_dirty": dirty,
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


def stamp(device: str, threads: int) -> dict[str, Any]:
    """The provenance of one cell."""
    machine = dict(hardware())
    if device == "cuda":
        import torch

        machine["gpu"] = torch.cuda.get_device_name(0)
        machine["class"] = f"{machine['gpu']}; {machine['class']}"
    return {
        **software(),
        "hardware": machine,
        "device": device,
        "threads": threads,
        "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git() -> tuple[str, bool | None]:
    root = Path(__file__).resolve().parents[2]

    def run(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        # what the runs themselves write must not make a clean checkout look changed
        changed = run("status", "--porcelain", "--untracked-files=no", "--", ".", ":!leaderboard")
        return run("rev-parse", "HEAD"), bool(changed)
    except (OSError, subprocess.SubprocessError):
        return "unknown", None


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
