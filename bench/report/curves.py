"""Curves from records: score against the CPU seconds it took, and score against a dataset's difficulty."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.report.ranking import TITLES, competitors, metric_on
from bench.report.rows import Board, Row

WITHIN = 0.01
"""Scores that differ by less count as the same where their prices are compared."""


@dataclass(frozen=True)
class Point:
    """x is CPU seconds or a parameter's value; ``low`` and ``high`` the score's 95 % interval where there is one."""

    x: float
    score: float
    low: float
    high: float
    effort: float = 1.0
    converged: bool = True


@dataclass(frozen=True)
class Curve:
    """One learner's points, in order of x."""

    name: str
    reference: bool
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """A picture's content.

    costs   x is CPU seconds (on a logarithmic axis)
    ticks   names of the places 0, 1, … on the x axis, where they are not numbers
    bounds  what no learner made: chance and ceiling
    """

    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    costs: bool = False
    ticks: tuple[str, ...] = ()
    bounds: tuple[Curve, ...] = ()


def cost_panels(board: Board) -> list[Panel]:
    """Score against CPU seconds of the fit, one point an effort: a panel for each score that is judged by here."""
    families = ("mcc", "linear_r2") if board.truth else ("consistency.strong", "consistency.weak")
    panels = []
    for family in families:
        metric = metric_on(board, family) or family
        curves = [cost_curve(row, metric) for row in board.rows]
        curves = [curve for curve in curves if curve.points]
        if any(not curve.reference for curve in curves):
            title = score_title(metric)
            panels.append(Panel(board.label, "CPU seconds of a fit", title, tuple(curves), log_x=True, costs=True))
    return panels


def overall_panels(boards: Sequence[Board]) -> list[Panel]:
    """One panel of all boards with known truth: mean MCC against the median CPU seconds, a point an effort.

    Each learner's means are over the boards it applies to; the points of a curve are over the same boards.
    """
    found: dict[str, list[list[Point]]] = {}
    reference: dict[str, bool] = {}
    known = [(board, metric) for board in boards if board.truth and (metric := metric_on(board, "mcc"))]
    for board, metric in known:
        for row in board.rows:
            curve = cost_curve(row, metric)
            if curve.points:
                found.setdefault(row.name, []).append(sorted(curve.points, key=lambda point: point.effort))
                reference[row.name] = curve.reference
    curves = [Curve(name, reference[name], _mean_points(own)) for name, own in found.items()]
    if len(known) < 2 or not curves:
        return []
    return [Panel("all datasets", "CPU seconds of a fit", "MCC", tuple(curves), log_x=True, costs=True)]


def _mean_points(curves: Sequence[Sequence[Point]]) -> tuple[Point, ...]:
    """Points at the efforts that all curves have; without such, the last points."""
    common = set.intersection(*({point.effort for point in curve} for curve in curves))
    steps = [[point for curve in curves for point in curve if point.effort == effort] for effort in sorted(common)]
    means = []
    for points in steps or [[curve[-1] for curve in curves]]:
        mean = sum(point.score for point in points) / len(points)
        converged = all(point.converged for point in points)
        means.append(Point(median(point.x for point in points), mean, mean, mean, points[0].effort, converged))
    return tuple(sorted(means, key=lambda point: point.x))


def knob_panels(boards: Sequence[Board]) -> list[Panel]:
    """Score against each parameter in which boards of one dataset and budget differ while all others are equal.

    The x axis is numeric where the values are numbers, and names the values in their order otherwise.
    """
    return [_knob_panel(name, members) for name, members in one_parameter_apart(boards)]


def one_parameter_apart(boards: Sequence[Board]) -> list[tuple[str, list[Board]]]:
    """(parameter, boards) of one dataset and budget that differ in that parameter while all others are equal."""
    found = []
    for name in dict.fromkeys(name for board in boards for name in board.params):
        groups: dict[str, list[Board]] = {}
        for board in boards:
            rest = json.dumps({k: v for k, v in board.params.items() if k != name}, sort_keys=True)
            groups.setdefault(rest, []).append(board)
        for members in groups.values():
            values = [board.params.get(name) for board in members]
            if len({json.dumps(value) for value in values}) > 1:
                found.append((name, members))
    return found


def score_title(metric: str) -> str:
    special = {"mcc_independent": "MCC, independent z", "r2_independent": "R², independent z"}
    return special.get(metric) or TITLES.get(metric, metric)


def cost_curve(row: Row, metric: str) -> Curve:
    points = []
    for step in row.by_effort or [row]:
        cost = step.mean_of("phases", "fit", "cpu_s")
        found = point_of(step, metric, cost)
        if found is not None:
            points.append(found)
    return Curve(row.name, row.info.reference, tuple(sorted(points, key=lambda point: point.x)))


def _knob_panel(name: str, boards: Sequence[Board]) -> Panel:
    values = [board.params.get(name) for board in boards]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    order = sorted(range(len(boards)), key=lambda i: (_number(values[i]), json.dumps(values[i])))
    metric = "mcc" if boards[0].truth else "consistency.strong"
    points: dict[str, list[Point]] = {}
    reference: dict[str, bool] = {}
    for place, i in enumerate(order):
        used = metric_on(boards[i], metric) or metric
        for row in boards[i].rows:
            found = point_of(row, used, _number(values[i]) if numeric else float(place))
            if found is not None:
                points.setdefault(row.name, []).append(found)
                reference[row.name] = row.info.reference
    curves = tuple(Curve(row, reference[row], tuple(own)) for row, own in points.items())
    positive = [_number(value) for value in values if numeric and _number(value) > 0.0]
    return Panel(
        title=boards[0].dataset,
        x_title=name,
        y_title=score_title(metric),
        curves=curves,
        log_x=numeric and len(positive) == len(values) and max(positive) >= 20 * min(positive),
        ticks=() if numeric else tuple(str(values[i]) for i in order),
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def point_of(row: Row, metric: str, x: float | None) -> Point | None:
    interval = row.interval(metric)
    if interval is None or x is None:
        return None
    low = interval.mean if interval.low is None else interval.low
    high = interval.mean if interval.high is None else interval.high
    return Point(x, interval.mean, low, high, row.effort, not row.unconverged)


def within(curve: Curve, tolerance: float = WITHIN) -> float | None:
    """CPU seconds of the first point within ``tolerance`` of the last one's score; None for a lone point."""
    if len(curve.points) < 2:
        return None
    goal = curve.points[-1].score - tolerance
    return next(point.x for point in curve.points if point.score >= goal)


def coloured(boards: Sequence[Board], order: Sequence[str], count: int = 8) -> list[str]:
    """The learners that get a colour of their own: the first of ``order`` that are on any of these boards."""
    there = {row.name for board in boards for row in competitors(board)}
    return [name for name in order if name in there][:count]
