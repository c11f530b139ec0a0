"""What must hold for a line of the reproduction table, and whether it does.

An expectation is one of

    each >= 0.90            every seed's score (also <=)
    mean >= 0.92            the mean over seeds (also <=)
    mean >= ivae - 0.03     the mean, against another learner's mean on the same data; the margin may be left out
    above ivae              the 95 % interval of the differences to that learner, seed by seed, lies above 0
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from bench.errors import UsageError
from bench.statistics.intervals import t_interval

Scores = Sequence[float | None]
"""One score a seed, in the order of the seeds; None where there is none."""

COMPARISONS = {">=": operator.ge, "<=": operator.le}
BOUND = re.compile(r"(each|mean) (>=|<=) (-?[\d.]+)")
RELATIVE = re.compile(r"mean (>=|<=) ([a-z][\w-]*)(?: - ([\d.]+))?")
ABOVE = re.compile(r"above ([a-z][\w-]*)")


def compared_with(expectations: Sequence[str]) -> set[str]:
    """The learners that the expectations name."""
    relative = [match[2] for text in expectations if (match := RELATIVE.fullmatch(text))]
    return {*relative, *(match[1] for text in expectations if (match := ABOVE.fullmatch(text)))}


def broken(expectations: Sequence[str], values: Sequence[float], others: Mapping[str, Scores], title: str) -> str:
    """The first expectation that does not hold, in words, or "".

    values   one score a seed
    others   scores of the learners that the expectations name, on the same data
    title    of the setting, for errors: UsageError for an expectation that cannot be read or names no row
    """
    for text in expectations:
        if match := BOUND.fullmatch(text):
            seen = list(values) if match[1] == "each" else [_mean(values)]
            found = _outside(match[1], match[2], float(match[3]), seen)
        elif match := RELATIVE.fullmatch(text):
            margin = float(match[3] or 0.0)
            bound = _mean(_scores_of(match[2], others, len(values), title)) - margin
            found = _outside("mean", match[1], round(bound, 9), [_mean(values)])
        elif match := ABOVE.fullmatch(text):
            found = _not_above(match[1], values, _scores_of(match[1], others, len(values), title))
        else:
            raise UsageError(f"setting '{title}': cannot read expectation '{text}'")
        if found:
            return found
    return ""


def _mean(values: Sequence[float]) -> float:
    return round(fmean(values), 9)  # 0.9 and 0.94 have mean 0.92, not 0.9199…


def _outside(which: str, sign: str, bound: float, seen: Sequence[float]) -> str:
    wrong = [value for value in seen if not COMPARISONS[sign](value, bound)]
    worst = (min if sign == ">=" else max)(wrong, default=0.0)
    return f"{which} {sign} {bound:.4g} asked, {worst:.4f} seen" if wrong else ""


def _not_above(name: str, values: Sequence[float], other: Sequence[float]) -> str:
    difference = t_interval([mine - theirs for mine, theirs in zip(values, other, strict=True)])
    low, high = difference.low, difference.high
    if low is not None and low > 0.0:
        return ""
    span = "no interval" if low is None else f"{low:+.3f} to {high:+.3f}"
    return f"above {name} asked, difference {difference.mean:+.4f} ({span}) seen"


def _scores_of(name: str, others: Mapping[str, Scores], n: int, title: str) -> list[float]:
    """A row's scores on the same seeds; a row that is not complete stands for no comparison."""
    if name not in others:
        raise UsageError(f"setting '{title}' is compared with '{name}', which has no setting on the same data")
    scores = [score for score in others[name] if score is not None]
    if len(scores) != n:
        raise Unfinished(f"'{name}' has {len(scores)} of {n} scores on the same data")
    return scores


class Unfinished(Exception):
    """The row to compare with is not complete; the message says how far it is."""
