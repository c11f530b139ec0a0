"""Small NORB's six files: gzipped matrices of images, of their categories, and of instance, camera and light.

A matrix is a magic number that says its type, the number of dimensions, at least three lengths, and the numbers, all in
little-endian order (Huang & LeCun, cs.nyu.edu/~ylclab/data/norb-v1.0-small).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData
from datasets.images.grid import Factor, Int64, UInt8, check_all, checked_index, in_blocks
from datasets.sources import BROKEN

SIDE = 96
FACTORS = (
    Factor("category", 5, "category"),
    Factor("instance", 10, "category"),
    Factor("elevation", 9),
    Factor("azimuth", 18, "periodic"),
    Factor("lighting", 6, "category"),
)
PARTS = ("smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing")
ROWS_OF_PART = 24_300
TYPES = {0x1E3D4C55: "u1", 0x1E3D4C54: "<i4"}
IMAGE_PAIR = (2, SIDE, SIDE)  # of the two cameras; the first one's is taken


class SmallNorb:
    """The training and the testing files together: the split here is random, as in the tables of others.

    path   of the training images, beside which the other five lie; all or some of the rows, the same in dat, cat, info
    """

    side = SIDE

    def __init__(self, path: Path, label: str = "") -> None:
        folder = path.parent
        self.images = (path, folder / f"{PARTS[1]}-dat.mat.gz")
        self.label = label or path.name
        found: list[NDArray[Any]] = []
        self.counts: list[int] = []
        for part, images in zip(PARTS, self.images, strict=True):
            category = _whole(folder / f"{part}-cat.mat.gz", ())
            info = _whole(folder / f"{part}-info.mat.gz", (4,))
            with _matrix(images, IMAGE_PAIR, "u1") as (n, _):
                if not n == len(category) == len(info):
                    raise BadData(f"{part}: {n} images, {len(category)} categories and {len(info)} rows of info")
                self.counts.append(n)
            if (odd := info[:, 2] % 2 != 0).any():
                raise BadData(
                    f"{part}-info.mat.gz: row {int(odd.argmax())}: the azimuth must be even, in tens of degrees"
                )
            found.append(np.column_stack([category, info[:, :2], info[:, 2] // 2, info[:, 3]]))
        self.index: Int64 = checked_index(np.concatenate(found), FACTORS, f"{self.label}, info")

    def blocks(self, rows: Int64) -> Iterator[UInt8]:
        """As of ``Pictures``."""
        start = 0
        for images, count in zip(self.images, self.counts, strict=True):
            wanted = rows[(rows >= start) & (rows < start + count)] - start
            if len(wanted):
                with _matrix(images, IMAGE_PAIR, "u1") as (_, stream):
                    at = 0
                    for some in in_blocks(wanted):
                        pixels = np.empty((len(some), SIDE, SIDE, 1), dtype=np.uint8)
                        for i, row in enumerate(some):
                            _skip(stream, (int(row) - at) * 2 * SIDE * SIDE, images)
                            pair = np.frombuffer(_exactly(stream, 2 * SIDE * SIDE, images), dtype=np.uint8)
                            pixels[i, :, :, 0] = pair.reshape(IMAGE_PAIR)[0]
                            at = int(row) + 1
                        yield pixels
                    if len(wanted) == count and stream.read(1):
                        raise BadData(f"{images.name}: more bytes than its header says")
            start += count


def check_file(path: Path, label: str = "") -> int:
    """Read all six files with every check; returns the number of pairs of images. Raises BadData."""
    return check_all(SmallNorb(path, label), path)


@contextmanager
def _matrix(path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[tuple[int, IO[bytes]]]:
    """Rows of a matrix (n, *shape) and the stream of its numbers. Raises BadData, also while they are read."""
    try:
        with gzip.open(path, "rb") as unpacked:
            stream = cast("IO[bytes]", unpacked)
            magic, ndim = (int(value) for value in np.frombuffer(_exactly(stream, 8, path), dtype="<i4"))
            if TYPES.get(magic) != dtype or ndim != 1 + len(shape):
                raise BadData(f"{path.name}: begins with {magic:#x} and {ndim} dimensions: not this matrix of NORB")
            lengths = np.frombuffer(_exactly(stream, 4 * max(3, ndim), path), dtype="<i4")[:ndim]
            n, rest = int(lengths[0]), tuple(int(length) for length in lengths[1:])
            if rest != shape or not 0 <= n <= ROWS_OF_PART:
                wanted = ", ".join(map(str, ("n", *shape)))
                raise BadData(f"{path.name}: shape {(n, *rest)}, expected ({wanted}), at most {ROWS_OF_PART:,} rows")
            yield n, stream
    except BadData:
        raise
    except BROKEN as error:
        raise BadData(f"{path.name}: damaged, truncated or no gzip file ({str(error)[:100]})") from error


def _whole(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    with _matrix(path, shape, "<i4") as (n, stream):
        numbers = np.frombuffer(_exactly(stream, 4 * n * int(np.prod(shape, dtype=int)), path), dtype="<i4")
        if stream.read(1):
            raise BadData(f"{path.name}: more bytes than its header says")
    return numbers.reshape(n, *shape)


def _exactly(stream: IO[bytes], count: int, path: Path) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise BadData(f"{path.name}: ends {count - len(data)} bytes early")
    return data


def _skip(stream: IO[bytes], count: int, path: Path) -> None:
    while count:
        count -= len(_exactly(stream, min(count, 1 << 20), path))
