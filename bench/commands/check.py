"""``python -m bench check``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import EXIT_FAILED, EXIT_OK
from bench.registry import discover


def main(options: argparse.Namespace) -> int:
    """Try every learner of the plugin files against the contract."""
    from bench.run.check import check_learner

    found = discover(options.files)
    origins = {str(Path(file).resolve()) for file in options.files}
    for where, reason in found.broken.items():
        print(f"{where}\n  FAIL can be read ({reason})")
    broken = len(found.broken)
    for info in found.learners.values():
        if (origins and info.origin not in origins) or "truth" in info.needs:
            continue
        print(info.name)
        for finding in check_learner(info):
            detail = f" ({finding.detail})" if finding.detail else ""
            print(f"  {'ok  ' if finding.kept else 'FAIL'} {finding.promise}{detail}")
            broken += not finding.kept
    return EXIT_FAILED if broken else EXIT_OK
