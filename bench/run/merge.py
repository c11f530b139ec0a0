"""Results folders put together: shards of one plan, or the runs of several machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UsageError
from bench.run.spec import RunSpec
from bench.run.store import Record, Store


@dataclass(frozen=True)
class Conflict:
    """One cell with different results in two folders; ``difference`` says where they differ, in words."""

    cell: str
    first: Path
    second: Path
    difference: str


@dataclass
class Merged:
    """What merging did: records that were copied, and that were there already or in another folder."""

    copied: int = 0
    known: int = 0


def merge(sources: Sequence[Path], target: Path) -> tuple[Merged, list[Conflict]]:
    """Copy records, codes and plans of the sources into the target, which may hold some already.

    Of two records of a cell the one that is "ok" is kept, of two that are not the later one. Where two are "ok" and
    their scores differ nothing is copied at all and the conflicts are returned. Raises UsageError for folders that
    are no results or whose data seeds have different salts.
    """
    stores = [Store(path) for path in sources]
    salts = {store.salt: store.root for store in stores}
    if (target / "store.json").exists():
        there = Store(target)
        salts.setdefault(there.salt, there.root)
    if len(salts) > 1:
        named = ", ".join(f"{root} ({salt or 'none'})" for salt, root in sorted(salts.items()))
        raise UsageError(f"the folders' data seeds have different salts: {named}; they are different experiments")
    chosen: dict[str, Store] = {}
    conflicts: list[Conflict] = []
    done = Merged()
    if (target / "store.json").exists():
        chosen = dict.fromkeys(there.entries(), there)
    for store in stores:
        for key in store.entries():
            record = store.get(key)
            if record is None or not _is_named_rightly(key, record):
                continue
            if key not in chosen:
                chosen[key] = store
                continue
            done.known += 1
            other = chosen[key].get(key)
            if other is None or _is_better(record, other):
                chosen[key] = store
            elif record["status"] == other["status"] == "ok":
                difference = difference_of(other, record)
                if difference:
                    spec = record["spec"]
                    cell = f"{spec['dataset']} · {spec['learner']} · seed {spec['repetition']}"
                    conflicts.append(Conflict(cell, chosen[key].root, store.root, difference))
    if not conflicts:
        out = Store(target, create=True, salt=next(iter(salts), ""))
        for key, store in chosen.items():
            if store.root != out.root:
                _copy(key, store, out)
                done.copied += 1
        for store in stores:
            out.put_plan(store.plan().items())
    return done, conflicts


def difference_of(first: Record, second: Record) -> str:
    """Where the scores of two records differ, in words; "" where they do not."""
    a, b = first.get("metrics", {}), second.get("metrics", {})
    words = [
        f"{name} {a[name].get('value')} and {b[name].get('value')}"
        for name in sorted(a.keys() & b.keys())
        if a[name].get("value") != b[name].get("value")
    ]
    return "; ".join(words[:5]) + ("; …" if len(words) > 5 else "")


def _is_better(record: Record, other: Record) -> bool:
    if (record["status"] == "ok") != (other["status"] == "ok"):
        return bool(record["status"] == "ok")
    if record["status"] == "ok":
        # the same scores, and more of them
        return len(record["metrics"]) > len(other["metrics"]) and not difference_of(other, record)
    ended = [str(one.get("provenance", {}).get("finished_utc", "")) for one in (record, other)]
    return ended[0] > ended[1]


def _is_named_rightly(key: str, record: Record) -> bool:
    return RunSpec.from_dict(record["spec"]).key == key


def _copy(key: str, source: Store, target: Store) -> None:
    record = source.get(key)
    if record is None:
        return
    codes = source.codes(key)
    if codes:
        target.put_codes(key, codes)
    target.put(key, record)
