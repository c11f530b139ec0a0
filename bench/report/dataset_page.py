"""A dataset's page: who is first, every row with interval, median and failures, curves, and how to run it again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bench.registry import Registry
from bench.report import facts
from bench.report.chemistry import Gallery
from bench.report.difficulty import NAME as DIFFICULTY
from bench.report.lead import leads
from bench.report.markdown import DASH, block, code, folded, mebibytes, score, seconds, table, text
from bench.report.naming import plain
from bench.report.pictures import gallery_file
from bench.report.reproducing import commands, seed_span
from bench.report.rows import Board, Row, headline, renamed
from bench.report.theorems import LEGEND

HOW_TO_READ = """\
*Judged by*: the score that the learner's guarantee is about. ± is the half-width of the 95 % interval over seeds, \
which is right where seeds scatter and blind to a learner that fails now and then: see the median and the failures. \
†: not converged in some cells. Of several trainings of a seed, that \
with the lowest validation loss counts. *To 0.01*: CPU seconds of the shortest fit within 0.01 of that row's score."""


def dataset_page(
    boards: Sequence[Board],
    found: Registry,
    figures: Mapping[str, str],
    galleries: Mapping[str, Gallery] | None = None,
    *,
    swept: Collection[str] = (),
) -> str:
    """Markdown of the boards of one dataset: all its budgets and parameters.

    figures     {board slug: file name}, those pictures that were drawn
    galleries   {board slug: pictures of its molecules}
    swept       budgets at which boards differ in one parameter, whose curves are on the page of difficulty
    """
    parts = [f"# {text(boards[0].dataset)}", text(boards[0].info.summary), "[All datasets](README.md)"]
    for budget in dict.fromkeys(board.budget for board in boards):
        members = [board for board in boards if board.budget == budget]
        if budget in swept:
            parts.append(f"[Where each learner stops working]({DIFFICULTY}), `{budget}` budget.")
        for board in members:
            parts += _board(board, found, figures.get(board.slug), (galleries or {}).get(board.slug))
    return "\n\n".join(part for part in parts if part) + "\n"


def _board(board: Board, found: Registry, figure: str | None, gallery: Gallery | None) -> list[str]:
    shown = [row for row in board.rows if row.applies]
    return [
        f"## {text(board.title)}, `{board.budget}` budget",
        about(board),
        _leads(board),
        _shortfalls(board),
        _scores(board, shown),
        _prices(board),
        "" if board.truth else facts.NECESSARY,
        HOW_TO_READ + (f" {LEGEND}." if any(row.theorem.answer for row in shown) else ""),
        _failed(shown),
        f"![Score against the CPU seconds of a fit]({figure})" if figure else "",
        _molecules(board, gallery) if gallery else "",
        folded("All scores, chance levels and ceilings", _all_scores(board, shown)),
        _folded_unless_empty("Scores factor by factor", _factors(board, shown)),
        folded("CPU seconds by phase, and memory", _profile(shown)),
        _folded_unless_empty("What does not apply here, and why", _not_applicable(board)),
        _folded_unless_empty("Why a theorem holds here or not", _theorems(shown)),
        folded("How to reproduce each row", block([line for row in shown for line in row_commands(row, found)])),
    ]


def _molecules(board: Board, gallery: Gallery) -> str:
    """Pictures of what the learned factors say of molecules."""
    shown = (
        f"{drawing.title}:\n\n![{drawing.title}]({gallery_file(board.slug, drawing.stem)})"
        for drawing in gallery.drawings
    )
    return "\n\n".join(["### What the factors say of molecules", text(gallery.about), *shown])


def about(board: Board) -> str:
    """Parameters, seeds and file of a board in a sentence each."""
    params = ", ".join(f"{name}={plain(value)}" for name, value in sorted(board.params.items()))
    made = [f"Parameters: {text(params or 'none')}.", f"Seeds: {seed_span(board.seeds())}."]
    if "rows" in board.facts and "sha256" in board.facts:
        made.append(f"Data: {board.facts['rows']:,} rows, sha256 {code(str(board.facts['sha256'])[:16])}.")
    return " ".join(made)


def row_commands(row: Row, found: Registry) -> list[str]:
    """Commands of every effort of the row, of the cells that finished."""
    return commands([record for record in row.every_record if record["status"] == "ok"], found)


def _leads(board: Board) -> str:
    return "\n".join(f"- {sentence}" for sentence in leads(renamed(board, text)))


def _shortfalls(board: Board) -> str:
    found = facts.shortfalls([board])
    names = ", ".join(f"{code(item.row.name)} ({score(item.interval)})" for item in found)
    return f"**The theorem holds here and the score is low**: {names}." if found else ""


def _scores(board: Board, rows: Sequence[Row]) -> str:
    theorems = any(row.theorem.answer for row in rows)
    efforts = any(len(row.by_effort) > 1 for row in rows)
    header = ["learner", *(["theorem"] if theorems else []), "judged by", "score", "median", "failed"]
    header += ["fit, CPU s", *(["to 0.01"] if efforts else [])]
    body = []
    for row in rows:
        metric = headline(row, board)
        value = score(row.interval(metric)) + facts.marks(row) + (" ⚑" if row.flagged(metric) else "")
        name = text(row.name)
        cells = [f"*{name}*" if row.info.reference else name, *([row.theorem.sign] if theorems else [])]
        cells += [facts.short_title(metric), f"*{value}*" if row.theorem.void else value]
        cells += [facts.middle(row, metric), facts.failures(row), facts.fit_seconds(row)]
        body.append([*cells, *([facts.seconds_to_within(row, metric)] if efforts else [])])
    return table(header, body, numeric_from=3 if theorems else 2)


def _prices(board: Board) -> str:
    """What the best score costs, learner by learner, as multiples of the cheapest."""
    found = facts.prices(board) if board.truth else []
    if len(found) < 2:
        return ""
    least = max(found[0].cpu_s, 1e-3)
    words = [f"{code(price.row.name)}{facts.marks(price.row)} {seconds(price.cpu_s)}" for price in found[:1]]
    words += [
        f"{code(price.row.name)}{facts.marks(price.row)} {seconds(price.cpu_s)} ({price.cpu_s / least:,.3g} ×)"
        for price in found[1:]
    ]
    return f"CPU seconds of a fit within 0.01 of the best MCC: {', '.join(words)}."


def _failed(rows: Sequence[Row]) -> str:
    lines = [f"- {code(row.name)}: {text(row.trouble())}" for row in rows if row.failed]
    lines += [
        f"- {code(row.name)}†: {len(row.unconverged)} of {len(row.ok)} not converged: "
        + text(row.unconverged[0].get("converged_reason", "no reason given"))
        for row in rows
        if row.unconverged
    ]
    return "\n".join(lines)


def _all_scores(board: Board, rows: Sequence[Row]) -> str:
    columns = facts.columns(board)
    header = ["learner", *(title for _, title in columns), *(["above chance"] if board.truth else [])]
    body = []
    for row in rows:
        if row.ok:
            values = [score(row.interval(metric)) + (" ⚑" if row.flagged(metric) else "") for metric, _ in columns]
            level = facts.above_chance(row, headline(row, board))
            values += [DASH if level is None else f"{level:.3f}"] if board.truth else []
            body.append([text(row.name), *values])
    notes = [*_levels(board), *_missing(board, rows)]
    if any(row.flagged(metric) for row in rows for metric, _ in columns):
        notes.append("- ⚑ the factors are correlated: codes that isolate none of them score high here, too")
    if board.truth:
        notes.append("- above chance: (score − chance) / (ceiling − chance) of the score the learner is judged by")
    return table(header, body) + "\n\n" + "\n".join(notes)


def _levels(board: Board) -> list[str]:
    """Chance level and ceiling of each score: the range over the rows, as both depend on a code's width and spread."""
    lines = []
    for part in ("chance", "ceiling"):
        ranges = []
        for metric, title in facts.columns(board):
            found = (record["metrics"].get(metric) or {} for row in board.rows for record in row.ok)
            levels = [value[part] for value in found if value.get(part) is not None]
            if levels:
                low, high = (f"{level:.3f}".replace("-0.000", "0.000") for level in (min(levels), max(levels)))
                ranges.append(f"{title} {low}" + (f" to {high}" if high != low else ""))
        lines += [f"- {part}: {'; '.join(ranges)}"] if ranges else []
    return lines


