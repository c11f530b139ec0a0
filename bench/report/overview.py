"""The board's first page, ``README.md``: the answer in five rows, the overview, and where everything else is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.api import GUARANTEES
from bench.registry import Registry
from bench.report import facts
from bench.report.markdown import DASH, code, score, seconds, table, text
from bench.report.ranking import TITLES
from bench.report.rows import Board, Row, headline
from bench.report.stamps import stamps
from bench.report.standing import Answer, answer, main_budget, sentences
from bench.report.theorems import LEGEND
from bench.run.store import Record
from bench.statistics.intervals import Interval

OTHERS = {
    "difficulty.md": "Where each learner stops working, as the data gets harder",
    "reproduction.md": "Learners on their own papers' settings",
    "audit.md": "A random sample of these cells, run again with one revision",
    "profile.md": "How time and memory grow",
}
LONGEST = 150
"""Lines of the page."""
WIDEST, WIDEST_UNKNOWN = 7, 3
"""Datasets side by side: more would not fit GitHub's column."""
HOW_TO_READ = """\
Scores are held out and means over seeds (a data seed and a model seed each). A learner is judged by what its \
guarantee is about: MCC where it identifies the latent factors up to permutation and scaling, linear R² or block MCC \
where up to linear maps, as its row says then. *Italic scores*: the learner's theorem cannot hold on that data. †: \
some of its cells did not converge. Rows in italics are floors and ceilings, not competitors. An interval knows only \
the seeds it saw: a learner that fails on one seed in ten looks perfect on three, so that each dataset's page has \
median and failures beside the mean."""


def overview(
    boards: Sequence[Board],
    pages: Mapping[str, str],
    stamp_lines: Sequence[str],
    left_out: str,
    *,
    picture: str | None = None,
    beside: Sequence[str] = (),
) -> str:
    """The page, of at most ``LONGEST`` lines: with fewer rows of the big tables where there are too many.

    pages     {dataset: file name of its page}
    picture   file name of score against cost, if it was drawn
    beside    other pages in the folder to be linked, as ``OTHERS`` names them
    """
    if not boards:
        return f"# Leaderboard\n\nNo records of known learners and datasets. {left_out}\n"
    made = ""
    for most in (1000, 40, 30, 25, 20, 15, 12, 10, 8, 6, 4):
        made = _page(boards, pages, most, [_links(boards, pages, beside), _bullets(stamp_lines), left_out], picture)
        if len(made.splitlines()) <= LONGEST:
            break
    return made


def _page(
    boards: Sequence[Board], pages: Mapping[str, str], most: int, closing: Sequence[str], picture: str | None
) -> str:
    budget = main_budget(boards)
    members = [board for board in boards if board.budget == budget]
    found = answer(members)
    parts = ["# Leaderboard"]
    if found is not None:
        parts += [_answer(found), f"*{found.rule}*"]
    parts += [f"![Score against the CPU seconds of a fit, dataset by dataset]({picture})"] if picture else []
    parts += ["Sortable, with every cell's details, in one file: [index.html](index.html)."]
    parts += [_shortfalls(members), f"## All datasets, `{budget}` budget", HOW_TO_READ]
    shown = members if len(members) <= WIDEST else [board for board in members if board.main]
    known, unknown = [b for b in shown if b.truth], [b for b in shown if not b.truth]
    for start in range(0, len(known), WIDEST):
        parts += _known_truth(known[start : start + WIDEST], pages, most)
    if unknown:
        parts += ["### Where the truth is unknown", facts.NECESSARY, *_unknown_truth(unknown, pages, most)]
    parts += ["## More", *closing]
    return "\n\n".join(part for part in parts if part) + "\n"


