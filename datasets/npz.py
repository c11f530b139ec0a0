"""Arrays inside an npz, read by rows: never as a whole, and never a pickle."""

from __future__ import annotations

import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bench.api import BadData
from datasets.sources import BROKEN

PIECE = 1 << 24


class Member:
    """An array of an open npz.

    shape, dtype   as its header says; the rest is read where it is asked for
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream, self._where = stream, where
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise BadData(f"{where}: an array of version {version} of the format, not 1 or 2")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        try:
            self.shape, fortran, self.dtype = read(stream)
        except (TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
            raise BadData(f"{where}: its header is none of an array ({type(error).__name__})") from error
        if self.dtype.hasobject:
            raise BadData(f"{where}: a pickle, which is not loaded; an array of numbers is wanted")
        if fortran and len(self.shape) > 1:
            raise BadData(f"{where}: in Fortran's order; save it with numpy.ascontiguousarray")
        self._at = 0

    def require(self, shape: tuple[int | None, ...], kinds: str, what: str, at_most: int) -> None:
        """Raise BadData for another shape (None: any length) or kind of type ("iu", "f"), and for more rows."""
        fits = len(shape) == len(self.shape) and all(
            want in (None, have) for want, have in zip(shape, self.shape, strict=True)
        )
        if not fits or self.dtype.kind not in kinds or not 0 <= self.shape[0] <= at_most:
            wanted = ", ".join("n" if length is None else str(length) for length in shape)
            raise BadData(
                f"{self._where}: {self.dtype} of shape {self.shape}, expected {what} ({wanted}), "
                f"at most {at_most:,} rows"
            )

    def rows(self, chosen: NDArray[np.int64]) -> NDArray[Any]:
        """Rows (k, …) of ascending numbers, none before those that an earlier call gave.

        What lies between is skipped.
        """
        made = np.empty((len(chosen), *self.shape[1:]), dtype=self.dtype)
        size = made.nbytes // max(len(chosen), 1)
        into = memoryview(made.reshape(-1).view(np.uint8))
        first = 0
        while first < len(chosen):  # rows that follow each other are read at once
            last = first + 1
            while last < len(chosen) and chosen[last] == chosen[last - 1] + 1:
                last += 1
            self._skip((int(chosen[first]) - self._at) * size)
            self._fill(into[first * size : last * size], int(chosen[last - 1]))
            self._at = int(chosen[last - 1]) + 1
            first = last
        return made

    def all(self) -> NDArray[Any]:
        """The whole array, of one dimension at least, and that nothing follows it."""
        array = self.rows(np.arange(self.shape[0]))
        self.end()
        return array

    def end(self) -> None:
        """Raise BadData where bytes follow the last row, or, once all was read, where the checksum differs."""
        if self._stream.read(1):
            raise BadData(f"{self._where}: more bytes than its shape {self.shape} says")

    def _skip(self, count: int) -> None:
        if count < 0:
            raise ValueError("rows must ascend")
        if count:
            self._stream.seek(count, 1)

    def _fill(self, view: memoryview, row: int) -> None:
        done = 0
        while done < len(view):
            piece = self._stream.read(min(PIECE, len(view) - done))
            if not piece:
                raise BadData(f"{self._where}: ends before row {row} of {self.shape[0]}")
            view[done : done + len(piece)] = piece
            done += len(piece)


@contextmanager
def members(path: Path, label: str = "") -> Iterator[Npz]:
    """The arrays of an npz. Raises BadData for what is no archive, or damaged, also while members are read."""
    label = label or path.name
    try:
        with zipfile.ZipFile(path) as archive:
            yield Npz(archive, label)
    except BadData:
        raise
    except BROKEN as error:
        raise BadData(f"{label}: damaged, truncated or no npz ({str(error)[:100]})") from error


class Npz:
    """An open npz: its arrays' names, and each opened by name."""

    def __init__(self, archive: zipfile.ZipFile, label: str) -> None:
        self._archive, self._label = archive, label
        self.names = tuple(name.removesuffix(".npy") for name in archive.namelist())

    @contextmanager
    def open(self, name: str) -> Iterator[Member]:
        """Raises BadData where there is no array of that name."""
        if name not in self.names:
            held = ", ".join(self.names[:6])
            raise BadData(f"{self._label}: no array '{name}' in it, it holds: {held[:100] or 'nothing'}")
        with self._archive.open(f"{name}.npy") as stream:
            yield Member(stream, f"{self._label}: {name}")
