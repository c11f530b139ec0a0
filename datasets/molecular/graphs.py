"""Molecules as packed graphs: heavy atoms with their hydrogens counted, bonds once, positions where there are any.

RDKit is asked once per molecule for a few small integers (``read``); features, environments and counts are made of
them for all molecules at once. So the graphs of an archive are read in one pass, with 100 to 200 bytes a molecule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.toolkit.inputs import Graphs

VERSION = 1  # part of every cache key: raise it when the numbers change
ELEMENTS = (6, 7, 8, 9)
ATOM_FEATURES = (
    *("C", "N", "O", "F"), "hydrogens", "neighbours", "charge", "aromatic", "sp", "sp2",
    *("ring", "ring of 3", "ring of 4", "ring of 5", "ring of 6"),
)  # fmt: skip
BOND_FEATURES = ("single", "double", "triple", "aromatic", "ring")
N_COUNTS = 160
NAMED = 10  # of the molecules that are left out, this many are named
_RINGS = (3, 4, 5, 6)
_CHUNK = 4096


@dataclass
class LeftOut:
    """Molecules without a graph, by reason: how many, and the names of the first ten."""

    number: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        self.number[reason] = self.number.get(reason, 0) + 1
        listed = self.names.setdefault(reason, [])
        if len(listed) < NAMED:
            listed.append(name)

    def describe(self) -> dict[str, dict[str, Any]]:
        """For a record: {reason: {"number": …, "first": [names]}}."""
        return {reason: {"number": n, "first": self.names[reason]} for reason, n in self.number.items()}


@dataclass(frozen=True)
class Packed:
    """What RDKit said of n molecules, one after the other; all of it small integers.

    atoms       (N, 6) int8: element, hydrogens, neighbours, charge, aromatic, hybridisation (1 sp, 2 sp2, 3 other)
    rings       (N, 5) int8: in how many rings the atom is, of any size, of 3, 4, 5 and 6 atoms
    sizes       (n,) int64 atoms of each molecule
    bonds       (M, 4) int16: two atoms counted from the molecule's first, order (1, 2, 3, 4 aromatic), in a ring
    bond_sizes  (n,) int64 bonds of each molecule
    positions   (N, 3) float32 in Å, or None
    """

    atoms: NDArray[np.int8]
    rings: NDArray[np.int8]
    sizes: NDArray[np.int64]
    bonds: NDArray[np.int16]
    bond_sizes: NDArray[np.int64]
    positions: NDArray[np.float32] | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a cache; ``of`` is the way back."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Packed:
        """From the arrays of a cache, which may hold more."""
        return cls(**{name: arrays[name] for name in cls.__dataclass_fields__ if name in arrays})


def read(molecules: Iterable[tuple[str, Any]], *, positions: bool = False) -> tuple[Packed, NDArray[np.bool_], LeftOut]:
    """Packed molecules of (name, RDKit molecule or None), which of them have a graph (n,) bool, and why others do not.

    A molecule is left out that RDKit could not read (None), that has another heavy element than C, N, O, F or none, or,
    where ``positions`` are asked for, no conformer with finite ones. The iterable is consumed in one pass.
    """
    import numpy as np

    left_out = LeftOut()
    kept: list[bool] = []
    chunks: dict[str, list[NDArray[Any]]] = {name: [] for name in ("atoms", "rings", "bonds", "positions")}
    rows: dict[str, list[Any]] = {name: [] for name in chunks}
    sizes: list[int] = []
    bond_sizes: list[int] = []
    shape = {"atoms": (6, np.int8), "rings": (5, np.int8), "bonds": (4, np.int16), "positions": (3, np.float32)}

    def flush() -> None:
        for name, values in rows.items():
            width, dtype = shape[name]
            chunks[name].append(np.array(values, dtype=dtype).reshape(-1, width))
            values.clear()

    for name, molecule in molecules:
        reason = _refused(molecule, positions)
        kept.append(not reason)
        if reason:
            left_out.add(reason, name)
            continue
        sizes.append(molecule.GetNumAtoms())
        bond_sizes.append(molecule.GetNumBonds())
        rows["atoms"] += _atoms(molecule)
        rows["rings"] += _rings(molecule)
        rows["bonds"] += [
            (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), _order(bond), bond.IsInRing())
            for bond in molecule.GetBonds()
        ]
        if positions:
            rows["positions"] += molecule.GetConformer().GetPositions().tolist()
        if len(sizes) % _CHUNK == 0:
            flush()
    flush()
    joined = {name: np.concatenate(parts) for name, parts in chunks.items()}
    packed = Packed(
        atoms=joined["atoms"],
        rings=joined["rings"],
        sizes=np.array(sizes, dtype=np.int64),
        bonds=joined["bonds"],
        bond_sizes=np.array(bond_sizes, dtype=np.int64),
        positions=joined["positions"] if positions else None,
    )
    return packed, np.array(kept, dtype=bool), left_out


def graphs(packed: Packed, *, n_counts: int = N_COUNTS) -> Graphs:
    """Nodes with ``ATOM_FEATURES``, edges with ``BOND_FEATURES``, ``environment_counts`` for the view as vectors."""
    import numpy as np

    from bench.toolkit.inputs import Graphs

    element, hydrogens, neighbours, charge, aromatic, hybridisation = packed.atoms.T
    nodes = [
        *(element == number for number in ELEMENTS),
        hydrogens,
        neighbours,
        charge,
        aromatic,
        hybridisation == 1,
        hybridisation == 2,
        *(packed.rings.T > 0),
    ]
    order, ring = packed.bonds.T[2:]
    return Graphs(
        nodes=np.stack(nodes, axis=1).astype(np.float32),
        node_offsets=_offsets(packed.sizes),
        edges=packed.bonds[:, :2].astype(np.int64),
        edge_features=np.stack([*(order == kind for kind in (1, 2, 3, 4)), ring], axis=1).astype(np.float32),
        edge_offsets=_offsets(packed.bond_sizes),
        positions=packed.positions,
        counts=environment_counts(packed, n_counts),
    )


def environment_counts(packed: Packed, n_counts: int) -> NDArray[np.float32]:
    """(n, n_counts) how often a molecule has each of the most frequent kinds of bonds and atom environments.

    The kind of a bond: its elements, order and whether it is in a ring. The environment of an atom: element, hydrogens,
    hybridisation, smallest ring, and the orders of its bonds with the elements at their ends. The most frequent kinds
    among the molecules given, ties by their code, come first; columns beyond the kinds there are stay empty.
    """
    import numpy as np

    element, hydrogens, _, charge, aromatic, hybridisation = packed.atoms.T.astype(np.uint64)
    smallest = np.where(packed.rings[:, 0] > 0, 7, 0)
    for column in (4, 3, 2, 1):
        smallest = np.where(packed.rings[:, column] > 0, _RINGS[column - 1], smallest)
    start = np.repeat(_offsets(packed.sizes)[:-1], packed.bond_sizes)
    first, second = packed.bonds.T[:2] + start
    order, ring = packed.bonds.T[2:].astype(np.uint64)

    ends = np.sort(np.stack([element[first], element[second]]), axis=0)
    bond_kind = _mixed(((ends[0] * 16 + ends[1]) * 8 + order) * 2 + ring)
    own = (((element * 8 + hydrogens) * 8 + hybridisation) * 8 + smallest.astype(np.uint64)) * 8 + charge % 4
    own = _mixed(own * 2 + aromatic)
    around = np.zeros(len(own), dtype=np.uint64)  # a sum of hashes: the order of the neighbours does not matter
    np.add.at(around, first, _mixed(element[second] * 8 + order + 1))
    np.add.at(around, second, _mixed(element[first] * 8 + order + 1))
    environment = _mixed(own + around)

    kinds = np.concatenate([bond_kind, environment])
    n = len(packed.sizes)
    molecule = np.concatenate([np.repeat(np.arange(n), packed.bond_sizes), np.repeat(np.arange(n), packed.sizes)])
    codes, code, frequency = np.unique(kinds, return_inverse=True, return_counts=True)
    rank = np.empty(len(codes), dtype=np.int64)
    rank[np.lexsort((codes, -frequency))] = np.arange(len(codes))
    position = rank[code]
    frequent = position < n_counts
    total = np.bincount(molecule[frequent] * n_counts + position[frequent], minlength=n * n_counts)
    return total.reshape(n, n_counts).astype(np.float32)


def _refused(molecule: Any, positions: bool) -> str:
    """Why a molecule has no graph, or ""."""
    import numpy as np

    if molecule is None:
        return "unreadable"
    if not molecule.GetNumAtoms():
        return "no atoms"
    if any(atom.GetAtomicNum() not in ELEMENTS for atom in molecule.GetAtoms()):
        return "element other than C, N, O, F"
    if positions and (not molecule.GetNumConformers() or not np.isfinite(molecule.GetConformer().GetPositions()).all()):
        return "no positions"
    return ""


def _atoms(molecule: Any) -> list[tuple[int, ...]]:
    return [
        (
            atom.GetAtomicNum(),
            atom.GetTotalNumHs(),
            atom.GetDegree(),
            atom.GetFormalCharge(),
            atom.GetIsAromatic(),
            max(1, min(3, int(atom.GetHybridization()) - 1)),
        )
        for atom in molecule.GetAtoms()
    ]


def _rings(molecule: Any) -> list[list[int]]:
    found = [[0] * (1 + len(_RINGS)) for _ in range(molecule.GetNumAtoms())]
    for ring in molecule.GetRingInfo().AtomRings():
        column = _RINGS.index(len(ring)) + 1 if len(ring) in _RINGS else 0
        for atom in ring:
            found[atom][0] += 1
            if column:
                found[atom][column] += 1
    return found


def _order(bond: Any) -> int:
    return 4 if bond.GetIsAromatic() else int(bond.GetBondType())


def _offsets(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A 64-bit hash of each value: the finaliser of splitmix64 (Steele, Lea, Flood, OOPSLA 2014)."""
    import numpy as np

    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
