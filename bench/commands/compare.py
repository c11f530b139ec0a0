"""``python -m bench compare``."""

from __future__ import annotations

import argparse

from bench.commands.show import stored_or_published
from bench.commands.terminal import emit
from bench.errors import EXIT_OK
from bench.registry import discover
from bench.report.compare import comparison
from bench.report.leaderboard import read_consistency


def main(options: argparse.Namespace) -> int:
    """Print the comparison of two learners from the stored records, or from the published ones where it was not run."""
    records, source = stored_or_published(options.out, {options.a, options.b})
    found = discover(options.plugin)
    consistency = read_consistency(records, source, found)
    emit(comparison(records, found, consistency, options.a, options.b, metric=options.metric))
    return EXIT_OK
