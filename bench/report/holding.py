"""Cells where a learner's theorem holds: what ranks are about, and where a low score is a failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.assumptions import theorem_holds
from bench.report.rows import Board, Row, headline
from bench.statistics.intervals import Interval

HELD = ("yes", "nearly")
BAR = 0.9
"""A theorem promises 1; a mean score below this, where the theorem holds, is a failure of method or training."""


@dataclass(frozen=True)
class BrokenPromise:
    """A learner that fails where its theorem holds or nearly holds: its score, and why that should be near 1."""

    board: Board
    row: Row
    metric: str
    score: Interval | None
    answer: str
    why: str


def holds(row: Row, board: Board) -> bool:
    """Does the row's theorem hold, or nearly hold, on this board?"""
    return theorem_holds(row.info, board.info, board.params)[0] in HELD


def where_held(board: Board) -> Board:
    """The board with those rows only whose theorem holds or nearly holds."""
    return replace(board, rows=[row for row in board.rows if holds(row, board)])


def broken_promises(boards: Sequence[Board], bar: float = BAR) -> list[BrokenPromise]:
    """Competitors whose theorem holds or nearly holds and whose mean score is below ``bar``, or that never finished.

    Boards whose truth is known only. The worst come first, those without a score before them.
    """
    found = []
    for board in boards:
        for row in board.rows:
            skipped = all(record["status"] == "skipped" for record in row.records)
            answer, why = theorem_holds(row.info, board.info, board.params)
            if not board.truth or row.info.reference or skipped or answer not in HELD:
                continue
            metric = headline(row, board)
            score = row.interval(metric)
            if score is None or score.mean < bar:
                found.append(BrokenPromise(board, row, metric, score, answer, why))
    return sorted(found, key=lambda item: (item.score is not None, item.score.mean if item.score else 0.0))
