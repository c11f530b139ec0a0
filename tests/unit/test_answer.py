"""The first screen: five rows, winner, margin with interval, cost and coverage, all from records."""

from __future__ import annotations

from typing import Any

import pytest

from bench.api import DatasetInfo, LearnerInfo
from bench.registry import Registry
from bench.report.leaderboard import leaderboard
from bench.report.overview import LONGEST
from bench.report.overview import _first as overview_first
from bench.report.overview import _rows as overview_rows
from bench.report.rows import boards
from bench.report.standing import answer, sentences
from tests.unit.test_report import record

NAMES = ("best", "second", "third", "fourth", "fifth", "sixth")
DATASETS = ("one", "two", "three")
FOUND = Registry(
    learners={name: LearnerInfo(name=name, guarantee="permutation+scaling") for name in NAMES}
    | {"raw": LearnerInfo(name="raw", reference=True)},
    datasets={name: DatasetInfo(name=name) for name in DATASETS},
)


def cell(learner: str, dataset: str, seed: int, mcc: float, cpu_s: float = 1.0, **more: Any) -> dict[str, Any]:
    made = record(learner, seed, mcc=mcc, **more)
    made["spec"] |= {"dataset": dataset, "budget": "standard"}
    made["phases"]["fit"]["cpu_s"] = cpu_s
    made["data"] = {}
    return made


def campaign() -> list[dict[str, Any]]:
    """Six learners on three datasets; the best one lacks one of them and has a cell that did not converge."""
    made = []
    for place, name in enumerate(NAMES):
        for step, dataset in enumerate(DATASETS):
            if name == "best" and dataset == "three":
                continue
            for seed in range(3):
                mcc = 0.9 - 0.1 * place + 0.02 * step * (place == 0) + 0.001 * seed
                made.append(cell(name, dataset, seed, mcc, cpu_s=10.0 * (place + 1)))
    made[0]["converged"], made[0]["converged_reason"] = False, "the loss was still falling"
    made.append(cell("best", "three", 0, 0.0, status="skipped"))
    return [*made, *(cell("raw", dataset, seed, 1.0) for dataset in DATASETS for seed in range(3))]


def test_the_answer_names_winner_margin_cost_and_coverage() -> None:
    found = answer(boards(campaign(), FOUND, {}))
    assert found is not None
    assert [standing.name for standing in found.top] == ["best", "second", "third", "fourth", "fifth"]
    first, next_, counts = sentences(found)
    # means over seeds 0.901 and 0.921; t(1) = 12.706, deviation of the two 0.01414
    assert first == (
        "best comes first: MCC 0.911 ± 0.127 on the 2 of 3 datasets that it applies to, "
        "mean rank 1.0 ± 0.0, 10 CPU s a fit (median)."
    )
    # differences 0.1 and 0.12: mean 0.11, half-width 12.706 · 0.01414 / √2
    assert next_.startswith(
        "Next is second (0.801 ± 0.000, 20 CPU s a fit): the first is +0.110 ahead on the 2 they share"
    )
    assert "interval -0.017 to +0.237, higher on 2 of 2: not told apart." in next_
    assert counts == "51 cells apply: 51 done, 0 failed, 1 not converged (†), 50 do not say."


def test_a_learner_on_few_datasets_does_not_win() -> None:
    records = [item for item in campaign() if item["spec"]["learner"] != "best" or item["spec"]["dataset"] == "one"]
    found = answer(boards(records, FOUND, {}))
    assert found is not None
    assert found.top[0].name == "second"


def test_a_failed_cell_counts_as_the_lowest_and_is_counted() -> None:
    records = campaign()
    failed = cell("second", "one", 0, 0.0, status="failed")
    records = [failed if r["spec"] == failed["spec"] else r for r in records]
    found = answer(boards(records, FOUND, {}))
    assert found is not None
    assert found.failed == 1
    second = next(standing for standing in found.top if standing.name == "second")
    # the lowest of that cell is the sixth learner's 0.4
    assert second.scores["one"] == pytest.approx((0.4 + 0.801 + 0.802) / 3)


