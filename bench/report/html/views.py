"""Tables of the page as plain values for the templates: a cell is (text shown, value sorted by, classes)."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.report import facts
from bench.report.figures import MARKER_SIGNS, PALETTE
from bench.report.markdown import DASH, score, seconds
from bench.report.ranking import TITLES
from bench.report.rows import Board, Row, headline
from bench.report.standing import Answer, standings
from bench.statistics.intervals import Interval


@dataclass(frozen=True)
class Cell:
    """``value`` sorts (None comes last); ``row`` opens that row's details."""

    text: str
    value: float | str | None = None
    classes: str = ""
    row: str = ""
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A table's row; ``name``, ``guarantee`` and ``reference`` are what the filters look at."""

    name: str
    cells: Sequence[Cell]
    guarantee: str = ""
    reference: bool = False


@dataclass(frozen=True)
class Table:
    """``header``: (title, is it numeric); the first column names the row."""

    caption: str
    header: Sequence[tuple[str, bool]]
    lines: Sequence[Line] = field(default_factory=list)


def row_ids(made: Sequence[Board]) -> dict[int, str]:
    """{id(row): name in the page} of every row."""
    return {id(row): f"{board.slug}.{number}" for board in made for number, row in enumerate(board.rows)}


def knob_id(place: tuple[str, str]) -> str:
    digits = "".join(sign if sign.isalnum() else "-" for sign in place[0].lower())
    return f"knobs-{digits}-{place[1]}"


def answer_table(found: Answer) -> Table:
    title = TITLES.get(found.family, found.family)
    header = [("learner", False), (title, True), ("mean rank", True)]
    header += [("among all", True)] if found.held else []
    header += [("CPU s a fit", True), ("datasets", True), ("not con­verged", True)]
    lines = []
    for standing in found.top:
        cells = [
            Cell(standing.name + standing.marks, standing.name),
            Cell(_two_lines(score(standing.score)), standing.score.mean if standing.score else None),
            _rank_cell(standing.rank),
            *([_rank_cell(standing.overall)] if found.held else []),
            Cell(seconds(standing.cost), standing.cost),
            Cell(f"{len(standing.scores)} of {standing.n_boards}", len(standing.scores)),
            Cell(f"{standing.unconverged} of {standing.cells}", standing.unconverged),
        ]
        lines.append(Line(standing.name, cells, standing.guarantee))
    return Table("The first five", header, lines)


def overview_table(boards: Sequence[Board], ids: Mapping[int, str]) -> Table:
    """All learners × all boards of a budget, each by the score it is judged by; mean ranks beside."""
    order = standings(boards)
    ranks = {standing.name: standing.rank for standing in order}
    position = {standing.name: place for place, standing in enumerate(order)}
    places: dict[str, dict[str, tuple[Row, Board]]] = {}
    for board in boards:
        for row in board.rows:
            places.setdefault(row.name, {})[board.slug] = (row, board)
    header = [("learner", False), ("identified up to", False), ("mean rank by MCC", True)]
    header += [(board.label, True) for board in boards]
    lines = []
    for name, own in places.items():
        info = next(iter(own.values()))[0].info
        rank = ranks.get(name)
        cells = [Cell(name, name), Cell(info.guarantee, info.guarantee)]
        cells.append(Cell(score(rank, digits=1), rank.mean if rank else None))
        for board in boards:
            cells.append(_score_cell(*own[board.slug], ids) if board.slug in own else Cell(DASH))
        lines.append(Line(name, cells, info.guarantee, info.reference))
    lines.sort(key=lambda line: (line.reference, position.get(line.name, len(position)), line.name))
    return Table("Every learner on every dataset, by the score it is judged by", header, lines)


def board_table(board: Board, rows: Sequence[Row], ids: Mapping[int, str]) -> Table:
    theorems = any(row.theorem.answer for row in rows)
    efforts = any(len(row.by_effort) > 1 for row in rows)
    header = [("learner", False), *([("theorem", False)] if theorems else []), ("judged by", False)]
    header += [("score", True), ("median", True), ("failed", True), ("fit, CPU s", True)]
    header += [*([("to within 0.01, CPU s", True)] if efforts else []), ("peak MiB (fit)", True)]
    lines = []
    for row in rows:
        metric = headline(row, board)
        cells = [Cell(row.name, row.name)]
        cells += [Cell(row.theorem.sign, row.theorem.answer, title=row.theorem.why)] if theorems else []
        cells += [Cell(facts.short_title(metric), metric), _score_cell(row, board, ids, interval=True)]
        cells += [Cell(facts.middle(row, metric), row.median(metric)), Cell(facts.failures(row), len(row.failed))]
        cells += [Cell(facts.fit_seconds(row), row.mean_of("phases", "fit", "cpu_s"))]
        cells += [Cell(facts.seconds_to_within(row, metric), facts.cost_to_within(row, metric))] if efforts else []
        cells += [Cell(facts.memory(row), row.mean_of("memory", "peak_mib"))]
        lines.append(Line(row.name, cells, row.info.guarantee, row.info.reference))
    return Table(f"Scores on {board.title}", header, lines)


