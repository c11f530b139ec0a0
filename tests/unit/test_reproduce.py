"""The reproduction table: expectations are read literally and judged over every seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.api import DatasetInfo, LearnerInfo, PaperSetting
from bench.cli import main
from bench.errors import UsageError
from bench.registry import discover, parameters
from bench.report.reproduction import Trial, _failure, markdown, select, settings, trials, verdict
from bench.statistics.expectations import compared_with
from tests.unit.test_report import PROVENANCE

SETTING = PaperSetting(
    title="TCL data, d=5",
    learner="pca",
    dataset="linear-causal",
    metric="mcc",
    reference="0.93",
    source="a paper, table 1",
    expect=("each >= 0.90", "mean >= 0.92"),
    reference_cpu_s=100.0,
)


def record(value: float | None, status: str = "ok") -> dict[str, Any]:
    metrics = {"mcc": {"value": value}} if status == "ok" else {}
    phases = {"fit": {"cpu_s": 10.0}}
    rest = {"spec": {"dataset_params": {"d": 5}}, "provenance": PROVENANCE}
    return {"status": status, "reason": "why not", "metrics": metrics, "phases": phases, **rest}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.91, 0.95], "reproduced"),
        ([0.90, 0.94], "reproduced"),
        ([0.89, 0.99], "not reproduced: each >= 0.9 asked, 0.8900 seen"),
        ([0.91, 0.92], "not reproduced: mean >= 0.92 asked, 0.9150 seen"),
    ],
)
def test_verdicts(values: list[float], expected: str) -> None:
    assert verdict(SETTING, values, complete=True) == expected


def test_a_missing_seed_is_no_reproduction() -> None:
    assert verdict(SETTING, [0.99], complete=False).startswith("not reproduced")


def test_a_row_to_compare_with_is_no_success() -> None:
    beside = PaperSetting("t", "pca", "linear-causal", "mcc", "", "", expect=())
    assert verdict(beside, [0.99], complete=True) == "shown for comparison"
    text = markdown([(Trial(beside, []), [record(0.99)])], quick=False)
    assert "- 1 shown for comparison" in text
    assert "reproduced**" not in text


def test_an_expectation_nobody_can_read_is_an_error() -> None:
    wrong = PaperSetting("t", "pca", "linear-causal", "mcc", "", "", expect=("about 0.9",))
    with pytest.raises(UsageError, match="cannot read expectation"):
        verdict(wrong, [0.9], complete=True)


def test_table_shows_reference_ours_ratio_and_failures() -> None:
    trial = Trial(SETTING, [])
    text = markdown([(trial, [record(0.93), record(0.95)]), (trial, [record(None, "failed"), None])], quick=False)
    bad, good = [line for line in text.splitlines() if "| TCL" in line]
    assert "0.93 (a paper, table 1)" in good
    assert "0.940 ± 0.127" in good
    assert "0.930 to 0.950, n=2" in good
    assert "10 (0.1×)" in good
    assert good.startswith("| reproduced ")
    assert "failed: why not" in bad
    assert "- **1 of 2 reproduced** where the reference is this suite's aim\n- 1 failed\n" in text
    assert text.index("## Not reproduced") < text.index("## Reproduced: this suite's aim")
    assert "code at `abc`" in text
    assert "not judged" in markdown([(trial, [record(0.1)])], quick=True)
    assert "not finished: 1 of 2 seeds run" in markdown([(trial, [record(0.95), None])], quick=False)


def test_verdicts_are_counted_apart_by_what_the_reference_is() -> None:
    printed, measured = replace(SETTING, evidence="paper"), replace(SETTING, evidence="program")
    rows = [(Trial(printed, []), [record(0.95)]), (Trial(measured, []), [record(0.95)])]
    text = markdown([*rows, (Trial(measured, []), [record(0.1)])], quick=False)
    assert "- **1 of 1 reproduced** where the reference is a paper's number" in text
    assert "- **1 of 2 reproduced** where the reference is a released program's, measured" in text
    assert "## Reproduced: a paper's number" in text


def test_a_share_of_a_pass_is_set_against_no_program() -> None:
    shared = {**record(0.95), "fitted_together": 5}
    text = markdown([(Trial(SETTING, []), [shared])], quick=False)
    assert "10<br>share of 5 fits" in text
    assert "×)" not in text


def test_every_declared_setting_can_be_planned() -> None:
    found = discover()
    declared = settings()
    assert len({(s.title, s.learner, s.metric) for s in declared}) == len(declared)
    for quick in (False, True):
        for trial in trials(declared, found, device="cpu", quick=quick):
            assert len({cell.spec.key for cell in trial.cells}) == 5
            assert all(cell.skip == "" for cell in trial.cells)
            others = {name: [0.5] for name in compared_with(trial.setting.expect)}
            assert verdict(trial.setting, [0.5], complete=True, others=others)
            seeds = {cell.spec.data_seed for cell in trial.cells}
            assert len(seeds) == (1 if trial.setting.fixed_data else 5)


def test_unknown_learner_is_named() -> None:
    with pytest.raises(UsageError, match="unknown learner with a paper setting: 'nobody'"):
        select("nobody")


def test_parameters_that_do_not_exist_are_refused() -> None:
    found = discover()
    wrong = PaperSetting("t", "pca", "linear-causal", "mcc", "", "", expect=(), dataset_params={"dd": 3})
    assert isinstance(found.learners["pca"], LearnerInfo)
    assert isinstance(found.datasets["linear-causal"], DatasetInfo)
    assert "dd" not in parameters(found.datasets["linear-causal"])
    with pytest.raises(UsageError, match="sets 'dd', which is no parameter of linear-causal"):
        trials([wrong], found, device="cpu", quick=False)


def test_cells_that_two_rows_share_are_stored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"d": 3, "n_tasks": 10, "n_per_task": 20}
    first = replace(SETTING, dataset_params=small, expect=())
    monkeypatch.setattr("bench.report.reproduction.settings", lambda: [first, replace(first, metric="linear_r2")])
    assert main(["reproduce", "--out", str(tmp_path / "r"), "--to", str(tmp_path / "board")]) == 0
    stored = (tmp_path / "board" / "reproduction.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(stored) == len(set(stored)) == 5
    assert (tmp_path / "board" / "reproduction.md").read_text(encoding="utf-8").count("| TCL data") == 2


def test_data_that_are_not_here_are_told_by_the_command_that_gets_them() -> None:
    reason = "dSprites: no dsprites/x.npz (not in the cache); get it with: python -m bench data fetch dsprites"
    told = _failure({"status": "skipped", "reason": reason})
    assert told == "the data are not here: python -m bench data fetch dsprites"
    assert _failure({"status": "failed", "reason": "too hot"}) == "failed: too hot"
