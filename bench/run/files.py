"""Files written whole or not at all, and read with one line where they are damaged."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from bench.errors import UsageError
from bench.run.wire import strict_json

ADVICE = {
    errno.ENOSPC: "; make room and run the same command again",
    errno.EDQUOT: "; make room and run the same command again",
    errno.EROFS: "; give another --out",
    errno.EACCES: "; give another --out",
}


class Damaged(UsageError):
    """A file of ours that cannot be understood."""


def write_json(path: str | Path, value: Any) -> None:
    # allow_nan=False: NaN is not JSON, and a record must say why a number is missing
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write aside, then rename: a reader sees the old file or the new one, never a part."""
    data = text.encode("utf-8", "backslashreplace")
    write_aside(path, lambda file: file.write(data))


def write_aside(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Have a file written under another name, then renamed; nothing is left where that fails.

    Raises UsageError where the folder takes no file: it is read-only, or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            advice = ADVICE.get(error.errno or 0, "")
            raise UsageError(f"'{path}' cannot be written: {error.strerror or error}{advice}") from None
        raise


def read_json(path: Path) -> dict[str, Any]:
    """A file that holds a JSON object; raises Damaged for one that holds anything else, or cannot be read."""
    try:
        value = strict_json(path.read_bytes().decode("utf-8"))
    except (ValueError, OSError, MemoryError) as error:
        said = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())[:120]
        raise Damaged(f"{path} is damaged ({said})") from None
    if not isinstance(value, dict):
        raise Damaged(f"{path} is damaged (it holds a {type(value).__name__}, not an object)")
    return value
