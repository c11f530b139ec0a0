"""Fetch one file over HTTP: progress, resume, checksum, and a file that appears whole or not at all.

Bytes go to ``NAME.part``; ``NAME.part.json`` remembers which version of the file they belong to (ETag,
Last-Modified). A later call asks only for the rest, and starts over where the server cannot do that or
the file has changed. ``NAME.sha256`` beside the finished file records its checksum in the format of ``sha256sum``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from bench.api import BadData, MissingData, Progress

CHUNK = 1 << 18
LARGEST = 50 * 10**9
"""Bytes beyond which no published file of ours goes: a server that sends more is not sending it."""
MEGABYTE = 1e6


class DownloadError(MissingData):
    """A download that did not end well; one line, and what had arrived is kept for the next try."""


class _Cut(Exception):
    """The connection ended before the file did; worth another try."""


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file's content, read in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, algorithm).hexdigest()


def sidecar(path: Path) -> Path:
    """Where the checksum of ``path`` is recorded."""
    return path.with_name(path.name + ".sha256")


def recorded_sha256(path: Path) -> str:
    """The checksum recorded beside ``path``, or "" where there is none. Raises BadData if the record is not one."""
    try:
        text = sidecar(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    digest = (text.split() or [""])[0].lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise BadData(f"{sidecar(path).name}: not a sha256 record; delete it if you trust {path.name}")
    return digest


def download(
    url: str,
    path: Path,
    *,
    progress: Progress,
    checksum: str = "",
    check: Callable[[Path], object] | None = None,
    timeout: float = 30.0,
    attempts: int = 4,
    pause: float = 1.0,
) -> str:
    """Download ``url`` to ``path``; returns the sha256 of the content.

    checksum   "md5:HEX" or "sha256:HEX" that the publisher or a well-known loader states, or ""; a checksum recorded
               beside ``path`` by an earlier download must agree as well
    check      called with the downloaded file before it is accepted; raises BadData if it is not what was asked for
    timeout    seconds without a byte before the connection counts as cut
    attempts   how often a cut connection is taken up again, ``pause`` seconds × attempt apart

    Only https is spoken, also where a server redirects to; plain http to this machine itself alone.

    Raises DownloadError (HTTP status, no connection, cut, disk full) and BadData (checksum expected and found).
    """
    _require_https(url)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = part.open("ab+")
    except OSError as error:
        raise DownloadError(f"{path.name}: cannot write in {path.parent} ({error.strerror})") from error
    with handle:
        _lock(handle, path.name)
        for attempt in range(1, attempts + 1):
            try:
                _transfer(url, handle, part, progress, timeout, pinned=bool(checksum))
                break
            except _Cut as cut:
                if attempt == attempts:
                    size = os.fstat(handle.fileno()).st_size
                    kept = f"; the {size / MEGABYTE:.1f} MB that arrived are kept" if size else ""
                    if not size:
                        _forget(part, handle)
                    raise DownloadError(f"{url}: {cut}, {attempts} attempt{'s'[: attempts > 1]}{kept}") from cut
                time.sleep(pause * attempt)
        os.fsync(handle.fileno())
        try:
            digest = _verified(part, path, url, checksum)
            if check is not None:
                check(part)
        except BadData:
            _forget(part, handle)  # keeping wrong bytes would make every later try resume into the same error
            raise
        _replace_text(sidecar(path), f"{digest}  {path.name}\n")
        if os.name == "nt":
            handle.close()  # an open file cannot be renamed there; elsewhere its lock is kept until the end
        os.replace(part, path)
        _state(part).unlink(missing_ok=True)
    return digest


def _verified(part: Path, path: Path, url: str, checksum: str) -> str:
    digest = file_digest(part)
    expectations = [("published", checksum)] if checksum else []
    if recorded := recorded_sha256(path):
        expectations.append(("recorded at the first download", f"sha256:{recorded}"))
    for origin, expected in expectations:
        algorithm, _, wanted = expected.partition(":")
        found = digest if algorithm == "sha256" else file_digest(part, algorithm)
        if found != wanted:
            raise BadData(f"{url}: {algorithm} expected {wanted} ({origin}), found {found}; nothing was kept")
    return digest


def _require_https(url: str) -> None:
    """Raise DownloadError for an address whose answer anybody on the way could have written."""
    import urllib.parse

    try:
        parts = urllib.parse.urlsplit(url)
        local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        safe = parts.scheme == "https" and bool(parts.hostname) and url.isascii() and not set(url) & set(" \r\n\t")
    except ValueError:
        local = safe = False
    if not (safe or local):
        raise DownloadError(f"{url!r:.200} is no https address: nothing is fetched from it")


def _opener() -> Any:
    """Opens addresses and follows redirects to https alone."""
    import urllib.request

    class SafeRedirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            _require_https(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return urllib.request.build_opener(SafeRedirects)


def _transfer(url: str, handle: IO[bytes], part: Path, progress: Progress, timeout: float, *, pinned: bool) -> None:
    import http.client  # these take longer to load than a listing of data sources does
    import urllib.error
    import urllib.request

    have = handle.seek(0, os.SEEK_END)
    state = _read_state(part)
    if have and not (state.get("url") == url and (state.get("etag") or state.get("modified") or pinned)):
        have = handle.truncate(0)  # nothing says that the rest on the server belongs to these bytes
    request = urllib.request.Request(
        url, headers={"Accept-Encoding": "identity", "User-Agent": "identifiability-bench"}
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
        etag = state.get("etag", "")
        if validator := (etag if etag and not etag.startswith("W/") else state.get("modified")):
            request.add_header("If-Range", validator)
    try:
        with _opener().open(request, timeout=timeout) as response:
            _receive(response, url, handle, part, have, state, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # we hold all of it, or of something else
            if state.get("total") == have:
                return
            handle.truncate(0)
            raise _Cut("the server refused to resume") from error
        if error.code >= 500 or error.code == 429:
            raise _Cut(f"HTTP {error.code} {error.reason}") from error
        raise DownloadError(f"{url}: HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise _Cut(f"no connection ({reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _Cut(f"connection cut ({type(error).__name__})") from error
    except ValueError as error:  # urllib's word for an answer, a redirect for instance, that is none
        raise DownloadError(f"{url}: the server's answer cannot be understood ({str(error)[:100]})") from error


def _receive(
    response: Any, url: str, handle: IO[bytes], part: Path, have: int, state: dict[str, Any], progress: Progress
) -> None:
    headers = response.headers
    etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    length = _number(headers.get("Content-Length"))
    if length is not None and length > LARGEST:
        raise DownloadError(f"{url}: the server announces {length / MEGABYTE:.0f} MB, which is not this file")
    if have and response.status == 206:
        span = headers.get("Content-Range", "")
        same = span.startswith(f"bytes {have}-") and (not etag or not state.get("etag") or etag == state["etag"])
        if not same or (modified and state.get("modified") and modified != state["modified"]):
            handle.truncate(0)
            _state(part).unlink(missing_ok=True)
            raise _Cut("the file changed on the server")
    elif have:
        have = handle.truncate(0)  # a whole file came instead of the rest
    total = None if length is None else have + length
    _replace_text(_state(part), json.dumps({"url": url, "etag": etag, "modified": modified, "total": total}))
    free = shutil.disk_usage(part.parent).free
    if length is not None and free < length:
        raise DownloadError(
            f"{part.name}: disk full, {length / MEGABYTE:.1f} MB needed and {free / MEGABYTE:.1f} MB free; "
            "make room or set BENCH_CACHE to another folder"
        )
    while piece := response.read(CHUNK):
        if have + len(piece) > (LARGEST if total is None else total):
            raise DownloadError(f"{url}: the server sends more than it announced; nothing of it is believed")
        try:
            handle.write(piece)
            handle.flush()
        except OSError as error:
            word = "disk full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"cannot write ({error.strerror})"
            raise DownloadError(f"{part.name}: {word} after {have / MEGABYTE:.1f} MB") from error
        have += len(piece)
        of = f" of {total / MEGABYTE:.1f}" if total else ""
        progress(min(have / total, 1.0) if total else 0.0, f"{have / MEGABYTE:.1f}{of} MB")
    if total is not None and have < total:
        raise _Cut(f"connection cut at {have} of {total} bytes")


def _number(text: str | None) -> int | None:
    """A length as servers send it; None for what is no number."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _lock(handle: IO[bytes], name: str) -> None:
    """One process at a time per file; where the system has no such locks, the checksum is what protects."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DownloadError(f"{name}: another process is downloading it; wait for that one") from error
    except OSError:
        return


def _state(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_state(part: Path) -> dict[str, Any]:
    try:
        state = json.loads(_state(part).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(state, dict):
        return {}
    words = {name: state.get(name) for name in ("url", "etag", "modified")}
    # only what a header may hold goes back to the server
    good = {
        name: word for name, word in words.items() if isinstance(word, str) and word.isascii() and word.isprintable()
    }
    return good | ({"total": state["total"]} if type(state.get("total")) is int else {})


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise DownloadError(f"{path.name}: cannot write ({error.strerror})") from error


def _forget(part: Path, handle: IO[bytes]) -> None:
    handle.truncate(0)
    for path in (part, _state(part)):
        with contextlib.suppress(PermissionError):  # some systems keep the names of open files; empty is as good
            path.unlink(missing_ok=True)
