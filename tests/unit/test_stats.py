"""Intervals over seeds: closed forms, agreement with scipy, and which interval which design of seeds gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bench.statistics.better import MARGIN, probability_better, win
from bench.statistics.failures import failures, unseen
from bench.statistics.intervals import (
    Interval,
    pair_interval,
    seed_interval,
    t_interval,
    t_quantile,
)


def crossed(table: list[list[float]]) -> dict:
    return {(i, j): value for i, row in enumerate(table) for j, value in enumerate(row)}


def nested(table: list[list[float]]) -> dict:
    return {(i, (i, j)): value for i, row in enumerate(table) for j, value in enumerate(row)}


def test_t_interval_is_scipys() -> None:
    values = [0.91, 0.95, 0.90, 0.97]
    found = t_interval(values)
    low, high = scipy_stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy_stats.sem(values))
    assert found.low == pytest.approx(low, abs=1e-12)
    assert found.high == pytest.approx(high, abs=1e-12)
    assert (found.n, found.method) == (4, "t, 4 seeds")


def test_one_value_has_no_interval_and_none_is_an_error() -> None:
    single = t_interval([0.5])
    assert (single.half, single.low, single.high) == (None, None, None)
    assert single.covers(-100.0)  # no interval excludes nothing
    assert seed_interval({(0, 0): 0.5}).half is None
    for empty in (lambda: t_interval([]), lambda: seed_interval({}), lambda: pair_interval({})):
        with pytest.raises(ValueError, match="at least one"):
            empty()
    with pytest.raises(ValueError, match="at least one"):
        probability_better({})


def test_an_interval_that_is_not_symmetric_keeps_its_bounds() -> None:
    interval = Interval(0.5, 0.3, 12, "bootstrap", bounds=(0.2, 0.6))
    assert (interval.low, interval.high) == (0.2, 0.6)
    assert interval.covers(0.2)
    assert not interval.covers(0.7)


def test_a_seed_of_its_own_for_each_score_is_plain_t() -> None:
    values = [0.91, 0.95, 0.90, 0.97]
    assert seed_interval({(i, 10 + i): v for i, v in enumerate(values)}) == t_interval(values)


def test_one_data_seed_says_so() -> None:
    found = seed_interval({(7, i): v for i, v in enumerate([0.1, 0.2, 0.4])})
    assert found.half == t_interval([0.1, 0.2, 0.4]).half
    assert found.method == "t, 3 model seeds of one data seed"
    other = seed_interval({(i, 7): v for i, v in enumerate([0.1, 0.2, 0.4])})
    assert other.method == "t, 3 data seeds of one model seed"


def test_nested_seeds_are_t_over_the_means_of_data_seeds() -> None:
    table = [[0.9, 0.8], [0.5, 0.7], [0.6, 0.6]]
    found = seed_interval(nested(table))
    means = t_interval([0.85, 0.6, 0.6])
    assert (found.mean, found.half) == pytest.approx((means.mean, means.half))
    assert (found.n, found.method) == (3, "t, 3 data seeds (6 scores)")
    # repeated model seeds add no units: t over all six scores would be narrower
    assert found.half > t_interval([v for row in table for v in row]).half  # type: ignore[operator]


def test_data_seeds_of_unequal_number_weigh_the_same() -> None:
    assert seed_interval(nested([[1.0, 1.0, 1.0], [0.0]])).mean == 0.5


def test_crossed_seeds_follow_the_two_way_analysis_of_variance() -> None:
    table = np.array([[0.90, 0.80, 0.95], [0.50, 0.45, 0.70], [0.60, 0.40, 0.75], [0.65, 0.55, 0.65]])
    a, b = table.shape
    grand = table.mean()
    ms_data = b * np.sum((table.mean(1) - grand) ** 2) / (a - 1)
    ms_model = a * np.sum((table.mean(0) - grand) ** 2) / (b - 1)
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + grand
    ms_rest = np.sum(rest**2) / ((a - 1) * (b - 1))
    assert ms_model > ms_rest
    combined = ms_data + ms_model - ms_rest
    freedom = combined**2 / (ms_data**2 / (a - 1) + ms_model**2 / (b - 1) + ms_rest**2 / ((a - 1) * (b - 1)))
    found = seed_interval(crossed(table.tolist()))
    assert found.mean == pytest.approx(grand, abs=1e-14)
    assert found.half == pytest.approx(scipy_stats.t.ppf(0.975, freedom) * np.sqrt(combined / (a * b)), rel=1e-10)
    assert found.method == f"t, 4 × 3 seeds, {freedom:.1f} degrees of freedom"


def test_model_seeds_that_add_nothing_leave_t_over_data_seeds() -> None:
    # rows differ, columns have equal means
    table = [[0.9, 0.7, 0.8], [0.3, 0.5, 0.4], [0.5, 0.5, 0.5]]
    found = seed_interval(crossed(table))
    assert found.half == pytest.approx(t_interval([0.8, 0.4, 0.5]).half, rel=1e-10)


def test_shared_model_seeds_widen_the_interval() -> None:
    table = [[0.9, 0.1, 0.5], [0.91, 0.12, 0.5], [0.89, 0.1, 0.52]]
    assert seed_interval(crossed(table)).half > 5 * seed_interval(nested(table)).half  # type: ignore[operator]


def test_a_crossing_with_holes_says_how_many() -> None:
    scores = crossed([[0.9, 0.8, 0.95], [0.5, 0.45, 0.7], [0.6, 0.4, 0.75]])
    del scores[1, 2]
    found = seed_interval(scores)
    assert found.method.startswith("t, 3 × 3 seeds, 1 missing, ")
    assert found.half is not None
    assert np.isfinite(found.half)
    with pytest.raises(ValueError, match="no holes: 3 × 3 seeds, 1 missing"):
        seed_interval(scores, method="bootstrap")


def test_many_seeds_are_bootstrapped_and_reproducibly() -> None:
    generator = np.random.default_rng(3)
    values = {(i, i): float(v) for i, v in enumerate(generator.standard_normal(40))}
    found = seed_interval(values)
    assert found.method == "bootstrap, 40 seeds"
    assert found == seed_interval(values)
    student = t_interval(list(values.values()))
    assert found.low == pytest.approx(student.low, abs=0.05)  # normal seeds: close to Student's
    assert found.high == pytest.approx(student.high, abs=0.05)


def test_bootstrap_follows_the_skew() -> None:
    values = {(i, i): 1.0 - v for i, v in enumerate(np.random.default_rng(0).standard_exponential(20))}
    found = seed_interval(values)
    assert found.low is not None
    assert found.high is not None
    assert found.mean - found.low > 1.2 * (found.high - found.mean)


def test_bootstrap_agrees_with_scipys_quantiles_of_the_same_statistic() -> None:
    sample = np.random.default_rng(1).standard_normal(12)
    generator = np.random.default_rng(5)
    drawn = sample[generator.integers(12, size=(40_000, 12))]
    ratios = (drawn.mean(1) - sample.mean()) / scipy_stats.sem(drawn, axis=1)
    error = scipy_stats.sem(sample)
    low, high = sample.mean() - np.quantile(ratios, [0.975, 0.025]) * error
    found = seed_interval({(i, i): float(v) for i, v in enumerate(sample)})
    # 4999 draws leave a Monte Carlo error in each quantile
    assert found.low == pytest.approx(low, abs=0.25 * error)
    assert found.high == pytest.approx(high, abs=0.25 * error)


def test_bootstrap_refuses_three_seeds_and_takes_equal_scores() -> None:
    with pytest.raises(ValueError, match="at least four"):
        seed_interval({(i, i): float(i) for i in range(3)}, method="bootstrap")
    same = seed_interval({(i, i): 0.5 for i in range(12)})
    assert (same.low, same.high) == (0.5, 0.5)


def test_pairs_of_three_seeds_by_hand() -> None:
    # leaving out a seed leaves one pair: jackknife variance 2/3 · Σ (pair − mean)²
    found = pair_interval({(0, 1): 0.9, (0, 2): 0.6, (1, 2): 0.6})
    assert found.mean == pytest.approx(0.7)
    assert found.half == pytest.approx(t_quantile(0.975, 2) * np.sqrt(2 / 3 * (0.2**2 + 2 * 0.1**2)))
    assert (found.n, found.method) == (3, "jackknife, pairs of 3 seeds")
    assert pair_interval({(0, 1): 0.9}).half is None


def test_jackknife_of_additive_pairs_is_the_t_interval_of_the_seeds() -> None:
    own = [0.1, 0.5, 0.2, 0.9]
    pairs = {(i, j): own[i] + own[j] for i in range(4) for j in range(i)}
    # the mean of sums is twice the mean of seeds
    assert pair_interval(pairs).mean == pytest.approx(2 * np.mean(own))
    assert pair_interval(pairs).half == pytest.approx(2 * t_interval(own).half)  # type: ignore[operator]


def test_three_wins_of_three_are_no_certainty() -> None:
    found = probability_better({(i, i): 1.0 for i in range(3)})
    assert found.mean == pytest.approx(5 / 7)
    assert found.low == pytest.approx(scipy_stats.beta.ppf(0.025, 3.5, 0.5), abs=1e-10)
    assert found.high == pytest.approx(scipy_stats.beta.ppf(0.975, 3.5, 0.5), abs=1e-10)
    assert found.covers(0.5)


def test_differences_within_the_margin_are_ties() -> None:
    assert [win(d) for d in (1e-6, -1e-6, MARGIN, 0.0)] == [0.5] * 4
    assert (win(2 * MARGIN), win(-2 * MARGIN)) == (1.0, 0.0)
    assert win(1e-6, margin=0.0) == 1.0


def test_failures_are_counted_beside_the_median() -> None:
    found = failures([0.95, None, 0.96, 0.40, 0.94])
    assert (found.n, found.n_failed, found.median) == (5, 2, pytest.approx(0.945))
    assert found.rate.mean == pytest.approx(0.4)
    assert found.rate.high == pytest.approx(scipy_stats.beta.ppf(0.975, 2.5, 3.5))
    assert found.sentence().startswith("2 of 5 seeds failed, median 0.945; the failure rate may be up to 0.79.")
    spotless = failures([0.9, 0.91, 0.92])
    assert (spotless.n_failed, spotless.rate.low) == (0, pytest.approx(0.0, abs=1e-3))
    assert "one in ten stays unseen with probability 0.73" in spotless.sentence()
    assert unseen(0.1, 3) == pytest.approx(0.729)
    assert failures([None, None]).median is None
    with pytest.raises(ValueError, match="at least one seed"):
        failures([])


def test_ties_are_half_a_win_and_cells_of_one_data_seed_are_one_trial() -> None:
    assert probability_better({(0, 0): 0.5, (1, 1): 0.5}).mean == pytest.approx(0.5)
    many = probability_better({(i, (i, j)): 1.0 for i in range(5) for j in range(3)})
    assert (many.n, many.mean) == (5, pytest.approx(7 / 9))
    assert probability_better({(i, j): 1.0 for i in range(5) for j in range(3)}).n == 3
    assert probability_better({(0, j): 1.0 for j in range(4)}).n == 4


@settings(max_examples=40, derandomize=True)
@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=2, max_size=6),
    st.floats(-10, 10),
    st.floats(0.1, 10),
    st.booleans(),
)
def test_intervals_move_and_stretch_with_the_scores(
    table: list[list[float]], shift: float, scale: float, nest: bool
) -> None:
    name = nested if nest else crossed
    plain = seed_interval(name(table))
    moved = seed_interval(name([[shift + scale * v for v in row] for row in table]))
    assert moved.mean == pytest.approx(shift + scale * plain.mean, abs=1e-9)
    assert plain.half is not None
    assert moved.half is not None
    # equal mean squares may fall on either side after rounding: both sides give the same variance there
    if plain.half > 1e-6:
        assert moved.half == pytest.approx(scale * plain.half, rel=1e-5)
