"""``python -m bench status``."""

from __future__ import annotations

import argparse
from collections import Counter

from bench.errors import EXIT_FAILED, EXIT_OK


def main(options: argparse.Namespace) -> int:
    """Print how many planned cells are done, and why the others are not."""
    from bench.run.store import Store

    store = Store(options.out)
    plan = store.plan()
    entries = store.entries()
    counts = Counter(entries[key].status if key in entries else "not run" for key in plan)
    print(f"{len(plan)} cells planned in {options.out}")
    for status, count in sorted(counts.items()):
        print(f"  {status:<9} {count}")
    reasons: dict[tuple[str, str], list[str]] = {}
    for key, entry in entries.items():
        if key in plan and entry.status != "ok":
            cell = f"{entry.dataset} · {entry.learner}"
            names = reasons.setdefault((entry.status, entry.reason), [])
            if cell not in names:
                names.append(cell)
    for (status, reason), names in sorted(reasons.items(), key=lambda item: (item[0][0] == "skipped", item[0])):
        print(f"\n{status}: {reason}")
        for name in names:
            print(f"  {name}")
    return EXIT_FAILED if set(counts) - {"ok", "skipped", "not run"} else EXIT_OK
