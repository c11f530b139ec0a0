"""Small pieces of markdown: numbers with their intervals, tables, folded blocks, and words that came from elsewhere.

Names, titles and reasons come from plugins and their exceptions. They pass ``text`` or ``code`` before they reach a
page: both are safe in sentences, headings and table cells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from bench.statistics.intervals import Interval

DASH = "–"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric_from: int = 1) -> str:
    """A pipe table; columns from ``numeric_from`` on are aligned right."""
    align = ["left"] * numeric_from + ["right"] * (len(header) - numeric_from)
    cells = [[escape(cell) for cell in row] for row in rows]
    return tabulate(
        cells, headers=[escape(cell) for cell in header], tablefmt="pipe", colalign=align, disable_numparse=True
    )


def escape(cell: str) -> str:
    """Markdown that cannot break out of a table's cell; what came from a plugin has passed ``text`` before."""
    return cell.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;").replace("&lt;br>", "<br>")


def text(words: object) -> str:
    """Somebody else's words as plain text: no tag, link, image, emphasis, heading or cell can come of them.

    Character references cannot stand for markdown's own signs (CommonMark 0.31, section 2.5), so that a page shows
    what was written and does none of it.
    """
    line = " ".join(str(words).split())
    line = line.replace("&", "&amp;")
    return re.sub(r"[<>|`*\[\]\\#~]|(?<![^\W_])_|_(?![^\W_])|(?<=:)//", _reference, line)


def code(words: object) -> str:
    """Somebody else's words as a code span; fenced by more backticks than they have in a row."""
    line = " ".join(str(words).split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def block(lines: Sequence[str]) -> str:
    """Lines of a terminal as a code block that none of them can close."""
    body = "\n".join(" ".join(line.split("\n")) for line in lines)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"{fence}\n{body}\n{fence}"


def _reference(found: re.Match[str]) -> str:
    return "".join(f"&#{ord(sign)};" for sign in found.group())


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
