"""The report: markdown pages, pictures, one HTML file, and beside them the records they were made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.registry import Registry, discover
from bench.report import difficulty, gallery_files
from bench.report.chemistry import galleries
from bench.report.consistency import consistency_of
from bench.report.dataset_page import dataset_page
from bench.report.markdown import text
from bench.report.naming import slugs
from bench.report.overview import OTHERS, left_out, overview, stamp_lines
from bench.report.pictures import Pictures, files, pictures
from bench.report.ranking import ranking
from bench.report.rows import Board, boards, effort_steps, renamed, step_key
from bench.report.tabular import csv_text, write_parquet
from bench.run.spec import RunSpec
from bench.run.store import Record, Store, read_records, write_json, write_records, write_text

Consistency = dict[str, dict[str, dict[str, Any]]]
TAKEN = ("readme", "ranks", "reproduction", "profile", "overview", "difficulty")
"""Pages of other things, whose names no dataset's page may take."""


def write_leaderboard(source: str | Path, to: str | Path | None = None, plugin_files: Sequence[str] = ()) -> list[Path]:
    """Write the pages from a results folder or a records.jsonl; returns the paths.

    to   the folder; by default ``report`` inside the results folder (beside a records.jsonl), so that nothing
         published is overwritten unasked
    Raises UsageError where there are no records.
    """
    from bench.report.html import page

    # in one order, whatever folder or file they come from
    records = sorted(read_records(source), key=lambda record: RunSpec.from_dict(record["spec"]).canonical())
    if not records:
        raise UsageError(f"'{source}' has no records; run `python -m bench run --all --out {source}` first")
    found = discover(plugin_files)
    consistency = read_consistency(records, source, found)
    target = default_target(source) if to is None else Path(to)
    made = boards(records, found, consistency)
    drawn = pictures(made)
    from_file = Path(source).is_file()
    drawn.galleries.update(
        gallery_files.stored(Path(source).parent, made) if from_file else galleries(made, Store(source), found)
    )
    others = _reproduction(Path(source), found) | difficulty.pages(_swept(Path(source), made, found))
    beside = [name for name in OTHERS if name in others or (target / name).exists()]
    pages = markdown_pages(made, records, found, drawn, beside=beside) | others
    pages["index.html"] = page(made, records, found, drawn)
    pages["records.csv"] = csv_text(records)
    for name, content in pages.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(target / name, content)
    write_records(target / "records.jsonl", [slim(record) for record in records])
    write_json(target / "consistency.json", consistency)
    if drawn.galleries:
        write_json(target / gallery_files.NAME, gallery_files.described(drawn.galleries))
    written = [*pages, "records.jsonl", "consistency.json"]
    written += ["records.parquet"] if write_parquet(records, target / "records.parquet") else []
    return [target / name for name in written]


def _reproduction(source: Path, found: Registry) -> dict[str, str]:
    """The reproduction table, where its records lie beside a records.jsonl."""
    stored = source.parent / "reproduction.jsonl"
    if not (source.is_file() and stored.exists()):
        return {}
    from bench.report import reproduction

    records = {RunSpec.from_dict(record["spec"]).key: record for record in read_records(stored)}
    trials = reproduction.trials(reproduction.select(None), found, device="cpu", quick=False)
    made = [(trial, [records.get(cell.spec.key) for cell in trial.cells]) for trial in trials]
    return {"reproduction.md": reproduction.markdown(made, quick=False)}


def _swept(source: Path, made: Sequence[Board], found: Registry) -> Sequence[Board]:
    """The boards of the difficulty curves: of a sweep's own records beside a records.jsonl, else those of the report.

    Published apart, a sweep's many boards of one dataset do not weigh in the ranks.
    """
    stored = source.parent / "difficulty.jsonl"
    return boards(read_records(stored), found, {}) if source.is_file() and stored.exists() else made


def default_target(source: str | Path) -> Path:
    """``results/report`` for the results folder ``results``, and for a file in it."""
    source = Path(source)
    return (source.parent if source.is_file() else source) / "report"


def slim(record: Record) -> Record:
    """A record without tracebacks and logs, which name paths of the machine they were made on."""
    return {key: value for key, value in record.items() if key not in ("traceback", "log")}


def leaderboard(records: Iterable[Record], found: Registry, consistency: Consistency) -> str:
    """The markdown of all pages in a row, a pure function of the records."""
    records = list(records)
    made = boards(records, found, consistency)
    pages = markdown_pages(made, records, found, pictures(made), draw=False)
    return "\n".join(pages.values())


def markdown_pages(
    made: Sequence[Board],
    records: Sequence[Record],
    found: Registry,
    drawn: Pictures,
    *,
    draw: bool = True,
    beside: Sequence[str] = (),
) -> dict[str, str]:
    """{file name: content} of the overview, a page for each dataset, the ranks, and the pictures they show."""
    datasets = list(dict.fromkeys(board.dataset for board in made))
    stems = slugs([*TAKEN, *datasets])[len(TAKEN) :]
    page_of = {dataset: f"{stem}.md" for dataset, stem in zip(datasets, stems, strict=True)}
    svgs, named = files(made, drawn) if draw else ({}, {})
    first = overview(
        made, page_of, stamp_lines(made), left_out(records, found), picture=named.get("first"), beside=beside
    )
    result = {"README.md": first}
    for dataset, name in page_of.items():
        members = [board for board in made if board.dataset == dataset]
        swept = {budget for place, budget in drawn.knobs if place == dataset}
        result[name] = dataset_page(members, found, named, drawn.galleries if draw else {}, swept=swept)
    result["ranks.md"] = _ranks(made)
    return {**result, **svgs}


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
            groups.setdefault(step_key(record["spec"], 1.0), []).append(record)
    store = Store(source)
    return {
        step_key(members[0]["spec"], effort): consistency_of(own, store)
        for members in groups.values()
        for effort, own in effort_steps(members)
    }


def _ranks(made: Sequence[Board]) -> str:
    parts = ["# Ranks", "[All datasets](README.md)"]
    for budget in dict.fromkeys(board.budget for board in made):
        ranks = ranking([renamed(board, text) for board in made if board.budget == budget])
        parts += [f"## `{budget}` budget", ranks] if ranks else []
    if len(parts) == 2:
        parts.append("No dataset has two learners with two seeds each: nothing to rank.")
    return "\n\n".join(parts) + "\n"
