"""The published records, as other people's results to stand beside."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.run.store import Record, read_records

FOLDER = Path(__file__).resolve().parents[2] / "leaderboard"
RECORDS = FOLDER / "records.jsonl"
SPREADS = FOLDER / "between_machines.json"


def published_records() -> list[Record]:
    """All published records; raises UsageError where the checkout has none."""
    if not RECORDS.exists():
        raise UsageError(f"no published records at {RECORDS}; they come with a checkout of the repository")
    return read_records(RECORDS)


def published_consistency() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Agreement across seeds of the published rows without truth."""
    path = FOLDER / "consistency.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def caveats(own: Sequence[Record], published: Sequence[Record], learners: Collection[str]) -> list[str]:
    """What must be known to read own and published records side by side: machines, and scores that move with them."""
    here = sorted({record["provenance"]["hardware"]["class"] for record in own})
    there = sorted({record["provenance"]["hardware"]["class"] for record in published})
    lines = [f"° published, not run here: times of {'; '.join(there) or 'no machine'}"]
    if here and here != there:
        lines[0] += f", yours of {'; '.join(here)}: compare scores, not times"
    spreads = json.loads(SPREADS.read_text(encoding="utf-8")) if SPREADS.exists() else {}
    lines += [
        f"{name}: its {item['metric']} differed by up to {item['spread']:g} between machines; a smaller lead over it,"
        " or behind it, says nothing"
        for name, item in sorted(spreads.items())
        if name in learners
    ]
    return lines
