"""Records gathered into the rows of a board: one row a learner (with its parameters), one board a dataset.

A learner that was run at several efforts (multiples of its default training length) is one row: its scores are those
of each seed's training with the lowest validation loss, mostly the longest; ``Row.by_effort`` holds the way there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from bench.api import BUDGETS, GUARANTEES, DatasetInfo, LearnerInfo
from bench.registry import Registry
from bench.report.naming import slugs, tell_apart, titled
from bench.report.paired import cell_scores, mean_interval
from bench.report.reproducing import usual_params
from bench.report.theorems import NO_THEOREM, Theorem, theorem
from bench.run.store import Record
from bench.statistics.convergence import best_loss, judged
from bench.statistics.intervals import Interval

CRITERION = {"permutation+scaling": "mcc", "block": "block_mcc", "linear": "linear_r2", "none": "mcc"}
"""The score a learner is judged by: what its guarantee promises, no more and no less."""


@dataclass
class Row:
    """All repetitions of one learner with one set of parameters on one board, each by the best of its trainings.

    theorem     does what the learner's guarantee assumes hold on this dataset?
    effort      the largest training length of these records, as a multiple of the learner's default
    by_effort   a row for every effort, the last with these records (``effort_steps``)
    trainings   the records of all efforts, whether or not they are the best of their seed
    """

    name: str
    info: LearnerInfo
    records: list[Record] = field(default_factory=list)
    consistency: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    theorem: Theorem = NO_THEOREM
    effort: float = 1.0
    by_effort: list[Row] = field(default_factory=list)
    trainings: list[Record] = field(default_factory=list)

    @property
    def ok(self) -> list[Record]:
        return [record for record in self.records if record["status"] == "ok"]

    @property
    def every_record(self) -> list[Record]:
        """Records of all efforts, those that another training outdid among them; the shorter trainings first."""
        return sorted(self.trainings or self.records, key=lambda record: effort_of(record["spec"]))

    @property
    def unconverged(self) -> list[Record]:
        """Finished cells that say of themselves that training was cut short (†)."""
        return [record for record in self.ok if record.get("converged") is False]

    @property
    def failed(self) -> list[Record]:
        """Cells that apply and have no codes."""
        return [record for record in self.records if record["status"] not in ("ok", "skipped")]

    @property
    def applies(self) -> bool:
        return any(record["status"] != "skipped" for record in self.records)

    def median(self, metric: str) -> float | None:
        """Median over the seeds that have a score."""
        values = self.values(metric)
        return median(values) if values else None

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
    """One dataset at one budget with one set of parameters.

    title, label   what the data calls itself, and the dataset's name; boards of one dataset carry in both the
                   parameters that tell them apart, so that no two boards of a budget share either
    main           the board with the dataset's usual parameters
    slug           the board's name in file names and links
    """

    dataset: str
    budget: str
    params: Mapping[str, Any]
    rows: list[Row]
    title: str
    truth: bool
    facts: Mapping[str, Any]
    info: DatasetInfo = field(default_factory=lambda: DatasetInfo(name=""))
    label: str = ""
    main: bool = True
    slug: str = ""

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
    Whether a cell converged is judged by its shorter runs too, where there are any.
    """
    groups: dict[str, list[Record]] = {}
    for record in judged(records):
        spec = record["spec"]
        known = spec["dataset"] in found.datasets and spec["learner"] in found.learners
        if known and spec["budget"] in BUDGETS:  # runs of `reproduce` have a table of their own
            groups.setdefault(_board_key(spec), []).append(record)
    made = [_board(members, found, consistency) for members in groups.values()]
    _tell_boards_apart(made, [members[0]["spec"] for members in groups.values()], found)
    return sorted(
        made,
        key=lambda board: (
            BUDGETS.index(board.budget),
            not board.truth,
            board.dataset,
            not board.main,
            json.dumps(dict(board.params)),
            board.label,
        ),
    )


def renamed(board: Board, write: Callable[[str], str]) -> Board:
    """The board with every name of a plugin as ``write`` writes it: for pages that print names as they find them."""
    rows = [replace(row, name=write(row.name)) for row in board.rows]
    return replace(board, rows=rows, dataset=write(board.dataset), title=write(board.title), label=write(board.label))


def row_key(spec: Mapping[str, Any]) -> str:
    """Name across repetitions: board, learner, its parameters, and the effort where it is not the usual one."""
    parts = [_board_key(spec), spec["learner"], spec["learner_version"], spec["learner_params"]]
    effort = effort_of(spec)
    return json.dumps([*parts, effort] if effort != 1.0 else parts, sort_keys=True)


