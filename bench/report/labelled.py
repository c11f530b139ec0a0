"""Pictures whose lines are named at their ends, so that a dozen of them need no legend and can still be told apart."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report.curves import Curve, Panel
from bench.report.figures import INK, MARKERS, ON_WHITE, PALETTE, REST, STYLE, gid, lean, recolour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALIKE = 0.005
"""Lines that differ by less everywhere are drawn on top of each other and share a label."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)))
"""Solid for the first eight learners, then dashed and dotted in the same colours."""
WIDTH, HEIGHT = 5.0, 3.9
LINE = 0.052
"""Height of a line of text as a share of the panel's."""
LONGEST = 36
"""Letters in a line of a label."""


@dataclass(frozen=True)
class Group:
    """Curves that coincide, and where their common label belongs: at the height of the last point."""

    curves: tuple[Curve, ...]

    def words(self, place: str = "") -> str:
        """Names, a few on a line, and the last score; ``place`` says where that was."""
        lines, score = [""], f" {self.curves[0].points[-1].score:.2f}{place}"
        for i, curve in enumerate(self.curves):
            word = curve.name + ("," if i < len(self.curves) - 1 else score)
            if lines[-1] and len(lines[-1]) + len(word) > LONGEST:
                lines.append("")
            lines[-1] += f" {word}" if lines[-1] else word
        return "\n".join(lines)


def labelled(panels: Sequence[Panel], names: Sequence[str]) -> str:
    """Panels side by side on white, as a file of its own.

    names   learners in the order of their colours; the same order gives every picture the same colours
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * len(panels), HEIGHT), layout="constrained", facecolor="white")
        for i, (axes, panel) in enumerate(
            zip(figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True)
        ):
            _panel(axes, panel, names, i)
        file = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return recolour(lean(file.getvalue().decode(), panels), ON_WHITE)


def grouped(curves: Sequence[Curve]) -> list[Group]:
    """Curves that coincide with the first of their group at every point, in the order of the curves."""
    groups: list[list[Curve]] = []
    for curve in curves:
        same = next((group for group in groups if _alike(group[0], curve)), None)
        if same is None:
            groups.append([curve])
        else:
            same.append(curve)
    return [Group(tuple(group)) for group in groups]


def _alike(first: Curve, second: Curve) -> bool:
    places = [point.x for point in first.points] == [point.x for point in second.points]
    return (
        places
        and first.reference == second.reference
        and all(abs(a.score - b.score) <= ALIKE for a, b in zip(first.points, second.points, strict=True))
    )


def spread(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Places for labels that do not overlap, in their order from below, as close as can be to those wanted.

    wanted    (n,) rising: where the middle of each label should be
    heights   (n,) of the labels
    The sum of squared distances is least: pool adjacent violators, once the room below each label is taken off.
    """
    room = [0.0]
    for below, above in itertools.pairwise(heights):
        room.append(room[-1] + (below + above) / 2.0)
    blocks: list[tuple[float, int]] = []
    for place, taken in zip(wanted, room, strict=False):
        mean, count = place - taken, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return [mean + taken for mean, taken in zip(means, room, strict=False)]


def _panel(axes: Axes, panel: Panel, names: Sequence[str], place: int) -> None:
    axes.set_facecolor("none")
    groups = grouped(panel.curves)
    for group in groups:
        for curve in reversed(group.curves):  # the first of a group lies on top
            _curve(axes, curve, _look(curve, names), (place, panel.curves.index(curve)))
    right = max(point.x for curve in panel.curves for point in curve.points)
    for bound in panel.bounds:
        xs, ys = [point.x for point in bound.points], [point.score for point in bound.points]
        axes.plot(xs, ys, color=REST, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
        words: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "fontsize": 7.5, "color": REST}
        axes.annotate(bound.name, (xs[0] + 0.12, ys[0]), **words, va="bottom")
    scores = [point.score for curve in (*panel.curves, *panel.bounds) for point in curve.points]
    low, high = min(0.0, *scores) - 0.02, max(1.0, *scores) + 0.05
    axes.set_ylim(low, high)
    axes.set_xlim(-0.15, right + 0.05)
    axes.set_xticks(range(len(panel.ticks)), list(panel.ticks))
    axes.set_xlabel(panel.x_title)
    axes.set_ylabel(panel.y_title)
    axes.set_title(panel.title, fontsize=10)
    _labels(axes, groups, names, (low, high), panel.ticks)


def _labels(
    axes: Axes, groups: Sequence[Group], names: Sequence[str], span: tuple[float, float], ticks: Sequence[str]
) -> None:
    """Names beside the panel at the heights of the lines' ends, moved apart where they would overlap.

    A line that ends before the others says where: a leader across the panel would look like one more line.
    """
    low, high = span
    rising = sorted(groups, key=lambda group: group.curves[0].points[-1].score)
    ends = [group.curves[0].points[-1] for group in rising]
    right = max(end.x for end in ends)
    words = [
        group.words("" if end.x == right else f" at {ticks[round(end.x)]}")
        for group, end in zip(rising, ends, strict=True)
    ]
    heights = [LINE * (word.count("\n") + 1) for word in words]
    wanted = [(end.score - low) / (high - low) for end in ends]
    leader = {"arrowstyle": "-", "linewidth": 0.5, "relpos": (0.0, 0.5), "shrinkB": 3}
    for group, end, word, height in zip(rising, ends, words, spread(wanted, heights), strict=True):
        colour = _look(group.curves[0], names)["color"]
        axes.annotate(
            word,
            (end.x, end.score),
            xytext=(1.07, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=INK if colour == REST else colour,
            arrowprops=leader | {"color": colour} if end.x == right else None,
            annotation_clip=False,
        )


def _look(curve: Curve, names: Sequence[str]) -> dict[str, Any]:
    if curve.reference or curve.name not in names:
        return {"color": REST, "marker": "|", "linestyle": "-"}
    i = names.index(curve.name)
    dash = DASHES[min(i // len(PALETTE), len(DASHES) - 1)]
    return {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "linestyle": dash}


def _curve(axes: Axes, curve: Curve, look: dict[str, Any], place: tuple[int, int]) -> None:
    xs, ys = [point.x for point in curve.points], [point.score for point in curve.points]
    axes.plot(xs, ys, color=look["color"], linestyle=look["linestyle"], linewidth=1.3, zorder=2)
    errors = [[p.score - p.low for p in curve.points], [p.high - p.score for p in curve.points]]
    if any(map(any, errors)):
        axes.errorbar(xs, ys, errors, color=look["color"], elinewidth=0.7, linestyle="none", alpha=0.6)
    for k, point in enumerate(curve.points):
        # a hollow mark: training had not converged there
        fill = look["color"] if point.converged else "white"
        axes.plot(
            point.x,
            point.score,
            marker=look["marker"],
            color=look["color"],
            markerfacecolor=fill,
            markersize=5.0,
            zorder=3,
            gid=gid(*place, k),
        )
