"""Where the files of real datasets are: the harness knows names of sources, the packages beside it know the rest."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bench.errors import unknown
from bench.registry import BUILTIN_PACKAGES, guard_package


class Located(Protocol):
    """A file on this machine: its path, the sha256 of its content, and where it was found."""

    path: Path
    sha256: str
    kind: str


def _sources() -> Any:
    for package in BUILTIN_PACKAGES:
        guard_package(package)
        if importlib.util.find_spec(f"{package}.sources"):
            return importlib.import_module(f"{package}.sources")
    raise ModuleNotFoundError("no package beside bench has a module 'sources'")


def list_sources() -> list[dict[str, Any]]:
    """One row a source: name, url, where it was found, what is missing."""
    rows: list[dict[str, Any]] = _sources().list_sources()
    return rows


def locate(name: str) -> Located:
    """Find a source's file; raises MissingData (message ends with the command that mends it) or BadData."""
    require_known(name)
    located: Located = _sources().locate(name)
    return located


def fetch(name: str, *, progress: Callable[[float, str], None]) -> Path:
    """Download a source from its publisher, verified; returns the file's path."""
    require_known(name)
    path: Path = _sources().fetch(name, progress=progress)
    return path


def verify(name: str) -> str:
    """Check layout and checksum of a source on this machine; one line of what was found. Raises BadData."""
    require_known(name)
    text: str = _sources().verify(name)
    return text


def private_folders() -> list[Path]:
    """Folders of data files and of what datasets have computed from them: no learner's business."""
    folders: list[Path] = _sources().private_folders()
    return folders


def require_known(name: str) -> None:
    """Raise UsageError, with the nearest names, for a source nobody knows."""
    names = [str(row["name"]) for row in list_sources()]
    if name not in names:
        raise unknown("data source", name, names)
