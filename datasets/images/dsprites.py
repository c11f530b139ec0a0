"""dSprites' file: an npz with images, and values of the factors. Its member ``metadata`` is a pickle: never opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.images.grid import Factor, Int64, UInt8, check_all, checked_index, in_blocks
from datasets.npz import members

SIDE = 64
FACTORS = (
    Factor("colour", 1, "category"),
    Factor("shape", 3, "category"),
    Factor("scale", 6),
    # the 40 angles run from 0 to 2π, both included: the last image is the first again
    Factor("orientation", 40, "periodic", turn=39),
    Factor("x", 32),
    Factor("y", 32),
)
FULL = 737_280


class DSprites:
    """The file, of all 737,280 images or some of them, in the publisher's layout."""

    side = SIDE

    def __init__(self, path: Path, label: str = "") -> None:
        self.path, self.label = path, label or path.name
        with members(path, label) as file:
            with file.open("latents_classes") as classes:
                classes.require((None, len(FACTORS)), "iu", "whole numbers", FULL)
                index = classes.all()
            with file.open("imgs") as images:
                images.require((len(index), SIDE, SIDE), "u", "uint8", FULL)
        self.index: Int64 = checked_index(index, FACTORS, f"{self.label}: latents_classes")

    def blocks(self, rows: Int64) -> Iterator[UInt8]:
        """As of ``Pictures``; the file holds 0 and 1."""
        with members(self.path, self.label) as file, file.open("imgs") as images:
            for some in in_blocks(rows):
                yield np.minimum(images.rows(some), 1)[..., None] * np.uint8(255)
            if len(rows) == len(self.index):
                images.end()


def check_file(path: Path, label: str = "") -> int:
    """Read all of a file with every check; returns its number of images. Raises BadData."""
    return check_all(DSprites(path, label), path)
