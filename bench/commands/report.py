"""``python -m bench report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import EXIT_OK, UsageError


def main(options: argparse.Namespace) -> int:
    """Write the leaderboard; prints the files written."""
    from bench.report import write_leaderboard

    if options.to and Path(options.to).exists() and not Path(options.to).is_dir():
        raise UsageError(f"--to '{options.to}' is a file; name a folder")
    for path in write_leaderboard(options.out, options.to, options.plugin):
        print(path)
    return EXIT_OK
