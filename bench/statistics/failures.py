"""Learners that now and then fail: what to print beside an interval that cannot know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.statistics.better import jeffreys
from bench.statistics.intervals import Interval

DROP = 0.1
"""A score further than this below its learner's median is a failure, as is a cell without a score."""


@dataclass(frozen=True)
class Failures:
    """n seeds, of which ``n_failed`` failed; the median of the scores there are, None without any.

    rate    share of failures with Jeffreys' 95 % interval: none of three is compatible with one in two
    """

    n: int
    n_failed: int
    rate: Interval
    median: float | None

    def sentence(self) -> str:
        """For a footnote: what was seen, what it may mean, and what no interval can know."""
        seen = f"{self.n_failed} of {self.n} seeds failed" if self.n_failed else f"none of {self.n} seeds failed"
        middle = "" if self.median is None else f", median {self.median:.3f}"
        return (
            f"{seen}{middle}; the failure rate may be up to {self.rate.high:.2f}. No interval over {self.n} seeds "
            f"knows of failures that did not occur: one in ten stays unseen with probability {unseen(0.1, self.n):.2f}."
        )


def failures(scores: Sequence[float | None], drop: float = DROP) -> Failures:
    """Failure rate and median of one learner's scores, one a seed, None where a cell has no score.

    drop    how far below its own median a score is a failure; higher scores are better
    Raises ValueError for no scores at all.
    """
    if not scores:
        raise ValueError("a failure rate needs at least one seed")
    finished = [score for score in scores if score is not None]
    middle = median(finished) if finished else None
    failed = sum(score is None or (middle is not None and score < middle - drop) for score in scores)
    low, high = jeffreys(failed, len(scores))
    rate = failed / len(scores)
    interval = Interval(rate, max(high - rate, rate - low), len(scores), f"Jeffreys, {len(scores)} seeds", (low, high))
    return Failures(len(scores), failed, interval, middle)


def unseen(rate: float, n: int) -> float:
    """Probability that a learner which fails at this rate shows no failure in n seeds."""
    return float((1.0 - rate) ** n)
