"""Differences of a whole board: when they are corrected, by how much, and that interval and test agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.statistics.boards import differences
from bench.statistics.families import corrected, moderated, paired_differences
from bench.statistics.intervals import t_interval


def seeds(*values: float) -> dict:
    return {(i, i): value for i, value in enumerate(values)}


def board(n_learners: int, n_seeds: int = 5, seed: int = 0) -> dict[str, dict]:
    generator = np.random.default_rng(seed)
    return {str(k): seeds(*generator.standard_normal(n_seeds)) for k in range(n_learners)}


def test_two_learners_keep_their_interval() -> None:
    scores = {"a": seeds(0.9, 0.8, 0.7), "b": seeds(0.5, 0.6, 0.4)}
    assert paired_differences(scores) == {("a", "b"): t_interval([0.4, 0.8 - 0.6, 0.7 - 0.4])}


def test_the_first_test_is_bonferronis_and_the_later_ones_are_holms() -> None:
    scores = board(4)
    scores["3"] = {key: value + 100.0 for key, value in scores["3"].items()}
    found = paired_differences(scores)
    apart = {pair for pair, interval in found.items() if not interval.covers(0.0)}
    assert apart == {("0", "3"), ("1", "3"), ("2", "3")}
    # three pairs are told apart, the three that are left are tested as three
    plain = {pair: t_interval([scores[pair[0]][k] - scores[pair[1]][k] for k in scores["0"]]) for pair in found}
    variance, freedom = moderated(
        np.array([5 * interval.error**2 for interval in plain.values()]), np.full(6, 4.0), n_learners=4
    )
    for i, (pair, interval) in enumerate(found.items()):
        if "3" not in pair:
            half = stats.t.ppf(1 - 0.05 / 3 / 2, freedom[i]) * np.sqrt(variance[i] / 5)
            assert interval.half == pytest.approx(max(half, abs(interval.mean)))
        assert "Holm, 6 pairs of 4 learners" in interval.method


def test_an_interval_excludes_zero_exactly_where_its_test_does() -> None:
    for seed in range(20):
        scores = {name: {k: v + 1.5 * int(name) for k, v in own.items()} for name, own in board(6, 3, seed).items()}
        found = paired_differences(scores)
        chances = sorted((abs(i.mean) / i.half, i.covers(0.0)) for i in found.values())
        assert [covers for _, covers in chances] == sorted((covers for _, covers in chances), reverse=True)


def test_variances_that_are_alike_are_pooled_and_others_are_left_alone() -> None:
    generator = np.random.default_rng(0)
    alike = generator.chisquare(4, 91) / 4
    variance, freedom = moderated(alike, np.full(91, 4.0), n_learners=14)
    assert variance.std() < alike.std() / 4
    assert 4 < freedom[0] <= 4 + 24, "half of the board's 52 - 4 further degrees of freedom at most"
    decades = alike * 10.0 ** generator.uniform(-6, 6, 91)
    variance, freedom = moderated(decades, np.full(91, 4.0), n_learners=14)
    assert freedom[0] == pytest.approx(4.0, abs=0.3)
    assert np.median(np.abs(np.log(variance / decades))) < 0.1


def test_differences_that_never_vary_are_judged_by_the_variance_of_the_others() -> None:
    scores = board(5, 3)
    scores["copy"] = {key: value + 1e-3 for key, value in scores["0"].items()}
    assert paired_differences(scores)["0", "copy"].covers(0.0)
    still = {name: seeds(*[value] * 3) for name, value in (("a", 0.1), ("b", 0.2), ("c", 0.3))}
    assert not any(interval.covers(0.0) for interval in paired_differences(still).values())


def test_the_simulation_makes_the_intervals_that_boards_are_ranked_by() -> None:
    scores = np.random.default_rng(1).standard_normal((5, 4)) + 3.0 * np.arange(5)[:, None]
    slow = paired_differences({str(k): seeds(*map(float, own)) for k, own in enumerate(scores)})
    fast = differences(scores)
    assert list(fast) == list(slow)
    for pair, interval in slow.items():
        assert (fast[pair].low, fast[pair].high) == (pytest.approx(interval.low), pytest.approx(interval.high))
        assert fast[pair].method == interval.method


def test_one_seed_tells_nothing_apart() -> None:
    assert paired_differences({name: seeds(0.5) for name in "abc"}) == {}
    alone = {("a", "b"): t_interval([1.0]), ("a", "c"): t_interval([2.0])}
    assert corrected(alone) == alone
