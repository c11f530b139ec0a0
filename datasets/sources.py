"""Real data: which files there are, where they lie on this machine, and how to get and check them.

A file is looked for in ``$BENCH_DATA/FOLDER/``, then in the download cache (see ``datasets.cache``), where
``fetch`` puts it. Files in ``$BENCH_DATA`` may be subsets in the publisher's layout. Imports the standard library only.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from bench.api import BadData, MissingData, Progress
from datasets.cache import cache_dir, remembered_digest
from datasets.catalogue import SOURCES, Source
from datasets.download import DownloadError, download, file_digest, recorded_sha256

# what zipfile, tarfile and the decompressors raise for bytes that are none of theirs
BROKEN = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, NotImplementedError, RuntimeError, UnicodeError, OverflowError, struct.error),
    *(ValueError, KeyError, IndexError),
)
LARGEST_MEMBER = 4 * 10**9
LARGEST_RATIO = 200
"""Bytes of a member, and how often it may be as large as the archive: tables compress to a tenth, bombs to a 1000th."""


@dataclass(frozen=True)
class Located:
    """A source's file on this machine. ``kind`` is "bench-data" or "cache"; the rest is computed when asked for."""

    name: str
    path: Path
    kind: str

    @property
    def source(self) -> Source:
        return SOURCES[self.name]

    @property
    def label(self) -> str:
        """The path as shown in messages and records: no folder of this machine's user in it."""
        return f"{'$BENCH_DATA' if self.kind == 'bench-data' else 'cache'}/{self.source.folder}/{self.path.name}"

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The file and its companions."""
        return (self.path, *(self.path.with_name(companion.file) for companion in self.source.companions))

    @cached_property
    def sha256(self) -> str:
        """Of the content; of the files' checksums where there are companions. Large files are read once (``cache``).

        Raises BadData where a checksum is recorded beside a file and differs.
        """
        found = [self._sha256_of(path) for path in self.files]
        return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()

    def _sha256_of(self, path: Path) -> str:
        where = f"{self.label.rsplit('/', 1)[0]}/{path.name}"
        try:
            found = remembered_digest(path) or file_digest(path)
            remembered_digest(path, found)
            expected = recorded_sha256(path)
        except OSError as error:
            raise BadData(f"{where}: cannot be read ({error.strerror})") from error
        if expected and expected != found:
            raise BadData(
                f"{where}: sha256 expected {expected}, found {found}; the file is damaged or was changed: delete "
                f"it, then python -m bench data fetch {self.name}"
            )
        return found

    @cached_property
    def rows(self) -> int:
        """Lines of the table below its header, counted without parsing."""
        member = "gdb9.sdf.csv" if self.path.name.startswith("gdb9.") else self.source.table
        with open_member(self.path, member, self.label) as stream:
            lines = 0
            last = b"\n"
            while piece := stream.read(1 << 20):
                lines += piece.count(b"\n")
                last = piece
            return max(lines + (not last.endswith(b"\n")) - 1, 0)

    def describe(self, *, rows: int) -> dict[str, Any]:
        """What the record of a run says about the file: title, row counts, content hash; JSON values."""
        source = self.source
        count = f"{rows:,}" if rows == source.rows_full else f"{rows:,} of {source.rows_full:,}"
        return {
            "title": f"{source.title}, {count} {source.unit}",
            "file": f"{source.folder}/{self.path.name}",
            "found_in": self.kind,
            "sha256": self.sha256,
            "rows": rows,
            "rows_full": source.rows_full,
        }


def list_sources() -> list[dict[str, Any]]:
    """One row a source: what is published, and either where it was ``found`` or why it is ``missing``."""
    rows = []
    for name, source in SOURCES.items():
        row: dict[str, Any] = {
            "name": name,
            "title": source.title,
            "url": source.url,
            "rows_full": source.rows_full,
            "licence": source.licence,
            "paper": source.paper,
            "checksum": source.checksum or ("recorded at the first download" if source.url else ""),
            "fetched": "" if source.fetched == "always" else source.fetched,
            "found": "",
            "kind": "",
            "missing": "",
        }
        try:
            located = locate(name)
            row.update(found=located.label, kind=located.kind)
        except MissingData as error:
            row["missing"] = str(error)
        rows.append(row)
    return rows


def locate(name: str, *, files: tuple[str, ...] = ()) -> Located:
    """Find a source's file: ``$BENCH_DATA`` first, then the cache; ``files`` narrows the accepted file names.

    Raises MissingData; its message ends with the command that mends it. Raises KeyError for an unknown name.
    """
    source = SOURCES[name]
    wanted = files or source.files
    given = os.environ.get("BENCH_DATA")
    if given:
        for file in wanted:
            path = Path(given).expanduser() / source.folder / file
            if path.is_file():
                return _complete(Located(name, path, "bench-data"))
    for file in wanted:
        path = _cached(source, file)
        if path.is_file():
            return _complete(Located(name, path, "cache"))
    state = "$BENCH_DATA is not set"
    if given:
        state = "not in $BENCH_DATA" if Path(given).expanduser().is_dir() else "$BENCH_DATA is not a folder"
    command = name if set(wanted) & {source.files[0]} else "qm9-sdf"
    way = source.by_hand or f"get it with: python -m bench data fetch {command}"
    raise MissingData(f"{source.title}: no {source.folder}/{' or '.join(wanted)} ({state}, nor in the cache); {way}")


def _complete(located: Located) -> Located:
    """The file, once its companions are seen to lie beside it. Raises MissingData."""
    for path in located.files:
        if not path.is_file():
            raise MissingData(
                f"{located.source.title}: no {path.name} beside {located.label}; "
                f"get it with: python -m bench data fetch {located.name}"
            )
    return located


def fetch(name: str, *, progress: Progress) -> Path:
    """Download a source from its publisher into the cache, checked; one that is there already is verified instead.

    Raises DownloadError (a MissingData) and BadData. The file's layout is checked before it is accepted, so that an
    error page is never recorded as the data.
    """
    source = SOURCES[name]
    if source.fetched == "by hand":
        raise MissingData(f"{source.title}: {source.by_hand}")
    path = _cached(source, source.files[0])
    located = Located(name, path, "cache")
    if all(file.is_file() for file in located.files):
        progress(1.0, f"already there, sha256 {located.sha256[:12]}…")
        return path
    reader = _reader(source)
    try:
        for companion in source.companions:  # first, as the reader of the file looks for them beside it
            beside = path.with_name(companion.file)
            if not beside.is_file():
                download(companion.url, beside, checksum=companion.checksum, progress=progress)
        if not path.is_file():
            download(
                source.url,
                path,
                checksum=source.checksum if source.demanded else "",
                check=lambda part: reader(part, source.url),
                progress=progress,
            )
    except DownloadError as error:
        raise DownloadError(f"{error}; try again with: python -m bench data fetch {name}") from error
    return path


def verify(name: str) -> str:
    """Read the whole file of a source: checksum, layout, every number. One line on what was found; raises BadData."""
    located = locate(name)
    source = located.source
    for path in located.files:
        remembered_digest(path, "")  # every byte is read again
    digest = located.sha256
    rows = _reader(source)(located.path, located.label)
    trust = "as recorded" if recorded_sha256(located.path) else "not recorded: checked by layout"
    if source.checksum and located.path.name == source.files[0]:
        algorithm = source.checksum.partition(":")[0]
        wrong = [part for part in zip(located.files, _published(source), strict=True) if not _has_checksum(*part)]
        if not wrong:
            trust = f"{algorithm} as published ({source.checksum_origin})"
        elif located.kind == "cache" and source.demanded:
            path, wanted = wrong[0]
            raise BadData(
                f"{located.label.rsplit('/', 1)[0]}/{path.name}: {algorithm} expected {wanted.partition(':')[2]} "
                f"({source.checksum_origin}), found {file_digest(path, algorithm)}"
            )
        else:
            trust += f"; {algorithm} other than published ({source.checksum_origin})"
    return f"{located.label}: {rows:,} of {source.rows_full:,} {source.unit}, sha256 {digest} ({trust})"


def _published(source: Source) -> list[str]:
    return [source.checksum, *(companion.checksum for companion in source.companions)]


def _has_checksum(path: Path, checksum: str) -> bool:
    algorithm, _, wanted = checksum.partition(":")
    return file_digest(path, algorithm) == wanted


class _Bounded(io.RawIOBase):
    """A member's content; raises BadData where it unpacks to more than any table of ours, before memory is gone."""

    def __init__(self, stream: IO[bytes], archive: Path, member: str, label: str) -> None:
        self._stream = stream
        self._left = min(LARGEST_MEMBER, max(10**7, LARGEST_RATIO * archive.stat().st_size))
        self._words = f"{label}: '{member}' unpacks to more than {self._left / 1e6:.0f} MB; no table of ours does"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read(len(buffer))
        self._left -= len(piece)
        if self._left < 0:
            raise BadData(self._words)
        buffer[: len(piece)] = piece
        return len(piece)


