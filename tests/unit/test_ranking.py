"""Ranks from made-up scores: what is shared, what fails, what is averaged; Nemenyi's values from Demšar (2006)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.report.ranking import critical_difference, mean_ranks, ranking, shared_ranks
from bench.report.rows import Board, Row, boards
from bench.statistics.intervals import pair_interval, t_interval
from tests.unit.test_report import FOUND, record


def seeds(*values: float | None) -> dict:
    return {(i, i): value for i, value in enumerate(values)}


def test_clear_winners_and_those_that_cannot_be_told_apart() -> None:
    scores = {
        "best": seeds(0.95, 0.96, 0.94, 0.95),
        "second": seeds(0.80, 0.82, 0.79, 0.81),
        "third, by chance": seeds(0.81, 0.80, 0.80, 0.79),
        "last": seeds(0.30, 0.32, 0.29, 0.33),
    }
    assert shared_ranks(scores) == {"best": 1, "second": 2, "third, by chance": 2, "last": 4}


def test_pairing_tells_apart_what_unpaired_intervals_would_not() -> None:
    hard = np.array([0.0, 0.3, 0.1, 0.5])  # data seeds differ far more than the learners
    first, second = 0.4 + hard, 0.4 + hard - np.array([0.02, 0.021, 0.019, 0.02])
    assert shared_ranks({"a": seeds(*first), "b": seeds(*second)}) == {"a": 1, "b": 2}
    assert t_interval(first.tolist()).covers(float(second.mean()))


def test_ranks_need_not_be_transitive() -> None:
    # a is told from c, b from neither: b shares the first rank, c has one learner above it
    scores = {"a": seeds(0.90, 0.91, 0.92), "b": seeds(0.70, 0.95, 0.96), "c": seeds(0.80, 0.82, 0.81)}
    assert shared_ranks(scores) == {"a": 1, "b": 1, "c": 2}


def test_failed_cells_rank_last() -> None:
    scores = {
        "good": seeds(0.90, 0.91, 0.90, 0.91),
        "poor": seeds(0.50, 0.51, 0.50, 0.51),
        "never": seeds(None, None, None, None),
        "half": seeds(0.99, None, 0.99, None),
    }
    ranks = shared_ranks(scores)
    assert ranks["never"] == 4  # after all that finished anything
    assert ranks["good"] == 1
    assert ranks["poor"] == 2
    assert ranks["half"] == 1  # 0.99, 0.51, 0.99, 0.51: neither above nor below, as so few seeds tell
    # failing often enough costs the rank, however good the cell that finished
    often = shared_ranks(
        {"good": seeds(*[0.9, 0.91] * 4), "poor": seeds(*[0.5, 0.51] * 4), "x": seeds(1.0, *[None] * 7)}
    )
    assert often == {"good": 1, "poor": 2, "x": 2}


def test_one_common_seed_or_rounding_tells_nothing_apart() -> None:
    assert shared_ranks({"a": seeds(0.9), "b": seeds(0.1)}) == {"a": 1, "b": 1}
    assert shared_ranks({"a": seeds(1.0, 1.0, 1.0), "b": seeds(*[1.0 - 1e-13] * 3)}) == {"a": 1, "b": 1}


def test_ranks_of_agreement_across_seeds() -> None:
    high = {(r, s): 0.9 + 0.001 * (r + s) for r in range(4) for s in range(r)}
    low = {key: value - 0.3 + 0.001 * key[0] for key, value in high.items()}
    assert shared_ranks({"low": low, "high": high}, pair_interval) == {"low": 2, "high": 1}


def test_mean_ranks_have_boards_as_units() -> None:
    found = mean_ranks([{"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 3, "c": 2}, {"a": 2, "b": 3}])
    assert list(found) == ["a", "b", "c"]  # c, on two boards only, comes below
    assert found["a"] == t_interval([1, 1, 2])
    assert (found["c"].mean, found["c"].n) == (2.5, 2)


@pytest.mark.parametrize(("k", "n", "expected"), [(4, 14, 1.25), (5, 30, 1.114)])
def test_critical_difference_as_published(k: int, n: int, expected: float) -> None:
    """q = 2.569 for four and 2.728 for five learners (Demšar 2006, table 5); 1.25 is the paper's own example."""
    generator = np.random.default_rng(0)
    found = critical_difference({f"d{i}": {f"l{j}": generator.random() for j in range(k)} for i in range(n)})
    assert found is not None
    assert found.difference == pytest.approx(expected, abs=0.005)
    assert found.n_boards == n


