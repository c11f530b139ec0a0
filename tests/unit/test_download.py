"""Downloads against a small server on this machine: resume, checksums, refusals, and what is left on the disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import BadData, MissingData
from datasets import download as module
from datasets import sources
from datasets.download import DownloadError, download, recorded_sha256

CONTENT = bytes(range(256)) * 40


@dataclass
class Server:
    """What the server does next: ``cuts`` are byte counts after which it drops one connection each."""

    url: str = ""
    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    status: int = 0
    length: bool = True
    honour_if_range: bool = True
    cuts: list[int] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)

    @property
    def asked(self) -> list[str]:
        return [request.get("Range", "") for request in self.requests]


@pytest.fixture(scope="module", autouse=True)
def no_proxy() -> Iterator[None]:
    """A proxy named in the environment cannot reach this machine's server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        yield


def _silent(fraction: float, message: str) -> None:
    pass


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            server.requests.append(dict(self.headers))
            if server.status:
                self.send_error(server.status)
                return
            start, wanted = 0, self.headers.get("Range")
            fresh = server.honour_if_range and self.headers.get("If-Range") not in (None, server.etag)
            if wanted and server.ranges and not fresh:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(server.content):
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
            else:
                self.send_response(200)
            body = server.content[start:]
            if server.length:
                self.send_header("Content-Length", str(len(body)))
            if server.etag:
                self.send_header("ETag", server.etag)
            self.end_headers()
            self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    yield from _serve()


def _serve() -> Iterator[Server]:
    state = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(state)) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}/file.bin"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            http.shutdown()
            thread.join()


def _get(server: Server, path: Path, **options: Any) -> str:
    steps: list[float] = []
    options.setdefault("attempts", 1)
    options.setdefault("progress", lambda fraction, message: steps.append(fraction))
    digest = download(server.url, path, pause=0.0, timeout=5.0, **options)
    assert all(0.0 <= step <= 1.0 for step in steps)
    return digest


def _left(path: Path) -> set[str]:
    return {entry.name for entry in path.parent.iterdir()}


