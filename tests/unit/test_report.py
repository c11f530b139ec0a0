"""The board from made-up records: order, failures, gaps, intervals, and what may not be published."""

from __future__ import annotations

from typing import Any

from bench.api import DatasetInfo, LearnerInfo
from bench.registry import Registry
from bench.report import facts
from bench.report.dataset_page import dataset_page
from bench.report.leaderboard import leaderboard, slim
from bench.report.markdown import score, seconds, table
from bench.report.rows import boards
from bench.statistics.intervals import Interval

FOUND = Registry(
    learners={
        "mtlcm": LearnerInfo(name="mtlcm", guarantee="permutation+scaling"),
        "mtrn": LearnerInfo(name="mtrn", guarantee="linear"),
        "oracle": LearnerInfo(name="oracle", guarantee="permutation+scaling", reference=True),
        "raw": LearnerInfo(name="raw", reference=True),
    },
    datasets={"linear-causal": DatasetInfo(name="linear-causal")},
)

PROVENANCE = {
    "git_revision": "abc",
    "git_dirty": False,
    "hardware": {"class": "a cpu, 2 cores"},
    "packages": {"numpy": "2"},
    "python": "3.11",
    "threads": 1,
    "finished_utc": "2026-01-01T00:00:00+00:00",
}


def record(learner: str, seed: int, *, mcc: float = 0.5, r2: float = 0.9, status: str = "ok", **more: Any) -> dict:
    spec = {
        "learner": learner,
        "dataset": "linear-causal",
        "repetition": seed,
        "data_seed": seed,
        "model_seed": seed,
        "budget": "smoke",
        "device": "cpu",
        "learner_version": 1,
        "dataset_version": 1,
        "learner_params": {},
        "dataset_params": {"d": 5},
        "data_sha256": "",
    }
    values = {"mcc": mcc, "weak_mcc": mcc, "linear_r2": r2}
    scores = {
        name: {"value": v, "reason": "", "chance": 0.1, "ceiling": 0.9, "extra": {}} for name, v in values.items()
    }
    return {
        "spec": spec,
        "status": status,
        "reason": "" if status == "ok" else "it | broke",
        "metrics": scores if status == "ok" else {},
        "phases": {name: {"cpu_s": 1.0, "wall_s": 1.0} for name in ("load", "fit", "encode", "score")},
        "memory": {"peak_mib": 200.0, "fit_peak_mib": 20.0},
        "data": {"title": "Linear"},
        "provenance": PROVENANCE,
        "traceback": "File /home/somebody/x.py",
        **more,
    }


def board_lines(*records: dict) -> list[str]:
    text = leaderboard(records, FOUND, {})
    lines = text[text.index("## Linear") : text.index("All scores, chance levels")].splitlines()
    return [line for line in lines if line.startswith("|")][2:]


def test_learners_before_references_best_first_failures_last() -> None:
    lines = board_lines(
        record("mtlcm", 0, status="failed"),
        record("oracle", 0, mcc=1.0),
        record("mtrn", 0, r2=0.7),
        record("raw", 0, mcc=0.3),
    )
    assert [line.split("|")[1].strip() for line in lines] == ["mtrn", "mtlcm", "*oracle*", "*raw*"]
    assert cells(lines[1])[2:5] == ["–", "–", "1 of 1"]


def cells(line: str) -> list[str]:
    """The cells of a row, without the column on theorems (tests/unit/test_assumptions.py)."""
    name, _, *rest = [cell.strip() for cell in line.strip("|").split("|")]
    return [name, *rest]


def test_means_with_intervals_and_score_above_chance() -> None:
    records = [record("mtlcm", 0, mcc=0.8), record("mtlcm", 1, mcc=0.6)]
    (line,) = board_lines(*records)
    # t with 1 degree of freedom: 12.706 · 0.1414 / √2
    assert cells(line) == ["mtlcm", "MCC", "0.700 ± 1.271", "0.700", "0 of 2", "1.0"]
    text = leaderboard(records, FOUND, {})
    above = next(line for line in text[text.index("All scores") :].splitlines() if line.startswith("| mtlcm"))
    assert cells(above)[-1] == f"{((0.8 - 0.1) / 0.8 + (0.6 - 0.1) / 0.8) / 2:.3f}"


def test_a_linear_learner_is_judged_by_r2() -> None:
    (line,) = board_lines(record("mtrn", 0, mcc=0.3, r2=0.9))
    assert cells(line)[1:3] == ["R²", "0.900"]


def test_a_seed_that_failed_is_told_below_and_counted() -> None:
    text = leaderboard([record("mtlcm", 0), record("mtlcm", 1, status="timeout")], FOUND, {})
    row = next(line for line in text[text.index("## Linear") :].splitlines() if line.startswith("| mtlcm"))
    assert cells(row)[4] == "1 of 2"
    assert "- `mtlcm`: 1 timeout of 2: it &#124; broke" in text


