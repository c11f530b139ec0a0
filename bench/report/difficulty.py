"""``difficulty.md``: score against each parameter that makes a dataset harder, and where each learner stops working.

Made from records whose datasets differ in one parameter (``run --sweep``); every learner that applies is a line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.report import facts
from bench.report.curves import Curve, Panel, Point, one_parameter_apart, point_of, score_title
from bench.report.labelled import ALIKE, labelled
from bench.report.markdown import DASH, code, score, table, text
from bench.report.naming import plain, slugs, tell_apart, titled
from bench.report.ranking import competitors, metric_on
from bench.report.rows import Board, Row, headline
from bench.report.standing import standings
from bench.report.theorems import LEGEND

NAME = "difficulty.md"
ALL, NONE, PARTLY = "all", "none", "not all run"
HOW_TO_READ = f"""\
Datasets that differ in one parameter, from easy to hard; everything else is as usual, or as the heading says. Scores \
are held-out means over seeds. A learner *works* where the score that it is judged by has come {facts.ENOUGH:.0%} \
of the way from chance to the ceiling; *works up to* is the last value before the first at which it does not, with † \
where that cell had not converged: longer training may carry the learner further. Lines \
that differ by at most {ALIKE} everywhere share a label; hollow marks: not converged. *Random unmixing*: what MCC \
gives to the true factors behind a random linear map, which have been found but not told apart."""


@dataclass(frozen=True)
class Knob:
    """One parameter of a dataset, and its boards from easy to hard.

    others   parameters that tell these boards from those of the same knob elsewhere, in words
    """

    dataset: str
    budget: str
    parameter: str
    boards: tuple[Board, ...]
    others: str = ""

    @property
    def title(self) -> str:
        return titled(f"{self.dataset}: {self.parameter}", self.others)

    @property
    def values(self) -> list[str]:
        return [plain(board.params[self.parameter]) for board in self.boards]


def knobs(boards: Sequence[Board]) -> list[Knob]:
    """All knobs of boards with known truth, in the order of the boards."""
    found: list[Knob] = []
    for place in dict.fromkeys((board.dataset, board.budget) for board in boards if board.truth):
        members = [board for board in boards if (board.dataset, board.budget) == place]
        made = [(name, _from_easy_to_hard(name, own)) for name, own in one_parameter_apart(members)]
        for name in dict.fromkeys(name for name, _ in made):
            same = [own for other, own in made if other == name]
            rest = [{key: value for key, value in own[0].params.items() if key != name} for own in same]
            words = tell_apart(rest)
            found += [Knob(*place, name, own, words[i]) for i, own in enumerate(same)]
    return found


def _from_easy_to_hard(name: str, boards: Sequence[Board]) -> tuple[Board, ...]:
    """In the order that the dataset declares; what it does not know by its number, then by its name."""
    declared = [json.dumps(value) for value in boards[0].info.difficulty.get(name, ())]
    falling = len(declared) > 1 and _number(json.loads(declared[0])) > _number(json.loads(declared[-1]))

    def place(board: Board) -> tuple[float, int, str]:
        value = board.params[name]
        word = json.dumps(value)
        number = _number(value)
        return (-number if falling else number, declared.index(word) if word in declared else len(declared), word)

    return tuple(sorted(boards, key=place))


def _number(value: Any) -> float:
    """The number of a value that is one; truth values count as numbers, words as nothing."""
    return float(value) if isinstance(value, int | float) else 0.0


def panels(knob: Knob) -> list[Panel]:
    """By MCC and by linear R², as far as any learner has such a score."""
    made = []
    for family in ("mcc", "linear_r2"):
        # where factors are so correlated that the plain score flatters, the one on independent factors stands in
        metrics = [metric_on(board, family) or family for board in knob.boards]
        points: dict[str, list[Point]] = {}
        reference: dict[str, bool] = {}
        for place, (board, metric) in enumerate(zip(knob.boards, metrics, strict=True)):
            for row in board.rows:
                point = point_of(row, metric, float(place))
                if point is not None:
                    points.setdefault(row.name, []).append(point)
                    reference[row.name] = row.info.reference
        shown = {name: own for name, own in points.items() if name not in ("oracle", "random-unmixing")}
        curves = tuple(Curve(name, reference[name], tuple(own)) for name, own in shown.items())
        if curves:
            title = " / ".join(dict.fromkeys(score_title(metric) for metric in metrics))
            bounds = tuple(_bounds(knob.boards, metrics))
            made.append(Panel(knob.title, knob.parameter, title, curves, ticks=tuple(knob.values), bounds=bounds))
    return made


def _bounds(boards: Sequence[Board], metrics: Sequence[str]) -> list[Curve]:
    """Chance, random unmixing and ceiling of each board's score, means over its records."""
    found = {}
    for name in ("chance", "random unmixing", "ceiling"):
        points = []
        for place, (board, metric) in enumerate(zip(boards, metrics, strict=True)):
            scores = [record["metrics"].get(metric) or {} for row in board.rows for record in row.ok]
            values = [_bound(own, name) for own in scores if own.get("value") is not None]
            known = [value for value in values if value is not None]
            if known:
                points.append(Point(float(place), fmean(known), fmean(known), fmean(known)))
        if len(points) == len(boards):
            found[name] = Curve(name, True, tuple(points))
    return list(found.values())


