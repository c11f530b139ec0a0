"""Measure and write the profile.

    python -m tests.benchmarks.profiling --to leaderboard/profile.md [--only SECTION …] [--long] [--render]

The measurements go beside the page as ``profile.json``, every section with the machine and the revision it was
measured on; ``--only`` measures some sections anew and keeps the others, ``--render`` only writes the page again.
Sections that take long, such as the paper's own training to its end, are measured with ``--long`` (or by name) and kept
in ``profile-long.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.run import provenance
from bench.run.store import write_text
from tests.benchmarks.profiling.report import markdown
from tests.benchmarks.profiling.sections import LONG, SECTIONS


def measured(name: str, *, quick: bool) -> dict[str, Any]:
    """One section as it is stored."""
    title, work = (SECTIONS | LONG)[name]
    load, start = os.getloadavg()[0], time.process_time()
    content = work(quick)
    return {
        "title": title,
        **content,
        "cpu_s": time.process_time() - start,
        "provenance": {**provenance.finished(provenance.stamp("cpu", 1)), "load": load},
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], prog="profiling")
    parser.add_argument("--to", type=Path, default=Path("leaderboard/profile.md"), help="the page to write")
    parser.add_argument("--only", nargs="+", choices=[*SECTIONS, *LONG], help="measure these sections, keep the others")
    parser.add_argument("--long", action="store_true", help=f"measure also what takes long: {', '.join(LONG)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to see that it works")
    parser.add_argument("--render", action="store_true", help="measure nothing, write the page from the stored numbers")
    options = parser.parse_args(arguments)
    short = _Store(options.to.with_suffix(".json"), list(SECTIONS))
    long = _Store(options.to.with_name(f"{options.to.stem}-long.json"), list(LONG))
    if options.render and not short.sections:
        parser.error(f"{short.path} has no measurements: run without --render first")
    if not options.render:
        from threadpoolctl import threadpool_limits

        names = options.only or [*SECTIONS, *(LONG if options.long else ())]
        if not options.only:
            short.sections = {}
        with threadpool_limits(1):
            for name in names:
                print(f"measuring {name}", flush=True)
                (long if name in LONG else short).put(name, measured(name, quick=options.quick))
    write_text(options.to, markdown({"sections": short.sections | long.sections}))
    print(options.to)


class _Store:
    """Sections in a file, in a given order."""

    def __init__(self, path: Path, order: Sequence[str]) -> None:
        self.path, self.order = path, order
        self.sections: dict[str, Any] = json.loads(path.read_text())["sections"] if path.exists() else {}

    def put(self, name: str, section: dict[str, Any]) -> None:
        self.sections[name] = section
        self.sections = {key: self.sections[key] for key in self.order if key in self.sections}
        write_text(self.path, json.dumps({"sections": self.sections}, indent=1) + "\n")


if __name__ == "__main__":
    main()
