"""The results folder: one JSON file a cell, written aside and renamed, so that a cut run leaves no half record.

results/store.json          format version
results/runs/<key>.json     records
results/codes/<key>.npz     codes of the held-out samples, kept where the true latents are unknown
results/plan.json           keys of the last plan, for ``status``
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
Record = dict[str, Any]
STATUSES = ("ok", "skipped", "failed", "diverged", "timeout", "oom", "killed")


class Store:
    """Records in a folder. Raises UsageError for a folder written by another format version."""

    def __init__(self, root: str | Path, *, create: bool = False) -> None:
        self.root = Path(root)
        marker = self.root / "store.json"
        if not self.root.exists() and not create:
            raise UsageError(f"no results in '{root}': run `python -m bench run --all --out {root}` first")
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"--out '{root}' is a file; name a folder")
        if marker.exists():
            found = _read(marker).get("format")
            if found != FORMAT:
                raise UsageError(
                    f"'{root}' holds records of format {found}, this version writes {FORMAT}; give another --out"
                )
        elif self.root.exists() and any(self.root.iterdir()):
            if create:
                raise UsageError(f"--out '{root}' is not empty and holds no results of ours; give another folder")
            raise UsageError(f"'{root}' holds no results; run `python -m bench run --all --out {root}` first")
        elif create:
            try:
                (self.root / "runs").mkdir(parents=True, exist_ok=True)
                (self.root / "codes").mkdir(exist_ok=True)
                write_json(marker, {"format": FORMAT})
            except OSError as error:
                raise UsageError(f"--out '{root}' cannot be written: {error.strerror}") from None

    def codes_path(self, key: str) -> Path:
        return self.root / "codes" / f"{key}.npz"

    def put(self, key: str, record: Mapping[str, Any]) -> None:
        """Write one record; replaces an older one of the same cell."""
        write_json(self.root / "runs" / f"{key}.json", record)

    def get(self, key: str) -> Record | None:
        path = self.root / "runs" / f"{key}.json"
        return _read(path) if path.exists() else None

    def records(self) -> Iterator[Record]:
        """All records, by key."""
        for path in sorted((self.root / "runs").glob("*.json")):
            yield _read(path)

    def put_plan(self, cells: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Remember what was planned last; earlier plans are extended, a cell planned twice counts once."""
        planned = {**self.plan(), **{key: dict(spec) for key, spec in cells}}
        write_json(self.root / "plan.json", planned)

    def plan(self) -> dict[str, Any]:
        path = self.root / "plan.json"
        return _read(path) if path.exists() else {}


def read_records(path: str | Path) -> list[Record]:
    """Records of a results folder, or of a JSON-lines file such as ``leaderboard/records.jsonl``."""
    path = Path(path)
    if path.is_file():
        return _read_lines(path)
    return list(Store(path).records())


def write_records(path: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Records as JSON lines, sorted by dataset, learner and repetition, for committing."""
    ordered = sorted(records, key=lambda r: (r["spec"]["dataset"], r["spec"]["learner"], r["spec"]["repetition"]))
    write_text(path, "".join(json.dumps(record, sort_keys=True) + "\n" for record in ordered))


def to_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a record: spec, status, one column a metric, times and memory."""
    import pandas as pd

    return pd.DataFrame(
        {
            **{name: record["spec"][name] for name in ("dataset", "learner", "repetition", "budget", "device")},
            "status": record["status"],
            "reason": record.get("reason", ""),
            **{name: score["value"] for name, score in record.get("metrics", {}).items()},
            **{f"{name}_cpu_s": phase["cpu_s"] for name, phase in record.get("phases", {}).items()},
            **{f"{name}_wall_s": phase["wall_s"] for name, phase in record.get("phases", {}).items()},
            **record.get("memory", {}),
        }
        for record in records
    )


def write_json(path: str | Path, value: Any) -> None:
    # allow_nan=False: NaN is not JSON, and a record must say why a number is missing
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write aside, then rename: a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read_lines(path: Path) -> list[Record]:
    """Records of a JSON-lines file; raises UsageError, naming the place, for any other file."""
    found: list[Record] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                found.append(json.loads(line))
                if not isinstance(found[-1], dict) or "spec" not in found[-1]:
                    raise ValueError("JSON, but not of a record")
    except ValueError as error:  # of JSON and of the encoding alike
        where = f"line {len(found) + 1}: {error}"
        raise UsageError(
            f"'{path}' holds no records ({where}); give a results folder or a records.jsonl file"
        ) from None
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return value
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid JSON ({error}); delete it and run the cell again") from None
