"""MPI3D's files: an npz of 12 GB with one array of images in the order of the factors, read by rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.api import BadData
from datasets.images.grid import Factor, Int64, UInt8, check_all, in_blocks, unravelled
from datasets.npz import members

SIDE = 64
FACTORS = (
    Factor("object colour", 6, "category"),
    Factor("object shape", 6, "category"),
    Factor("object size", 2),
    Factor("camera height", 3),
    Factor("background colour", 3, "category"),
    Factor("horizontal axis", 40),
    Factor("vertical axis", 40),
)
FULL = 1_036_800


class Mpi3d:
    """The file: all 1,036,800 images, or some of them and an array ``rows`` (n,) of their places among all."""

    side = SIDE

    def __init__(self, path: Path, label: str = "") -> None:
        self.path, self.label = path, label or path.name
        with members(path, label) as file:
            with file.open("images") as images:
                images.require((None, SIDE, SIDE, 3), "u", "uint8", FULL)
                n = images.shape[0]
            rows = np.arange(n)
            if "rows" in file.names:
                with file.open("rows") as stored:
                    stored.require((n,), "iu", "whole numbers", FULL)
                    rows = stored.all().astype(np.int64)
            elif n != FULL:
                raise BadData(
                    f"{self.label}: {n:,} images, not {FULL:,}; a part says which in an array 'rows' (docs/images.md)"
                )
        if n and not 0 <= rows.min() <= rows.max() < FULL:
            raise BadData(f"{self.label}: rows must be from 0 to {FULL - 1}; found {rows.min()} to {rows.max()}")
        self.index: Int64 = unravelled(rows, FACTORS)

    def blocks(self, rows: Int64) -> Iterator[UInt8]:
        """As of ``Pictures``."""
        with members(self.path, self.label) as file, file.open("images") as images:
            for some in in_blocks(rows):
                yield images.rows(some)
            if len(rows) == len(self.index):
                images.end()


def check_file(path: Path, label: str = "") -> int:
    """Read all of a file with every check; returns its number of images. Raises BadData."""
    return check_all(Mpi3d(path, label), path)