def test_the_first_lines_of_the_page_are_the_answer() -> None:
    text = leaderboard(campaign(), FOUND, {})
    head = text.splitlines()[:14]
    assert head[2].startswith("- **best** comes first: MCC 0.911")
    rows = [line for line in head if line.startswith("| ") and "learner" not in line]
    assert [row.split("|")[2].strip() for row in rows] == [
        "**best**†",
        "**second**",
        "**third**",
        "**fourth**",
        "**fifth**",
    ]
    assert "1 of 6" in rows[0]
    assert "2 of 3" in rows[0]


def test_the_page_stays_short_however_many_learners_there_are() -> None:
    names = [f"learner-{i}" for i in range(120)]
    found = Registry(
        learners={name: LearnerInfo(name=name, guarantee="permutation+scaling") for name in names},
        datasets={f"d{i}": DatasetInfo(name=f"d{i}") for i in range(16)},
    )
    records = [cell(name, f"d{i}", 0, 0.5) for name in names for i in range(16)]
    text = leaderboard(records, found, {})
    page = text[: text.index("\n# d")]
    assert len(page.splitlines()) <= LONGEST
    assert "more rows on the datasets' pages" in page


def test_efforts_are_one_row_whose_headline_is_the_largest() -> None:
    def at(effort: float, mcc: float, cpu_s: float) -> dict[str, Any]:
        made = cell("best", "one", 0, mcc, cpu_s=cpu_s)
        made["spec"]["effort"] = effort
        return made

    (board,) = boards([at(4.0, 0.905, 40.0), at(0.25, 0.5, 2.5), at(1.0, 0.9, 10.0)], FOUND, {})
    (row,) = board.rows
    assert (row.name, row.effort, row.values("mcc")) == ("best", 4.0, [0.905])
    assert [(step.effort, step.values("mcc")) for step in row.by_effort] == [
        (0.25, [0.5]),
        (1.0, [0.9]),
        (4.0, [0.905]),
    ]
    text = leaderboard([at(4.0, 0.905, 40.0), at(0.25, 0.5, 2.5), at(1.0, 0.9, 10.0)], FOUND, {})
    line = next(line for line in text[text.index("# one") :].splitlines() if line.startswith("| best"))
    assert [cell.strip() for cell in line.strip("|").split("|")][-2:] == ["40", "10"]  # within 0.01 at effort 1
    assert "--effort 1/4" in text
    assert "--effort 4" in text


def test_seeds_that_had_converged_stay_in_the_longer_steps() -> None:
    """``run --until-converged`` trains only the difficult seeds longer: the row is still of all seeds."""
    easy, hard, longer = cell("best", "one", 0, 0.9), cell("best", "one", 1, 0.4), cell("best", "one", 1, 0.8)
    easy["spec"]["effort"] = hard["spec"]["effort"] = 1.0
    longer["spec"]["effort"] = 4.0
    (board,) = boards([longer, easy, hard], FOUND, {})
    (row,) = board.rows
    assert row.values("mcc") == [0.9, 0.8]
    assert [(step.effort, step.values("mcc")) for step in row.by_effort] == [(1.0, [0.9, 0.4]), (4.0, [0.9, 0.8])]
    assert len(row.every_record) == 3