def test_parameters_tell_rows_of_one_learner_apart() -> None:
    first, second = record("mtlcm", 0), record("mtlcm", 0)
    first["spec"]["learner_params"], second["spec"]["learner_params"] = {"a": 1, "b": 1}, {"a": 1, "b": 2}
    names = {line.split("|")[1].strip() for line in board_lines(first, second)}
    assert names == {"mtlcm (b=1)", "mtlcm (b=2)"}


def test_records_of_an_older_version_leave_the_board() -> None:
    old, new = record("mtlcm", 0, mcc=0.1), record("mtlcm", 0, mcc=0.9)
    new["spec"]["learner_version"] = 2
    (line,) = board_lines(old, new)
    assert cells(line)[2] == "0.900"


def test_records_of_plugins_that_are_gone_are_named() -> None:
    text = leaderboard([record("mtlcm", 0), record("gone", 0)], FOUND, {})
    assert "left out, because their plugin is not known here: gone" in text


def test_published_records_name_no_paths() -> None:
    assert "traceback" not in slim(record("mtlcm", 0))


def test_numbers_as_a_reader_wants_them() -> None:
    assert score(Interval(-0.0001, 0.01, 3)) == "0.000 ± 0.010"
    assert score(Interval(0.5, None, 1)) == "0.500"
    assert score(None) == "–"
    assert [seconds(value) for value in (None, 0.001, 0.123, 3.21, 1234.5)] == ["–", "<0.01", "0.12", "3.2", "1,234"]
    assert table(["a", "b"], [["x<y", "1|2"]]).splitlines()[2] == "| x&lt;y | 1\\|2 |"


def test_flagged_scores_give_way_to_those_on_independent_factors() -> None:
    flagged = record("mtlcm", 0, mcc=0.95)
    flagged["metrics"]["mcc"]["extra"] = {"flagged": True}
    flagged["metrics"]["mcc_independent"] = {"value": 0.4, "reason": "", "chance": 0.0, "ceiling": 1.0, "extra": {}}
    (line,) = board_lines(flagged)
    assert cells(line)[1:3] == ["MCC, indep. z", "0.400"]
    assert "0.950 ⚑" in leaderboard([flagged], FOUND, {})
    assert "⚑ the factors are correlated" in leaderboard([flagged], FOUND, {})


def test_chance_and_ceiling_are_printed() -> None:
    text = leaderboard([record("mtlcm", 0), record("raw", 0)], FOUND, {})
    assert "- chance: MCC 0.100; weak MCC 0.100; linear R² 0.100" in text
    assert "- ceiling: MCC 0.900; weak MCC 0.900; linear R² 0.900" in text


def test_the_price_of_the_best_score_is_printed_in_multiples_of_the_cheapest() -> None:
    records = []
    learners = FOUND.learners | {"ivae": LearnerInfo(name="ivae"), "vae": LearnerInfo(name="vae")}
    known = Registry(learners=learners, datasets=FOUND.datasets)
    for name, mcc, cpu_s in (("mtlcm", 0.995, 2.0), ("ivae", 1.0, 300.0), ("vae", 0.5, 1.0)):
        made = record(name, 0, mcc=mcc)
        made["phases"]["fit"]["cpu_s"] = cpu_s
        records.append(made)
    (board,) = boards(records, known, {})
    assert [(price.row.name, price.cpu_s) for price in facts.prices(board)] == [("mtlcm", 2.0), ("ivae", 300.0)]
    page = dataset_page([board], known, {})
    assert "within 0.01 of the best MCC: `mtlcm` 2.0, `ivae` 300 (150 ×)." in page


def test_the_first_and_its_lead_are_printed() -> None:
    mine, theirs = (0.9, 0.92, 0.94), (0.7, 0.71, 0.75)
    records = [record("mtlcm", seed, mcc=value, r2=0.9) for seed, value in enumerate(mine)]
    records += [record("mtrn", seed, mcc=value, r2=0.9) for seed, value in enumerate(theirs)]
    records += [record("raw", seed, mcc=0.99, r2=0.99) for seed in range(3)]  # a reference cannot lead
    text = leaderboard(records, FOUND, {})
    # differences 0.20, 0.21, 0.19: mean 0.2, deviation 0.01, t(2) = 4.303
    assert (
        "- First by MCC: `mtlcm`, 0.920; runner-up `mtrn`, 0.720; difference +0.200, "
        "95 % interval +0.175 to +0.225: told apart." in text
    )
    assert "First by linear R²: `mtlcm`, 0.900; runner-up `mtrn`, 0.900; difference +0.000" in text
    assert "+0.000 to +0.000: cannot be told apart" in text


def test_failures_count_against_the_lead_and_a_lone_learner_has_none() -> None:
    records = [record("mtlcm", 0, mcc=0.9), record("mtlcm", 1, mcc=0.0, status="failed")]
    assert "First by" not in leaderboard(records, FOUND, {})
    records += [record("mtrn", 0, mcc=0.5), record("mtrn", 1, mcc=0.6)]
    # the failed cell counts as 0.6, the lowest of that cell
    text = leaderboard(records, FOUND, {})
    assert "First by MCC: `mtlcm`, 0.750; runner-up `mtrn`, 0.550; difference +0.200" in text
