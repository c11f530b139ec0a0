"""``python -m bench list --kinds``: which learner takes which kind of input."""

from __future__ import annotations

from bench.api import KIND_NAMES
from bench.registry import Registry


def print_kinds(found: Registry) -> None:
    """One row a learner, one column a kind: yes or no, from what the learners declare."""
    width = max(map(len, found.learners), default=0)
    print(f"{'':<{width}}  " + "  ".join(f"{kind:<8}" for kind in KIND_NAMES))
    for info in sorted(found.learners.values(), key=lambda info: info.reference):
        cells = "  ".join(f"{'yes' if kind in info.accepts else 'no':<8}" for kind in KIND_NAMES)
        print(f"{info.name:<{width}}  {cells}".rstrip())
    print("\nWhat takes no graphs needs a decoder, and graphs have none here. Datasets by kind:")
    for kind in KIND_NAMES:
        names = [info.name for info in found.datasets.values() if info.kind == kind]
        print(f"  {kind:<8}  {', '.join(names) or 'none'}")
