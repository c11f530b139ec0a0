"""What a page says of one row or board, as short strings: the same words in markdown and in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.curves import WITHIN, cost_curve, within
from bench.report.markdown import DASH, mebibytes, score, seconds
from bench.report.ranking import TITLES, competitors, metric_on
from bench.report.rows import Board, Row, headline
from bench.statistics.intervals import Interval

SCORES = (("mcc", "MCC"), ("weak_mcc", "weak MCC"), ("linear_r2", "linear R²"))
SCORES_INDEPENDENT = (("mcc_independent", "MCC, indep. z"), ("r2_independent", "R², indep. z"))
SCORES_WITHOUT_TRUTH = (
    ("consistency.strong", "strong consistency"),
    ("consistency.weak", "weak consistency"),
    ("target_r2", "target R²"),
)
SHORT = {
    "mcc": "MCC",
    "mcc_independent": "MCC, indep. z",
    "linear_r2": "R²",
    "r2_independent": "R², indep. z",
    "block_mcc": "block MCC",
    "consistency.strong": "strong cons.",
    "consistency.weak": "weak cons.",
}
FACTORS = ("mcc", "linear_r2")
"""Scores whose records carry a value for every factor."""
ENOUGH = 0.9
NECESSARY = """\
Agreement across seeds is necessary, not sufficient: codes that ignore the data's factors, such as the raw inputs or \
their principal components, agree perfectly. Strong: up to permutation and scaling; weak: up to a linear map. Target \
R² says whether the codes still hold what the targets need."""


@dataclass(frozen=True)
class Shortfall:
    """A row whose theorem holds on the board and whose score is low."""

    board: Board
    row: Row
    metric: str
    interval: Interval
    above_chance: float


def columns(board: Board) -> list[tuple[str, str]]:
    """(metric, title) of every score that any row has; without truth the two consistencies and target R²."""
    if not board.truth:
        return list(SCORES_WITHOUT_TRUTH)
    extra = [*SCORES_INDEPENDENT, ("block_mcc", "block MCC")]
    return [*SCORES, *(column for column in extra if any(row.values(column[0]) for row in board.rows))]


def short_title(metric: str) -> str:
    return SHORT.get(metric) or TITLES.get(metric, metric)


def marks(row: Row) -> str:
    """† where cells of the row did not converge."""
    return "†" if row.unconverged else ""


def failures(row: Row) -> str:
    """ "1 of 3" cells that apply and failed; "0 of 3" where all went well."""
    applying = [record for record in row.records if record["status"] != "skipped"]
    return f"{len(row.failed)} of {len(applying)}"


def middle(row: Row, metric: str) -> str:
    value = row.median(metric)
    return DASH if value is None else score(Interval(value, None, 1))


def fit_seconds(row: Row) -> str:
    return seconds(row.mean_of("phases", "fit", "cpu_s"))


def memory(row: Row) -> str:
    """Peak of the cell's process, and in brackets what fitting added to it."""
    return f"{mebibytes(row.mean_of('memory', 'peak_mib'))} ({mebibytes(row.mean_of('memory', 'fit_peak_mib'))})"


def seconds_to_within(row: Row, metric: str) -> str:
    """CPU seconds to come within 0.01 of the score at the largest effort; a dash where there was one effort."""
    return seconds(cost_to_within(row, metric))


def cost_to_within(row: Row, metric: str) -> float | None:
    return within(cost_curve(row, metric))


def above_chance(row: Row, metric: str) -> float | None:
    """(score − chance) / (ceiling − chance), mean over the row's cells."""
    parts = []
    for record in row.ok:
        found = record["metrics"].get(metric)
        if found and found["value"] is not None and found["chance"] is not None:
            ceiling = 1.0 if found["ceiling"] is None else found["ceiling"]
            if ceiling > found["chance"]:
                parts.append((found["value"] - found["chance"]) / (ceiling - found["chance"]))
    return sum(parts) / len(parts) if parts else None


def per_factor(row: Row, metric: str) -> list[float]:
    """The metric's value of every factor, sorted by size and averaged over the row's cells; [] where it has none.

    Sorted, because factors are exchangeable: which one is hardest differs from one draw of the data to the next.
    """
    found = [(record["metrics"].get(metric) or {}).get("extra", {}).get("per_factor") for record in row.ok]
    lists = [sorted(values, reverse=True) for values in found if values]
    if not lists or len({len(values) for values in lists}) != 1:
        return []
    return [sum(values) / len(lists) for values in zip(*lists, strict=True)]


def shortfalls(boards: Sequence[Board]) -> list[Shortfall]:
    """Where the theorem holds, the truth is known, and the score goes less than ``ENOUGH`` from chance to ceiling."""
    found = []
    for board in boards:
        for row in competitors(board):
            metric = headline(row, board)
            interval, level = row.interval(metric), above_chance(row, metric)
            if board.truth and row.theorem.asked and interval and level is not None and level < ENOUGH:
                found.append(Shortfall(board, row, metric, interval, level))
    return sorted(found, key=lambda item: item.above_chance)


@dataclass(frozen=True)
class Price:
    """CPU seconds of a fit that comes within 0.01 of the board's best score."""

    row: Row
    cpu_s: float


def prices(board: Board, family: str = "mcc") -> list[Price]:
    """Of the learners that end within 0.01 of the best, whatever their theorems say; the cheapest first.

    A learner that was given several efforts counts with the shortest that comes within 0.01 of its own last score.
    """
    metric = metric_on(board, family)
    if metric is None:
        return []
    scored = [(row, interval.mean) for row in competitors(board) if (interval := row.interval(metric)) is not None]
    best = max((mean for _, mean in scored), default=0.0)
    found = []
    for row, mean in scored:
        cost = cost_to_within(row, metric) or row.mean_of("phases", "fit", "cpu_s")
        if mean >= best - WITHIN and cost is not None:
            found.append(Price(row, cost))
    return sorted(found, key=lambda price: price.cpu_s)


def unconverged(boards: Sequence[Board]) -> int:
    return sum(len(row.unconverged) for board in boards for row in board.rows)
