"""Which cells of a plan are done, which only lack a metric, and which this run does while others run beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.run.cell import Job, Outcome
from bench.run.claims import Claims
from bench.run.index import Entry, fingerprint
from bench.run.store import Record, Store

ALL_CODES = {"train", "test"}


@dataclass(frozen=True)
class State:
    """done      cells whose record is "ok" and holds what is wanted
    rescore   done but for metrics that came later or were changed; their codes are stored
              (a cell whose codes are not stored is run again)
    """

    done: set[str] = field(default_factory=set)
    rescore: set[str] = field(default_factory=set)


def state_of(store: Store, keys: Iterable[str], versions: Mapping[str, int], added: Collection[str] = ()) -> State:
    """What is left to do of these cells.

    versions   of the metrics that are wanted; ``added`` are those of them that plugins bring
    """
    state, wanted = State(), fingerprint(versions)
    entries = store.entries()
    for key in keys:
        entry = entries.get(key)
        if entry is None or entry.status != "ok" or not store.codes_are_whole(entry):
            continue
        if entry.metrics == wanted:
            state.done.add(key)
            continue
        _sort(state, store, entry, versions, added)
    return state


def _sort(state: State, store: Store, entry: Entry, versions: Mapping[str, int], added: Collection[str]) -> None:
    record = store.get(entry.key)
    if record is None:
        return
    metrics = record.get("metrics", {})
    scored = record.get("metric_versions")
    if scored is None:
        # records of earlier versions were scored with the first version of every metric they could be scored with;
        # without the true latents, which the MCC tells of, that is none of a plugin's
        has_truth = (metrics.get("mcc") or {}).get("value") is not None
        scored = {name: 1 for name in versions if name in metrics or not has_truth or name not in added}
    if all(scored.get(name) == version for name, version in versions.items()):
        state.done.add(entry.key)
    elif set(record.get("codes", ())) >= ALL_CODES:
        state.rescore.add(entry.key)


class Sharing:
    """This run's part in a results folder: claims what it runs, writes what comes of it, leaves alone what others do.

    rescore    cells that are only scored
    elsewhere  called with the record of a cell that another run has finished meanwhile
    """

    def __init__(
        self, store: Store, *, rescore: set[str], elsewhere: Callable[[Record], None] = lambda record: None
    ) -> None:
        self.store, self.rescore = store, rescore
        self._claims = Claims(store.root / "claims")
        self._elsewhere = elsewhere
        self._before: dict[str, int] = {}

    def __enter__(self) -> Sharing:
        return self

    def __exit__(self, *_: object) -> None:
        self._claims.release_all()

    def expect(self, keys: Iterable[str]) -> None:
        """Note how these cells' records are now, to see which of them others write."""
        self._before = {key: self.store.stamp(key) for key in keys}

    def take(self, job: Job) -> bool | None:
        keys = [spec.key for spec in job.specs]
        if not self._claims.take(keys):
            return False
        if all(self.store.stamp(key) != self._before.get(key, 0) for key in keys):
            self._claims.release(keys)
            for key in keys:
                record = self.store.get(key)
                if record is not None:
                    self._elsewhere(record)
            return None
        return True

    def renew(self) -> None:
        self._claims.renew()

    def stored(self, job: Job) -> Mapping[str, Any] | None:
        """The codes of a job that is only scored."""
        (key, *others) = [spec.key for spec in job.specs]
        return (self.store.codes(key) or None) if key in self.rescore and not others else None

    def keep(self, outcome: Outcome) -> Record:
        """Write what has become of a cell; returns its record."""
        key, record = outcome.spec.key, outcome.record
        if key in self.rescore:
            record = _with_new_scores(self.store.get(key), record)
        elif outcome.codes:
            self.store.put_codes(key, outcome.codes)
        self.store.put(key, record)
        self._before[key] = self.store.stamp(key)
        self._claims.release([key])
        return record


def _with_new_scores(old: Record | None, new: Record) -> Record:
    """The old record with the scores that were computed now; a failure to score leaves it as it was."""
    if old is None or new["status"] != "ok":
        return old or new
    origin = {
        name: new["provenance"].get(name) for name in ("git_revision", "git_dirty", "code_sha256", "finished_utc")
    }
    return {
        **old,
        "metrics": {**old["metrics"], **new["metrics"]},
        "metric_versions": {**old.get("metric_versions", {}), **new["metric_versions"]},
        "provenance": {**old["provenance"], "scored_again": origin},
    }
