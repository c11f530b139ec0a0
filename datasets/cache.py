"""The folder for downloads and computed features, and arrays stored in it. An accelerator only: losing it costs time.

``BENCH_CACHE`` overrides the place; else it is the platform's cache folder. Nothing here raises because
the folder cannot be written: the caller computes again instead.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[np.generic]]

FOLDER = "identifiability-bench"


def cache_dir() -> Path:
    """``$BENCH_CACHE``, or the user's cache folder by the platform's convention; it need not exist yet."""
    if chosen := os.environ.get("BENCH_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / FOLDER / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / FOLDER
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / FOLDER


LARGE = 10**9
"""Bytes of a file from which on its checksum is remembered: 12 GB take half a minute, in every cell."""


def remembered_digest(path: Path, digest: str | None = None) -> str:
    """The sha256 stored for a large file of this place, size and time of change, or ""; stores ``digest`` if given.

    An accelerator as all here: ``verify`` forgets it first (digest ""), and reads the file.
    """
    status = path.stat()
    if status.st_size < LARGE:
        return ""
    key = f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    place = cache_dir() / "digests" / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
    with contextlib.suppress(OSError):
        if digest is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f"{place.name}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
            temporary.write_text(digest, encoding="ascii")
            os.replace(temporary, place)
        return place.read_text(encoding="ascii", errors="replace")[:64]
    return digest or ""


def _place(kind: str, key: Mapping[str, Any]) -> Path:
    text = json.dumps(dict(key), sort_keys=True, separators=(",", ":"))
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return cache_dir() / "features" / f"{kind}-{digest}.npz"


def load_arrays(kind: str, key: Mapping[str, Any]) -> Arrays | None:
    """The arrays stored under ``key`` (JSON values), or None where there are none or the file is damaged."""
    import numpy as np

    try:
        with np.load(_place(kind, key), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def save_arrays(kind: str, key: Mapping[str, Any], arrays: Arrays) -> None:
    """Store arrays under ``key``; the file appears whole or not at all, also when several processes write it."""
    import numpy as np

    path = _place(kind, key)
    temporary = path.with_name(f"{path.stem}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
