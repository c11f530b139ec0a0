"""Small pieces of markdown: numbers with their intervals, tables, folded blocks."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from bench.statistics.intervals import Interval

DASH = "–"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric_from: int = 1) -> str:
    """A pipe table; columns from ``numeric_from`` on are aligned right."""
    align = ["left"] * numeric_from + ["right"] * (len(header) - numeric_from)
    cells = [[escape(cell) for cell in row] for row in rows]
    return tabulate(cells, headers=list(header), tablefmt="pipe", colalign=align, disable_numparse=True)


def escape(text: str) -> str:
    """Text that cannot break out of a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def score(interval: Interval | None, digits: int = 3) -> str:
    """``0.987 ± 0.004``; without an interval where there is one seed only."""
    if interval is None:
        return DASH
    mean = f"{interval.mean:.{digits}f}"
    if mean in ("-0." + "0" * digits,):
        mean = mean[1:]
    return mean if interval.half is None else f"{mean} ± {interval.half:.{digits}f}"


def seconds(value: float | None) -> str:
    """Two significant digits are all a time on one machine deserves."""
    if value is None:
        return DASH
    if value < 0.01:
        return "<0.01"
    if value < 10:
        return f"{value:.2g}" if value < 1 else f"{value:.1f}"
    return f"{value:,.0f}"


def mebibytes(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}"


def folded(title: str, body: str) -> str:
    """A block that is closed until clicked."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
