"""The results folder: whole files or none, and no foreign folder overwritten."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from bench.errors import UsageError
from bench.run.store import Store, read_records, to_frame, write_json, write_records

SPEC = {"dataset": "a", "learner": "b", "repetition": 0, "budget": "smoke", "device": "cpu"}
RECORD = {
    "spec": {**SPEC, "data_seed": 1, "model_seed": 2},
    "status": "ok",
    "metrics": {"mcc": {"value": 0.5}},
    "phases": {"fit": {"cpu_s": 1.0, "wall_s": 2.0}},
    "memory": {"peak_mib": 3.0},
}


def test_put_and_get(tmp_path: Path) -> None:
    store = Store(tmp_path / "r", create=True)
    store.put("k", RECORD)
    assert Store(tmp_path / "r").get("k") == RECORD
    assert Store(tmp_path / "r").get("other") is None
    assert [path.name for path in (tmp_path / "r" / "runs").iterdir()] == ["k.json"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_another_format_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"format": 99}')
    with pytest.raises(UsageError, match=r"format 99, this version writes 1; give another --out"):
        Store(tmp_path, create=True)
    assert (tmp_path / "store.json").read_text() == '{"format": 99}'


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="not empty and holds no results of ours"):
        Store(tmp_path, create=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_no_results_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="python -m bench run --all --out"):
        Store(tmp_path / "nothing")


DAMAGE = {
    "empty": b"",
    "cut": b'{"spec": {"dataset"',
    "list": b"[1, 2]",
    "number": b"0.123",
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "nan": b'{"spec": NaN}',
    "deep": b"[" * 100_000,
    "zeros": bytes(4096),
    "no record": b'{"status": "ok"}',
}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize(
    "file", ["runs/k.json", "plan/p.json", "plan.json", "store.json", "index.jsonl", "codes/k.npz"]
)
def test_a_damaged_file_is_named_and_costs_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, content: bytes
) -> None:
    """Whatever has become of one file, the other records are read, and one line says what is lost."""
    store = Store(tmp_path / "r", create=True, salt="0f" * 16)
    for key in ("k", "other"):
        store.put_codes(key, {"test": np.ones((3, 2), dtype=np.float32)})
        store.put(key, {**RECORD, "codes": ["test"], "provenance": {"salt": store.salt}})
    store.put_plan([("k", RECORD["spec"])])  # type: ignore[list-item]
    path = tmp_path / "r" / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    again = Store(tmp_path / "r", create=True)
    found = again.entries()
    left = {key for key, entry in found.items() if again.codes_are_whole(entry)}
    assert left == ({"other"} if file in ("runs/k.json", "codes/k.npz") else {"k", "other"})
    assert len(list(again.records())) == (1 if file == "runs/k.json" else 2)
    assert "k" in again.plan()
    assert again.salt == "0f" * 16
    assert again.codes("other")
    said = capsys.readouterr().err
    if file != "index.jsonl":
        assert said.count("\n") <= 2
        # a plan that plans nothing is none the worse for being called so
        assert ("damaged" in said) or (file.startswith("plan") and content == DAMAGE["no record"])


def test_a_disk_that_is_full_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "r", create=True)
    store.put("k", RECORD)

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError, match=r"l\.json' cannot be written: No space left on device; make room"):
        store.put("l", RECORD)
    monkeypatch.undo()
    assert set(store.entries()) == {"k"}
    assert [path.name for path in (tmp_path / "r" / "runs").iterdir()] == ["k.json"]


def test_plans_of_runs_beside_each_other_add_up(tmp_path: Path) -> None:
    first = Store(tmp_path / "r", create=True)
    second = Store(tmp_path / "r", create=True)
    spec = RECORD["spec"]
    first.put_plan((f"a{i}", spec) for i in range(100))  # type: ignore[misc]
    second.put_plan((f"b{i}", spec) for i in range(60))  # type: ignore[misc]
    assert len(Store(tmp_path / "r").plan()) == 160


def test_the_index_is_only_a_copy(tmp_path: Path) -> None:
    """Records that another version, or a copy by hand, has put there are found; those taken away are not."""
    store = Store(tmp_path / "r", create=True)
    store.put("k", RECORD)
    write_json(tmp_path / "r" / "runs" / "copied.json", {**RECORD, "status": "failed"})
    assert {key: entry.status for key, entry in store.entries().items()} == {"k": "ok", "copied": "failed"}
    (tmp_path / "r" / "runs" / "k.json").unlink()
    assert set(store.entries()) == {"copied"}


def test_a_large_folder_is_looked_at_without_opening_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "r", create=True)
    for key in range(300):
        store.put(f"{key:04}", RECORD)

    def no(path: Path) -> None:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr("bench.run.store.read_json", no)
    assert len(store.entries()) == 300


def test_records_travel_as_json_lines_and_frames(tmp_path: Path) -> None:
    later = {**RECORD, "spec": {**RECORD["spec"], "repetition": 1}}  # type: ignore[dict-item]
    write_records(tmp_path / "records.jsonl", [later, RECORD])
    assert read_records(tmp_path / "records.jsonl") == [RECORD, later]
    frame = to_frame([RECORD, later])
    assert frame["mcc"].tolist() == [0.5, 0.5]
    assert frame["fit_cpu_s"].tolist() == [1.0, 1.0]
    assert frame["peak_mib"].tolist() == [3.0, 3.0]
