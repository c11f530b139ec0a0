"""``python -m bench data``."""

from __future__ import annotations

import argparse
import sys

from bench.errors import EXIT_FAILED, EXIT_OK


def main(options: argparse.Namespace) -> int:
    """List, download or verify the files of real datasets. Without names: those not too large, and what is there."""
    from bench.api import BadData, NotApplicable
    from bench.run import sources as data

    if options.action == "list":
        for row in data.list_sources():
            facts = [f"{key}: {value}" for key, value in row.items() if key != "name" and value not in ("", None)]
            print("\n  ".join([str(row["name"]), *facts]))
        return EXIT_OK
    there = "found" if options.action == "verify" else ""
    names = options.names or [str(row["name"]) for row in data.list_sources() if not row["fetched"] or row.get(there)]
    for name in names:
        data.require_known(name)
    code = EXIT_OK
    for name in names:
        try:
            print(_fetch(name) if options.action == "fetch" else data.verify(name))
        except (BadData, NotApplicable, OSError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            code = EXIT_FAILED
    return code


def _fetch(name: str) -> str:
    from rich.console import Console
    from rich.progress import Progress

    from bench.run import sources as data

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=1.0)
        path = data.fetch(name, progress=lambda fraction, message: bar.update(task, completed=fraction))
    return f"{name}: {path}"
