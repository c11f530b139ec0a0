"""What is in the records, in one line each: starting and looking at a large results folder opens one file.

The index is appended to when a record is written. It is only ever a copy: a line that is missing or damaged is made
again from the record, and a record that is no longer there drops its line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One record's line.

    metrics   hash of the names and versions of the metrics it was scored with (``fingerprint``)
    stamp     modification time of the record's file when the line was written
    """

    key: str
    status: str
    reason: str
    dataset: str
    learner: str
    has_codes: bool
    metrics: str
    stamp: int

    @classmethod
    def of(cls, key: str, record: Mapping[str, Any], stamp: int) -> Entry:
        spec = record["spec"]
        codes = bool(record.get("codes"))
        scored = fingerprint(record.get("metric_versions", {}))
        reason = record.get("reason", "")
        return cls(key, record["status"], reason, spec["dataset"], spec["learner"], codes, scored, stamp)


def fingerprint(versions: Mapping[str, int]) -> str:
    """A short word for names and versions of metrics."""
    text = json.dumps(sorted(versions.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Index:
    """The index of one results folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Entry]:
        """The last good line of every key."""
        found: dict[str, Entry] = {}
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return {}
        for line in lines:
            try:
                values = json.loads(line)
                key, status, reason, dataset, learner, codes, metrics, stamp = values
            except (ValueError, TypeError, RecursionError):
                continue
            if all(isinstance(word, str) for word in (key, status, reason, dataset, learner, metrics)):
                found[key] = Entry(key, status, reason, dataset, learner, bool(codes), metrics, stamp)
        return found

    def add(self, entries: Iterable[Entry]) -> None:
        """Append lines, each by one write; an index that cannot be written costs time, not records."""
        try:
            with self.path.open("ab", buffering=0) as file:
                for e in entries:
                    values = [e.key, e.status, e.reason[:500], e.dataset, e.learner, e.has_codes, e.metrics, e.stamp]
                    file.write(b"\n" + json.dumps(values).encode())
        except OSError:
            return


def stamps(folder: Path) -> dict[str, int]:
    """Modification times of the records in a folder, by key; opens none of them."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    found[entry.name[: -len(".json")]] = entry.stat().st_mtime_ns
    except OSError:
        return {}
    return found
