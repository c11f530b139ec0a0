"""Published images: every combination of a few factors, once; what each factor is, and what is scored of it.

A linear factor is scored as it is, from -1 to 1. A periodic one goes round, so that no linear map reads it off a code
that is continuous: its sine and cosine are scored. A category is no factor to be linear in: it can be the class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData
from datasets.cache import load_arrays, save_arrays

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]
BLOCK = 1000
"""Images read at a time: 50 MB of the largest ones."""


@dataclass(frozen=True)
class Factor:
    """size     number of values, evenly spaced; they are counted from 0
    kind     "linear", "periodic" or "category"
    turn     values that make one turn of a periodic factor; 0: all, so that the last is a step before the first
    """

    name: str
    size: int
    kind: Literal["linear", "periodic", "category"] = "linear"
    turn: int = 0


class Pictures(Protocol):
    """An opened file.

    index   (n, F) int64: value of each factor, counted from 0
    side    pixels along each side of an image
    """

    index: Int64
    side: int

    def blocks(self, rows: Int64) -> Iterator[UInt8]:
        """The images of ascending rows, in blocks (b, side, side, channels). Raises BadData."""
        ...


def scored(factors: tuple[Factor, ...], index: Int64, *, periodic: bool = True) -> tuple[Float64, tuple[str, ...]]:
    """Latents (n, d) and their names: linear factors, and (``periodic``) sine and cosine of those that go round."""
    columns: list[Float64] = []
    names: list[str] = []
    for value, factor in zip(index.T, factors, strict=True):
        if factor.kind == "linear":
            columns.append(2.0 * value / (factor.size - 1) - 1.0)
            names.append(factor.name)
        elif factor.kind == "periodic" and periodic:
            angle = 2 * np.pi * value / (factor.turn or factor.size)
            columns += [np.sin(angle), np.cos(angle)]
            names += [f"sin {factor.name}", f"cos {factor.name}"]
    return np.column_stack(columns), tuple(names)


def unravelled(rows: Int64, factors: tuple[Factor, ...]) -> Int64:
    """Values (n, F) of the factors of rows of a file in which all combinations follow each other, the last fastest."""
    return np.stack(np.unravel_index(rows, [factor.size for factor in factors]), axis=1).astype(np.int64)


def checked_index(index: NDArray[Any], factors: tuple[Factor, ...], where: str) -> Int64:
    """The values as int64. Raises BadData, naming row and factor, for one that is none of the factor's values."""
    wrong = (index < 0) | (index >= [factor.size for factor in factors])
    if wrong.any():
        row, column = (int(i[0]) for i in np.nonzero(wrong))
        factor = factors[column]
        raise BadData(
            f"{where}: row {row}: {factor.name} has the value {index[row, column]}, not 0 to {factor.size - 1}"
        )
    return index.astype(np.int64)


def shrunk(pixels: UInt8, side: int) -> UInt8:
    """Images (b, c, side, side) of (b, h, h, c), each pixel the mean of the h/side × h/side that it covers."""
    n, height, _, channels = pixels.shape
    k = height // side
    sums = pixels.reshape(n, side, k, side, k, channels).sum(axis=(2, 4), dtype=np.uint32)
    return np.ascontiguousarray(((sums + k * k // 2) // (k * k)).astype(np.uint8).transpose(0, 3, 1, 2))


def read_images(pictures: Pictures, rows: Int64, side: int, sha256: str) -> UInt8:
    """Images (n, c, side, side) of these rows, in their order; kept in the cache, as archives are slow to read in.

    Raises ValueError for a side that does not divide the images' own, and BadData.
    """
    if side < 8 or pictures.side % side:
        raise ValueError(f"side={side!r} must be at least 8 and divide {pictures.side}, the images' own")
    key = {"file": sha256, "rows": hashlib.sha256(rows.tobytes()).hexdigest(), "side": side}
    if (stored := load_arrays("images", key)) is not None:
        return stored["pixels"].astype(np.uint8)
    order = np.argsort(rows, kind="stable")
    small = np.concatenate([shrunk(block, side) for block in pictures.blocks(rows[order])])
    pixels = np.empty_like(small)
    pixels[order] = small
    save_arrays("images", key, {"pixels": pixels})
    return pixels


def in_blocks(rows: Int64) -> Iterator[Int64]:
    """The rows, ``BLOCK`` at a time."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def check_all(pictures: Pictures, path: Path) -> int:
    """Read every image; returns how many there are. Raises BadData."""
    n = sum(len(block) for block in pictures.blocks(np.arange(len(pictures.index))))
    if n != len(pictures.index):
        raise BadData(f"{path.name}: {n} images for {len(pictures.index)} rows of factors")
    return n
