"""Do published records come out again? A random sample of them, run with the present code, cell beside cell.

A board is made over days and revisions; that its numbers are those of the code at hand is a claim, and a sample of its
cells tests it. What a sample of n cells finds speaks for all cells: if none of n moves, fewer than 3 in n of all do
(the 95 % bound of the rule of three, Hanley & Lippman-Hand, JAMA 1983).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.registry import Registry
from bench.report.markdown import DASH, code, table, text
from bench.report.rows import CRITERION, effort_of
from bench.report.stamps import stamps
from bench.run.spec import RunSpec
from bench.run.store import Record

TOLERANCE = 0.02
"""By how much a score may differ before it counts as moved."""

WITHOUT_TRUTH = ("target_r2", "few_shot_acc")
"""Scores that stand for a cell whose factors are unknown, the first that there is."""


@dataclass(frozen=True)
class Pair:
    """A published cell and the same cell now.

    metric, before, after   the score the learner is judged by, in the two records; None where there is none
    moved                   does it differ by more than it may, or did the cell fail?
    """

    published: Record
    now: Record | None
    metric: str
    before: float | None
    after: float | None
    moved: bool

    @property
    def difference(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before


def auditable(
    records: Sequence[Record],
    found: Registry,
    learners: Collection[str] = (),
    datasets: Collection[str] = (),
    most_cpu_s: float | None = None,
    files: Mapping[str, str] | None = None,
) -> list[Record]:
    """Finished cells, on CPUs, of learners (not reference rows) and datasets as they are now.

    files                hash of the file of each dataset that reads one, "" where it is not here: cells of other files,
                         or of none, are not these
    learners, datasets   of these alone; names may be patterns
    most_cpu_s           only those that took at most so much to fit
    Raises UsageError where there is none.
    """
    chosen = []
    for record in records:
        spec = record["spec"]
        learner, dataset = found.learners.get(spec["learner"]), found.datasets.get(spec["dataset"])
        if record["status"] != "ok" or learner is None or dataset is None or learner.reference:
            continue
        if spec["learner_version"] != learner.version_on(dataset.kind) or spec["dataset_version"] != dataset.version:
            continue
        if spec["device"] != "cpu" or (most_cpu_s is not None and _fit_cpu_s(record) > most_cpu_s):
            continue
        if not _among(learner.name, learners) or not _among(dataset.name, datasets):
            continue
        if files is not None and spec["data_sha256"] != files.get(dataset.name, ""):
            continue
        chosen.append(record)
    if not chosen:
        raise UsageError(
            "no published cell to audit: none is of these learners and datasets, at their present versions, so short"
            " and of files that are here"
        )
    return chosen


def drawn(records: Sequence[Record], n: int, seed: int) -> list[Record]:
    """``n`` of the records at random; the same seed draws the same ones."""
    ordered = sorted(records, key=lambda record: RunSpec.from_dict(record["spec"]).key)
    rng = np.random.default_rng([seed, 0xA0D1])
    return [ordered[i] for i in sorted(rng.permutation(len(ordered))[:n].tolist())]


def compared(
    published: Record,
    now: Record | None,
    found: Registry,
    *,
    tolerance: float,
    spreads: Mapping[str, Mapping[str, Any]],
) -> Pair:
    """One cell before and now. A learner known to move between machines (``spreads``) may move by that."""
    learner = published["spec"]["learner"]
    metric = _metric(published, found)
    before, after = _value(published, metric), _value(now, metric)
    allowed = max(tolerance, float(spreads.get(learner, {}).get("spread", 0.0)))
    done = now is not None and now["status"] == "ok"
    moved = not done or (before is None) != (after is None)
    if before is not None and after is not None:
        moved = moved or not abs(after - before) <= allowed
    return Pair(published, now, metric, before, after, moved)


def markdown(pairs: Sequence[Pair], *, of: int, tolerance: float, seed: int) -> str:
    """The finding in a sentence, then a line a cell, those that moved most first."""
    moved = sum(pair.moved for pair in pairs)
    alike = sum(pair.difference is not None and abs(pair.difference) <= 1e-6 for pair in pairs)
    differences = [abs(pair.difference) for pair in pairs if pair.difference is not None]
    lines = [
        f"{len(pairs)} of {of} published cells, drawn with seed {seed} and run again: "
        f"**{len(pairs) - moved} came out as published**, {moved} did not. {alike} have the same score to 10⁻⁶"
        + (f"; the median difference is {np.median(differences):.2g}." if differences else "."),
        "",
    ]
    if not moved and len(pairs) >= 3:
        lines += [f"So fewer than {min(3 / len(pairs), 1):.0%} of all have moved (at 95 % confidence).", ""]
    header = ["learner", "dataset", "seed", "effort", "score", "published", "now", "CPU s then", "now"]
    rows = [_row(pair) for pair in sorted(pairs, key=_rank)]
    lines += [
        table(header, rows, numeric_from=2),
        "",
        f"*As published: within {tolerance:g}, or within what the learner is known to move between machines. CPU"
        " seconds of a fit compare on one kind of machine.*",
    ]
    return "\n".join(lines)


def page(finding: str, pairs: Sequence[Pair]) -> str:
    """``audit.md``: the finding, and which code and machine it is of."""
    lines = stamps([pair.now for pair in pairs if pair.now is not None])
    return "\n".join(["# Published cells run again", "", finding, "", *(f"- {line}" for line in lines), ""])


def _row(pair: Pair) -> list[str]:
    spec = pair.published["spec"]
    mark = " **moved**" if pair.moved else ""
    now = pair.now
    if now is None or now["status"] != "ok":
        after = DASH if now is None else text(f"{now['status']}: {now.get('reason', '')}"[:60])
    else:
        after = _number(pair.after)
    return [
        code(spec["learner"]),
        code(spec["dataset"]),
        str(spec["repetition"]),
        f"{effort_of(spec):g}",
        code(pair.metric) if pair.metric else DASH,
        _number(pair.before),
        after + mark,
        f"{_fit_cpu_s(pair.published):.2g}",
        DASH if now is None or now["status"] != "ok" else f"{_fit_cpu_s(now):.2g}",
    ]


def _rank(pair: Pair) -> tuple[bool, float]:
    return not pair.moved, -abs(pair.difference or 0.0)


def _metric(record: Record, found: Registry) -> str:
    criterion = CRITERION[found.learners[record["spec"]["learner"]].guarantee]
    return next((name for name in (criterion, "mcc", *WITHOUT_TRUTH) if _value(record, name) is not None), "")


def _value(record: Record | None, metric: str) -> float | None:
    if record is None or record["status"] != "ok" or not metric:
        return None
    value = (record.get("metrics", {}).get(metric) or {}).get("value")
    return None if value is None else float(value)


def _fit_cpu_s(record: Record) -> float:
    return float(record.get("phases", {}).get("fit", {}).get("cpu_s", 0.0))


def _among(name: str, patterns: Collection[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.4f}"
