"""Scores of a row by seeds, so that two learners are compared on the same data seed and repetition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bench.statistics.intervals import Interval, Seeds, pair_interval, seed_interval


class Scored(Protocol):
    """What is paired: a row of a board, or anything that has its records."""

    @property
    def records(self) -> Sequence[Mapping[str, Any]]: ...

    @property
    def consistency(self) -> Mapping[str, Mapping[str, Any]]: ...


CONSISTENCY = "consistency."


def cell_scores(row: Scored, metric: str) -> dict[Seeds, float | None]:
    """{(data seed, repetition): score} of every cell that should have one; None where it failed.

    Cells that do not apply, and cells where the metric gives a reason instead of a number, are absent. Agreement
    across seeds has one score a pair of seeds: {(repetition, repetition): score}.
    """
    if metric.startswith(CONSISTENCY):
        part = metric.removeprefix(CONSISTENCY)
        pairs = {tuple(name.split("-")): pair.get(part) for name, pair in row.consistency.items()}
        return {(first, second): value for (first, second), value in pairs.items() if isinstance(value, int | float)}
    scores: dict[Seeds, float | None] = {}
    for record in row.records:
        key = (record["spec"]["data_seed"], record["spec"]["repetition"])
        if record["status"] == "ok":
            value = (record.get("metrics", {}).get(metric) or {}).get("value")
            if value is not None:
                scores[key] = float(value)
        elif record["status"] != "skipped":
            scores[key] = None
    return scores


def mean_interval(values: Mapping[Seeds, float], metric: str) -> Interval:
    """Interval of the mean of scores, or of differences, keyed as ``cell_scores`` keys them."""
    return pair_interval(values) if metric.startswith(CONSISTENCY) else seed_interval(values)
