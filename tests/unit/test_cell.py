"""A cell's record: what goes wrong is a status with a reason, and nothing that JSON cannot hold gets in."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api import Diverged, MissingData, NotApplicable
from bench.registry import Registry, discover
from bench.run.cell import job_of, run_cells
from bench.run.learning import Learning
from bench.run.outcome import BadCodes, checked_codes, failure, json_values
from bench.run.references import Oracle
from bench.run.spec import RunSpec

TOY = Path(__file__).parent.parent / "end_to_end" / "plugins" / "toy.py"


@pytest.fixture(scope="module")
def found() -> Registry:
    return discover([TOY])


def toy_spec(learner: str, repetition: int = 0, **params: Any) -> RunSpec:
    return RunSpec(learner, "toy", repetition, 5, 100 + repetition, "smoke", learner_params=params)


def records_of(specs: list[RunSpec], found: Registry) -> list[dict[str, Any]]:
    return [outcome.record for outcome in run_cells(job_of(specs, found))]


def test_a_record_has_all_a_reader_needs(found: Registry, tmp_path: Path) -> None:
    (record,) = records_of([toy_spec("toy-copy")], found)
    assert record["status"] == "ok"
    assert set(record["phases"]) == {"load", "fit", "encode", "score"}
    assert {"baseline_mib", "fit_peak_mib", "peak_mib"} <= set(record["memory"])
    assert record["metrics"]["linear_r2"]["value"] == pytest.approx(1.0)
    assert record["data"] == {"title": "Toy"}
    assert record["provenance"]["threads"] == 1
    json.dumps(record, allow_nan=False)


def test_a_reference_row_is_measured_where_it_is_made(found: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its codes are made with the truth, here, and not in the process that waits for a learner."""

    class Elsewhere(Learning):
        pid = 1 << 22  # no such process: nothing can be read off it

        def prepare(self, work: Any, view: Any) -> Any:
            raise AssertionError("nobody is asked")

    def slowly(self: Any, data: Any, *, seed: int) -> Any:
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        return made(self, data, seed=seed)

    made = Oracle.codes
    monkeypatch.setattr(Oracle, "codes", slowly)
    (outcome,) = run_cells(job_of([toy_spec("oracle")], found), Elsewhere())
    assert outcome.record["status"] == "ok"
    assert outcome.record["phases"]["fit"]["cpu_s"] >= 0.05


def test_the_message_of_an_error_is_one_line_and_the_traceback_is_kept(found: Registry) -> None:
    (record,) = records_of([toy_spec("toy-raises")], found)
    assert (record["status"], record["reason"]) == ("failed", "ValueError: no luck today")
    assert 'raise ValueError("no luck' in record["traceback"]


def test_a_wrong_parameter_fails_its_cell(found: Registry) -> None:
    (record,) = records_of([toy_spec("toy-copy", nonsense=1)], found)
    assert record["status"] == "failed"
    assert "nonsense" in record["reason"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotApplicable("too few"), "skipped"),
        (MissingData("fetch it"), "skipped"),
        (Diverged(""), "diverged"),
        (MemoryError(), "oom"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "oom"),
        (KeyError("x"), "failed"),
    ],
)
def test_errors_become_statuses(error: Exception, status: str) -> None:
    assert failure(error)["status"] == status
    assert failure(error)["reason"]


def test_values_json_cannot_hold() -> None:
    value = {"a": np.float32(0.5), "b": [np.int64(3), float("nan")], 3: np.arange(2), "t": (True, None)}
    assert json_values(value, "it") == {"a": 0.5, "b": [3, None], "3": [0, 1], "t": [True, None]}
    with pytest.raises(BadCodes, match="it holds a set"):
        json_values({"a": {1}}, "it")


def test_codes_are_checked() -> None:
    good = np.ones((3, 2))
    assert checked_codes(good, 3, "x") is good
    for wrong, words in (
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((3, 0)), r"shape \(3, 0\)"),
        (np.ones((3, 2), dtype=int), "int64, not floats"),
        ([[1.0]], "returned a list"),
    ):
        with pytest.raises(BadCodes, match=words):
            checked_codes(wrong, 3, "x")
    with pytest.raises(Diverged, match="1 of 6 codes"):
        checked_codes(np.where(np.arange(6) == 4, np.inf, 1.0).reshape(3, 2), 3, "x")


def test_seeds_fitted_together_score_as_alone() -> None:
    """One pass over several model seeds gives the records of as many cells by themselves."""
    found = discover()
    params = {"steps": 30}
    specs = [
        RunSpec(
            "ivae", "tcl-segments", seed, 3, 50 + seed, "smoke", learner_params=params, dataset_params={"n_segments": 5}
        )
        for seed in range(3)
    ]
    together = records_of(specs, found)
    alone = [record for spec in specs for record in records_of([spec], found)]
    assert [record["status"] for record in together] == ["ok"] * 3, together[0]["reason"]
    for first, second in zip(together, alone, strict=True):
        assert first["spec"] == second["spec"]
        for name, score in first["metrics"].items():
            assert score["value"] == pytest.approx(second["metrics"][name]["value"], abs=1e-5)
    assert [record["fitted_together"] for record in together + alone] == [3, 3, 3, 1, 1, 1]
    values = [record["metrics"]["mcc"]["value"] for record in together]
    assert len(set(values)) == 3, "three model seeds gave the same codes"
