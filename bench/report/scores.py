"""Scores at a glance: learner × dataset, one number a cell; ``run`` ends with it and ``show`` prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from bench.errors import UsageError, unknown
from bench.registry import Registry
from bench.report.markdown import DASH, score, seconds, table
from bench.report.rows import Board, Row, boards
from bench.run.spec import RunSpec
from bench.run.store import Record
from bench.statistics.intervals import Interval

LABELS = {
    "mcc": "MCC",
    "mcc_independent": "MCC, independent z",
    "linear_r2": "linear R²",
    "consistency.strong": "consistency, strong",
    "consistency.weak": "consistency, weak",
    "target_r2": "target R²",
}
SHORT = {"consistency": "consistency.strong", "consistency_strong": "consistency.strong"}
SHORT["consistency_weak"] = "consistency.weak"

Consistency = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Standing:
    """One learner on one board.

    metric      the score shown; ``mean``, ``low``, ``high`` its mean over ``seeds`` cells and the 95 % interval, made
                by ``method``; None where there is no score or no interval
    cpu_s       mean CPU seconds of the fit
    winner      highest mean of the board among learners that are no reference rows
    published   are all its records somebody else's, read from the published file?
    trouble     why there is no score, or which cells have none; "" where all went well
    """

    budget: str
    dataset: str
    title: str
    learner: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    method: str
    seeds: int
    cpu_s: float | None
    reference: bool
    published: bool
    skipped: bool
    trouble: str
    winner: bool = False

    @property
    def interval(self) -> Interval | None:
        if self.mean is None:
            return None
        if self.low is None or self.high is None:
            return Interval(self.mean, None, self.seeds)
        half = max(self.high - self.mean, self.mean - self.low)
        return Interval(self.mean, half, self.seeds, bounds=(self.low, self.high))


def standings(
    records: Iterable[Record],
    found: Registry,
    consistency: Consistency,
    *,
    by: str | None = None,
    datasets: Sequence[str] = (),
    published: Collection[str] = (),
) -> list[Standing]:
    """Every learner on every board of the records, best first.

    by          a score's name; without it MCC where the latents are known (on independent factors where the plain one
                is flagged), else agreement across seeds, or target R² where there is one seed
    datasets    names or patterns; empty: all
    published   keys of the records that were read from the published file
    Raises UsageError for a score or a dataset that no record has.
    """
    made = boards(records, found, consistency)
    if datasets:
        for pattern in datasets:
            if not any(fnmatchcase(board.dataset, pattern) for board in made):
                raise unknown("dataset with records:", pattern, {board.dataset for board in made})
        made = [board for board in made if any(fnmatchcase(board.dataset, pattern) for pattern in datasets)]
    by = SHORT.get(by, by) if by else None
    result: list[Standing] = []
    for board in made:
        metric = by or judged_by(board)
        info = found.metrics.get(metric)
        sign = -1.0 if info is not None and info.direction == "lower" else 1.0
        members = [_standing(row, board, metric, published) for row in board.rows]
        members.sort(key=lambda item: (item.reference, item.mean is None, -sign * (item.mean or 0.0), item.learner))
        first = next((item for item in members if not item.reference and item.mean is not None), None)
        result += [_as_winner(item) if item is first else item for item in members]
    if by and not any(item.mean is not None for item in result):
        raise _no_such_score(by, made)
    return result


def judged_by(board: Board) -> str:
    """The score that orders a board: one for all its rows, so that a winner can be named."""
    if board.truth:
        flagged = any(row.flagged("mcc") for row in board.rows)
        return "mcc_independent" if flagged and any(row.values("mcc_independent") for row in board.rows) else "mcc"
    strong = "consistency.strong"
    return strong if any(row.values(strong) for row in board.rows) else "target_r2"


def markdown(items: Sequence[Standing], *, notes: Sequence[str] = ()) -> str:
    """Tables of the standings, one a budget: a row a learner, a column a dataset; what was skipped in one line."""
    parts: list[str] = []
    for budget in dict.fromkeys(item.budget for item in items):
        members = [item for item in items if item.budget == budget]
        shown = [item for item in members if not item.skipped]
        columns = list(dict.fromkeys((item.dataset, item.title, item.metric) for item in members))
        headings = [_heading(column, columns) for column in columns]
        names = sorted(dict.fromkeys((item.learner, item.reference) for item in shown), key=lambda n: _order(n, shown))
        rows = []
        for name, reference in names:
            mine = {(i.dataset, i.title, i.metric): i for i in shown if i.learner == name}
            label = f"*{name}*" if reference else name
            rows.append([label, *(_cell(mine.get(column)) for column in columns)])
        parts += [f"## `{budget}` budget: score ± 95 % interval, CPU s of the fit", table(["learner", *headings], rows)]
        parts.append("\n".join(f"- {line}" for line in _closing(members)))
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(part for part in parts if part)


def as_rows(items: Iterable[Standing]) -> list[dict[str, Any]]:
    """The standings in JSON's own types, one dict each."""
    return [asdict(item) for item in items]


