"""Messages between processes that do not trust each other: JSON and plain arrays, never pickles.

A message is a header and the raw bytes of its arrays::

    length of the header (8 bytes, little-endian)
    {"type": …, "values": {…}, "arrays": [[name, dtype, shape, order], …]}
    bytes of the first array, of the second, …

What comes in is bounded before memory is taken for it, its types are a short list, and its strings can be stored.
"""

from __future__ import annotations

import json
import math
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

LENGTH = struct.Struct("<Q")
MAX_HEADER = 64 * 2**20
MAX_ARRAYS = 64
CHUNK = 2**20
DTYPES = {f"{sign}{kind}" for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8") for sign in "<>"}
DTYPES |= {"|b1", "|i1", "|u1"}

Layout = tuple[str, Any, tuple[int, ...], Any]
"""Of one array: name, dtype, shape, order."""


class Malformed(Exception):
    """What came through the pipe is no message; the text says why."""


class Closed(Exception):
    """The other end is gone."""


@dataclass
class Message:
    """One message: a word for what it is, JSON values, arrays by name."""

    type: str
    values: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


def packed(kind: str, values: Mapping[str, Any], arrays: Arrays) -> Iterator[Any]:
    """The message as buffers to be written one after the other.

    Raises Malformed for arrays of other types than numbers and booleans, ValueError for values JSON has not.
    """
    import numpy as np

    listed, buffers = [], []
    for name, array in arrays.items():
        if array.dtype.str not in DTYPES:
            raise Malformed(f"array '{name}' is of type {array.dtype}, which is not handed over")
        # the layout decides the order in which sums are taken: it is kept, so that no number changes on the way
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        whole = np.asarray(array, order=order)  # type: ignore[call-overload]
        listed.append([name, array.dtype.str, list(array.shape), order])
        buffers.append(whole.reshape(-1, order=order).view(np.uint8).data if whole.size else b"")
    header = json.dumps({"type": kind, "values": values, "arrays": listed}, allow_nan=False).encode()
    yield LENGTH.pack(len(header)) + header
    yield from buffers


class Decoder:
    """Turns bytes, as they come, into messages; ``limit`` is the number of bytes a message may have.

    Raises Malformed, after which nothing more can be read.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._bytes = bytearray()
        self._header: tuple[Message, list[Layout], int] | None = None

    def feed(self, data: bytes) -> list[Message]:
        self._bytes += data
        return list(self._whole())

    @property
    def halfway(self) -> bool:
        """Has a message begun that is not complete?"""
        return bool(self._bytes) or self._header is not None

    def _whole(self) -> Iterator[Message]:
        while True:
            if self._header is None:
                if len(self._bytes) < LENGTH.size:
                    return
                (length,) = LENGTH.unpack_from(self._bytes)
                if length > min(MAX_HEADER, self.limit):
                    raise Malformed(f"a message that says its header has {length} bytes")
                if len(self._bytes) < LENGTH.size + length:
                    return
                self._header = _header(bytes(self._bytes[LENGTH.size : LENGTH.size + length]), self.limit)
                del self._bytes[: LENGTH.size + length]
            message, layout, size = self._header
            if len(self._bytes) < size:
                return
            message.arrays.update(_arrays(memoryview(self._bytes)[:size], layout))
            del self._bytes[:size]
            self._header = None
            yield message


class Channel:
    """Messages over a socket. ``send`` may be called by several threads; only the process that made it may send.

    A child that a learner forks and that runs on into our code ends where it would send: it is nobody's learner.
    """

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self.connection = connection
        self._decoder = Decoder(limit)
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._ready: list[Message] = []

    def send(self, kind: str, values: Mapping[str, Any] | None = None, arrays: Arrays | None = None) -> None:
        """Raises Closed where nobody reads any more."""
        if os.getpid() != self._owner:
            os._exit(1)
        buffers = list(packed(kind, values or {}, arrays or {}))
        try:
            with self._lock:
                for buffer in buffers:
                    self.connection.sendall(buffer)
        except OSError:
            raise Closed from None

    def receive(self) -> Message:
        """The next message; raises Closed at the end, Malformed for what is no message."""
        while not self._ready:
            self._ready += self._decoder.feed(self._more())
        return self._ready.pop(0)

    def fileno(self) -> int:
        return self.connection.fileno()

    def available(self) -> list[Message]:
        """One read from a socket that has something: the messages that are complete now."""
        return self._decoder.feed(self._more())

    def close(self) -> None:
        self.connection.close()

    def _more(self) -> bytes:
        try:
            data = self.connection.recv(CHUNK)
        except OSError:
            raise Closed from None
        if not data:
            raise Closed
        return data


def plain(value: Any, *, depth: int = 50) -> Any:
    """JSON values with strings that UTF-8 can hold and whole numbers that other programs can read.

    Raises Malformed for values nested deeper than ``depth``.
    """
    if depth == 0:
        raise Malformed("values nested too deep")
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {plain(str(key), depth=depth - 1): plain(item, depth=depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth=depth - 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return float("nan") if value.bit_length() > 1000 else float(value)
    return value


def strict_json(text: str | bytes) -> Any:
    """JSON without NaN, infinities and numbers that overflow to them; raises ValueError, also for endless nesting."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is too large a number")
        return value

    try:
        return json.loads(text, parse_constant=refuse, parse_float=number)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _header(text: bytes, limit: int) -> tuple[Message, list[Layout], int]:
    import numpy as np

    def expect(condition: Any, what: str) -> None:
        if not condition:
            raise Malformed(f"a message whose {what}")

    try:
        header = strict_json(text)
    except ValueError as error:
        raise Malformed(f"a message whose header is not JSON: {str(error)[:80]}") from None
    expect(isinstance(header, dict) and set(header) == {"type", "values", "arrays"}, "header lacks its parts")
    expect(isinstance(header["type"], str) and isinstance(header["values"], dict), "header has parts of other types")
    expect(isinstance(header["arrays"], list) and len(header["arrays"]) <= MAX_ARRAYS, "arrays are no short list")
    layout: list[Layout] = []
    size = 0
    for item in header["arrays"]:
        expect(isinstance(item, list) and len(item) == 4, "array is not described by four words")
        name, dtype, shape, order = item
        expect(isinstance(name, str) and dtype in DTYPES and order in ("C", "F"), "array has a strange type")
        whole = isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int and 0 <= n < 2**48 for n in shape)
        expect(whole, "array has a strange shape")
        layout.append((name, np.dtype(dtype), tuple(shape), order))
        size += math.prod(shape) * np.dtype(dtype).itemsize
        expect(size <= limit, f"arrays have more than {limit} bytes")
    return Message(header["type"], plain(header["values"])), layout, size


def _arrays(data: memoryview, layout: list[Layout]) -> Iterator[tuple[str, Any]]:
    import numpy as np

    at = 0
    for name, dtype, shape, order in layout:
        size = math.prod(shape) * dtype.itemsize
        flat = np.empty(math.prod(shape), dtype)
        flat.view(np.uint8)[:] = np.frombuffer(data[at : at + size], np.uint8)
        at += size
        yield name, flat.reshape(shape, order=order)
