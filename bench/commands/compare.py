"""``python -m bench compare``."""

from __future__ import annotations

import argparse

from bench.errors import EXIT_OK
from bench.registry import discover
from bench.report.compare import comparison
from bench.report.leaderboard import read_consistency
from bench.run.store import read_records


def main(options: argparse.Namespace) -> int:
    """Print the comparison of two learners from the stored records."""
    records = read_records(options.out)
    found = discover(options.plugin)
    consistency = read_consistency(records, options.out, found)
    print(comparison(records, found, consistency, options.a, options.b, metric=options.metric))
    return EXIT_OK