def test_a_download_arrives_whole_with_its_checksum_recorded(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.bin"
    md5 = hashlib.md5(CONTENT).hexdigest()
    digest = _get(server, path, checksum=f"md5:{md5}")
    assert path.read_bytes() == CONTENT
    assert digest == hashlib.sha256(CONTENT).hexdigest() == recorded_sha256(path)
    assert _left(path) == {"file.bin", "file.bin.sha256"}


def test_progress_tells_how_much_has_arrived(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    _get(server, tmp_path / "file.bin", progress=lambda fraction, message: seen.append((fraction, message)))
    assert seen[-1] == (1.0, "0.0 of 0.0 MB")


def test_a_cut_download_is_resumed_by_the_next_call(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    server.cuts = [3000]
    with pytest.raises(
        DownloadError, match=r"connection cut at 3000 of 10240 bytes, 1 attempt; the 0.0 MB that arrived are kept"
    ):
        _get(server, path)
    assert not path.exists()
    assert (tmp_path / "file.bin.part").stat().st_size == 3000
    _get(server, path)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["", "bytes=3000-"]
    assert server.requests[1]["If-Range"] == '"one"'


@settings(max_examples=12, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(0, len(CONTENT) - 1), max_size=4), ranges=st.booleans(), etag=st.booleans())
def test_whatever_is_cut_the_file_is_the_same(
    cuts: list[int], ranges: bool, etag: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for state in _serve():
        state.cuts, state.ranges, state.etag = list(cuts), ranges, '"one"' if etag else ""
        path = tmp_path_factory.mktemp("cuts") / "file.bin"
        _get(state, path, attempts=len(cuts) + 1)
        assert path.read_bytes() == CONTENT


def test_a_server_that_does_not_say_the_length_is_read_to_the_end(server: Server, tmp_path: Path) -> None:
    server.length = False
    seen: list[tuple[float, str]] = []
    _get(server, tmp_path / "file.bin", progress=lambda fraction, message: seen.append((fraction, message)))
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert seen[-1] == (0.0, "0.0 MB")


def test_a_server_without_ranges_is_asked_from_the_start(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [3000]
    _get(server, tmp_path / "file.bin", attempts=2)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("honour_if_range", [True, False])
def test_a_file_that_changed_between_two_tries_starts_over(
    server: Server, tmp_path: Path, honour_if_range: bool
) -> None:
    server.cuts, server.honour_if_range = [3000], honour_if_range
    with pytest.raises(DownloadError):
        _get(server, tmp_path / "file.bin")
    server.content, server.etag = CONTENT[::-1], '"two"'
    _get(server, tmp_path / "file.bin", attempts=2)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT[::-1]


def test_bytes_of_unknown_origin_are_not_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"something else")
    _get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == [""]


def test_a_part_that_is_already_whole_is_accepted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    state = {"url": server.url, "etag": server.etag, "modified": "", "total": len(CONTENT)}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(state))
    _get(server, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_wrong_checksum_names_both_and_keeps_nothing(server: Server, tmp_path: Path) -> None:
    found = hashlib.md5(CONTENT).hexdigest()
    with pytest.raises(BadData, match=rf"md5 expected {'0' * 32} \(published\), found {found}"):
        _get(server, tmp_path / "file.bin", checksum="md5:" + "0" * 32)
    assert _left(tmp_path / "file.bin") == set()


def test_a_later_difference_from_the_recorded_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    first = _get(server, path)
    path.unlink()
    server.content, server.etag = CONTENT + b"!", '"two"'
    with pytest.raises(BadData, match=f"sha256 expected {first} .recorded at the first download., found "):
        _get(server, path)
    assert not path.exists()
    server.content = CONTENT
    assert _get(server, path) == first


def test_a_file_that_fails_its_check_is_neither_kept_nor_recorded(server: Server, tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise BadData("an error page")

    with pytest.raises(BadData, match="an error page"):
        _get(server, tmp_path / "file.bin", check=refuse)
    assert _left(tmp_path / "file.bin") == set()


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, 3)])
def test_http_errors_say_their_status_and_only_passing_ones_are_tried_again(
    server: Server, tmp_path: Path, status: int, tries: int
) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=f"{server.url}: HTTP {status} ") as caught:
        _get(server, tmp_path / "file.bin", attempts=3)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == tries


def test_no_server_is_one_line_about_the_connection(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"no connection \(Connection refused\)"):
        _get(Server(url="http://127.0.0.1:9/file.bin"), tmp_path / "file.bin")
    assert _left(tmp_path / "file.bin") == set()


def test_a_full_disk_is_said_before_and_while_writing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(DownloadError, match=r"disk full, 0.0 MB needed .* set BENCH_CACHE"):
        _get(server, tmp_path / "file.bin")
    monkeypatch.undo()

    class Full:
        def write(self, piece: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    part = tmp_path / "file.bin.part"
    with (
        urllib.request.urlopen(server.url) as response,
        pytest.raises(DownloadError, match=r"file.bin.part: disk full after 0.0 MB"),
    ):
        module._receive(response, server.url, Full(), part, 0, {}, _silent)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DownloadError, match="cannot write in"):
        _get(server, tmp_path / "file" / "file.bin")


