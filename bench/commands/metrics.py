"""``python -m bench metrics``."""

from __future__ import annotations

import argparse

from bench.commands.terminal import emit
from bench.errors import EXIT_FAILED, EXIT_OK


def main(options: argparse.Namespace) -> int:
    """Print the stress table: the answer of every metric, and in brackets what it must be."""
    from bench.metrics.stress import stress_table

    text = stress_table()
    emit(text)
    return EXIT_FAILED if "✗" in text else EXIT_OK
