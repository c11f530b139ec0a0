"""Pictures of what learned factors say of molecules, from stored codes and the molecules alone.

``extremes`` draws molecules at both ends of a factor whose other factors are ordinary; ``correlations`` is a heat map
of factors against descriptors; ``indicators`` shows which factors were inferred to cause which target. All are SVG
texts, and need no display.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from bench.api import BadData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDINARY = 1.0  # deviations from the mean: what "ordinary" means of the other factors at first
_CELL, _SMALL, _LETTER = 34, 16, 7.4
_IN_A_COLUMN = 40  # targets


def extreme_rows(codes: NDArray[np.floating[Any]], factor: int, n: int) -> tuple[list[int], list[int]]:
    """Rows of the n lowest and the n highest values of one factor (codes (m, d)) among the ordinary rows, ends first.

    Ordinary is a row whose other factors, uncorrelated with this one by regression, are within ``ORDINARY`` deviations
    of their means; where fewer than 2n are, the bound is widened. Raises BadData for fewer than 2n rows, ``factor`` out
    of range and codes that are not finite.
    """
    import numpy as np

    codes = np.asarray(codes, dtype=np.float64)
    if codes.ndim != 2 or not 0 <= factor < codes.shape[1]:
        raise BadData(f"codes of shape {codes.shape} have no factor {factor}")
    if len(codes) < 2 * n or not np.isfinite(codes).all():
        raise BadData(f"{len(codes)} rows of codes: at least {2 * n} finite ones are needed")
    z = codes - codes.mean(0)
    own = z[:, factor]
    others = np.delete(z, factor, axis=1)
    others = others - np.outer(own, own @ others / max(float(own @ own), 1e-300))
    spread = others.std(0)
    far = np.abs(others / np.where(spread > 0, spread, 1.0)).max(1, initial=0.0)
    bound = max(ORDINARY, float(np.sort(far)[2 * n - 1]))
    ordinary = np.flatnonzero(far <= bound)
    ranked = ordinary[np.argsort(own[ordinary], kind="stable")]
    return ranked[:n].tolist(), ranked[::-1][:n].tolist()


def extremes(
    smiles: Sequence[str], codes: NDArray[np.floating[Any]], factor: int, *, n: int = 4, size: int = 180
) -> str:
    """SVG of 2n molecules: the lowest of ``extreme_rows`` in the first row, the highest in the second, with the values.

    smiles (m,) and codes (m, d) of the same molecules. A molecule that RDKit cannot read is an empty cell.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import Draw

    if len(smiles) != len(codes):
        raise BadData(f"{len(smiles)} molecules and {len(codes)} rows of codes")
    low, high = extreme_rows(codes, factor, n)
    scale = float(codes[:, factor].std()) or 1.0
    values = [(codes[row, factor] - codes[:, factor].mean()) / scale for row in (*low, *high)]
    with rdBase.BlockLogs():
        drawn = [Chem.MolFromSmiles(smiles[row]) for row in (*low, *high)]
    legends = [
        f"{value:+.1f} sd" if molecule is not None else f"{value:+.1f} sd: {smiles[row][:16]}"
        for value, molecule, row in zip(values, drawn, (*low, *high), strict=True)
    ]
    empty = Chem.MolFromSmiles("")
    grid = Draw.MolsToGridImage(
        [empty if molecule is None else molecule for molecule in drawn],
        molsPerRow=n,
        subImgSize=(size, size),
        legends=legends,
        useSVG=True,
    )
    return str(getattr(grid, "data", grid))


