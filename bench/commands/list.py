"""``python -m bench list``: plugins by what their source says; nothing is imported."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench import registry as registry_module
from bench.commands.execution import warn_of_broken
from bench.commands.kinds import print_kinds
from bench.commands.terminal import emit
from bench.errors import EXIT_OK
from bench.registry import discover


def main(options: argparse.Namespace) -> int:
    """Print learners, datasets and metrics, importing none of them; or all about the one that is named."""
    found = discover(options.plugin)
    if options.kinds:
        print_kinds(found)
        return EXIT_OK
    if options.name:
        from bench.commands.describe import description

        emit(description(options.name, found))
        return EXIT_OK
    learners = [
        asdict(info) | {"missing": registry_module.missing_requirements(info)} for info in found.learners.values()
    ]
    absent = _absent_sources()
    datasets = [
        asdict(info) | {"missing": registry_module.missing_requirements(info), "fetch": absent.get(info.source, "")}
        for info in found.datasets.values()
    ]
    metrics = [asdict(info) for info in found.metrics.values()]
    if options.json:
        print(
            json.dumps(
                {"learners": learners, "datasets": datasets, "metrics": metrics, "broken": found.broken}, indent=1
            )
        )
        return EXIT_OK
    order = sorted(learners, key=lambda row: bool(row["reference"]))
    print("Learners (identified up to; needs)")
    _print_rows(
        [
            (
                row["name"],
                "reference" if row["reference"] else row["guarantee"],
                ", ".join(row["needs"]).replace("|", " or ") or "inputs only",
                _with_missing(row),
            )
            for row in order
        ]
    )
    print("\nDatasets (truth; has)")
    _print_rows(
        [
            (
                row["name"],
                "latents known" if row["truth"] else "latents unknown",
                ", ".join(row["provides"]) or "inputs only",
                _with_missing(row),
            )
            for row in datasets
        ]
    )
    print("\nMetrics (perfect where identified up to; range)")
    _print_rows([(row["name"], row["tests"], row["range"], row["summary"]) for row in metrics])
    warn_of_broken(found)
    return EXIT_OK


def _with_missing(row: dict[str, Any]) -> str:
    paper = f" [{row['paper']}]" if row["paper"] not in ("", "reference") else ""
    lacks = f" -- missing here: pip install {' '.join(row['missing'])}" if row["missing"] else ""
    fetch = f" -- data is not here: {row['fetch']}" if row.get("fetch") else ""
    return f"{row['summary']}{paper}{lacks}{fetch}"


def _absent_sources() -> dict[str, str]:
    """Names of the data sources that are not on this machine, with the command that mends it."""
    from bench.run.sources import list_sources

    return {row["name"]: f"python -m bench data fetch {row['name']}" for row in list_sources() if not row["found"]}


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    """A line a plugin; on a terminal, what does not fit beside the columns goes on below them."""
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        head = "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        if limit is None or len(head) + 2 + len(row[3]) <= limit:
            print(f"{head}  {row[3]}")
            continue
        print("\n".join(textwrap.wrap(head.strip(), limit, initial_indent="  ", subsequent_indent="    ")))
        print("\n".join(textwrap.wrap(row[3], limit, initial_indent=" " * 6, subsequent_indent=" " * 6)))
