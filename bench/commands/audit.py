"""``python -m bench audit``: published cells run again."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.commands.execution import cell_pool, execute, warn_of_broken
from bench.commands.terminal import emit
from bench.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, UsageError
from bench.registry import discover


def main(options: argparse.Namespace) -> int:
    """Run a random sample of published cells and print how they compare; 1 where one has moved or failed."""
    from bench.report import audit
    from bench.report.published import SPREADS, published_records
    from bench.run.plan import Cell, data_hash
    from bench.run.spec import RunSpec
    from bench.run.store import Store, read_records, write_text

    if options.device == "cuda":
        raise UsageError("--device cuda: published cells are of CPUs, and are run again there")
    found = discover(options.plugin)
    warn_of_broken(found)
    records = read_records(options.records) if options.records else published_records()
    files = {info.name: data_hash(info)[0] for info in found.datasets.values() if info.source}
    every = audit.auditable(records, found, options.learners or (), options.datasets or (), options.within, files)
    if absent := sorted({r["spec"]["dataset"] for r in records if files.get(r["spec"]["dataset"], "-") == ""}):
        print(f"left out, as their files are not here: {', '.join(absent)}", file=sys.stderr)
    chosen = audit.drawn(every, options.sample, options.seed)
    cells = [Cell(RunSpec.from_dict(record["spec"])) for record in chosen]
    with cell_pool(options, found) as pool:
        store = Store(options.out, create=True)
        interrupted = execute(options, cells, store, found, pool)
    if interrupted:
        return EXIT_INTERRUPTED
    spreads = json.loads(SPREADS.read_text(encoding="utf-8")) if SPREADS.exists() else {}
    pairs = [
        audit.compared(record, store.get(cell.spec.key), found, tolerance=options.tolerance, spreads=spreads)
        for record, cell in zip(chosen, cells, strict=True)
    ]
    text = audit.markdown(pairs, of=len(every), tolerance=options.tolerance, seed=options.seed)
    emit(text)
    if options.to is not None:
        write_text(Path(options.to) / "audit.md", audit.page(text, pairs))
    return EXIT_FAILED if any(pair.moved for pair in pairs) else EXIT_OK