@pytest.mark.skipif(os.name == "nt", reason="no such locks there")
def test_two_processes_do_not_write_one_file(server: Server, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "file.bin.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="another process is downloading it"):
            _get(server, tmp_path / "file.bin")


# Sources: where files are found, fetched from the server above and verified


CSV = b"mol_id,smiles,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv\n" + b"".join(
    b"gdb_%d,%s,1,2,3,4,5,6,7,8,9,10,11,12.5\n" % (i, b"C" * i) for i in range(1, 8)
)


@pytest.fixture
def qm9_source(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The source "qm9" published by the server; no data on the machine, an empty cache."""
    server.content = CSV
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setitem(sources.SOURCES, "qm9", replace(sources.SOURCES["qm9"], url=server.url))
    return server


def test_missing_data_ends_with_the_command_that_mends_it(qm9_source: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingData, match=r"\$BENCH_DATA is not set.*python -m bench data fetch qm9$"):
        sources.locate("qm9")
    monkeypatch.setenv("BENCH_DATA", "/nowhere/at/all")
    with pytest.raises(
        MissingData, match=r"\$BENCH_DATA is not a folder.*python -m bench data fetch superconductivity$"
    ):
        sources.locate("superconductivity")
    with pytest.raises(MissingData, match=r"python -m bench data fetch qm9-sdf$"):
        sources.locate("qm9", files=("gdb9.zip", "gdb9.tar.gz"))
    row = {row["name"]: row for row in sources.list_sources()}["qm9"]
    assert row["found"] == ""
    assert row["missing"].endswith("python -m bench data fetch qm9")


def test_fetch_puts_the_file_where_locate_and_verify_find_it(qm9_source: Server, tmp_path: Path) -> None:
    path = sources.fetch("qm9", progress=_silent)
    assert path == tmp_path / "cache" / "data" / "qm9" / "qm9.csv"
    located = sources.locate("qm9")
    assert (located.path, located.kind, located.rows) == (path, "cache", 7)
    assert located.sha256 == hashlib.sha256(CSV).hexdigest()
    assert located.describe(rows=7)["title"] == "QM9, 7 of 133,885 molecules"
    assert sources.verify("qm9") == (
        f"cache/qm9/qm9.csv: 7 of 133,885 molecules, sha256 {located.sha256} (as recorded)"
    )
    sources.fetch("qm9", progress=_silent)
    assert len(qm9_source.requests) == 1, "a file that is there is not downloaded again"


def test_an_error_page_is_not_taken_for_the_data(qm9_source: Server) -> None:
    qm9_source.content = b"<html>Sign in to continue</html>"
    with pytest.raises(BadData, match="no column 'mol_id'"):
        sources.fetch("qm9", progress=_silent)
    with pytest.raises(MissingData):
        sources.locate("qm9")


def test_a_failed_fetch_ends_with_the_command(qm9_source: Server) -> None:
    qm9_source.status = 404
    with pytest.raises(MissingData, match=r"HTTP 404 Not Found; try again with: python -m bench data fetch qm9$"):
        sources.fetch("qm9", progress=_silent)


def test_a_pinned_checksum_is_checked(qm9_source: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = replace(sources.SOURCES["qm9"], checksum="md5:" + hashlib.md5(CSV).hexdigest(), checksum_origin="a loader")
    monkeypatch.setitem(sources.SOURCES, "qm9", pinned)
    sources.fetch("qm9", progress=_silent)
    assert sources.verify("qm9").endswith("(md5 as published (a loader))")
    monkeypatch.setitem(sources.SOURCES, "qm9", replace(pinned, checksum="md5:" + "0" * 32))
    with pytest.raises(BadData, match=f"md5 expected {'0' * 32}"):
        sources.verify("qm9")


def test_a_file_changed_after_the_download_is_refused_with_both_checksums(qm9_source: Server) -> None:
    path = sources.fetch("qm9", progress=_silent)
    path.write_bytes(CSV[:-40])
    expected, found = hashlib.sha256(CSV).hexdigest(), hashlib.sha256(CSV[:-40]).hexdigest()
    for action in (lambda: sources.locate("qm9").sha256, lambda: sources.verify("qm9")):
        with pytest.raises(BadData, match=f"sha256 expected {expected}, found {found}"):
            action()
    with pytest.raises(BadData, match="data fetch qm9"):
        sources.fetch("qm9", progress=_silent)


def test_bench_data_comes_before_the_cache(qm9_source: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources.fetch("qm9", progress=_silent)
    folder = tmp_path / "given" / "qm9"
    folder.mkdir(parents=True)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "given"))
    assert sources.locate("qm9").kind == "cache"
    (folder / "qm9.csv").write_bytes(CSV)
    located = sources.locate("qm9")
    assert (located.kind, located.label) == ("bench-data", "$BENCH_DATA/qm9/qm9.csv")
    assert sources.verify("qm9").endswith("(not recorded: checked by layout)")


def test_importing_sources_needs_the_quick_part_of_the_standard_library_only() -> None:
    import subprocess
    import sys

    slow = "{'http.client', 'numpy', 'pandas', 'rdkit', 'torch', 'urllib.request'}"
    code = f"import datasets.sources, sys; print(sorted({slow} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
