"""Pictures as SVG, drawn by matplotlib: it needs no browser and no script, so that one file serves the page (inlined,
in the page's colours) and the repository (as GitHub shows it), and it is the library that most readers could mend.

Text stays text (searched, read aloud, small); the same panel gives the same bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from bench.report.curves import Curve, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#7570b3", "#1b9ad6", "#e7298a")
"""After Okabe and Ito: told apart by colour-blind readers, and legible on white and on black."""
FLOOR = 0.01
"""CPU seconds below this are drawn there: such fits cost nothing, and their clock knows no better."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MARKER_SIGNS = ("●", "■", "▲", "◆", "▼", "✚", "✖", "★")
INK, GRID, REST = "#010203", "#040506", "#070809"
"""Stand-ins: the page's own colours take their place where a picture is inlined."""
ON_WHITE = {INK: "#24292f", GRID: "#d0d7de", REST: "#8c959f"}
ON_PAGE = {INK: "currentColor", GRID: "var(--line)", REST: "var(--rest)"}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "identifiability-bench",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def inline(panel: Panel, names: Sequence[str], identity: str) -> str:
    """One panel as an ``<svg>`` element for a page. ``identity`` makes its inner names unique there.

    names   learners in colour, the same on every picture of a page; the rest are grey
    """
    svg = _draw([panel], names, columns=1, size=(4.6, 3.3), legend=False)
    svg = recolour(svg[svg.index("<svg") :], ON_PAGE)
    svg = re.sub(r'(\bid="|href="#|url\(#)', lambda found: f"{found.group()}{identity}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = escape(description(panel), quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def standalone(panels: Sequence[Panel], names: Sequence[str], columns: int = 3) -> str:
    """Panels side by side with one legend, on white, as a file of its own."""
    columns = min(columns, len(panels))
    lines = -(-len(panels) // columns)
    svg = _draw(panels, names, columns=columns, size=(3.4 * columns + 0.3, 2.7 * lines + 0.7), legend=True)
    return recolour(svg, ON_WHITE)


def description(panel: Panel) -> str:
    """The picture in words, for readers who do not see it: every learner's last point."""
    last = [
        f"{curve.name} {curve.points[-1].score:.3f} at {place_of(panel, curve.points[-1].x)}" for curve in panel.curves
    ]
    return f"{panel.title}: {panel.y_title} against {panel.x_title}. " + ", ".join(last)


def _draw(
    panels: Sequence[Panel], names: Sequence[str], *, columns: int, size: tuple[float, float], legend: bool
) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained", facecolor="white" if legend else "none")
        grid = figure.subplots(-(-len(panels) // columns), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for i, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
            axes.set_axis_on()
            _panel(axes, panel, names, i, titled=legend)
        if legend:
            lines = [
                Line2D([], [], color=PALETTE[i], marker=MARKERS[i], linewidth=1.2, markersize=5)
                for i in range(len(names))
            ]
            lines += [Line2D([], [], color=REST, marker=".", linestyle="")]
            lines += [Line2D([], [], color=REST, marker="|", linestyle="")]
            figure.legend(
                lines,
                [*names, "other learners", "reference rows"],
                loc="outside lower center",
                ncols=min(len(lines), 2 + columns),
                frameon=False,
            )
        file = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    return lean(file.getvalue().decode(), panels)


def lean(svg: str, panels: Sequence[Panel]) -> str:
    """Without what no reader needs: inner names, lists of fonts, blanks; points say what they are when pointed at."""
    svg = re.sub(r"font-family: [^;\"]*", "font-family: sans-serif", svg)
    titles = {
        gid(i, j): f"{curve.name}: {curve.points[-1].score:.3f}"
        for i, panel in enumerate(panels)
        for j, curve in enumerate(panel.curves)
    }
    titles |= {
        gid(i, j, k): f"{curve.name}: {point.score:.3f} at {place_of(panel, point.x)} ({panel.x_title})"
        for i, panel in enumerate(panels)
        for j, curve in enumerate(panel.curves)
        for k, point in enumerate(curve.points)
    }
    svg = re.sub(r'<g id="(at-[0-9-]+)">', lambda found: f"<g><title>{escape(titles[found.group(1)])}</title>", svg)
    svg = re.sub(r' id="[A-Za-z0-9]+_[0-9]+"', "", svg)
    return "\n".join(line.strip() for line in svg.splitlines()) + "\n"


def place_of(panel: Panel, x: float) -> str:
    """Where a point lies: its number, or the name of its place on the axis."""
    return panel.ticks[round(x)] if panel.ticks else f"{x:.3g}"


def gid(*place: int) -> str:
    return "at-" + "-".join(map(str, place))


def _panel(axes: Axes, panel: Panel, names: Sequence[str], place: int, *, titled: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_facecolor("none")
    for j, curve in sorted(enumerate(panel.curves), key=lambda item: item[1].name in names):
        _curve(axes, curve, names, (place, j), FLOOR if panel.costs else None)
    if panel.log_x:
        axes.set_xscale("log")
    if panel.costs:
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"≤{x:g}" if x == FLOOR else f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(0.7 * FLOOR, 2.0 * max([10.0 * FLOOR, *(p.x for curve in panel.curves for p in curve.points)]))
    if panel.ticks:
        axes.set_xticks(range(len(panel.ticks)), list(panel.ticks))
    axes.set_xlabel(panel.x_title)
    axes.set_ylabel(panel.y_title)
    scores = [point.score for curve in panel.curves for point in curve.points]
    axes.set_ylim(min(0.0, *scores) - 0.02, max(1.0, *scores) + 0.03)
    if titled:
        axes.set_title(panel.title, fontsize=10)


def _curve(axes: Axes, curve: Curve, names: Sequence[str], place: tuple[int, int], floor: float | None) -> None:
    coloured = curve.name in names and not curve.reference
    colour = PALETTE[names.index(curve.name)] if coloured else REST
    marker = MARKERS[names.index(curve.name)] if coloured else ("|" if curve.reference else ".")
    xs = [point.x if floor is None else max(point.x, floor) for point in curve.points]
    ys = [point.score for point in curve.points]
    if not coloured:
        looks: dict[str, Any] = {
            "marker": marker,
            "markersize": 5.5,
            "linewidth": 0.6,
            "alpha": 0.8,
            "gid": gid(*place),
        }
        axes.plot(xs, ys, color=colour, **looks)
        return
    axes.plot(xs, ys, color=colour, linewidth=1.3)
    below = [max(0.0, point.score - point.low) for point in curve.points]
    above = [max(0.0, point.high - point.score) for point in curve.points]
    axes.errorbar(xs, ys, [below, above], color=colour, elinewidth=0.7, linestyle="none", alpha=0.6)
    for k, (x, point) in enumerate(zip(xs, curve.points, strict=True)):
        # a hollow mark: training had not converged there
        fill = colour if point.converged else "none"
        looks = {"marker": marker, "color": colour, "markerfacecolor": fill, "markersize": 5.5}
        axes.plot(x, point.score, **looks, zorder=3, gid=gid(*place, k))


def recolour(svg: str, colours: dict[str, str]) -> str:
    for stand_in, colour in colours.items():
        svg = svg.replace(stand_in, colour)
    return svg