def _answer(found: Answer) -> str:
    lines = sentences(found, {one.name: f"**{text(one.name)}**" for one in (*found.top, *found.tied)})
    title = TITLES.get(found.family, found.family)
    header = ["", "learner", f"{title}", "mean rank", *(["among all"] if found.held else [])]
    header += ["CPU s a fit", "datasets", "not converged"]
    rows = [
        [
            str(place),
            f"**{text(standing.name)}**{standing.marks}",
            score(standing.score),
            score(standing.rank, digits=1),
            *([score(standing.overall, digits=1)] if found.held else []),
            seconds(standing.cost),
            f"{len(standing.scores)} of {standing.n_boards}",
            f"{standing.unconverged} of {standing.cells}",
        ]
        for place, standing in enumerate(found.top, start=1)
    ]
    return "\n".join(f"- {line}" for line in lines) + "\n\n" + table(header, rows, numeric_from=2)


def _shortfalls(boards: Sequence[Board], most: int = 8) -> str:
    found = facts.shortfalls(boards)
    if not found:
        return ""
    lines = [
        f"- {code(item.row.name)} on {code(item.board.label)}: {facts.short_title(item.metric)} "
        f"{score(item.interval)}{facts.marks(item.row)}"
        for item in found[:most]
    ]
    lines += [f"- … and {len(found) - most} more, on the datasets' pages"] if len(found) > most else []
    title = "## The theorem should hold here, and the score is low"
    return "\n\n".join([title, f"Less than {facts.ENOUGH:.0%} of the way from chance to ceiling:", "\n".join(lines)])


def _known_truth(boards: Sequence[Board], pages: Mapping[str, str], most: int) -> list[str]:
    rows = _rows(boards)
    header = ["learner", *(_linked(board, pages) for board in boards)]
    body = []
    for name, places in _first(rows, most):
        usual = facts.short_title(_usual_metric(places))
        cells = [_cell(places.get(board.label), usual) for board in boards]
        body.append([_name(name, places) + ("" if usual == "MCC" else f" ({usual})"), *cells])
    return [table(header, body), _hidden(rows, most), _absent(boards, {name for name, _ in rows})]


def _unknown_truth(boards: Sequence[Board], pages: Mapping[str, str], most: int) -> list[str]:
    rows = _rows(boards)
    parts = []
    for start in range(0, len(boards), WIDEST_UNKNOWN):
        members = boards[start : start + WIDEST_UNKNOWN]
        header = ["learner", *(f"{_linked(board, pages)}: strong / weak / target R²" for board in members)]
        body = [
            [_name(name, places), *(_agreement(places.get(board.label)) for board in members)]
            for name, places in rows[:most]
        ]
        parts.append(table(header, body))
    return [*parts, _hidden(rows, most), _absent(boards, {name for name, _ in rows})]


def _agreement(place: tuple[Row, Board] | None) -> str:
    if place is not None and not place[0].ok:
        return _plain(place, "target_r2")
    return " / ".join(_plain(place, metric) for metric, _ in facts.SCORES_WITHOUT_TRUTH)


Places = dict[str, tuple[Row, Board]]
FLOORS_AND_CEILINGS = 3
"""Reference rows that stay in a table that is cut: those on the most datasets."""


