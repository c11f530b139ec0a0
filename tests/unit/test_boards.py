"""No two boards share a column, and a board's parameters are said where they are not the usual ones."""

from __future__ import annotations

from typing import Any

from bench.registry import discover
from bench.report.leaderboard import leaderboard
from bench.report.naming import slugs, tell_apart
from bench.report.rows import boards
from tests.unit.test_report import FOUND, record


def at(d: int, mcc: float, seed: int = 0) -> dict[str, Any]:
    made = record("mtlcm", seed, mcc=mcc)
    made["spec"]["dataset_params"] = {"d": d}
    made["data"] = {}
    return made


def test_parameters_of_a_dataset_make_boards_of_their_own() -> None:
    records = [at(10, 0.9), at(20, 0.4)]
    made = boards(records, FOUND, {})
    assert [board.label for board in made] == ["linear-causal (d=10)", "linear-causal (d=20)"]
    overview = leaderboard(records, FOUND, {})
    header = next(line for line in overview.splitlines() if line.startswith("| learner") and "d=10" in line)
    row = next(line for line in overview[overview.index(header) :].splitlines() if line.startswith("| mtlcm"))
    columns = [cell.strip() for cell in header.strip("|").split("|")]
    values = [cell.strip() for cell in row.strip("|").split("|")]
    assert {column.split("]")[0].lstrip("["): value for column, value in zip(columns, values, strict=True)}[
        "linear-causal (d=10)"
    ] == "0.900"
    assert values[-1] == "0.400"


def test_the_usual_parameters_go_unsaid() -> None:
    found = discover()
    records = [record("pca", 0), record("pca", 0)]
    usual = {"d": 10, "k": 2}
    from bench.report.reproducing import usual_params

    usual = usual_params(found.datasets["linear-causal"], "smoke")
    records[0]["spec"]["dataset_params"] = usual
    records[1]["spec"]["dataset_params"] = {**usual, "d": 20}
    made = boards(records, found, {})
    assert [board.label for board in made] == ["linear-causal", "linear-causal (d=20)"]
    assert [board.main for board in made] == [True, False]
    assert made[0].slug != made[1].slug


def test_what_differs_is_named_and_nothing_else() -> None:
    assert tell_apart([{"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3]}]) == ["b=[1, 2]", "b=[1, 3]"]
    assert tell_apart([{"a": 1}]) == [""]
    assert slugs(["A b", "a/b", "../../x", "<script>", ""]) == ["a-b", "a-b-2", "x", "script", "unnamed"]
