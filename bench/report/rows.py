"""Records gathered into the rows of a board: one row a learner (with its parameters), one board a dataset."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.api import BUDGETS, GUARANTEES, DatasetInfo, LearnerInfo
from bench.registry import Registry
from bench.report.paired import cell_scores, mean_interval
from bench.run.store import Record
from bench.statistics.intervals import Interval

CRITERION = {"permutation+scaling": "mcc", "block": "block_mcc", "linear": "linear_r2", "none": "mcc"}
"""The score a learner is judged by: what its guarantee promises, no more and no less."""


@dataclass
class Row:
    """All repetitions of one learner with one set of parameters on one board."""

    name: str
    info: LearnerInfo
    records: list[Record] = field(default_factory=list)
    consistency: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def ok(self) -> list[Record]:
        return [record for record in self.records if record["status"] == "ok"]

    def values(self, metric: str) -> list[float]:
        """The metric's value of every repetition that has one."""
        if metric.startswith("consistency."):
            part = metric.removeprefix("consistency.")
            return [pair[part] for pair in self.consistency.values() if part in pair]
        scores = (record.get("metrics", {}).get(metric) for record in self.ok)
        return [score["value"] for score in scores if score and score["value"] is not None]

    def interval(self, metric: str) -> Interval | None:
        """Mean over the seeds, with the interval that their design asks for (docs/statistics.md)."""
        scores = {key: value for key, value in cell_scores(self, metric).items() if value is not None}
        return mean_interval(scores, metric) if scores else None

    def why_none(self, metric: str) -> str:
        """Why the metric has no value here."""
        reasons = [record.get("metrics", {}).get(metric, {}).get("reason", "") for record in self.ok]
        if metric.startswith("consistency."):
            reasons = [pair.get("reason", "") for pair in self.consistency.values()]
            reasons += [] if self.consistency else ["needs the codes of two seeds at least"]
        return next((reason for reason in reasons if reason), "")

    def flagged(self, metric: str) -> bool:
        """Does the metric itself say that its value must be read with care?"""
        scores = (record.get("metrics", {}).get(metric) or {} for record in self.ok)
        return any(score.get("extra", {}).get("flagged") for score in scores)

    def trouble(self) -> str:
        """Statuses other than ok, with the first reason: "2 of 3 failed: …"; "" where all went well."""
        bad = [record for record in self.records if record["status"] != "ok"]
        if not bad:
            return ""
        if all(record["status"] == "skipped" for record in self.records):
            return f"n/a: {bad[0]['reason']}"
        statuses = ", ".join(f"{count} {status}" for status, count in Counter(r["status"] for r in bad).items())
        return f"{statuses} of {len(self.records)}: {bad[0]['reason']}"

    def mean_of(self, *path: str) -> float | None:
        """Mean over repetitions of a nested number of the record, e.g. ("phases", "fit", "cpu_s")."""
        found = []
        for record in self.ok:
            value: Any = record
            for part in path:
                value = value.get(part, {}) if isinstance(value, Mapping) else {}
            if isinstance(value, int | float):
                found.append(float(value))
        return sum(found) / len(found) if found else None


@dataclass
class Board:
    """One dataset at one budget with one set of parameters."""

    dataset: str
    budget: str
    params: Mapping[str, Any]
    rows: list[Row]
    title: str
    truth: bool
    facts: Mapping[str, Any]
    info: DatasetInfo = field(default_factory=lambda: DatasetInfo(name=""))

    def seeds(self) -> list[int]:
        return sorted({record["spec"]["repetition"] for row in self.rows for record in row.records})

    def hardware(self) -> list[str]:
        """Hardware classes of the records, most frequent first."""
        counts = Counter(record["provenance"]["hardware"]["class"] for row in self.rows for record in row.ok)
        return [name for name, _ in counts.most_common()]