def key_of(record: Record) -> str:
    return RunSpec.from_dict(record["spec"]).key


def _standing(row: Row, board: Board, metric: str, published: Collection[str]) -> Standing:
    interval = row.interval(metric)
    trouble = row.trouble()
    if interval is None and row.ok and not trouble:
        trouble = row.why_none(metric) or "this score was not computed"
    return Standing(
        budget=board.budget,
        dataset=board.dataset,
        title=board.title,
        learner=row.name,
        metric=metric,
        mean=interval.mean if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        method=interval.method if interval else "",
        seeds=len(row.ok),
        cpu_s=row.mean_of("phases", "fit", "cpu_s"),
        reference=row.info.reference,
        published=bool(published) and all(key_of(record) in published for record in row.records),
        skipped=all(record["status"] == "skipped" for record in row.records),
        trouble=trouble,
    )


def _as_winner(item: Standing) -> Standing:
    return Standing(**{**asdict(item), "winner": True})


def _heading(column: tuple[str, str, str], columns: Sequence[tuple[str, str, str]]) -> str:
    dataset, title, metric = column
    same = [other for other in columns if other[0] == dataset]
    return f"{title if len(same) > 1 or dataset.startswith('own') else dataset} ({LABELS.get(metric, metric)})"


def _order(name: tuple[str, bool], items: Sequence[Standing]) -> tuple[bool, bool, float, str]:
    """Learners before references, by the mean of their scores."""
    means = [item.mean for item in items if item.learner == name[0] and item.mean is not None]
    return (name[1], not means, -sum(means) / len(means) if means else 0.0, name[0])


def _cell(item: Standing | None) -> str:
    if item is None:
        return DASH
    if item.mean is None:
        return item.trouble.split(":")[0] if item.trouble and not item.seeds else DASH
    text = score(item.interval)
    text = f"**{text}**" if item.winner else text
    spent = seconds(item.cpu_s).replace("<0.01", "0.0")
    return f"{text} · {spent} s" + (" °" if item.published else "")


def _closing(members: Sequence[Standing]) -> list[str]:
    """What the table does not say: who won, how to read it, what was skipped and what failed."""
    lines = []
    winners = [item for item in members if item.winner]
    if winners:
        firsts = Counter(item.learner for item in winners)
        lines.append(
            "highest mean (marked; reference rows do not compete): "
            + ", ".join(f"{name} on {count} of {len(winners)}" for name, count in firsts.most_common())
        )
    if any(item.mean is not None and item.low is None for item in members):
        lines.append("a single seed, or pair of seeds, has no interval: give more with --seeds")
    skipped = [item for item in members if item.skipped]
    if skipped:
        reasons = Counter(item.trouble.removeprefix("n/a: ") for item in skipped)
        short = ((reason.replace(", which the data has not", ""), count) for reason, count in reasons.most_common())
        lines.append(
            f"skipped {len(skipped)} of {len(members)} pairs: " + ", ".join(f"{n} × {why}" for why, n in short)
        )
    lines += [
        f"{item.learner} on {item.dataset}: {item.trouble}" for item in members if item.trouble and not item.skipped
    ]
    return lines


def _no_such_score(by: str, made: Sequence[Board]) -> UsageError:
    known = {
        name
        for board in made
        for row in board.rows
        for record in row.ok
        for name, value in record.get("metrics", {}).items()
        if value and value["value"] is not None
    }
    return unknown("score with records:", by, known | {"consistency.strong", "consistency.weak"})
