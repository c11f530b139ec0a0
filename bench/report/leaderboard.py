"""The leaderboard: ``README.md`` with its tables, and beside it the records they were made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.api import GUARANTEES
from bench.errors import UsageError
from bench.registry import Registry, discover
from bench.report.consistency import consistency_of
from bench.report.lead import leads
from bench.report.markdown import DASH, folded, mebibytes, score, seconds, table
from bench.report.ranking import ranking
from bench.report.rows import Board, Row, boards, headline, row_key
from bench.report.stamps import stamps
from bench.run.store import Record, Store, read_records, write_json, write_records, write_text
from bench.statistics.intervals import Interval

Consistency = dict[str, dict[str, dict[str, Any]]]

SCORES = (("mcc", "MCC"), ("weak_mcc", "weak MCC"), ("linear_r2", "linear R²"))
SCORES_INDEPENDENT = (("mcc_independent", "MCC, independent z"), ("r2_independent", "R², independent z"))
SCORES_WITHOUT_TRUTH = (
    ("consistency.strong", "consistency, strong"),
    ("consistency.weak", "consistency, weak"),
    ("target_r2", "target R²"),
)
LETTERS = {"mcc": "M", "mcc_independent": "M", "linear_r2": "R", "r2_independent": "R", "block_mcc": "B"}
HOW_TO_READ = """\
Each row is a learner, each score the mean over seeds (a data seed and a model seed each) ± the half-width of
its 95 % interval over seeds (docs/statistics.md). Scores are held out: permutation, signs and linear maps are
fitted on training samples and applied to others. **Bold** is the score a learner is judged by, the one its
guarantee is about: MCC where it identifies the latent factors up to permutation and scaling, linear R² where up
to a linear map. "Above chance" is (score − chance) / (ceiling − chance) of that score; chance is what
independent codes of the same size get, the ceiling what the true mixing allows under the observation noise.
Reference rows (in italics) are floors and ceilings, not competitors; `oracle`, `best-linear` and
`random-unmixing` are computed by the harness from the truth, which no learner sees. Times are CPU seconds and
comparable only within one kind of machine; memory is the peak of the cell's own process, and in brackets what
fitting added to it. Failures and gaps stay in the table with their reason."""


def write_leaderboard(source: str | Path, to: str | Path, plugin_files: Sequence[str] = ()) -> list[Path]:
    """Write README.md, records.jsonl and consistency.json from a results folder or a records.jsonl; returns the paths.

    Raises UsageError where there are no records.
    """
    records = read_records(source)
    if not records:
        raise UsageError(f"'{source}' has no records; run `python -m bench run --all --out {source}` first")
    found = discover(plugin_files)
    consistency = read_consistency(records, source, found)
    target = Path(to)
    paths = [target / "README.md", target / "records.jsonl", target / "consistency.json"]
    write_text(paths[0], leaderboard(records, found, consistency))
    write_records(paths[1], [slim(record) for record in records])
    write_json(paths[2], consistency)
    return paths


def slim(record: Record) -> Record:
    """A record without tracebacks and logs, which name paths of the machine they were made on."""
    return {key: value for key, value in record.items() if key not in ("traceback", "log")}


def leaderboard(records: Iterable[Record], found: Registry, consistency: Consistency) -> str:
    """The leaderboard's markdown, a pure function of the records."""
    records = list(records)
    made = boards(records, found, consistency)
    parts = ["# Leaderboard", _provenance(made), _left_out(records, found), HOW_TO_READ]
    for budget in dict.fromkeys(board.budget for board in made):
        members = [board for board in made if board.budget == budget]
        parts += [f"## All datasets, `{budget}` budget", _overall(members)]
        ranks = ranking(members)
        parts += [f"## Ranks, `{budget}` budget", ranks] if ranks else []
        for board in members:
            parts += [f"## {board.title} (`{board.dataset}`, `{budget}` budget)", _facts(board)]
            parts += ["\n".join(f"- {sentence}" for sentence in leads(board)), _board_table(board)]
            parts += [_notes(board), folded("How to reproduce each row", _commands(board, found))]
        parts += [f"## Run time and memory, `{budget}` budget", _profile(members)]
    return "\n\n".join(part for part in parts if part) + "\n"


def read_consistency(records: Sequence[Record], source: str | Path, found: Registry) -> Consistency:
    """Agreement across seeds of every row without truth, from stored codes or the file beside a records.jsonl."""
    source = Path(source)
    if source.is_file():
        stored = source.parent / "consistency.json"
        return json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    groups: dict[str, list[Record]] = {}
    for record in records:
        dataset = found.datasets.get(record["spec"]["dataset"])
        if dataset is not None and not dataset.truth:
            groups.setdefault(row_key(record["spec"]), []).append(record)
    store = Store(source)
    return {key: consistency_of(members, store) for key, members in groups.items()}


