"""A user's file of data, read into arrays: npz as it is, csv and parquet by columns named in one line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, MissingData

PARTS = ("x", "y", "task", "sample", "z", "aux", "labels")
USUAL = {part: (part, f"{part}[0-9]*", f"{part}_*") for part in ("x", "y", "z", "aux")} | {
    part: (part,) for part in ("task", "sample", "labels")
}
"""Columns of a table that are read where none are named: x0, x1, … or x_mass, …; y, y_solubility; task; …"""

WIDE = ("x", "y", "z", "aux")
SUFFIXES = (".npz", ".csv", ".parquet")


@dataclass(frozen=True)
class Contents:
    """What the file holds; x is there always, the rest may be None.

    x        (n, d_x) numbers, (n, steps, p) sequences or (n, c, h, w) uint8 images
    y        (n,) or (n, T) with NaN where a target was not measured; (m,) in long format, that is, with ``sample``
    task     (n,) or, in long format, (m,): which task y belongs to; numbers or words
    sample   (m,) row of x that y[i] was measured for
    z        (n, d_z) true latent factors
    aux      (n,), (n, k) auxiliary variable; words or whole numbers are categories
    labels   (n,) classes
    """

    x: NDArray[Any]
    y: NDArray[Any] | None = None
    task: NDArray[Any] | None = None
    sample: NDArray[Any] | None = None
    z: NDArray[Any] | None = None
    aux: NDArray[Any] | None = None
    labels: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        n = len(self.x)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if value.dtype == object:
                raise BadData(f"{field.name} mixes numbers and words; make it one or the other")
            long = self.sample is not None and field.name in ("y", "task", "sample")
            expected = len(self.sample) if long and self.sample is not None else n
            if len(value) != expected:
                beside = "sample" if long else "x"
                raise BadData(f"{field.name} has {len(value)} rows, expected {expected} as in {beside}")
            if field.name in ("x", "y", "z") and not np.issubdtype(value.dtype, np.number):
                raise BadData(f"{field.name} must be numbers, not {value.dtype}")
            if field.name != "y" and np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
                row = int((~np.isfinite(value.reshape(len(value), -1))).any(axis=1).argmax())
                raise BadData(f"{field.name} has no number in row {row}; fill it or leave the row out")


def read(path: str | Path, columns: str = "") -> Contents:
    """The arrays of a file.

    columns   for csv and parquet: ``x=f*,mass y=t1,t2 task=assay z=z*``, names or patterns
    Raises MissingData where the file is not there, BadData, naming the array or column, where it cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingData(f"'{path}' does not exist; give the path of an npz, csv or parquet file")
    if path.suffix not in SUFFIXES:
        raise BadData(f"'{path}': files ending in {', '.join(SUFFIXES)} are read, not '{path.suffix}'")
    try:
        if path.suffix == ".npz":
            if columns:
                raise BadData("columns are named for csv and parquet; an npz file has arrays by those names")
            return Contents(**_arrays(path))
        return Contents(**_columns(_table(path), columns))
    except BadData as error:
        raise BadData(f"'{path}': {error}") from None


def content_hash(path: str | Path) -> str:
    """sha256 of the file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            names = list(file)
            strange = sorted(set(names) - set(PARTS))
            if strange:
                raise BadData(f"nobody reads its array '{strange[0]}'; the names are {', '.join(PARTS)}")
            if "x" not in names:
                raise BadData(f"has no array x, only {', '.join(names) or 'nothing'}")
            return {name: file[name] for name in names}
    except (ValueError, OSError) as error:
        raise BadData(f"is no npz file of plain arrays: {error}") from None


def _table(path: Path) -> Any:
    import pandas as pd

    try:
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except ImportError:
        raise BadData("reading parquet needs a package: pip install pyarrow") from None
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise BadData(f"cannot be read as {path.suffix.lstrip('.')}: {error}") from None


def _columns(table: Any, line: str) -> dict[str, NDArray[Any]]:
    names = [str(name) for name in table.columns]
    wanted = _parsed(line) if line else USUAL
    found: dict[str, NDArray[Any]] = {}
    for part, patterns in wanted.items():
        chosen = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
        if line:
            for pattern in patterns:
                if not any(fnmatchcase(name, pattern) for name in names):
                    raise BadData(f"no column '{pattern}' for {part}; there are {', '.join(names)}")
        if not chosen:
            continue
        if part not in WIDE and len(chosen) > 1:
            raise BadData(f"{part} is one column, not {', '.join(chosen)}")
        values = table[chosen].to_numpy() if len(chosen) > 1 or part in ("x", "z") else table[chosen[0]].to_numpy()
        found[part] = values.astype(str) if values.dtype == object and part not in ("x", "y", "z") else values
        if values.dtype == object and part in ("x", "y", "z"):
            raise BadData(f"{part} must be numbers: look at the columns {', '.join(chosen)}")
    if "x" not in found:
        raise BadData(f"no columns x0, x1, … in it; name them: --columns 'x=a,b y=c', of {', '.join(names)}")
    return found


def _parsed(line: str) -> Mapping[str, Sequence[str]]:
    parts: dict[str, list[str]] = {}
    for word in line.split():
        part, equals, names = word.partition("=")
        if not equals or part not in PARTS or not names:
            raise BadData(f"--columns: '{word}' is not PART=COLUMN,COLUMN with a part of {', '.join(PARTS)}")
        parts.setdefault(part, []).extend(name for name in names.split(",") if name)
    if "x" not in parts:
        raise BadData("--columns names no x")
    return parts
