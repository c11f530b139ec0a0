"""The results folder: one JSON file a cell, written aside and renamed, so that a cut run leaves no half record.

results/store.json          format version; the salt of the data seeds, where the runs are judged
results/runs/<key>.json     records
results/codes/<key>.npz     codes of the cell, see ``codes``
results/plan/<hash>.json    specs of the cells of one plan, for ``status``; plans add up
results/index.jsonl         a line a record, so that nobody opens all of them to see what is done (``index``)
results/claims/             who is running what, while somebody is (``claims``)

A damaged file costs what is in it: it is named once and counts as not there, and its cell is run again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.run.files import Damaged, read_json, write_aside, write_json, write_text
from bench.run.frames import to_frame
from bench.run.index import Entry, Index, stamps
from bench.run.schema import STATUSES, wrong_in_record, wrong_in_spec
from bench.run.wire import strict_json

FORMAT = 1
Record = dict[str, Any]

__all__ = [
    "FORMAT",
    "STATUSES",
    "Record",
    "Store",
    "read_records",
    "salt_for",
    "to_frame",
    "write_json",
    "write_records",
    "write_text",
]


class Store:
    """Records in a folder. Raises UsageError for a folder written by another format version, or by somebody else.

    salt   of a folder that is created; one that is there keeps its own
    """

    def __init__(self, root: str | Path, *, create: bool = False, salt: str = "") -> None:
        self.root = Path(root).absolute()  # a working folder may change under a run
        self.salt = salt
        self.index = Index(self.root / "index.jsonl")
        self._named: set[str] = set()
        self._open(str(root), create)

    def _open(self, given: str, create: bool) -> None:
        marker = self.root / "store.json"
        if not self.root.exists() and not create:
            raise UsageError(f"no results in '{given}': run `python -m bench run --all --out {given}` first")
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"--out '{given}' is a file; name a folder")
        if marker.exists():
            self._read_marker(marker, given)
        elif self.root.exists() and any(self.root.iterdir()):
            if create:
                raise UsageError(f"--out '{given}' is not empty and holds no results of ours; give another folder")
            raise UsageError(f"'{given}' holds no results; run `python -m bench run --all --out {given}` first")
        elif create:
            try:
                (self.root / "runs").mkdir(parents=True, exist_ok=True)
                (self.root / "codes").mkdir(exist_ok=True)
            except OSError as error:
                raise UsageError(f"--out '{given}' cannot be written: {error.strerror}") from None
            write_json(marker, {"format": FORMAT, **({"salt": self.salt} if self.salt else {})})

    def _read_marker(self, marker: Path, given: str) -> None:
        try:
            found = read_json(marker)
            if not isinstance(found.get("format"), int):
                raise Damaged(f"{marker} is damaged (it names no format)")
        except Damaged as error:
            # the records say what it said
            record = next(self.records(), None)
            if record is None:
                raise UsageError(f"{error}, and there is no record; delete '{given}' or give another --out") from None
            self._notice(f"{error}; written again from the records")
            found = {"format": FORMAT, "salt": str(record.get("provenance", {}).get("salt", ""))}
            write_json(marker, {name: value for name, value in found.items() if value})
        if found.get("format") != FORMAT:
            raise UsageError(
                f"'{given}' holds records of format {found.get('format')}, this version writes {FORMAT};"
                " give another --out"
            )
        self.salt = str(found.get("salt", ""))

    def codes_path(self, key: str) -> Path:
        return self.root / "codes" / f"{key}.npz"

    def put(self, key: str, record: Mapping[str, Any]) -> None:
        """Write one record; replaces an older one of the same cell."""
        path = self._record_path(key)
        write_json(path, record)
        self.index.add([Entry.of(key, record, path.stat().st_mtime_ns)])

    def put_codes(self, key: str, codes: Mapping[str, Any]) -> None:
        """Write a cell's codes, before its record: where there is a record, its codes are there."""
        import numpy as np

        write_aside(self.codes_path(key), lambda file: np.savez_compressed(file, allow_pickle=False, **codes))

    def codes(self, key: str) -> dict[str, Any]:
        """The codes of a cell by name; empty where there are none or the file is damaged, which is then named."""
        import numpy as np

        path = self.codes_path(key)
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except FileNotFoundError:
            return {}
        except Exception as error:  # noqa: BLE001 -- numpy and zipfile raise anything for a file that is none
            self._notice(f"{path} is damaged ({type(error).__name__}); run the cell again")
            return {}
        if all(array.ndim == 2 and array.dtype.kind in "fb" for array in found.values()):
            return found
        self._notice(f"{path} is damaged (no codes); run the cell again")
        return {}

    def get(self, key: str) -> Record | None:
        """A cell's record; None where there is none or it is damaged, which is then named."""
        path = self._record_path(key)
        if not path.exists():
            return None
        try:
            record = read_json(path)
        except Damaged as error:
            self._notice(f"{error}; its cell counts as not run")
            return None
        wrong = wrong_in_record(record)
        if wrong:
            self._notice(f"{path} is damaged ({wrong}); its cell counts as not run")
            return None
        return record

    def records(self) -> Iterator[Record]:
        """All records, by key."""
        for key in sorted(stamps(self.root / "runs")):
            record = self.get(key)
            if record is not None:
                yield record

    def entries(self) -> dict[str, Entry]:
        """A line on every record that is there; only those that the index has not are opened."""
        known, there = self.index.read(), stamps(self.root / "runs")
        found = {key: known[key] for key, stamp in there.items() if key in known and known[key].stamp == stamp}
        fresh = []
        for key in there.keys() - found.keys():
            record = self.get(key)
            if record is not None:
                fresh.append(Entry.of(key, record, there[key]))
        self.index.add(fresh)
        return found | {entry.key: entry for entry in fresh}

    def stamp(self, key: str) -> int:
        """When a cell's record was written, in nanoseconds; 0 where there is none."""
        try:
            return self._record_path(key).stat().st_mtime_ns
        except OSError:
            return 0

    def put_plan(self, cells: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Remember what was planned; plans add up, and a cell planned twice counts once."""
        planned = {key: dict(spec) for key, spec in cells}
        name = hashlib.sha256("".join(sorted(planned)).encode()).hexdigest()[:16]
        path = self.root / "plan" / f"{name}.json"
        if planned and not path.exists():
            write_text(path, json.dumps(planned, sort_keys=True, allow_nan=False) + "\n")

    def plan(self) -> dict[str, Any]:
        """The specs of all cells that were ever planned, by key."""
        planned: dict[str, Any] = {}
        older = self.root / "plan.json"  # of the versions that kept one file
        for path in [*([older] if older.exists() else []), *sorted((self.root / "plan").glob("*.json"))]:
            try:
                found = read_json(path)
            except Damaged as error:
                self._notice(f"{error}; what it planned is not shown until it is planned again")
                path.rename(path.with_suffix(".damaged"))
                continue
            planned |= {key: spec for key, spec in found.items() if not wrong_in_spec(spec)}
        return planned

    def _record_path(self, key: str) -> Path:
        return self.root / "runs" / f"{key}.json"

    def codes_are_whole(self, entry: Entry) -> bool:
        """Can the codes be read which the record says are there? True where it says nothing of codes."""
        if not entry.has_codes:
            return True
        path = self.codes_path(entry.key)
        try:
            with zipfile.ZipFile(path) as archive:
                whole = archive.testzip() is None and bool(archive.namelist())
        except Exception:  # noqa: BLE001 -- zipfile raises anything for a file that is none
            whole = False
        if not whole:
            self._notice(f"{path} is damaged or gone; the cell is run again")
        return whole

    def _notice(self, text: str) -> None:
        """Say what is damaged, once."""
        if text not in self._named:
            self._named.add(text)
            print(f"warning: {text}", file=sys.stderr)


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
    """Records of a results folder, or of a JSON-lines file such as ``leaderboard/records.jsonl``.

    Lines and files that hold no record are named and left out. Raises UsageError where nothing is left of a file.
    """
    path = Path(path)
    if not path.is_file():
        return list(Store(path).records())
    found: list[Record] = []
    damaged = 0
    for line in path.read_bytes().splitlines():
        if not line.strip():
            continue
        try:
            record = strict_json(line.decode("utf-8"))
            damaged_here = bool(wrong_in_record(record))
        except ValueError:
            damaged_here = True
        if damaged_here:
            damaged += 1
        else:
            found.append(record)
    if damaged and not found:
        raise UsageError(f"'{path}' holds no record: it is a results folder or a records.jsonl that is wanted")
    if damaged:
        print(f"warning: {damaged} lines of {path} are damaged and left out", file=sys.stderr)
    return found


def write_records(path: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Records as JSON lines, sorted by dataset, learner and repetition, for committing."""
    ordered = sorted(records, key=lambda r: (r["spec"]["dataset"], r["spec"]["learner"], r["spec"]["repetition"]))
    write_text(path, "".join(json.dumps(record, sort_keys=True) + "\n" for record in ordered))