def all_scores_table(board: Board, rows: Sequence[Row]) -> Table:
    columns = facts.columns(board)
    header = [("learner", False), *((title, True) for _, title in columns)]
    header += [("above chance", True)] if board.truth else []
    lines = []
    for row in rows:
        if not row.ok:
            continue
        cells = [Cell(row.name, row.name)]
        for metric, _ in columns:
            cells.append(
                _interval_cell(row.interval(metric), " ⚑" if row.flagged(metric) else "", row.why_none(metric))
            )
        if board.truth:
            level = facts.above_chance(row, headline(row, board))
            cells.append(Cell(DASH if level is None else f"{level:.3f}", level))
        lines.append(Line(row.name, cells, row.info.guarantee, row.info.reference))
    return Table(f"All scores on {board.title}", header, lines)


def factor_tables(board: Board, rows: Sequence[Row]) -> list[Table]:
    """One table a score that has a value for every factor: factors from best to worst, mean over seeds."""
    tables = []
    for metric in facts.FACTORS if board.truth else ():
        found = [(row, values) for row in rows if (values := facts.per_factor(row, metric))]
        width = max((len(values) for _, values in found), default=0)
        if not width:
            continue
        header = [("learner", False), *((f"{place}", True) for place in range(1, width + 1))]
        lines = [
            Line(
                row.name,
                [Cell(row.name, row.name), *(Cell(f"{value:.2f}", value) for value in values)]
                + [Cell("")] * (width - len(values)),
                row.info.guarantee,
                row.info.reference,
            )
            for row, values in found
        ]
        tables.append(Table(f"{facts.short_title(metric)} of each factor, best to worst", header, lines))
    return tables


def times_table(rows: Sequence[Row]) -> Table:
    phases = ("load", "fit", "encode", "score")
    header = [("learner", False), *((f"{phase}, CPU s", True) for phase in phases)]
    header += [("wall s", True), ("parameters", True)]
    lines = []
    for row in rows:
        if not row.ok:
            continue
        cells = [Cell(row.name, row.name)]
        for phase in phases:
            value = row.mean_of("phases", phase, "cpu_s")
            cells.append(Cell(seconds(value), value))
        wall = sum(row.mean_of("phases", phase, "wall_s") or 0.0 for phase in phases)
        count = row.mean_of("n_parameters")
        cells += [Cell(seconds(wall), wall), Cell(DASH if count is None else f"{count:,.0f}", count)]
        lines.append(Line(row.name, cells, row.info.guarantee, row.info.reference))
    return Table("CPU seconds by phase", header, lines)


def not_applicable(board: Board) -> dict[str, list[str]]:
    """{reason: learners}."""
    reasons: dict[str, list[str]] = {}
    for row in board.rows:
        if not row.applies and row.records:
            reasons.setdefault(str(row.records[0]["reason"]), []).append(row.name)
    return reasons


def failures(made: Sequence[Board]) -> list[tuple[Board, Row, str, str]]:
    """(board, row, how many, why) of every row with cells that failed or did not converge."""
    found = []
    for board in made:
        for row in board.rows:
            if row.failed:
                counts = f"{facts.failures(row)} {row.failed[0]['status']}"
                found.append((board, row, counts, str(row.failed[0]["reason"])))
            if row.unconverged:
                reason = row.unconverged[0].get("converged_reason") or "no reason given"
                found.append((board, row, f"{len(row.unconverged)} of {len(row.ok)} not converged", str(reason)))
    return found


def by_dataset(made: Sequence[Board], knobs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Boards under their dataset's name, with the name of the pictures against difficulty where there are any."""
    places = set(knobs)
    return [
        {
            "name": dataset,
            "boards": [board for board in made if board.dataset == dataset],
            "knobs": [knob_id(place) for place in sorted(places) if place[0] == dataset],
        }
        for dataset in dict.fromkeys(board.dataset for board in made)
    ]


def legend(names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(name, colour, sign) of the learners in colour."""
    return [(name, PALETTE[i], MARKER_SIGNS[i]) for i, name in enumerate(names)]


def plain_words(markdown: str) -> str:
    """A sentence made for markdown, as it reads: without backticks and character references."""
    return html.unescape(markdown.replace("`", ""))


def _score_cell(row: Row, board: Board, ids: Mapping[int, str], *, interval: bool = False) -> Cell:
    metric = headline(row, board)
    found = row.interval(metric)
    if not row.applies:
        return Cell("n/a", None, "absent", ids[id(row)], row.trouble())
    if found is None:
        return Cell(f"{len(row.failed)} failed" if row.failed else DASH, None, "failed", ids[id(row)], row.trouble())
    shown = score(found if interval else Interval(found.mean, None, found.n))
    shown += facts.marks(row) + (" ⚑" if row.flagged(metric) else "")
    shown += "" if interval or not row.failed else f" ({len(row.failed)} failed)"
    title = f"{facts.short_title(metric)}, {row.theorem.why}" if row.theorem.why else facts.short_title(metric)
    return Cell(shown, found.mean, "void" if row.theorem.void else "", ids[id(row)], title)


def _rank_cell(rank: Interval | None) -> Cell:
    return Cell(_two_lines(score(rank, digits=1)), rank.mean if rank else None)


def _two_lines(shown: str) -> str:
    """On a phone "0.966 ± 0.051" may break before the sign only."""
    return shown.replace("± ", "±\u00a0")


def _interval_cell(interval: Interval | None, mark: str, why: str) -> Cell:
    if interval is None:
        return Cell(DASH, None, title=why)
    return Cell(score(interval) + mark, interval.mean)