def test_friedman_agrees_with_scipy_on_the_scores() -> None:
    grid = np.random.default_rng(1).random((6, 4)).round(1)  # with ties
    found = critical_difference({f"d{i}": {f"l{j}": grid[i, j] for j in range(4)} for i in range(6)})
    assert found is not None
    statistic, p_value = scipy_stats.friedmanchisquare(*grid.T)
    assert found.statistic == pytest.approx(statistic, rel=1e-12)
    assert found.p_value == pytest.approx(p_value, rel=1e-12)
    expected = scipy_stats.rankdata(-grid, axis=1).mean(0)
    assert [found.ranks[f"l{j}"] for j in range(4)] == pytest.approx(expected.tolist())


def test_critical_difference_leaves_out_by_name_what_is_not_everywhere() -> None:
    full = {"a": 0.9, "b": 0.8, "c": 0.7}
    means = {"x": {**full, "rare": 1.0}, "y": full, "z": full, "empty": {"a": 0.5}}
    found = critical_difference(means)
    assert found is not None
    assert found.left_out == ("rare", "empty")
    assert dict(found.ranks) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert found.statistic == pytest.approx(6.0)  # N (k − 1) where all boards agree
    assert critical_difference({"x": full}) is None
    assert critical_difference({"x": {"a": 1.0, "b": 0.5}, "y": {"a": 1.0, "b": 0.5}}) is None


def test_failures_of_every_cell_are_last_in_the_annex() -> None:
    found = critical_difference({b: {"a": 0.9, "b": float("-inf"), "c": 0.1} for b in ("x", "y")})
    assert found is not None
    assert list(found.ranks) == ["a", "c", "b"]


def made(*records: dict) -> list[Board]:
    return boards(records, FOUND, {})


def test_the_block_ranks_learners_and_not_references() -> None:
    text = ranking(
        made(
            *[record("mtlcm", seed, mcc=0.95 + 0.001 * seed, r2=0.90) for seed in range(3)],
            *[record("mtrn", seed, mcc=0.50 + 0.001 * seed, r2=0.97) for seed in range(3)],
            *[record("oracle", seed, mcc=1.0, r2=1.0) for seed in range(3)],
        )
    )
    by_mcc, by_r2 = text[text.index("### By MCC") :].split("### By linear R²")
    assert rows_of(by_mcc) == {"**mtlcm**": ["1", "1.0", "1"], "mtrn": ["2", "2.0", "1"]}
    assert rows_of(by_r2) == {"mtlcm": ["2", "2.0", "1"], "**mtrn**": ["1", "1.0", "1"]}
    assert "oracle" not in text
    assert "None: it needs two datasets" in text


def test_the_block_names_boards_with_one_seed_and_leaves_gaps_open() -> None:
    text = ranking(made(record("mtlcm", 0), record("mtrn", 0)))
    assert "one seed tells no learner from another: Linear" in text
    assert "### By" not in text
    skipped = [record("mtrn", seed, status="skipped") for seed in range(3)]
    assert ranking(made(*[record("mtlcm", seed) for seed in range(3)], *skipped)) == ""
    assert ranking([]) == ""


def test_failures_are_ranked_last_in_the_block() -> None:
    text = ranking(
        made(*[record("mtlcm", s, status="failed") for s in range(3)], *[record("mtrn", s, mcc=0.2) for s in range(3)])
    )
    ranks = rows_of(text[text.index("### By MCC") :].split("### By linear")[0])
    assert [cells[0] for cells in ranks.values()] == ["1", "2"]
    assert list(ranks) == ["mtrn", "**mtlcm**"]


def rows_of(block: str) -> dict[str, list[str]]:
    lines = [line for line in block.split("<details>")[0].splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_scores_of_a_row_keep_failures_and_drop_gaps() -> None:
    from bench.report.paired import cell_scores

    row = Row("mtlcm", FOUND.learners["mtlcm"])
    row.records = [record("mtlcm", 0, mcc=0.7), record("mtlcm", 1, status="oom"), record("mtlcm", 2, status="skipped")]
    assert cell_scores(row, "mcc") == {(0, 0): 0.7, (1, 1): None}
    assert cell_scores(row, "absent") == {(1, 1): None}
    row.consistency = {"0-1": {"strong": 0.4}, "0-2": {"strong": None, "reason": "rank"}}
    assert cell_scores(row, "consistency.strong") == {("0", "1"): 0.4}


def test_a_difference_that_does_not_matter_is_one_place_however_sure_it_is() -> None:
    def scores(value: float) -> dict:
        return {(seed, seed): value + 1e-5 * seed for seed in range(5)}

    assert shared_ranks({"a": scores(0.999), "b": scores(0.998)}) == {"a": 1, "b": 1}
    assert shared_ranks({"a": scores(0.999), "b": scores(0.98)}) == {"a": 1, "b": 2}
