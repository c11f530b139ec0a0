"""``python -m bench merge``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import EXIT_FAILED, EXIT_OK


def main(options: argparse.Namespace) -> int:
    """Put results folders together; refuse where two of them say different things of one cell."""
    from bench.run.merge import merge

    done, conflicts = merge([Path(folder) for folder in options.folders], Path(options.out))
    for conflict in conflicts:
        print(f"{conflict.cell}: {conflict.difference}\n  {conflict.first}\n  {conflict.second}", file=sys.stderr)
    if conflicts:
        print(f"{len(conflicts)} cells differ; nothing was merged", file=sys.stderr)
        return EXIT_FAILED
    print(f"{done.copied} records copied to {options.out}, {done.known} were in two folders")
    return EXIT_OK