def _provenance(made: Sequence[Board]) -> str:
    records = [record for board in made for row in board.rows for record in row.records]
    if not records:
        return "No records of known learners and datasets."
    ok = sum(record["status"] == "ok" for record in records)
    gaps = sum(record["status"] == "skipped" for record in records)
    counts = f"{len(records)} cells: {ok} done, {gaps} not applicable, {len(records) - ok - gaps} failed"
    lines = [f"- {line}" for line in (counts, *stamps(records))]
    made_by = "Made by `python -m bench report` from `records.jsonl` beside this file."
    others = "How time and memory grow: [profile.md](profile.md). Learners on their own papers' settings: "
    others += "[reproduction.md](reproduction.md)."
    return f"{made_by} {others}\n\n" + "\n".join(lines)


def _left_out(records: Sequence[Record], found: Registry) -> str:
    specs = [record["spec"] for record in records]
    names = {spec["learner"] for spec in specs} - set(found.learners)
    names |= {spec["dataset"] for spec in specs} - set(found.datasets)
    return f"Records left out, because their plugin is not known here: {', '.join(sorted(names))}." if names else ""


def _name(row: Row) -> str:
    return f"*{row.name}*" if row.info.reference else row.name


def _overall(members: Sequence[Board]) -> str:
    """One row a learner, one column a dataset: the score the learner is judged by there."""
    rows: dict[str, dict[str, tuple[Row, Board]]] = {}
    for board in members:
        for row in board.rows:
            rows.setdefault(_name(row), {})[board.title] = (row, board)
    shown = [name for name, places in rows.items() if any(row.ok for row, _ in places.values())]
    shown.sort(key=lambda name: _overall_order(list(rows[name].values())))
    header = ["learner", "identified up to", *(board.dataset for board in members)]
    table_rows = []
    for name in shown:
        guarantee = next(iter(rows[name].values()))[0].info.guarantee
        cells = (rows[name].get(board.title) for board in members)
        table_rows.append([name, guarantee, *(_overall_cell(*cell) if cell else DASH for cell in cells)])
    legend = "M: MCC, R: linear R², B: block MCC; where the truth is unknown, C: consistency across seeds."
    return legend + "\n\n" + table(header, table_rows, numeric_from=2)


def _overall_order(places: Sequence[tuple[Row, Board]]) -> tuple[bool, int, float]:
    """Competitors before references, by guarantee, then by the mean of the scores where the truth is known."""
    info = places[0][0].info
    scores = [row.interval(headline(row, board)) for row, board in places if board.truth]
    means = [interval.mean for interval in scores if interval]
    return (info.reference, GUARANTEES.index(info.guarantee), -sum(means) / len(means) if means else 0.0)


def _overall_cell(row: Row, board: Board) -> str:
    metric = headline(row, board)
    interval = row.interval(metric)
    if interval is None:
        trouble = row.trouble()
        return trouble.split(":")[0] if trouble else DASH
    letter = LETTERS.get(metric, "C")
    return f"{score(Interval(interval.mean, None, interval.n))} {letter}"


def _facts(board: Board) -> str:
    params = ", ".join(f"{name}={_json(value)}" for name, value in sorted(board.params.items()))
    facts = [f"Parameters: {params or 'none'}.", f"Seeds: {', '.join(map(str, board.seeds()))}."]
    if "rows" in board.facts and "sha256" in board.facts:
        facts.append(f"Data: {board.facts['rows']:,} rows, sha256 `{board.facts['sha256'][:16]}`.")
    return " ".join(facts)


def _columns(board: Board) -> list[tuple[str, str]]:
    if not board.truth:
        return list(SCORES_WITHOUT_TRUTH)
    return [*SCORES, *(column for column in SCORES_INDEPENDENT if any(row.values(column[0]) for row in board.rows))]


def _board_table(board: Board) -> str:
    columns = _columns(board)
    header = ["learner", "identified up to", *(title for _, title in columns)]
    header += ["above chance"] if board.truth else []
    header += ["fit, CPU s", "peak MiB", "seeds"]
    rows = []
    for row in board.rows:
        if not row.ok:
            rows.append([_name(row), row.info.guarantee, row.trouble(), *[""] * (len(header) - 3)])
            continue
        cells = [_name(row), row.info.guarantee]
        judged = headline(row, board)
        for metric, _ in columns:
            text = score(row.interval(metric)) + (" ⚑" if row.flagged(metric) else "")
            cells.append(f"**{text}**" if metric == judged and not row.info.reference and text != DASH else text)
        if board.truth:
            cells.append(_above_chance(row, judged))
        cells.append(seconds(row.mean_of("phases", "fit", "cpu_s")))
        cells.append(
            f"{mebibytes(row.mean_of('memory', 'peak_mib'))} ({mebibytes(row.mean_of('memory', 'fit_peak_mib'))})"
        )
        cells.append(str(len(row.ok)) if len(row.ok) == len(row.records) else f"{len(row.ok)} of {len(row.records)}")
        rows.append(cells)
    return table(header, rows, numeric_from=2)