def effort_of(spec: Mapping[str, Any]) -> float:
    """Training length as a multiple of the learner's default; 1 in records from before there was a choice."""
    return float(spec.get("effort", 1.0))


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
    dataset_info = found.datasets[first["dataset"]]
    members: dict[str, list[Record]] = {}
    for record in records:
        spec = record["spec"]
        if spec["learner_version"] == newest[spec["learner"]]:
            members.setdefault(step_key(spec, 1.0), []).append(record)
    rows = [_row(own, found, consistency) for own in members.values()]
    for row in rows:
        row.theorem = theorem(row.info, dataset_info, first["dataset_params"])
    _tell_rows_apart(rows)
    info: Mapping[str, Any] = next((record["data"] for record in records if record.get("data")), {})
    board = Board(
        dataset=first["dataset"],
        budget=first["budget"],
        params=first["dataset_params"],
        rows=rows,
        title=str(info.get("title", first["dataset"])),
        truth=dataset_info.truth,
        facts=info,
        info=dataset_info,
        label=first["dataset"],
    )
    board.rows.sort(key=lambda row: _order(row, board))
    return board


def _row(records: Sequence[Record], found: Registry, consistency: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Row:
    """The row of one learner's records: its largest effort, with a row for each effort inside."""
    name = records[0]["spec"]["learner"]
    steps = [
        Row(name, found.learners[name], own, consistency.get(step_key(records[0]["spec"], effort), {}), effort=effort)
        for effort, own in effort_steps(records)
    ]
    return replace(steps[-1], by_effort=steps, trainings=list(records))


def effort_steps(records: Sequence[Record]) -> list[tuple[float, list[Record]]]:
    """(effort, records) of one learner's row, rising: for every seed the best of its trainings of at most that effort.

    The best is the longest, but for one whose validation loss is higher than a shorter one's: a learner chooses among
    its states by that loss, and so it would among its trainings. A seed that was not trained longer, as it had
    converged, counts with what it has: otherwise the later points would be of the difficult seeds alone.
    """
    steps = []
    for effort in sorted({effort_of(record["spec"]) for record in records}):
        best: dict[tuple[int, int], Record] = {}
        for record in sorted(records, key=lambda record: effort_of(record["spec"])):
            seed = record["spec"]["repetition"], record["spec"]["data_seed"]
            if effort_of(record["spec"]) <= effort and (seed not in best or not _worse(record, best[seed])):
                best[seed] = record
        steps.append((effort, [best[seed] for seed in sorted(best)]))
    return steps


def _worse(longer: Record, shorter: Record) -> bool:
    """Did it end at a higher validation loss? One that failed takes its place: failures stay visible."""
    if longer["status"] != "ok" or shorter["status"] != "ok":
        return False
    before, after = (best_loss(record.get("history") or {}) for record in (shorter, longer))
    return before is not None and after is not None and after > before


def step_key(spec: Mapping[str, Any], effort: float) -> str:
    """Name of a row's step, by which agreement across seeds is stored."""
    return row_key({**spec, "effort": effort})


def _tell_rows_apart(rows: Sequence[Row]) -> None:
    """Rows of one learner with different parameters get those parameters into their names."""
    for name in {row.name for row in rows}:
        same = [row for row in rows if row.name == name]
        words = tell_apart([row.records[0]["spec"]["learner_params"] for row in same])
        for row, difference in zip(same, words, strict=True):
            row.name = titled(name, difference)


def _tell_boards_apart(made: Sequence[Board], specs: Sequence[Mapping[str, Any]], found: Registry) -> None:
    """Boards of one dataset and budget get into title and label what differs; the usual parameters go unsaid."""
    for place in {(board.budget, board.dataset) for board in made}:
        same = [i for i, board in enumerate(made) if (board.budget, board.dataset) == place]
        usual = usual_params(found.datasets[place[1]], place[0])
        words = tell_apart([_board_facts(specs[i]) for i in same])
        main = next((i for i in same if all(usual.get(k, v) == v for k, v in made[i].params.items())), same[0])
        for i, difference in zip(same, words, strict=True):
            made[i].main = i == main
            if i != main or not usual:
                made[i].title = titled(made[i].title, difference)
                made[i].label = titled(made[i].label, difference)
    for board, slug in zip(made, slugs([f"{board.label} {board.budget}" for board in made]), strict=True):
        board.slug = slug


def _board_facts(spec: Mapping[str, Any]) -> dict[str, Any]:
    rest = {"version": spec["dataset_version"], "file": spec["data_sha256"][:8], "device": spec["device"]}
    return {**spec["dataset_params"], **rest}


def _order(row: Row, board: Board) -> tuple[Any, ...]:
    interval = row.interval(headline(row, board))
    score = -interval.mean if interval else 0.0
    group = GUARANTEES.index(row.info.guarantee)
    return (row.info.reference, not row.ok, group if not row.info.reference else 0, interval is None, score, row.name)
