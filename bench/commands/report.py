"""``python -m bench report``."""

from __future__ import annotations

import argparse

from bench.errors import EXIT_OK


def main(options: argparse.Namespace) -> int:
    """Write the leaderboard; prints the files written."""
    from bench.report import write_leaderboard

    for path in write_leaderboard(options.out, options.to, options.plugin):
        print(path)
    return EXIT_OK
