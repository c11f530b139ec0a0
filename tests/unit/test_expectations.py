"""Expectations of the reproduction table: bounds, margins to another learner, and differences seed by seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.api import PaperSetting
from bench.errors import UsageError
from bench.report.reproduction import Trial, markdown, select, settings
from bench.statistics.expectations import Unfinished, broken, compared_with
from tests.unit.test_reproduce import record

OTHERS = {"ivae": [0.95, 0.97, 0.96]}


@pytest.mark.parametrize(
    ("expectation", "values", "wrong"),
    [
        ("each >= 0.90", [0.90, 0.99], ""),
        ("each <= 0.7", [0.71, 0.75], "each <= 0.7 asked, 0.7500 seen"),
        ("mean >= 0.92", [0.90, 0.94], ""),
        ("mean >= ivae", [0.96, 0.96, 0.96], ""),
        ("mean >= ivae - 0.03", [0.93, 0.93, 0.93], ""),
        ("mean >= ivae - 0.03", [0.92, 0.93, 0.93], "mean >= 0.93 asked, 0.9267 seen"),
        ("mean <= ivae", [0.97, 0.97, 0.97], "mean <= 0.96 asked, 0.9700 seen"),
        ("above ivae", [0.97, 0.99, 0.981], ""),
        ("above ivae", [0.97, 0.97, 0.97], "above ivae asked, difference +0.0100 (-0.015 to +0.035) seen"),
        ("above ivae", [0.94, 0.96, 0.951], "above ivae asked, difference -0.0097 (-0.011 to -0.008) seen"),
    ],
)
def test_words_on_what_does_not_hold(expectation: str, values: list[float], wrong: str) -> None:
    assert broken([expectation], values, OTHERS, "t") == wrong


def test_the_first_that_does_not_hold_is_named() -> None:
    assert broken(["each >= 0.5", "mean >= 0.9", "each >= 0.99"], [0.8], {}, "t").startswith("mean >= 0.9")


@pytest.mark.parametrize("text", ["about 0.9", "each >= ivae", "above", "mean > 0.3", "mean >= ivae - x"])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read expectation"):
        broken([text], [0.9], OTHERS, "t")


def test_comparisons_need_a_complete_row() -> None:
    with pytest.raises(UsageError, match="compared with 'vae', which has no setting on the same data"):
        broken(["above vae"], [0.9, 0.9, 0.9], OTHERS, "t")
    with pytest.raises(Unfinished, match="'ivae' has 2 of 3 scores"):
        broken(["above ivae"], [0.9, 0.9, 0.9], {"ivae": [0.9, None, 0.8]}, "t")
    assert compared_with(["each >= 0.9", "mean >= ivae - 0.03", "above sparse-shared-no-l1"]) == {
        "ivae",
        "sparse-shared-no-l1",
    }


def test_table_compares_rows_on_the_same_data_only() -> None:
    def made(learner: str, values: list[float], *expect: str, d: int = 5) -> tuple[Trial, list[dict[str, Any]]]:
        setting = PaperSetting("t", learner, "tcl-segments", "mcc", "", "", expect, dataset_params={"d": d})
        return Trial(setting, []), [record(value) for value in values]

    ours = made("icarl", [0.91, 0.93], "mean >= ivae - 0.03")
    good, first, second = made("ivae", [0.94, 0.95]), made("ivae", [0.99, 0.99]), made("ivae", [0.99, 0.99], d=7)
    text = markdown([ours, good, first, second], quick=False)
    assert text.count("| reproduced ") == 1
    assert "not reproduced" not in text
    assert "mean >= 0.96 asked, 0.9200 seen" in markdown([ours, first, good], quick=False)
    with pytest.raises(UsageError, match="no setting on the same data"):
        markdown([ours, second], quick=False)
    unfinished = (good[0], [*good[1][:1], None])
    assert "not judged: 'ivae' has 1 of 2 scores" in markdown([ours, unfinished], quick=False)


def test_one_learner_brings_the_rows_it_is_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = [replace(s, expect=("mean >= ivae - 0.03",)) if s.learner == "icarl" else s for s in settings()]
    monkeypatch.setattr("bench.report.reproduction.settings", lambda: declared)
    grounds = {(s.learner, dict(s.dataset_params).get("centred", True)) for s in select("icarl")}
    assert ("ivae", True) in grounds
    assert {s.learner for s in select("icarl")} == {"icarl", "ivae"}
