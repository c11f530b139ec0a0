"""Whatever is handed in, the answer is a value or one of our own errors: never a traceback, never gigabytes.

Each test runs as many cases as ``$BENCH_FUZZ`` says (default 300); ``make fuzz`` runs 20,000 of each.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.api import BadData
from bench.errors import UsageError
from bench.metrics.base import ScoreInput
from bench.metrics.evaluate import evaluate
from bench.registry import Registry, discover
from bench.run.plan import Selection, parse_seeds, parse_settings, plan
from bench.run.schema import wrong_in_record
from bench.run.spec import RunSpec
from bench.run.wire import Decoder, Malformed, packed
from datasets.download import DownloadError, _require_https
from datasets.molecular.tables import read_table
from datasets.sources import open_member

CASES = int(os.environ.get("BENCH_FUZZ", "300"))
many = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(parent=many, max_examples=max(20, CASES // 10))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["NaN", "Infinity", "1e400", "-1e400", "[" * 5000, "{}", "²", "٣", "0x1", "1_0", "", " 1", "9" * 5000]
)


@pytest.fixture(scope="module")
def found() -> Registry:
    return discover()


@many
@given(st.text(max_size=30) | WORDS | st.from_regex(r"[0-9,\- ]{0,30}", fullmatch=True))
def test_seeds(text: str) -> None:
    try:
        seeds = parse_seeds(text)
    except UsageError:
        return
    assert seeds == sorted(set(seeds))
    assert len(seeds) <= 1_000_000


@few
@given(st.text(max_size=30) | WORDS | JSON.map(lambda value: json.dumps(value)))
def test_settings(found: Registry, value: str) -> None:
    """What is accepted can be stored, and makes a cell with a key."""
    setting = f"ivae.steps={value}"
    try:
        assert parse_settings([setting], found)
        cells = plan(Selection(["ivae"], ["tcl-segments"], [0], "smoke", settings=[setting]), found)
    except UsageError:
        return
    for cell in cells:
        json.dumps(json.loads(cell.spec.canonical()), allow_nan=False)
        assert len(cell.spec.key) == 16


@many
@given(st.dictionaries(st.sampled_from([*RunSpec.__dataclass_fields__, "other"]), JSON, max_size=16) | JSON)
def test_specs(values: Any) -> None:
    try:
        spec = RunSpec.from_dict(values)
    except UsageError:
        return
    assert isinstance(spec.learner, str)


GOOD = {
    "spec": {"dataset": "a", "learner": "b", "repetition": 0, "budget": "smoke", "data_seed": 1, "model_seed": 2},
    "status": "ok",
    "reason": "",
    "metrics": {"mcc": {"value": 0.5, "chance": 0.0, "ceiling": 1.0, "reason": "", "extra": {"per_factor": [0.5]}}},
    "phases": {"fit": {"cpu_s": 1.0, "wall_s": 2.0}},
    "memory": {"peak_mib": 3.0},
}


@many
@given(st.lists(st.sampled_from(["spec", "status", "metrics", "phases", "memory", "reason", "mcc", "fit"])), JSON)
def test_records(path: list[str], value: Any) -> None:
    """A record with any part replaced is good or told to be bad, and a good one makes a table."""
    from bench.run.frames import flat_frame

    record = json.loads(json.dumps(GOOD))
    at = record
    for name in path[:-1]:
        at = at[name] if isinstance(at.get(name), dict) else at
    if path:
        at[path[-1]] = value
    if not wrong_in_record(record):
        assert len(flat_frame([record])) == 1


@many
@given(
    st.binary(max_size=400)
    | st.builds(lambda n, tail: n.to_bytes(8, "little") + tail, st.integers(0, 300), st.binary(max_size=300))
)
def test_messages(data: bytes) -> None:
    try:
        Decoder(10**6).feed(data)
    except Malformed:
        return


@many
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=3))
def test_messages_with_a_change(at: int, change: bytes) -> None:
    whole = b"".join(bytes(part) for part in packed("done", {"a": [1, "x"]}, {"train": np.ones((3, 2), np.float32)}))
    at %= len(whole)
    try:
        Decoder(10**6).feed(whole[:at] + change + whole[at + len(change) :])
    except Malformed:
        return


def archive(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr("table.csv", "a,b,c\n" + "1.5,2,3\n" * 40)
    return buffer.getvalue()


TABLE = ("a,b,c\n" + "1.5,2,3\n" * 5).encode()


@many
@given(
    st.integers(0, 5000),
    st.binary(min_size=1, max_size=4),
    st.sampled_from([archive(), archive(0), TABLE]),
    st.booleans(),
)
def test_tables_and_archives(tmp_path: Path, at: int, change: bytes, whole: bytes, cut: bool) -> None:
    at %= len(whole)
    path = tmp_path / "table.csv"
    path.write_bytes(whole[:at] if cut else whole[:at] + change + whole[at + len(change) :])
    try:
        values, _ = read_table(path, "table.csv", ["a", "c"])
    except BadData:
        return
    assert np.isfinite(values).all()


@many
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-16")))
def test_files_of_anything(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    with pytest.raises(BadData):
        read_table(path, "table.csv", ["a", "c"])


def test_a_zip_bomb_is_refused_before_it_has_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("table.csv", "w") as stream:
        for _ in range(1500):
            stream.write(bytes(10**6))
    assert path.stat().st_size < 2 * 10**6
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadData, match="unpacks to more than"), open_member(path, "table.csv") as member:
        member.read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.5 * 10**6, "KiB"


@many
@given(
    st.text(max_size=60)
    | st.sampled_from(["http://a.org/x", "file:///etc/passwd", "https://", "ftp://a", "https://[::1"])
)
def test_addresses(url: str) -> None:
    try:
        _require_https(url)
    except DownloadError:
        return
    assert url.lower().startswith(("https://", "http://"))


@few
@given(st.integers(0, 2**32 - 1))
def test_metrics(seed: int) -> None:
    """Codes of any scale, rank and type have scores within their range, or a reason."""
    rng = random.Random(seed)
    numpy = np.random.default_rng(seed)
    n, d, width = rng.choice([2, 3, 10, 60]), rng.randint(1, 4), rng.randint(1, 6)
    z = [numpy.standard_normal((n, d)) * 10.0 ** rng.randint(-12, 12) for _ in range(2)]
    codes = [numpy.standard_normal((n, width)) * 10.0 ** rng.randint(-150, 150) for _ in range(2)]
    if rng.random() < 0.3:
        codes = [np.repeat(code[:, :1], width, axis=1) for code in codes]
    if rng.random() < 0.3:
        codes = [np.zeros_like(code) for code in codes]
    if rng.random() < 0.3:
        kind = rng.choice([np.float16, np.float32, np.longdouble])
        with np.errstate(all="ignore"):
            codes = [code.astype(kind) for code in codes]
    if rng.random() < 0.1:
        codes = [np.ma.masked_greater(code, 1.0) for code in codes]
    with np.errstate(all="ignore"):
        scores = evaluate(ScoreInput(codes_train=codes[0], codes_test=codes[1], z_train=z[0], z_test=z[1]))
    for name, score in scores.items():
        assert score.value is None or np.isfinite(score.value), name
        assert score.value is not None or score.reason, name
        if name in ("mcc", "mcc_spearman", "weak_mcc", "dci_d", "dci_c"):
            assert score.value is None or -1.000001 <= score.value <= 1.000001, (name, score.value)
