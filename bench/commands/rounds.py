"""Efforts one after the other: the next one trains only what has not converged yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.statistics.convergence import judged

if TYPE_CHECKING:
    from bench.run.plan import Cell
    from bench.run.store import Store


def rounds(cells: Sequence[Cell], store: Store, *, until_converged: bool) -> Iterator[list[Cell]]:
    """The planned cells, effort by effort from the shortest; without ``until_converged`` all of them at once.

    A cell is left out where a shorter run of it converged, failed, or was skipped: longer training mends none of these.
    Each round is to be run before the next is asked for.
    """
    if not until_converged:
        yield list(cells)
        return
    efforts = sorted({cell.spec.effort for cell in cells})
    # learners that effort does not scale have one point, at 1, whatever efforts were asked for
    first = [c for c in cells if c.spec.effort == efforts[0] or _alone(c, cells)]
    yield first
    for number, effort in enumerate(efforts[1:], 1):
        later = [cell for cell in cells if cell.spec.effort == effort and cell not in first]
        yield [cell for cell in later if cell.skip or _goes_on(cell, efforts[:number], store)]


def _alone(cell: Cell, cells: Sequence[Cell]) -> bool:
    same = (cell.spec.learner, cell.spec.dataset)
    return all(c.spec.effort == cell.spec.effort for c in cells if (c.spec.learner, c.spec.dataset) == same)


def _goes_on(cell: Cell, shorter: Sequence[float], store: Store) -> bool:
    found = [store.get(replace(cell.spec, effort=effort).key) for effort in shorter]
    records = [record for record in found if record is not None]
    if not records or records[-1]["status"] != "ok":
        return False
    return judged(records)[-1]["converged"] is not True
