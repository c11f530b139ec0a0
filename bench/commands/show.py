"""``python -m bench show``: the scores of the stored records, and of the published ones beside them."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from bench.commands.terminal import emit
from bench.errors import EXIT_OK, UsageError
from bench.registry import Registry, discover
from bench.report.leaderboard import read_consistency
from bench.report.published import RECORDS, caveats, published_consistency, published_records
from bench.report.rows import Board, boards
from bench.report.scores import Standing, as_rows, key_of, markdown, standings
from bench.run.store import Record, read_records

DEFAULT_OUT = "results"


def main(options: argparse.Namespace) -> int:
    """Print the table of scores."""
    found = discover(options.plugin)
    own, source = stored_or_published(options.out)
    consistency: Mapping[str, Mapping[str, Mapping[str, Any]]] = read_consistency(own, source, found)
    records, notes, keys = own, [], set()
    if options.with_published and source != RECORDS:
        beside = _beside(own, found)
        records = [*own, *beside]
        consistency = {**published_consistency(), **consistency}
        keys = {key_of(record) for record in beside}
        notes = caveats(own, beside, {record["spec"]["learner"] for record in beside})
    items = standings(records, found, consistency, by=options.by, datasets=options.dataset or (), published=keys)
    if not items:
        raise UsageError(f"'{source}' has no records of known learners and datasets; a plugin's need --plugin FILE")
    _print(items, notes, options)
    return EXIT_OK


def stored_or_published(out: str, learners: Collection[str] = ()) -> tuple[list[Record], str | Path]:
    """The records of a results folder or file; the published ones where the default folder was never written.

    learners   with these, also where that folder lacks one of them and the published records have them all
    """
    if out == DEFAULT_OUT and RECORDS.exists():
        if not (Path(out) / "store.json").exists():
            print(f"no results in '{out}' yet: these are the published records ({RECORDS.name})", file=sys.stderr)
            return published_records(), RECORDS
        own = read_records(out)
        if set(learners) - _learners(own) and not set(learners) - _learners(published_records()):
            print(f"'{out}' lacks one of them: these are the published records ({RECORDS.name})", file=sys.stderr)
            return published_records(), RECORDS
        return own, out
    return read_records(out), out


def _learners(records: list[Record]) -> set[str]:
    return {record["spec"]["learner"] for record in records}


def _beside(own: list[Record], found: Registry) -> list[Record]:
    """The published records on the boards of one's own, without the cells that were run here too."""
    keys = {key_of(record) for record in own}
    mine = {_place(board) for board in boards(own, found, {})}
    others = [record for record in published_records() if key_of(record) not in keys]
    together = boards([*own, *others], found, {})
    wanted = {
        key_of(record) for board in together if _place(board) in mine for row in board.rows for record in row.records
    }
    beside = [record for record in others if key_of(record) in wanted]
    if not beside:
        print(
            "no published records on these boards: run at the standard budget and the default sizes to stand there",
            file=sys.stderr,
        )
    return beside


def _place(board: Board) -> tuple[str, str, str]:
    return board.dataset, board.budget, json.dumps(dict(board.params), sort_keys=True)


def _print(items: list[Standing], notes: list[str], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps({"standings": as_rows(items), "notes": notes}, indent=1, allow_nan=False))
    elif options.csv:
        rows = as_rows(items)
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        emit(markdown(items, notes=notes))