def _first(rows: Sequence[tuple[str, Places]], most: int) -> list[tuple[str, Places]]:
    """At most ``most`` of the rows, in their order; without floors and ceilings scores would say little."""
    if len(rows) <= most:
        return list(rows)
    references = [row for row in rows if next(iter(row[1].values()))[0].info.reference]
    kept = sorted(references, key=lambda row: -sum(place[0].ok != [] for place in row[1].values()))
    kept = kept[: min(FLOORS_AND_CEILINGS, most // 2)]
    learners = [row for row in rows if row not in references]
    return learners[: most - len(kept)] + [row for row in references if row in kept]


def _rows(boards: Sequence[Board]) -> list[tuple[str, Places]]:
    """(name, {board label: row}) of the learners that finished somewhere: competitors by guarantee and mean score."""
    rows: dict[str, Places] = {}
    for board in boards:
        for row in board.rows:
            rows.setdefault(row.name, {})[board.label] = (row, board)
    shown = {name: places for name, places in rows.items() if any(row.applies for row, _ in places.values())}
    return sorted(shown.items(), key=lambda item: _order(list(item[1].values())))


def _order(places: Sequence[tuple[Row, Board]]) -> tuple[bool, int, float]:
    info = places[0][0].info
    intervals = [row.interval(headline(row, board)) for row, board in places]
    means = [interval.mean for interval in intervals if interval]
    return (info.reference, GUARANTEES.index(info.guarantee), -sum(means) / len(means) if means else 0.0)


def _usual_metric(places: Places) -> str:
    metrics = [headline(row, board) for row, board in places.values() if row.applies]
    return max(dict.fromkeys(metrics), key=metrics.count)


def _name(name: str, places: Places) -> str:
    return f"*{text(name)}*" if next(iter(places.values()))[0].info.reference else text(name)


def _cell(place: tuple[Row, Board] | None, usual: str) -> str:
    if place is None:
        return DASH
    row, board = place
    metric = headline(row, board)
    other = facts.short_title(metric)
    made = _plain(place, metric) + ("" if other == usual or not row.ok else f" {other}")
    return f"*{made}*" if row.theorem.void and row.ok else made


def _plain(place: tuple[Row, Board] | None, metric: str) -> str:
    if place is None:
        return DASH
    row, _ = place
    interval = row.interval(metric)
    if interval is None:
        return "n/a" if not row.applies else (f"{len(row.failed)} failed" if row.failed else DASH)
    failed = f" ({len(row.failed)} failed)" if row.failed else ""
    return score(Interval(interval.mean, None, interval.n)) + facts.marks(row) + failed


def _linked(board: Board, pages: Mapping[str, str]) -> str:
    return f"[{text(board.label)}]({pages[board.dataset]})"


def _hidden(rows: Sequence[tuple[str, Places]], most: int) -> str:
    return f"{len(rows) - most} more rows on the datasets' pages." if len(rows) > most else ""


def _absent(boards: Sequence[Board], shown: set[str]) -> str:
    names = dict.fromkeys(row.name for board in boards for row in board.rows if row.name not in shown)
    return f"Not applicable to any of these: {', '.join(code(name) for name in names)}." if names else ""


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _links(boards: Sequence[Board], pages: Mapping[str, str], beside: Sequence[str]) -> str:
    counts = {dataset: sum(board.dataset == dataset for board in boards) for dataset in pages}
    linked = [
        f"[{text(dataset)}]({page})" + (f" ({counts[dataset]} boards)" if counts[dataset] > 1 else "")
        for dataset, page in pages.items()
    ]
    signs = (
        f"Theorems on the datasets' pages: {LEGEND}." if any(r.theorem.answer for b in boards for r in b.rows) else ""
    )
    lines = [
        f"- Each dataset's page, with intervals, costs, curves and commands: {', '.join(linked)}.",
        "- Ranks of all learners: [ranks.md](ranks.md).",
        *(f"- {OTHERS[name]}: [{name}]({name})." for name in beside),
        "- Made by `python -m bench report` from [records.jsonl](records.jsonl); as a table: "
        "[records.csv](records.csv).",
    ]
    return "\n".join(lines) + (f"\n\n{signs}" if signs else "")


def left_out(records: Sequence[Record], found: Registry) -> str:
    """A sentence on the records whose plugins are not known here; "" where there are none."""
    specs: list[Mapping[str, Any]] = [record["spec"] for record in records]
    names = {spec["learner"] for spec in specs} - set(found.learners)
    names |= {spec["dataset"] for spec in specs} - set(found.datasets)
    if not names:
        return ""
    return f"Records left out, because their plugin is not known here: {', '.join(map(text, sorted(names)))}."


def stamp_lines(made: Sequence[Board]) -> list[str]:
    """Counts of all cells, and where they come from."""
    records = [record for board in made for row in board.rows for record in row.every_record]
    ok = sum(record["status"] == "ok" for record in records)
    gaps = sum(record["status"] == "skipped" for record in records)
    counts = f"{len(records)} cells: {ok} done, {gaps} not applicable, {len(records) - ok - gaps} failed"
    return [counts, *stamps(records)]
