"""How text reaches the user: markdown where it is piped, laid out to the window's width on a terminal.

The commands write markdown. ``emit`` prints it as it is into a pipe or a file; on a terminal tables are padded, long
cells wrapped, and a table that is still too wide is cut into blocks of columns that repeat the first one.
"""

from __future__ import annotations

import codecs
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

TEXT_FROM, TEXT_LEAST = 26, 16
"""A column with a cell of more characters than the first holds text and may be wrapped, down to the second."""

PLAIN = {
    "±": "+-", "–": "-", "−": "-", "·": ".", "×": "x", "…": "...", "²": "2", "∞": "inf", "≤": "<=", "≥": ">=",
    "β": "beta", "λ": "lambda", "ö": "o", "ü": "u", "á": "a", "é": "e", "⚑": "!", "✗": "X", "°": "o", "│": "|",
}  # fmt: skip


def prepare_streams() -> None:
    """Let a stream that cannot show a character show the nearest plain one instead of raising."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


def width() -> int | None:
    """Columns of the terminal; None where the output goes into a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def emit(markdown: str) -> None:
    """Print markdown for whoever reads standard output."""
    columns = width()
    print(markdown.rstrip("\n") if columns is None else laid_out(markdown, columns))


def counted(number: int, thing: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def laid_out(markdown: str, columns: int) -> str:
    """Markdown as plain text of at most ``columns`` characters a line."""
    parts: list[str] = []
    table: list[list[str]] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            table.append(_cells(line))
            continue
        if table:
            parts += lay_out_table(table[0], table[2:], columns)
            table = []
        parts += _prose(line, columns)
    return "\n".join(parts).rstrip("\n")


def lay_out_table(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    """Lines of a table: wrapped, or cut into blocks of columns, until none is wider than ``columns``."""
    wide = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    shrunk = list(wide)
    may_wrap = [i for i, size in enumerate(wide) if size > TEXT_FROM]
    while _total(shrunk) > columns and any(shrunk[i] > TEXT_LEAST for i in may_wrap):
        shrunk[max(may_wrap, key=lambda i: shrunk[i])] -= 1
    # the first column names the row: beside it at least one other must fit
    shrunk[0] = min(shrunk[0], max(TEXT_LEAST, columns // 2))
    beside = max(1, columns - 2 - shrunk[0])
    shrunk[1:] = [min(size, beside) for size in shrunk[1:]]
    lines: list[str] = []
    for block in _blocks(shrunk, columns):
        sizes = [min(shrunk[i], columns) for i in block]
        lines += [""] if lines else []
        lines += _row([header[i] for i in block], sizes)
        lines.append("  ".join("-" * size for size in sizes))
        for row in rows:
            lines += _row([row[i] for i in block], sizes)
    return lines


def _blocks(sizes: Sequence[int], columns: int) -> Iterator[list[int]]:
    """Groups of column numbers that fit side by side, each beginning with the first column."""
    block = [0]
    for i in range(1, len(sizes)):
        if len(block) > 1 and _total([sizes[j] for j in (*block, i)]) > columns:
            yield block
            block = [0]
        block.append(i)
    yield block


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + 2 * (len(sizes) - 1)


def _row(cells: Sequence[str], sizes: Sequence[int]) -> list[str]:
    wrapped = [textwrap.wrap(cell, size) or [""] for cell, size in zip(cells, sizes, strict=True)]
    return [
        "  ".join(
            (lines[i] if i < len(lines) else "").ljust(size) for lines, size in zip(wrapped, sizes, strict=True)
        ).rstrip()
        for i in range(max(map(len, wrapped)))
    ]


def _cells(line: str) -> list[str]:
    return [_plain_cell(cell.strip()) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _plain_cell(cell: str) -> str:
    cell = re.sub(r"\*\*(.+?)\*\*", r"\1 *", cell)
    cell = re.sub(r"^\*(?!\*)(.+[^* ])\*$", r"(\1)", cell)
    return cell.replace("\\|", "|").replace("&lt;", "<").replace("`", "")


def _prose(line: str, columns: int) -> list[str]:
    if line.startswith("#"):
        title = line.lstrip("# ").replace("`", "")
        return [*textwrap.wrap(title, columns), "=" * min(len(title), columns)]
    line = re.sub(r"\*\*(.+?)\*\*", r"\1", line)
    indent = "  " if line.startswith("- ") else ""
    return textwrap.wrap(line, columns, subsequent_indent=indent, break_on_hyphens=False) or [""]
