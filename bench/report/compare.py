"""Two learners on the same cells: difference with interval, and the probability that one does better.

A cell of one is paired with the cell of the other that has the same dataset, parameters, data seed and repetition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.errors import UsageError, unknown
from bench.registry import Registry
from bench.report.markdown import DASH, score, table
from bench.report.paired import CONSISTENCY, cell_scores, mean_interval
from bench.report.rows import Board, Row, boards, headline
from bench.run.store import Record
from bench.statistics.better import MARGIN, probability_better, win
from bench.statistics.intervals import Interval, Seeds, t_interval

HOW_TO_READ = f"""\
Difference: mean over paired cells that both sides finished, with its 95 % interval; the last column says from what.
P: the probability that the first does better on a new data seed with new model seeds, and its interval (Jeffreys).
Scores that differ by {MARGIN} or less are a tie, a failed cell loses against a finished one, two failed cells are a
tie. P is shrunk: three wins of three give 0.71, as a new seed agrees no more often where differences are small."""


@dataclass
class Comparison:
    """One board, one score: A against B.

    difference   mean of A − B over the ``n_paired`` cells that both finished; None where there is none
    better       P(A does better than B)
    sign         −1 where a lower value of the score is better, else 1
    notes        cells that are not in the difference, and why
    """

    board: Board
    metric: str
    sign: float = 1.0
    mean_a: float | None = None
    mean_b: float | None = None
    difference: Interval | None = None
    better: Interval | None = None
    n_paired: int = 0
    notes: list[str] = field(default_factory=list)


def comparison(
    records: Iterable[Record],
    found: Registry,
    consistency: Mapping[str, Mapping[str, Mapping[str, Any]]],
    a: str,
    b: str,
    *,
    metric: str | None = None,
) -> str:
    """Markdown: A against B on every board that has both, and over the boards of each budget.

    a, b     names of learners, or of rows as the leaderboard names them ("mtlcm (d=3)") where one learner was run
             with several parameters
    metric   a score's name; without it the scores that A and B are judged by
    Raises UsageError for names or a metric that no record has, and where no board has both learners.
    """
    records = list(records)
    made = boards(records, found, consistency)
    _require_known(records, made, found, (a, b))
    if metric is not None:
        _require_metric(metric, made)
    notes: list[str] = []
    compared: list[Comparison] = []
    for board in made:
        rows = [_row(board, name) for name in (a, b)]
        where = f"{board.title} (`{board.budget}`)"
        if any(isinstance(row, str) for row in rows):
            notes += [f"{where} is left out: {row}" for row in rows if isinstance(row, str)]
            continue
        first, second = rows
        assert isinstance(first, Row)
        assert isinstance(second, Row)
        metrics = [metric] if metric else list(dict.fromkeys([headline(first, board), headline(second, board)]))
        compared += [compare_rows(first, second, board, name, sign=_sign(name, found)) for name in metrics]
    if not compared:
        raise UsageError(f"no dataset has records of both '{a}' and '{b}'; " + "; ".join(notes))
    parts = [f"# `{a}` against `{b}`", HOW_TO_READ]
    for budget in dict.fromkeys(item.board.budget for item in compared):
        members = [item for item in compared if item.board.budget == budget]
        parts += [f"## `{budget}` budget", _table(members, a, b), *_overall(members, a, b)]
    notes = [f"{item.board.title}, {item.metric}: {note}" for item in compared for note in item.notes] + notes
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts)


def compare_rows(first: Row, second: Row, board: Board, metric: str, *, sign: float = 1.0) -> Comparison:
    """Compare two rows of one board on their common cells; what is not in the difference is counted in the notes."""
    made = Comparison(board, metric, sign)
    one, two = cell_scores(first, metric), cell_scores(second, metric)
    common = [key for key in one if key in two]
    pairs: dict[Seeds, tuple[float, float]] = {}
    wins: dict[Seeds, float] = {}
    for key in common:
        left, right = one[key], two[key]
        if left is not None and right is not None:
            pairs[key] = (left, right)
            wins[key] = win(sign * (left - right))
        else:
            wins[key] = win(float(left is not None) - float(right is not None))
    made.n_paired = len(pairs)
    made.notes = _not_compared(first, second, metric, one, two)
    if pairs:
        made.mean_a = sum(left for left, _ in pairs.values()) / len(pairs)
        made.mean_b = sum(right for _, right in pairs.values()) / len(pairs)
        made.difference = mean_interval({key: left - right for key, (left, right) in pairs.items()}, metric)
    if wins and not metric.startswith(CONSISTENCY):
        made.better = probability_better(wins)
    return made


def _not_compared(
    first: Row, second: Row, metric: str, one: Mapping[Seeds, Any], two: Mapping[Seeds, Any]
) -> list[str]:
    """In words: how many cells failed, have no score, do not apply, or have no counterpart, on which side."""
    notes = []
    for row, scores in ((first, one), (second, two)):
        statuses = Counter(record["status"] for record in row.records if record["status"] != "ok")
        for status, count in sorted(statuses.items()):
            reason = next(record["reason"] for record in row.records if record["status"] == status)
            notes.append(f"`{row.name}`: {count} of {len(row.records)} cells {status}: {reason}")
        lacking = 0 if metric.startswith(CONSISTENCY) else len(row.ok) - sum(v is not None for v in scores.values())
        if row.ok and (lacking or not scores):
            why = row.why_none(metric) or "this score was not computed"
            notes.append(f"`{row.name}`: {lacking or len(row.ok)} finished cells have no {metric}: {why}")
    for row, own, other in ((first, one, _cells(second)), (second, two, _cells(first))):
        alone = sum(key not in other for key in own)
        if alone and not metric.startswith(CONSISTENCY):
            notes.append(f"`{row.name}`: {alone} cells were run for it alone")
    return notes


def _cells(row: Row) -> set[Seeds]:
    return {(record["spec"]["data_seed"], record["spec"]["repetition"]) for record in row.records}


def _table(members: Sequence[Comparison], a: str, b: str) -> str:
    header = ["dataset", "score", a, b, f"{a} − {b}", "95 % interval", f"P({a} better)", "better", "cells", "from"]
    rows = [
        [
            item.board.title,
            item.metric,
            DASH if item.mean_a is None else f"{item.mean_a:.3f}",
            DASH if item.mean_b is None else f"{item.mean_b:.3f}",
            *_interval_cells(item.difference),
            _probability(item.better),
            _verdict(item, a, b),
            str(item.n_paired),
            item.difference.method if item.difference else DASH,
        ]
        for item in members
    ]
    return table(header, rows, numeric_from=2)


def _overall(members: Sequence[Comparison], a: str, b: str) -> list[str]:
    """One line a score: the mean difference with the datasets as units, and how many go which way."""
    lines = []
    for metric in dict.fromkeys(item.metric for item in members):
        ours = [item for item in members if item.metric == metric and item.difference is not None]
        differences = [item.difference.mean for item in ours if item.difference is not None]
        if len(differences) < 2:
            continue
        mean = t_interval(differences, method=f"t, {len(differences)} datasets")
        verdicts = Counter(_verdict(item, a, b) for item in ours)
        ahead = probability_better({(i, i): win(ours[0].sign * value) for i, value in enumerate(differences)})
        value, interval = _interval_cells(mean)
        lines.append(
            f"- {metric} over {len(differences)} datasets: {a} − {b} = {value}, "
            f"95 % interval {interval} ({mean.method}); "
            f"{', '.join(f'{count} × {verdict}' for verdict, count in verdicts.most_common())}; "
            f"P({a} better on another dataset) {_probability(ahead)}"
        )
    return ["\n".join(["Over all datasets, each with the same weight:", "", *lines])] if lines else []


def _interval_cells(interval: Interval | None) -> tuple[str, str]:
    if interval is None:
        return DASH, DASH
    value = score(Interval(interval.mean, None, 1))
    if interval.low is None or interval.high is None:
        return value, "none: one seed"
    return value, f"{_signed(interval.low)} to {_signed(interval.high)}"


def _signed(value: float) -> str:
    return f"{0.0 if abs(value) < 5e-4 else value:.3f}"


def _probability(interval: Interval | None) -> str:
    if interval is None:
        return DASH
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _verdict(item: Comparison, a: str, b: str) -> str:
    if item.difference is None:
        return DASH
    if item.difference.covers(0.0):
        return "not told apart"
    return a if item.sign * item.difference.mean > 0.0 else b


def _sign(metric: str, found: Registry) -> float:
    info = found.metrics.get(metric)
    return -1.0 if info is not None and info.direction == "lower" else 1.0


def _row(board: Board, name: str) -> Row | str:
    """The row of that name on the board, or in words why there is none."""
    exact = [row for row in board.rows if row.name == name]
    if exact:
        return exact[0]
    variants = [row for row in board.rows if row.info.name == name]
    if len(variants) == 1:
        return variants[0]
    if variants:
        return f"'{name}' was run with several parameters, name one of {', '.join(row.name for row in variants)}"
    return f"no records of '{name}'"


def _require_known(records: Sequence[Record], made: Sequence[Board], found: Registry, names: Sequence[str]) -> None:
    stored = {record["spec"]["learner"] for record in records}
    shown = {row.name for board in made for row in board.rows} | {row.info.name for board in made for row in board.rows}
    for name in names:
        if name in shown:
            continue
        if name in stored and name not in found.learners:
            raise UsageError(f"'{name}' has records, but its plugin is not known here; give --plugin FILE")
        if name in found.learners:
            raise UsageError(f"no records of '{name}' here; run `python -m bench run --learners {name} --all` first")
        raise unknown("learner", name, stored | shown)
    if names[0] == names[1]:
        raise UsageError(f"'{names[0]}' twice; a comparison needs two learners")


def _require_metric(metric: str, made: Sequence[Board]) -> None:
    known = {
        name
        for board in made
        for row in board.rows
        for record in row.ok
        for name, value in record.get("metrics", {}).items()
        if value
    }
    known |= {f"{CONSISTENCY}{part}" for part in ("strong", "weak") if any(not board.truth for board in made)}
    if metric not in known:
        raise unknown("metric", metric, known)
