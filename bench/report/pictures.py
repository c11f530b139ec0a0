"""Which pictures a report has, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.report.chemistry import Gallery
from bench.report.curves import Panel, coloured, cost_panels, knob_panels, overall_panels
from bench.report.figures import standalone
from bench.report.rows import Board
from bench.report.standing import main_budget, standings


@dataclass(frozen=True)
class Pictures:
    """Panels of a report, made once and drawn as files and inlined.

    names   learners in colour, the same everywhere
    costs   {board slug: its panels}
    knobs   {(dataset, budget): panels}
    first   the panels of the first screen: the main budget's usual boards by MCC, all together and each
    galleries   {board slug: pictures of its molecules}, not of records alone (``bench.report.chemistry``)
    """

    names: Sequence[str]
    costs: dict[str, list[Panel]] = field(default_factory=dict)
    knobs: dict[tuple[str, str], list[Panel]] = field(default_factory=dict)
    first: list[Panel] = field(default_factory=list)
    galleries: dict[str, Gallery] = field(default_factory=dict)


def pictures(boards: Sequence[Board]) -> Pictures:
    """All pictures of these boards."""
    if not boards:
        return Pictures([])
    budget = main_budget(boards)
    main = [board for board in boards if board.budget == budget and board.main]
    made = Pictures(coloured(boards, [standing.name for standing in standings(main)]))
    made.first.extend(overall_panels(main))
    for board in boards:
        panels = cost_panels(board)
        if panels:
            made.costs[board.slug] = panels
            if board in main and board.truth:
                made.first.append(panels[0])
    for place in dict.fromkeys((board.dataset, board.budget) for board in boards):
        members = [board for board in boards if (board.dataset, board.budget) == place]
        if panels := knob_panels(members):
            made.knobs[place] = panels
    return made


def gallery_file(slug: str, stem: str) -> str:
    return f"figures/{slug}-{stem}.svg"


def files(boards: Sequence[Board], made: Pictures) -> tuple[dict[str, str], dict[str, str]]:
    """({file name: SVG}, {board slug or "first": file name}) for the markdown pages."""
    drawn: dict[str, str] = {}
    named: dict[str, str] = {}

    def draw(key: str, stem: str, panels: Sequence[Panel], columns: int) -> None:
        named[key] = f"figures/{stem}.svg"
        drawn[named[key]] = standalone(panels, made.names, columns)

    if made.first:
        draw("first", "cost", made.first, 3)
    for board in boards:
        if board.slug in made.costs:
            draw(board.slug, board.slug, made.costs[board.slug], 2)
    for slug, gallery in made.galleries.items():
        for drawing in gallery.drawings:
            drawn[gallery_file(slug, drawing.stem)] = drawing.svg
    return drawn, named