def _missing(board: Board, rows: Sequence[Row]) -> list[str]:
    lines = []
    for metric, title in facts.columns(board):
        missing: dict[str, list[str]] = {}
        for row in rows:
            reason = row.why_none(metric)
            if row.ok and not row.values(metric) and reason:
                missing.setdefault(reason, []).append(row.name)
        lines += [f"- {title} of {', '.join(map(code, names))}: {text(reason)}" for reason, names in missing.items()]
    return lines


def _factors(board: Board, rows: Sequence[Row]) -> str:
    """One line a learner: its factors from best to worst, mean over seeds."""
    parts = []
    for metric in facts.FACTORS:
        body = []
        for row in rows:
            values = facts.per_factor(row, metric)
            if values and board.truth:
                body.append([text(row.name), " ".join(f"{value:.2f}" for value in values)])
        if body:
            parts.append(table(["learner", f"{facts.short_title(metric)} of the factors, best to worst"], body, 2))
    return "\n\n".join(parts)


def _profile(rows: Sequence[Row]) -> str:
    phases = ("load", "fit", "encode", "score")
    header = ["learner", *phases, "peak MiB (fit)", "parameters"]
    body = []
    for row in rows:
        if row.ok:
            count = row.mean_of("n_parameters")
            times = [seconds(row.mean_of("phases", phase, "cpu_s")) for phase in phases]
            body.append([text(row.name), *times, facts.memory(row), DASH if count is None else mebibytes(count)])
    machines = dict.fromkeys(record["provenance"]["hardware"]["class"] for row in rows for record in row.ok)
    return table(header, body) + f"\n\nMachine: {text('; '.join(machines))}."


def _not_applicable(board: Board) -> str:
    reasons: dict[str, list[str]] = {}
    for row in board.rows:
        if not row.applies and row.records:
            reasons.setdefault(str(row.records[0]["reason"]), []).append(row.name)
    return "\n".join(f"- {text(reason)}: {', '.join(map(code, names))}" for reason, names in reasons.items())


def _theorems(rows: Sequence[Row]) -> str:
    return "\n".join(
        f"- {code(row.name)}: {row.theorem.sign} {row.theorem.answer}, {text(row.theorem.why)}"
        for row in rows
        if row.theorem.answer
    )


def _folded_unless_empty(title: str, body: str) -> str:
    return folded(title, body) if body else ""
