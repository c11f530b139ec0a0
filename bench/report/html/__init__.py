"""The report as one HTML file without network: first screen, sortable tables, sections of datasets, cells' details.

Python renders all tables and pictures through templates that escape whatever they are handed; a small script sorts,
filters and opens. What is below the first screen travels packed (gzip, base64), so that thousands of cells stay small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from bench.registry import Registry
from bench.report import facts
from bench.report.dataset_page import about, row_commands
from bench.report.html import views
from bench.report.html.payload import cells, packed
from bench.report.markdown import seconds
from bench.report.overview import left_out, stamp_lines
from bench.report.pictures import Pictures
from bench.report.rows import Board
from bench.report.standing import RULE, answer, main_budget, sentences
from bench.report.theorems import LEGEND
from bench.run.store import Record

if TYPE_CHECKING:
    from jinja2 import Environment

LARGEST = 2_000_000
"""Bytes of the file."""


def page(made: Sequence[Board], records: Sequence[Record], found: Registry, drawn: Pictures) -> str:
    """The whole file, a pure function of the records."""
    ids = views.row_ids(made)
    sections = {board.slug: section(board, found, drawn, ids) for board in made}
    knobs = {
        views.knob_id(place): _figures(panels, drawn, views.knob_id(place)) for place, panels in drawn.knobs.items()
    }
    commands = {ids[id(row)]: row_commands(row, found) for board in made for row in board.rows if row.ok}
    payload = {"sections": {**sections, **knobs}, **cells(made, ids, commands)}
    budget = main_budget(made) if made else ""
    members = [board for board in made if board.budget == budget]
    reply = answer(members) if members else None
    context = {
        "style": _static("style.css"),
        "script": _static("app.js"),
        "payload": packed(payload),
        "budget": budget,
        "sentences": sentences(reply) if reply else ["No learner has a score yet."],
        "answer": views.answer_table(reply) if reply else None,
        "rule": reply.rule if reply else RULE,
        "summary": _figures(drawn.first[:1], drawn, "summary") if drawn.first else "",
        "figures": _figures(drawn.first[1:], drawn, "first") if len(drawn.first) > 1 else "",
        "legend": views.legend(drawn.names),
        "shortfalls": facts.shortfalls(members),
        "facts": facts,
        "overview": views.overview_table(members, ids) if members else None,
        "theorem_legend": LEGEND if any(row.theorem.answer for board in made for row in board.rows) else "",
        "unknown_truth": any(not board.truth for board in members),
        "datasets": views.by_dataset(made, drawn.knobs),
        "failures": views.failures(made),
        "stamps": stamp_lines(made),
        "left_out": left_out(records, found),
    }
    return _environment().get_template("page.html").render(context)


def section(board: Board, found: Registry, drawn: Pictures, ids: Mapping[int, str]) -> str:
    """HTML of one board: pictures, scores, factors, times, what does not apply, commands."""
    shown = [row for row in board.rows if row.applies]
    context: dict[str, Any] = {
        "board": board,
        "about": views.plain_words(about(board)),
        "figures": _figures(drawn.costs.get(board.slug, []), drawn, board.slug),
        "legend": views.legend(drawn.names),
        "scores": views.board_table(board, shown, ids),
        "all_scores": views.all_scores_table(board, shown),
        "factors": views.factor_tables(board, shown),
        "times": views.times_table(shown),
        "absent": views.not_applicable(board),
        "theorems": [row for row in shown if row.theorem.answer],
        "necessary": "" if board.truth else facts.NECESSARY,
        "commands": [line for row in shown for line in row_commands(row, found)],
        "seconds": seconds,
    }
    return _environment().get_template("board.html").render(context)


def _figures(panels: Sequence[Any], drawn: Pictures, identity: str) -> str:
    from bench.report.figures import inline

    svgs = [inline(panel, drawn.names, f"{identity}-{number}") for number, panel in enumerate(panels)]
    titled = zip(panels, svgs, strict=True)
    return _environment().get_template("figures.html").render(figures=list(titled))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("bench.report.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _static(name: str) -> str:
    return files("bench.report.html").joinpath(name).read_text(encoding="utf-8")