def _bound(found: Mapping[str, Any], name: str) -> float | None:
    value = found["extra"].get("random_unmixing") if name == "random unmixing" else found.get(name)
    return float(value) if isinstance(value, int | float) else None


def works(row: Row, board: Board) -> bool:
    """Has the score that the row is judged by come ``ENOUGH`` of the way from chance to the ceiling?"""
    level = facts.above_chance(row, headline(row, board))
    return level is not None and level >= facts.ENOUGH


def works_up_to(knob: Knob, name: str) -> str:
    """The last value before the first at which a learner does not work; its failed cells do not.

    With † where training was cut short at that first one: it says nothing of what the learner can do. ``PARTLY`` where
    a value that decides it was not run, or the learner does not apply there.
    """
    last = NONE
    for board, value in zip(knob.boards, knob.values, strict=True):
        row = _row(board, name)
        if row is None:
            return PARTLY
        if not works(row, board):
            return last + facts.marks(row)
        last = value
    return ALL


def _row(board: Board, name: str) -> Row | None:
    return next((row for row in board.rows if row.name == name and row.applies), None)


def pages(boards: Sequence[Board], *, draw: bool = True) -> dict[str, str]:
    """{file name: content} of the page and its pictures, one a knob; {} where no two boards are one parameter apart."""
    found = knobs(boards)
    if not found:
        return {}
    order = [standing.name for standing in standings([board for board in boards if board.truth])]
    parts = ["# Where each learner stops working", "[All datasets](README.md)", HOW_TO_READ]
    files: dict[str, str] = {}
    for knob, slug in zip(found, slugs([f"{knob.title} {knob.budget}" for knob in found]), strict=True):
        parts.append(f"## {text(knob.title)}, `{knob.budget}` budget")
        made = panels(knob)
        if draw and made:
            file = f"figures/difficulty-{slug}.svg"
            files[file] = labelled(made, order)
            parts.append(f"![Score against {text(knob.parameter)}]({file})")
        parts += [_table(knob), _parameters(knob)]
    parts += [f"{LEGEND}."]
    return {NAME: "\n\n".join(parts) + "\n", **files}


def _table(knob: Knob) -> str:
    names = dict.fromkeys(row.name for board in knob.boards for row in competitors(board))
    names |= dict.fromkeys(
        row.name for board in knob.boards for row in board.rows if row.info.reference and row.applies
    )
    body = []
    for name in names:
        rows = [_row(board, name) for board in knob.boards]
        metrics = dict.fromkeys(
            facts.short_title(headline(row, board)) for row, board in zip(rows, knob.boards, strict=True) if row
        )
        reference = any(row.info.reference for row in rows if row)
        cells = [_cell(row, board) for row, board in zip(rows, knob.boards, strict=True)]
        shown = f"*{text(name)}*" if reference else text(name)
        body.append([shown, ", ".join(metrics), *cells, text(works_up_to(knob, name))])
    header = ["learner", "judged by", *(f"{text(knob.parameter)} = {text(value)}" for value in knob.values)]
    return table([*header, "works up to"], body, numeric_from=2)


def _cell(row: Row | None, board: Board) -> str:
    if row is None:
        return DASH
    interval = row.interval(headline(row, board))
    if interval is None:
        return text(row.records[0]["status"])
    value = score(interval) + facts.marks(row)
    value = f"*{value}*" if row.theorem.void else value
    return f"{value} {row.theorem.sign}".strip()


def _parameters(knob: Knob) -> str:
    fixed = {key: value for key, value in knob.boards[0].params.items() if key != knob.parameter}
    words = ", ".join(f"{key}={plain(value)}" for key, value in sorted(fixed.items()))
    seeds = sorted({seed for board in knob.boards for seed in board.seeds()})
    return f"Other parameters: {code(words)}. Seeds: {', '.join(map(str, seeds))}."
