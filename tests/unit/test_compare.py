"""bench compare on made-up records: pairing, failures that are counted, names that do not exist."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from bench.api import DatasetInfo
from bench.cli import main
from bench.commands.compare import main as compare_command
from bench.errors import UsageError
from bench.registry import Registry
from bench.report.compare import compare_rows, comparison
from bench.report.rows import Board, Row, boards
from bench.statistics.intervals import t_interval
from tests.unit.test_report import FOUND, record


def pair(*records: dict) -> tuple[Row, Row, Board]:
    (board,) = boards(records, FOUND, {})
    first, second = (next(row for row in board.rows if row.name == name) for name in ("mtlcm", "mtrn"))
    return first, second, board


def both(first: list[float], second: list[float]) -> list[dict]:
    return [
        *[record("mtlcm", seed, mcc=value) for seed, value in enumerate(first)],
        *[record("mtrn", seed, mcc=value) for seed, value in enumerate(second)],
    ]


def test_difference_is_paired_by_seed() -> None:
    found = compare_rows(*pair(*both([0.9, 0.8, 0.7], [0.80, 0.71, 0.59])), "mcc")
    expected = t_interval([0.10, 0.09, 0.11])
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(expected.mean)
    assert found.difference.half == pytest.approx(expected.half)
    assert (found.n_paired, found.notes) == (3, [])
    assert found.mean_a == pytest.approx(0.8)
    assert found.better is not None
    assert found.better.mean == pytest.approx(5 / 7)  # three wins of three, shrunk


def test_repetitions_on_other_data_are_not_paired() -> None:
    records = both([0.9, 0.8], [0.5, 0.5])
    records[-1]["spec"]["data_seed"] = 99
    found = compare_rows(*pair(*records), "mcc")
    assert found.n_paired == 1
    assert found.notes == ["`mtlcm`: 1 cells were run for it alone", "`mtrn`: 1 cells were run for it alone"]
    assert found.difference is not None
    assert found.difference.half is None


def test_design_of_seeds_is_read_from_the_records() -> None:
    records = []
    for name, level in (("mtlcm", 0.8), ("mtrn", 0.6)):
        for data in range(4):
            for model in range(2):
                made = record(name, model, mcc=level + 0.01 * data * (1 if name == "mtlcm" else -1) + 0.001 * model)
                made["spec"]["data_seed"] = data
                records.append(made)
    found = compare_rows(*pair(*records), "mcc")
    assert found.difference is not None
    assert found.difference.method.startswith("t, 4 × 2 seeds")
    assert found.difference.mean == pytest.approx(0.2 + 0.02 * 1.5)


def test_failed_cells_lose_and_are_counted() -> None:
    records = both([0.9, 0.9, 0.9], [0.5, 0.5, 0.5])
    records[1] = record("mtlcm", 1, status="timeout")
    found = compare_rows(*pair(*records), "mcc")
    assert found.n_paired == 2
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(0.4)
    assert found.better is not None
    assert found.better.mean == pytest.approx(4 / 7)  # two wins and the failure, a loss
    assert found.notes == ["`mtlcm`: 1 of 3 cells timeout: it | broke"]


def test_two_failures_are_a_tie_and_leave_no_difference() -> None:
    records = [record(name, 0, status="failed") for name in ("mtlcm", "mtrn")]
    found = compare_rows(*pair(*records), "mcc")
    assert found.difference is None
    assert found.better is not None
    assert found.better.mean == pytest.approx(0.5)
    assert len(found.notes) == 2


def test_a_score_without_a_number_says_why() -> None:
    records = both([0.9, 0.8], [0.5, 0.4])
    records[0]["metrics"]["mcc"] = {"value": None, "reason": "too few samples", "chance": None, "ceiling": None}
    found = compare_rows(*pair(*records), "mcc")
    assert found.n_paired == 1
    assert "`mtlcm`: 1 finished cells have no mcc: too few samples" in found.notes


def test_lower_is_better_turns_wins_around() -> None:
    found = compare_rows(*pair(*both([0.9, 0.8], [0.5, 0.4])), "mcc", sign=-1.0)
    assert found.difference is not None
    assert found.difference.mean == pytest.approx(0.4)
    assert found.better is not None
    assert found.better.mean == pytest.approx(2 / 6)


def test_table_by_the_scores_each_is_judged_by() -> None:
    text = comparison(both([0.9, 0.8, 0.7], [0.80, 0.71, 0.59]), FOUND, {}, "mtlcm", "mtrn")
    lines = [line for line in text.splitlines() if line.startswith("| Linear")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[1] for row in cells] == ["mcc", "linear_r2"]  # mtlcm promises the one, mtrn the other
    assert cells[0][2:] == [
        "0.800",
        "0.700",
        "0.100",
        "0.075 to 0.125",
        "0.71 (0.46 to 1.00)",
        "mtlcm",
        "3",
        "t, 3 seeds",
    ]
    assert cells[1][7] == "not told apart"
    assert "Over all datasets" not in text  # there is one
    one = comparison(both([0.9, 0.8], [0.8, 0.7]), FOUND, {}, "mtlcm", "mtrn", metric="weak_mcc")
    assert [line.split("|")[2].strip() for line in one.splitlines() if line.startswith("| Linear")] == ["weak_mcc"]


def test_datasets_are_the_units_overall() -> None:
    found = Registry(learners=FOUND.learners, datasets={**FOUND.datasets, "other": DatasetInfo(name="other")})
    records = both([0.9, 0.8], [0.8, 0.7])
    for one in both([0.9, 0.8], [0.6, 0.5]):
        one["spec"]["dataset"], one["data"] = "other", {"title": "Other"}
        records.append(one)
    text = comparison(records, found, {}, "mtlcm", "mtrn", metric="mcc")
    half = t_interval([0.1, 0.3]).half
    assert half is not None
    assert "mcc over 2 datasets: mtlcm − mtrn" in text
    assert f"mtlcm − mtrn = 0.200, 95 % interval {0.2 - half:.3f} to {0.2 + half:.3f} (t, 2 datasets)" in text


def test_agreement_across_seeds_is_compared_over_pairs() -> None:
    found = Registry(
        learners=FOUND.learners, datasets={"linear-causal": DatasetInfo(name="linear-causal", truth=False)}
    )
    from bench.report.rows import row_key

    records = both([0.5] * 3, [0.5] * 3)
    consistency = {
        row_key(records[0]["spec"]): {"0-1": {"strong": 0.9, "weak": 1.0}, "0-2": {"strong": 0.8, "weak": 1.0}},
        row_key(records[3]["spec"]): {"0-1": {"strong": 0.7, "weak": 0.9}, "0-2": {"strong": 0.6, "weak": 0.9}},
    }
    text = comparison(records, found, consistency, "mtlcm", "mtrn", metric="consistency.strong")
    (line,) = [line for line in text.splitlines() if line.startswith("| Linear")]
    assert [cell.strip() for cell in line.strip("|").split("|")][2:5] == ["0.850", "0.650", "0.200"]


def test_several_parameters_must_be_named() -> None:
    records = both([0.9, 0.8], [0.5, 0.5])
    for seed in range(2):
        other = record("mtlcm", seed, mcc=0.99)
        other["spec"]["learner_params"] = {"d": 3}
        records[seed]["spec"]["learner_params"] = {"d": 2}
        records.append(other)
    with pytest.raises(UsageError, match=r"name one of mtlcm \(d=3\), mtlcm \(d=2\)"):
        comparison(records, FOUND, {}, "mtlcm", "mtrn")
    assert "mtlcm (d=2) − mtlcm (d=3)" in comparison(records, FOUND, {}, "mtlcm (d=2)", "mtlcm (d=3)")


@pytest.mark.parametrize(
    ("a", "b", "metric", "message"),
    [
        ("mtlmc", "mtrn", None, "unknown learner 'mtlmc'; did you mean mtlcm"),
        ("mtlcm", "oracle", None, "no records of 'oracle' here; run `python -m bench run --learners oracle --all`"),
        ("mtlcm", "gone", None, "'gone' has records, but its plugin is not known here"),
        ("mtlcm", "mtlcm", None, "a comparison needs two learners"),
        ("mtlcm", "mtrn", "mc", "unknown metric 'mc'; did you mean mcc"),
    ],
)
def test_wrong_names_are_one_line(a: str, b: str, metric: str | None, message: str) -> None:
    records = [*both([0.9, 0.8], [0.5, 0.5]), record("gone", 0)]
    with pytest.raises(UsageError) as error:
        comparison(records, FOUND, {}, a, b, metric=metric)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_command_reads_a_records_file_and_exits_2_for_a_wrong_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "records.jsonl"
    records = [*[record("pca", s, mcc=0.3) for s in range(3)], *[record("raw", s, mcc=0.3) for s in range(3)]]
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    options = argparse.Namespace(a="pca", b="raw", out=str(path), metric=None, plugin=[])
    assert compare_command(options) == 0
    assert "| not told apart |" in " ".join(capsys.readouterr().out.split())
    assert main(["compare", "pca", "rw", "--out", str(path)]) == 2
    assert capsys.readouterr().err == "error: unknown learner 'rw'; did you mean raw?\n"
    assert main(["compare", "pca", "raw", "--out", str(tmp_path / "nowhere")]) == 2
