"""The results folder: one JSON file a cell, written aside and renamed, so that a cut run leaves no half record.

results/store.json          format version; the salt of the data seeds, where the runs are judged
results/runs/<key>.json     records
results/codes/<key>.npz     codes of the held-out samples, kept where the true latents are unknown
results/plan.json           keys of the last plan, for ``status``
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bench.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
Record = dict[str, Any]
STATUSES = ("ok", "skipped", "failed", "diverged", "timeout", "oom", "killed")


class Store:
    """Records in a folder. Raises UsageError for a folder written by another format version.

    salt   of a folder that is created; one that is there keeps its own
    """

    def __init__(self, root: str | Path, *, create: bool = False, salt: str = "") -> None:
        self.root = Path(root).absolute()  # a working folder may change under a run
        self.salt = salt
        marker = self.root / "store.json"
        if not self.root.exists() and not create:
            raise UsageError(f"no results in '{root}': run `python -m bench run --all --out {root}` first")
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"--out '{root}' is a file; name a folder")
        if marker.exists():
            self.salt = str(_read(marker).get("salt", ""))
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
                write_json(marker, {"format": FORMAT, **({"salt": salt} if salt else {})})
            except OSError as error:
                raise UsageError(f"--out '{root}' cannot be written: {error.strerror}") from None

    def codes_path(self, key: str) -> Path:
        return self.root / "codes" / f"{key}.npz"

    def put(self, key: str, record: Mapping[str, Any]) -> None:
        """Write one record; replaces an older one of the same cell."""
        write_json(self.root / "runs" / f"{key}.json", record)

    def put_codes(self, key: str, codes: Mapping[str, Any]) -> None:
        """Write a cell's codes (float32), before its record: where there is a record, its codes are there."""
        import numpy as np

        def write(file: IO[bytes]) -> None:
            np.savez_compressed(file, allow_pickle=False, **{name: a.astype(np.float32) for name, a in codes.items()})

        write_aside(self.codes_path(key), write)

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


def salt_for(root: str | Path, wanted: str | None) -> str:
    """The salt for runs in this folder: that of the records that are there, ``wanted``, or for "" a new one.

    wanted   a published salt, "" for a secret new one, None where the user did not ask for a judged run

    Raises UsageError where the records there were made with another, and for what is no salt.
    """
    if wanted and not (len(wanted) == 32 and set(wanted) <= set("0123456789abcdef")):
        raise UsageError(f"--judge '{wanted[:40]}': a salt has 32 hexadecimal digits; leave it out for a new one")
    if (Path(root) / "store.json").exists():
        salt = Store(root).salt
        if wanted is not None and (not salt or wanted not in ("", salt)):
            made = f"with the salt {salt}" if salt else "without a salt"
            raise UsageError(f"the records in '{root}' were made {made}; give a judged run another --out")
        return salt
    return "" if wanted is None else wanted or secrets.token_hex(16)


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
    data = text.encode("utf-8")
    write_aside(path, lambda file: file.write(data))


def write_aside(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Have a file written under another name, then renamed; nothing is left where that fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
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
