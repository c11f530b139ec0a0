"""Do the intervals cover what they say? Simulated learners; full table: python -m bench.statistics.coverage."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.statistics.boards import board_errors
from bench.statistics.coverage import (
    Design,
    coverage,
    naive,
    pair_coverage,
    percentile,
    probability_coverage,
)
from bench.statistics.intervals import seed_interval

REPEATS = 2000  # standard error of a coverage of 95 %: 0.5 %

NESTED = [(1.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.3, 0.0, 1.0), (0.0, 0.0, 1.0)]
CROSSED = [
    (0.3, 0.0, 1.0),
    (1.0, 0.0, 1.0),
    (1.0, 1.0, 1.0),
    (1.0, 0.5, 0.5),
    (1.0, 1.0, 0.3),
    (0.3, 1.0, 0.3),
    (0.0, 1.0, 1.0),
]


@pytest.mark.parametrize("spread", NESTED)
@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_five_data_seeds_with_three_model_seeds_each(spread: tuple, method: str) -> None:
    share = coverage(Design(5, 3, False, *spread), lambda s: seed_interval(s, method=method), REPEATS)  # type: ignore[arg-type]
    print(f"{method}, 5 × 3 nested, spreads {spread}: {share:.3f}")
    assert 0.93 <= share <= 0.97


@pytest.mark.parametrize("spread", CROSSED)
def test_five_data_seeds_crossed_with_three_model_seeds(spread: tuple) -> None:
    share = coverage(Design(5, 3, True, *spread), seed_interval, REPEATS)
    print(f"5 × 3 crossed, spreads {spread}: {share:.3f}")
    assert 0.93 <= share <= 0.97


def test_a_few_failed_cells_do_not_undo_it() -> None:
    share = coverage(Design(5, 3, True, 1.0, 1.0, 1.0, n_missing=3), seed_interval, REPEATS)
    print(f"5 × 3 crossed, 3 missing: {share:.3f}")
    assert 0.93 <= share <= 0.98


def test_what_the_other_intervals_would_have_covered() -> None:
    """The reason for the methods chosen: the plain bootstrap and counting every score do not cover."""
    plain = coverage(Design(5, 3, False, 1.0, 0.0, 0.0), percentile, 1000)
    counted = coverage(Design(5, 3, False, 1.0, 0.0, 0.0), naive, 1000)
    shared = coverage(Design(5, 3, True, 0.3, 1.0, 0.3), percentile, 1000)
    print(f"percentile {plain:.3f}, all scores independent {counted:.3f}, percentile when crossed {shared:.3f}")
    assert plain < 0.88
    assert counted < 0.75
    assert shared < 0.70


def test_the_published_table_is_what_the_command_prints() -> None:
    """Two rows of docs/statistics.md, simulated again: the same draws give the same digits."""
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in text.splitlines() if "/" in line]
    for design, key in ((Design(5, 3, False, 1.0, 0.0, 1.0), "nested"), (Design(5, 3, True, 1.0, 1.0, 1.0), "crossed")):
        spread = " / ".join(f"{part:g}" for part in (design.data, design.model, design.rest))
        (row,) = [row for row in rows if row[:3] == [f"5 × 3 {key}", "normal", spread]]
        assert row[3] == f"{100 * coverage(design, seed_interval, REPEATS):.1f}"


@pytest.mark.parametrize("noise", ["normal", "skewed"])
@pytest.mark.parametrize(("n_learners", "repeats"), [(14, 400), (26, 150)])
@pytest.mark.parametrize("n_seeds", [3, 5])
def test_equal_learners_are_told_apart_on_five_boards_of_a_hundred_at_most(noise, n_learners, n_seeds, repeats) -> None:
    found = board_errors(n_learners, n_seeds, repeats, noise=noise)
    print(f"{n_learners} equal learners, {n_seeds} {noise} seeds: {found}")
    # two standard errors of 5 %; the full table, 1000 boards a row, holds 5 % itself
    assert found.separated <= 0.05 + 2 * (0.05 * 0.95 / repeats) ** 0.5
    assert found.behind < 0.01
    if n_seeds == 5:
        assert found.found > (0.6 if noise == "normal" else 0.15), "3 standard deviations of a score apart"


def test_two_learners_alone_are_not_corrected() -> None:
    found = board_errors(2, 5, 2000)
    print(f"2 equal learners, 5 seeds: {found}")
    assert 0.035 <= found.separated <= 0.065  # three standard errors
    assert found.found > 0.9


def test_the_published_boards_are_those_that_the_command_prints() -> None:
    text = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
    found = board_errors(2, 3, 1000)
    row = f"| normal | 2 | 3 | {100 * found.separated:.1f} | {100 * found.behind:.1f} | {100 * found.found:.1f} |"
    assert row in text


def test_skewed_seeds_are_covered_by_the_bootstrap_of_ten_and_not_by_t() -> None:
    design = Design(10, 1, False, 1.0, 0.0, 0.0, "skewed")
    used = coverage(design, seed_interval, REPEATS)
    student = coverage(design, lambda scores: seed_interval(scores, method="t"), REPEATS)
    print(f"10 skewed seeds: bootstrap {used:.3f}, t {student:.3f}")
    assert 0.925 <= used <= 0.97
    assert student < used - 0.015


def test_crossed_bootstrap_of_ten_by_ten() -> None:
    share = coverage(Design(10, 10, True, 1.0, 1.0, 1.0), seed_interval, 600)
    print(f"10 × 10 crossed, bootstrap: {share:.3f}")
    assert 0.93 <= share <= 0.97


def test_agreement_across_seeds_is_covered_at_least() -> None:
    for n in (3, 5):
        share = pair_coverage(n, common=1.0, rest=0.3, repeats=REPEATS)
        print(f"pairs of {n} seeds: {share:.3f}")
        assert 0.94 <= share <= 0.98
        # where pairs differ for reasons of their own the jackknife is too wide, never too narrow
        assert pair_coverage(n, common=0.3, rest=1.0, repeats=REPEATS) >= 0.97


def test_probability_of_doing_better_covers_at_least_93_percent() -> None:
    for design in (Design(5, 1, False, 1.0, 0.0, 0.0), Design(5, 3, False, 1.0, 0.0, 1.0)):
        for lead in (0.0, 0.7, 1.5):
            share = probability_coverage(design, lead, REPEATS)
            print(f"P(A > B), {design.describe()}, lead {lead}: {share:.3f}")
            assert share >= 0.925
