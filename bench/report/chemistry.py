"""Which pictures of molecules a dataset's page has: of one learner's stored codes, and the held-out molecules.

A record has no molecules, so that the data are loaded again, with the record's own seed and parameters; a learner is
not. Where that cannot be done the page says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.api import BadData, Data
from bench.registry import Registry, load
from bench.report.molecules import correlations, extremes, indicators
from bench.report.rows import Board, Row
from bench.run.spec import RunSpec
from bench.run.store import Record, Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN = 4
"""Molecules at each end of a factor."""

DESCRIBED = 2000
"""Different molecules whose descriptors are correlated with the factors, at most."""

DESCRIPTORS = (
    "MolWt",
    "MolLogP",
    "MolMR",
    "TPSA",
    "HallKierAlpha",
    "Kappa2",
    "Chi4v",
    "SMR_VSA1",
    "BertzCT",
    "FractionCSP3",
    "RingCount",
    "NumAromaticRings",
    "NumHDonors",
    "NumHAcceptors",
    "NumHeteroatoms",
)


@dataclass(frozen=True)
class Drawing:
    """stem   of its file's name
    title  what it shows, in words
    svg    the picture
    """

    stem: str
    title: str
    svg: str

    @property
    def inline(self) -> str:
        """The picture as an element of a page, without the head of a file."""
        return self.svg[self.svg.index("<svg") :]


@dataclass(frozen=True)
class Gallery:
    """about     whose codes these are, or why there is no picture; plain text
    drawings  of that learner
    """

    about: str
    drawings: Sequence[Drawing] = field(default_factory=tuple)


def galleries(boards: Sequence[Board], store: Store, found: Registry) -> dict[str, Gallery]:
    """{board slug: pictures} of those boards whose samples are molecules and whose codes were stored."""
    made = {}
    for board in boards:
        if "rdkit" in board.info.requires and (chosen := _chosen(board, store)):
            made[board.slug] = _gallery(board, *chosen, found)
    return made


def _chosen(board: Board, store: Store) -> tuple[Row, Record, dict[str, Any]] | None:
    """The first row of the board that is no reference and has stored codes, and its first seed."""
    for row in board.rows:
        for record in sorted(row.ok, key=lambda record: int(record["spec"]["repetition"])):
            codes = {} if row.info.reference else store.codes(RunSpec.from_dict(record["spec"]).key)
            if "test" in codes:
                return row, record, codes
    return None


def _gallery(board: Board, row: Row, record: Record, codes: dict[str, Any], found: Registry) -> Gallery:
    spec = RunSpec.from_dict(record["spec"])
    whose = f"Codes of {row.name}, seed {spec.repetition}, on held-out molecules."
    if spec.dataset_version != board.info.version:
        return Gallery(f"{whose} No pictures: the data have changed since, run the cell again.")
    try:
        data: Data = load(found.datasets[spec.dataset])(seed=spec.data_seed, **spec.dataset_params)
        drawings = _drawings(data, codes)
    except Exception as error:  # noqa: BLE001 -- a plugin may raise anything, and a page must not lack its tables for it
        return Gallery(f"{whose} No pictures: {type(error).__name__}: {error}")
    return Gallery(whose if drawings else f"{whose} No pictures: the data do not name their molecules.", drawings)


def _drawings(data: Data, codes: dict[str, Any]) -> list[Drawing]:
    """Grids, heat map and indicators. Raises BadData where codes and molecules do not belong together."""
    import numpy as np

    smiles, test = data.eval.smiles_test, np.asarray(codes["test"], dtype=np.float64)
    if not smiles:
        return []
    if len(smiles) != len(test):
        raise BadData(f"{len(test)} stored codes for {len(smiles)} molecules; run the cell again")
    # a molecule that several tasks measure is one molecule
    _, first = np.unique(np.array(smiles), return_index=True)
    first = np.sort(first)
    first = first[[bool(smiles[row]) for row in first]]
    named, different = [smiles[row] for row in first], test[first]
    shown = min(SHOWN, len(named) // 2)
    drawn = [
        Drawing(
            f"factor-{factor + 1}",
            f"Factor {factor + 1}: the lowest molecules above, the highest below, all other factors ordinary",
            extremes(named, different, factor, n=shown),
        )
        for factor in range(test.shape[1] if shown else 0)
    ]
    drawn.append(_heat_map(data, named, different, first))
    if "causal" in codes:
        names = data.eval.target_names or tuple(f"target {task + 1}" for task in range(data.train.n_tasks))
        drawn.append(Drawing("causal", "Factors inferred to cause each target", indicators(codes["causal"], names)))
    return drawn


def _heat_map(data: Data, smiles: list[str], codes: NDArray[np.float64], rows: NDArray[np.int64]) -> Drawing:
    """Factors against the true ones, where they are known, and against descriptors of the molecules."""
    import numpy as np

    kept = slice(0, DESCRIBED)
    values, readable = described(smiles[kept])
    columns, names = values, list(DESCRIPTORS)
    truth = data.eval.z_test
    if truth is not None:
        known = data.eval.latent_names or tuple(f"factor {j + 1}" for j in range(truth.shape[1]))
        columns = np.column_stack([truth[rows][kept][readable], values])
        names = [*(f"true: {name}" for name in known), *DESCRIPTORS]
    title = "Correlation of the factors with descriptors" + ("" if truth is None else " and with the true factors")
    return Drawing("descriptors", title, correlations(codes[kept][readable], columns, names))


def described(smiles: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(m, k) ``DESCRIPTORS`` of the m readable ones of n molecules, and (n,) which those are."""
    import numpy as np
    from rdkit import Chem, rdBase
    from rdkit.Chem import Descriptors

    functions = dict(Descriptors.descList)
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(text) for text in smiles]
    readable = np.array([molecule is not None for molecule in molecules], dtype=bool)
    values = [[functions[name](molecule) for name in DESCRIPTORS] for molecule in molecules if molecule is not None]
    return np.array(values, dtype=np.float64).reshape(-1, len(DESCRIPTORS)), readable