def test_ranks_of_the_answer_are_of_cells_where_theorems_hold() -> None:
    """A learner that scores best where its theorem fails is named, and does not win."""
    assumes = {"best": ("linear-mixing",), "second": ("injective-mixing",), "third": ("injective-mixing",)}
    found = Registry(
        learners={
            name: LearnerInfo(name=name, guarantee="permutation+scaling", assumes=assumes.get(name, ()))
            for name in NAMES
        },
        datasets={
            name: DatasetInfo(name=name, properties={"injective-mixing": "yes", "linear-mixing": "no"})
            for name in DATASETS
        },
    )
    reply = answer(boards([r for r in campaign() if r["spec"]["learner"] in NAMES], found, {}))
    assert reply is not None
    assert reply.held
    assert [standing.name for standing in reply.top] == ["second", "third"]
    assert [standing.rank.mean for standing in reply.top if standing.rank] == [1.0, 2.0]
    # among all six, "best" is ahead of both on two of three datasets
    assert [round(standing.overall.mean, 2) for standing in reply.top if standing.overall] == [1.67, 2.67]
    words = sentences(reply)
    assert "on the 3 of 3 datasets where its theorem holds or nearly holds" in words[0]
    assert words[2].startswith("Among all learners on all datasets, whatever their theorems say, best has the highest")
    assert "theorem promises this score and holds or nearly holds" in reply.rule


def test_learners_first_on_datasets_of_their_own_share_the_place_and_linear_ones_do_not_win_by_mcc() -> None:
    """Learners whose theorems hold on two datasets each, with a rival there, and one that promises linear R² on all."""
    datasets = ("one", "two", "three", "four", "five")
    learners = {
        "left": LearnerInfo(name="left", guarantee="permutation+scaling", assumes=("linear-mixing",)),
        "right": LearnerInfo(name="right", guarantee="permutation+scaling", assumes=("injective-mixing",)),
        "flat": LearnerInfo(name="flat", guarantee="linear", assumes=()),
        "left behind": LearnerInfo(name="left behind", guarantee="permutation+scaling", assumes=("linear-mixing",)),
        "right behind": LearnerInfo(
            name="right behind", guarantee="permutation+scaling", assumes=("injective-mixing",)
        ),
    }
    answers = {name: {"linear-mixing": "no", "injective-mixing": "no"} for name in datasets}
    for name in ("one", "two"):
        answers[name] = {"linear-mixing": "yes", "injective-mixing": "no"}
    for name in ("three", "four"):
        answers[name] = {"linear-mixing": "no", "injective-mixing": "yes"}
    found = Registry(
        learners=learners, datasets={name: DatasetInfo(name=name, properties=answers[name]) for name in datasets}
    )
    places = {"left": 0.9, "right": 0.8, "flat": 0.95, "left behind": 0.6, "right behind": 0.5}
    records = [
        cell(name, dataset, seed, place + 0.001 * seed)
        for name, place in places.items()
        for dataset in datasets
        for seed in range(3)
    ]
    reply = answer(boards(records, found, {}))
    assert reply is not None
    assert "flat" not in [standing.name for standing in reply.top]
    assert [standing.name for standing in reply.top] == ["left", "right", "left behind", "right behind"]
    assert all(len(standing.scores) == 2 for standing in reply.top)
    assert sentences(reply)[0] == (
        "2 learners share the first place, mean rank 1.0 ± 0.0 by MCC over the datasets where their theorems promise "
        "it and hold or nearly hold (how many of 4): left (2), right (2)."
    )


def test_floors_and_ceilings_stay_in_a_table_that_is_cut() -> None:
    references = ["oracle", "raw", "chance", "more"]
    learners = {name: LearnerInfo(name=name, guarantee="permutation+scaling") for name in NAMES}
    learners |= {name: LearnerInfo(name=name, reference=True) for name in references}
    found = Registry(learners=learners, datasets={"one": DatasetInfo(name="one")})
    records = [cell(name, "one", seed, 0.5 + 0.01 * seed) for name in learners for seed in range(2)]
    rows = overview_rows(boards(records, found, {}))
    assert [name for name, _ in overview_first(rows, 100)] == [name for name, _ in rows]
    kept = [name for name, _ in overview_first(rows, 6)]
    assert len(kept) == 6
    assert sum(name in references for name in kept) == 3
    assert kept == [name for name, _ in rows if name in kept]
