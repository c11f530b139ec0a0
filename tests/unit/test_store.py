"""The results folder: whole files or none, and no foreign folder overwritten."""

import json
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.run.store import Store, read_records, to_frame, write_json, write_records

RECORD = {
    "spec": {"dataset": "a", "learner": "b", "repetition": 0, "budget": "smoke", "device": "cpu"},
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


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "r", create=True)
    (tmp_path / "r" / "runs" / "k.json").write_text('{"spec"')
    with pytest.raises(UsageError, match=r"k\.json is not valid JSON"):
        store.get("k")


def test_records_travel_as_json_lines_and_frames(tmp_path: Path) -> None:
    later = {**RECORD, "spec": {**RECORD["spec"], "repetition": 1}}  # type: ignore[dict-item]
    write_records(tmp_path / "records.jsonl", [later, RECORD])
    assert read_records(tmp_path / "records.jsonl") == [RECORD, later]
    frame = to_frame([RECORD, later])
    assert frame["mcc"].tolist() == [0.5, 0.5]
    assert frame["fit_cpu_s"].tolist() == [1.0, 1.0]
    assert frame["peak_mib"].tolist() == [3.0, 3.0]