def _above_chance(row: Row, metric: str) -> str:
    parts = []
    for record in row.ok:
        found = record["metrics"].get(metric)
        if found and found["value"] is not None and found["chance"] is not None:
            ceiling = 1.0 if found["ceiling"] is None else found["ceiling"]
            parts.append((found["value"] - found["chance"]) / (ceiling - found["chance"]))
    return f"{sum(parts) / len(parts):.3f}" if parts else DASH


def _notes(board: Board) -> str:
    """What the table has no room for: seeds that failed, and why a score is missing."""
    notes = [*_scale(board), *(f"- `{row.name}`: {row.trouble()}" for row in board.rows if row.ok and row.trouble())]
    if any(row.flagged(metric) for row in board.rows for metric, _ in _columns(board)):
        notes.append("- ⚑ the factors are correlated: codes that isolate none of them score high here, too")
    for metric, title in _columns(board):
        missing: dict[str, list[str]] = {}
        for row in board.rows:
            reason = row.why_none(metric)
            if row.ok and not row.values(metric) and reason:
                missing.setdefault(reason, []).append(row.name)
        notes += [f"- {title} of {', '.join(f'`{n}`' for n in names)}: {reason}" for reason, names in missing.items()]
    return "\n".join(notes)


def _scale(board: Board) -> list[str]:
    """Chance level and ceiling of each score: the range over the rows, as both depend on a code's width and spread."""
    lines = []
    for part in ("chance", "ceiling"):
        ranges = []
        for metric, title in _columns(board):
            scores = (record["metrics"].get(metric) or {} for row in board.rows for record in row.ok)
            levels = [score_[part] for score_ in scores if score_.get(part) is not None]
            if levels:
                low, high = (f"{level:.3f}".replace("-0.000", "0.000") for level in (min(levels), max(levels)))
                ranges.append(f"{title} {low}" + (f" to {high}" if high != low else ""))
        if ranges:
            lines.append(f"- {part}: {'; '.join(ranges)}")
    return lines


def _commands(board: Board, found: Registry) -> str:
    seeds = board.seeds()
    span = f"{seeds[0]}-{seeds[-1]}" if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1)) else ""
    common = f"--datasets {board.dataset} --seeds {span or ','.join(map(str, seeds))} --budget {board.budget}"
    lines = []
    for row in board.rows:
        if row.ok:
            spec = row.records[0]["spec"]
            changes = _changes(spec["learner"], spec["learner_params"], found, board.budget)
            changes += _changes(board.dataset, board.params, found, board.budget)
            lines.append(f"python -m bench run --learners {spec['learner']} {common}{changes}")
    return "```\n" + "\n".join(lines) + "\n```"


def _changes(name: str, params: Mapping[str, Any], found: Registry, budget: str) -> str:
    """The ``--set`` options that lead from the registered literals to these parameters, as far as literals tell."""
    info = found.learners.get(name) or found.datasets[name]
    usual = {**info.defaults, **info.budgets.get(budget, {})}
    changed = {key: value for key, value in params.items() if key in usual and usual[key] != value}
    return "".join(f" --set {name}.{key}={_json(value)}" for key, value in sorted(changed.items()))


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _profile(members: Sequence[Board]) -> str:
    """Where time and memory go, a table for each kind of machine."""
    parts = []
    for machine in dict.fromkeys(name for board in members for name in board.hardware()):
        rows = []
        for board in members:
            for row in board.rows:
                here = [r for r in row.ok if r["provenance"]["hardware"]["class"] == machine]
                if here:
                    part = Row(row.name, row.info, here)
                    rows.append([board.dataset, _name(row), *_times(part), *_memory(part)])
        header = ["dataset", "learner", "load", "fit", "encode", "score", "wall", "peak MiB", "fit MiB", "parameters"]
        parts.append(
            folded(f"CPU seconds by phase, wall seconds, memory: {machine}", table(header, rows, numeric_from=2))
        )
    return "\n\n".join(parts)


def _times(row: Row) -> list[str]:
    phases = ("load", "fit", "encode", "score")
    walls = [row.mean_of("phases", phase, "wall_s") or 0.0 for phase in phases]
    return [*(seconds(row.mean_of("phases", phase, "cpu_s")) for phase in phases), seconds(sum(walls))]


def _memory(row: Row) -> list[str]:
    parameters = row.mean_of("n_parameters")
    return [
        mebibytes(row.mean_of("memory", "peak_mib")),
        mebibytes(row.mean_of("memory", "fit_peak_mib")),
        f"{parameters:,.0f}" if parameters is not None else DASH,
    ]
