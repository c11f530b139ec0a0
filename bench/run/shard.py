"""A plan's part for one of several machines, by the cells' keys: no machine needs to know of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bench.errors import UsageError
from bench.run.plan import Cell


def parse_shard(text: str) -> tuple[int, int]:
    """'2/8' -> (2, 8), the third of eight parts; raises UsageError."""
    index, slash, count = text.partition("/")
    whole = all(part.isascii() and part.isdigit() and len(part) < 10 for part in (index, count))
    if not slash or not whole or not int(index) < int(count):
        raise UsageError(f"--shard '{text}': write I/N with I from 0 to N-1, such as 0/8 for the first of eight parts")
    return int(index), int(count)


def part_of(cells: Sequence[Cell], index: int, count: int) -> list[Cell]:
    """The cells of one part. Cells that differ in the model seed alone stay together, as they may be fitted at once."""
    return [cell for cell in cells if _number(cell) % count == index]


def _number(cell: Cell) -> int:
    return int(replace(cell.spec, repetition=0, model_seed=0).key, 16)
