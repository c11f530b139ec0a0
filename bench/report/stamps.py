"""Where records come from, in words: code, machine, packages, and when the last was made."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.markdown import code, text
from bench.run.store import Record


def stamps(records: Sequence[Record]) -> list[str]:
    """Lines on the records' provenance; none where there are no records."""
    if not records:
        return []
    found = [record["provenance"] for record in records]
    revisions = sorted({code(s["git_revision"][:12]) + (" (changed)" if s["git_dirty"] else "") for s in found})
    machines = sorted({s["hardware"]["class"] for s in found})
    packages = {name: version for s in found for name, version in s["packages"].items()}
    last = text(max(s["finished_utc"] for s in found))
    return [
        f"last cell finished {last} (UTC), code at {', '.join(revisions)}",
        f"{text('; '.join(machines))}; {', '.join(sorted({str(s['threads']) for s in found}))} thread a cell",
        text(f"Python {found[0]['python']}, " + ", ".join(f"{name} {version}" for name, version in packages.items())),
    ]