def boards(
    records: Iterable[Record], found: Registry, consistency: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> list[Board]:
    """The boards of all records, rows sorted: by guarantee, then score; references after, failures last.

    Records of learners or datasets that are no longer known, and of older versions of a learner, are left out.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        spec = record["spec"]
        known = spec["dataset"] in found.datasets and spec["learner"] in found.learners
        if known and spec["budget"] in BUDGETS:  # runs of `reproduce` have a table of their own
            groups.setdefault(_board_key(spec), []).append(record)
    made = [_board(members, found, consistency) for members in groups.values()]
    return sorted(
        made, key=lambda board: (board.budget, not board.truth, board.dataset, json.dumps(dict(board.params)))
    )


def row_key(spec: Mapping[str, Any]) -> str:
    """Name of a row across repetitions: board, learner and its parameters."""
    return json.dumps(
        [_board_key(spec), spec["learner"], spec["learner_version"], spec["learner_params"]], sort_keys=True
    )


def headline(row: Row, board: Board) -> str:
    """Name of the score this row is judged by.

    Where the factors are correlated so much that the plain score can be had without recovering them (the metric flags
    it), the score on independent factors takes its place.
    """
    if not board.truth:
        return "consistency.strong" if row.info.guarantee == "permutation+scaling" else "consistency.weak"
    metric = CRITERION[row.info.guarantee]
    metric = metric if row.values(metric) else "mcc"
    independent = {"mcc": "mcc_independent", "linear_r2": "r2_independent"}.get(metric, "")
    return independent if row.flagged(metric) and row.values(independent) else metric


def _board_key(spec: Mapping[str, Any]) -> str:
    parts = ("budget", "dataset", "dataset_version", "dataset_params", "data_sha256", "device")
    return json.dumps([spec[part] for part in parts], sort_keys=True)


def _board(
    records: Sequence[Record], found: Registry, consistency: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> Board:
    first = records[0]["spec"]
    newest = {
        name: max(record["spec"]["learner_version"] for record in records if record["spec"]["learner"] == name)
        for name in {record["spec"]["learner"] for record in records}
    }
    rows: dict[str, Row] = {}
    for record in records:
        spec = record["spec"]
        if spec["learner_version"] == newest[spec["learner"]]:
            key = row_key(spec)
            row = rows.setdefault(key, Row(spec["learner"], found.learners[spec["learner"]]))
            row.records.append(record)
            row.consistency = consistency.get(key, {})
    _tell_apart(list(rows.values()))
    info: Mapping[str, Any] = next((record["data"] for record in records if record.get("data")), {})
    dataset_info = found.datasets[first["dataset"]]
    board = Board(
        dataset=first["dataset"],
        budget=first["budget"],
        params=first["dataset_params"],
        rows=list(rows.values()),
        title=str(info.get("title", first["dataset"])),
        truth=dataset_info.truth,
        facts=info,
        info=dataset_info,
    )
    board.rows.sort(key=lambda row: _order(row, board))
    for row in board.rows:
        row.records.sort(key=lambda record: record["spec"]["repetition"])
    return board


def _tell_apart(rows: Sequence[Row]) -> None:
    """Rows of one learner with different parameters get those parameters into their names."""
    for name in {row.name for row in rows}:
        same = [row for row in rows if row.name == name]
        if len(same) < 2:
            continue
        params = [row.records[0]["spec"]["learner_params"] for row in same]
        differing = [key for key in params[0] if len({json.dumps(p.get(key)) for p in params}) > 1]
        for row, values in zip(same, params, strict=True):
            row.name = f"{name} ({', '.join(f'{key}={values[key]}' for key in differing)})"


def _order(row: Row, board: Board) -> tuple[Any, ...]:
    interval = row.interval(headline(row, board))
    score = -interval.mean if interval else 0.0
    group = GUARANTEES.index(row.info.guarantee)
    return (row.info.reference, not row.ok, group if not row.info.reference else 0, interval is None, score, row.name)