@contextmanager
def open_member(path: Path, member: str, label: str = "") -> Iterator[IO[bytes]]:
    """A binary stream of ``member`` inside a zip or tar archive, or of the file itself if it is none.

    The archive's kind is read from its content, not its name. Raises BadData for a damaged or truncated archive, also
    when the damage shows only while reading, and for a missing member.
    """
    label = label or path.name
    try:
        with path.open("rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic[:2] == b"PK":
                with zipfile.ZipFile(raw) as archive:
                    name = _find(archive.namelist(), member, label)
                    with archive.open(name) as stream:
                        yield cast("IO[bytes]", io.BufferedReader(_Bounded(stream, path, member, label), 1 << 20))
            elif magic[:2] == b"\x1f\x8b":
                with tarfile.open(fileobj=raw, mode="r:gz") as tar:
                    found = tar.extractfile(_find(tar.getnames(), member, label))
                    if found is None:
                        raise BadData(f"{label}: member '{member}' is not a file")
                    yield cast("IO[bytes]", io.BufferedReader(_Bounded(found, path, member, label), 1 << 20))
            elif path.name.split(".part")[0].endswith((".zip", ".tar.gz")):
                raise BadData(f"{label}: not an archive, it begins with {magic!r}")
            else:
                yield raw
    except BadData:
        raise
    except BROKEN as error:
        raise BadData(f"{label}: damaged or truncated archive, at '{member}' ({error})") from error


def _find(names: list[str], member: str, label: str) -> str:
    for name in names:
        if name.rsplit("/", 1)[-1] == member:
            return name
    raise BadData(f"{label}: no member '{member}' in the archive, it holds: {', '.join(names[:6]) or 'nothing'}")


def _cached(source: Source, file: str) -> Path:
    return cache_dir() / "data" / source.folder / file


def _reader(source: Source) -> Callable[[Path, str], int]:
    module, _, function = source.reader.partition(":")
    return cast("Callable[[Path, str], int]", getattr(importlib.import_module(module), function))


def private_folders() -> list[Path]:
    """Folders that hold data files, and what was computed from them."""
    given = os.environ.get("BENCH_DATA")
    return [*([Path(given).expanduser()] if given else []), cache_dir()]
