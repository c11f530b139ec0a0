"""3D Shapes' file: HDF5 with images and the values of their factors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import BadData
from datasets.images.grid import BLOCK, Factor, Int64, UInt8, check_all, checked_index

SIDE = 64
FACTORS = (
    Factor("floor hue", 10, "periodic"),
    Factor("wall hue", 10, "periodic"),
    Factor("object hue", 10, "periodic"),
    Factor("scale", 8),
    Factor("shape", 4, "category"),
    Factor("orientation", 15),
)
FIRST = np.array([0.0, 0.0, 0.0, 0.75, 0.0, -30.0])
STEP = np.array([0.1, 0.1, 0.1, 0.5 / 7, 1.0, 60.0 / 14])
"""The file has the factors' values: hues in turns, orientations in degrees."""
FULL = 480_000
MOST = 20_000  # images unpacked at once, 250 MB


class Shapes3D:
    """The file, of all 480,000 images or some of them, in the publisher's layout."""

    side = SIDE

    def __init__(self, path: Path, label: str = "") -> None:
        self.path, self.label = path, label or path.name
        with _file(path, self.label) as file:
            labels = _array(file, "labels", (len(FACTORS),), "f", self.label)[...]
            n = len(_array(file, "images", (SIDE, SIDE, 3), "u", self.label))
        if n != len(labels):
            raise BadData(f"{self.label}: {n} images and {len(labels)} rows of labels")
        steps = (labels - FIRST) / STEP
        places = np.rint(np.where(np.isfinite(steps), steps, -1))
        if (off := ~(np.abs(steps - places) < 0.01)).any():
            row, column = (int(i[0]) for i in np.nonzero(off))
            raise BadData(
                f"{self.label}: labels, row {row}: {labels[row, column]:g} is no {FACTORS[column].name} of 3D Shapes"
            )
        self.index: Int64 = checked_index(places, FACTORS, f"{self.label}: labels")

    def blocks(self, rows: Int64) -> Iterator[UInt8]:
        """As of ``Pictures``. What is stored together is unpacked together, so that runs of rows are read, not single
        ones."""
        with _file(self.path, self.label) as file:
            images = _array(file, "images", (SIDE, SIDE, 3), "u", self.label)
            chunk = images.chunks[0] if images.chunks else 1
            run = min(max(chunk, BLOCK // chunk * chunk), MOST)
            for number in np.unique(rows // run):
                chosen = rows[rows // run == number]
                yield images[number * run : int(chosen[-1]) + 1][chosen - number * run]


def check_file(path: Path, label: str = "") -> int:
    """Read all of a file with every check; returns its number of images. Raises BadData."""
    return check_all(Shapes3D(path, label), path)


@contextmanager
def _file(path: Path, label: str) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:  # a download holds a lock of its own
            yield file
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, MemoryError) as error:
        raise BadData(f"{label}: damaged, truncated or no HDF5 file ({str(error)[:100]})") from error


def _array(file: Any, name: str, shape: tuple[int, ...], kind: str, label: str) -> Any:
    """The dataset (n, *shape) of that name, unread. Raises BadData for others, and where it lies in other files."""
    import h5py

    found = file.get(name) if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise BadData(f"{label}: no dataset '{name}' in it, it holds: {', '.join(list(file)[:6])[:100] or 'nothing'}")
    if found.shape[1:] != shape or found.ndim != 1 + len(shape) or found.dtype.kind != kind or len(found) > FULL:
        wanted = ", ".join(map(str, ("n", *shape)))
        raise BadData(
            f"{label}: {name}: {found.dtype} of shape {found.shape}, expected ({wanted}), at most {FULL:,} rows"
        )
    if kind == "u" and found.dtype != np.uint8:
        raise BadData(f"{label}: {name}: {found.dtype}, expected uint8")
    return found