def correlations(codes: NDArray[np.floating[Any]], descriptors: NDArray[np.floating[Any]], names: Sequence[str]) -> str:
    """SVG heat map of the correlations of factors (columns of codes (m, d)) with named descriptors (m, k)."""
    import numpy as np

    if len(codes) != len(descriptors) or descriptors.shape[1] != len(names):
        raise BadData(f"codes {codes.shape}, descriptors {descriptors.shape} and {len(names)} names do not fit")

    def standard(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        centred = np.asarray(values, dtype=np.float64) - np.mean(values, axis=0)
        length = np.sqrt(np.square(centred).sum(0))
        return np.asarray(centred / np.where(length > 0, length, 1.0))

    table = standard(codes).T @ standard(descriptors)
    return _heat(table, [f"factor {j + 1}" for j in range(len(table))], list(names), signed=True)


def indicators(causal: NDArray[Any], targets: Sequence[str]) -> str:
    """SVG of causal indicators (T, d) in [0, 1], a row a target: dark where the factor was inferred to cause it.

    More than ``_IN_A_COLUMN`` targets are drawn small, without numbers, in several columns.
    """
    import numpy as np

    table = np.asarray(causal, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(targets):
        raise BadData(f"indicators of shape {table.shape} for {len(targets)} targets")
    if len(table) > _IN_A_COLUMN:
        return _columns(table, list(targets))
    return _heat(table, list(targets), [f"factor {j + 1}" for j in range(table.shape[1])], signed=False)


def _columns(table: NDArray[np.float64], rows: list[str]) -> str:
    """Many rows of small cells in columns; factors are numbered above each of them."""
    d = table.shape[1]
    left = 10 + round(_LETTER * max(map(len, rows)))
    wide = left + _SMALL * d + 12
    n_columns = -(-len(rows) // _IN_A_COLUMN)
    parts = _canvas(wide * n_columns + 8, 34 + _SMALL * _IN_A_COLUMN)
    for column in range(n_columns):
        start = wide * column + left
        for j in range(d):
            x = start + _SMALL * j + _SMALL // 2
            parts.append(f'<text x="{x}" y="18" text-anchor="middle" font-size="11">{j + 1}</text>')
        for i, name in enumerate(rows[column * _IN_A_COLUMN : (column + 1) * _IN_A_COLUMN]):
            y = 24 + _SMALL * i
            parts.append(f'<text x="{start - 5}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
            for j, value in enumerate(table[column * _IN_A_COLUMN + i]):
                corner = f'x="{start + _SMALL * j}" y="{y}"'
                fill = _colour(float(value), signed=False)
                parts.append(f'<rect {corner} width="{_SMALL - 1}" height="{_SMALL - 1}" fill="{fill}" stroke="#ddd"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _heat(table: NDArray[np.float64], rows: list[str], columns: list[str], *, signed: bool) -> str:
    """Cells with their numbers; labels have the room that they need, so that none is clipped."""
    left = 10 + round(_LETTER * max(map(len, rows), default=0))
    top = 10 + round(_LETTER * max(map(len, columns), default=0))
    width, height = left + _CELL * len(columns) + 10, top + _CELL * len(rows) + 10
    parts = _canvas(width, height)
    for j, name in enumerate(columns):
        x, y = left + _CELL * j + _CELL // 2 + 4, top - 5
        parts.append(f'<text x="{x}" y="{y}" transform="rotate(-90 {x} {y})">{escape(name)}</text>')
    for i, name in enumerate(rows):
        middle = top + _CELL * i + _CELL // 2 + 4
        parts.append(f'<text x="{left - 5}" y="{middle}" text-anchor="end">{escape(name)}</text>')
        for j in range(len(columns)):
            value = float(table[i, j])
            corner = f'x="{left + _CELL * j}" y="{top + _CELL * i}"'
            parts.append(f'<rect {corner} width="{_CELL - 1}" height="{_CELL - 1}" fill="{_colour(value, signed)}"/>')
            words = f"{value:+.1f}" if signed else f"{value:.1f}"
            ink = "white" if abs(value) > 0.6 else "black"
            centre = left + _CELL * j + _CELL // 2
            parts.append(
                f'<text x="{centre}" y="{middle}" text-anchor="middle" font-size="10" fill="{ink}">{words}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _canvas(width: int, height: int) -> list[str]:
    """The head of an SVG, left open, on white."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="monospace" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]


def _colour(value: float, signed: bool) -> str:
    """White at 0, blue towards 1, orange towards -1; grey in place of blue where there is no sign."""
    end = (200, 90, 0) if value < 0 else (20, 80, 170) if signed else (40, 40, 40)
    share = min(abs(value), 1.0)
    return "#" + "".join(f"{round(255 + (channel - 255) * share):02x}" for channel in end)
