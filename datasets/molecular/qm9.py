"""QM9: from small organic molecules to twelve properties computed by density functional theory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.api import BadData, Data, dataset
from datasets.cache import load_arrays, save_arrays
from datasets.molecular import features
from datasets.molecular.splits import pool, real_data
from datasets.molecular.tables import read_table
from datasets.sources import locate, open_member
from datasets.synthetic.common import require_choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TARGETS = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u298", "h298", "g298", "cv")
UNITS = ("D", "a0^3", "Eh", "Eh", "Eh", "a0^2", "Eh", "Eh", "Eh", "Eh", "Eh", "cal/mol/K")
FILES = {"auto": (), "csv": ("qm9.csv",), "sdf": ("gdb9.zip", "gdb9.tar.gz")}
RECORD_END = b"$$$$"


@dataset(
    "qm9",
    properties={
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="Ramakrishnan et al., Scientific Data 2014; used by Chen et al., TMLR 2024",
    summary="descriptors or fingerprints of small organic molecules to 12 properties from density functional theory",
    provides=("targets",),
    truth=False,
    source="qm9",
    requires=("rdkit",),
    version=3,
    budgets={"smoke": {"rows": 500}, "paper": {"rows": None}},
)
def qm9(
    *,
    seed: int,
    rows: int | None = 5000,
    n_latents: int = 6,
    inputs: features.Inputs = "descriptors",
    layout: Literal["auto", "csv", "sdf"] = "auto",
) -> Data:
    """Load the data: x (n, d_x) features of each molecule, unscaled; 12 standardised targets.

    rows        at most this many molecules, chosen by their name in QM9, the same for every seed; None: all
    n_latents   Chen et al. try 5 to 10; six components carry 97 % of the targets' variance
    inputs      "descriptors" or "fingerprint" (512 Morgan counts)
    layout      "csv" (SMILES, qm9.csv), "sdf" (geometries, gdb9.zip or gdb9.tar.gz), or what is there

    Molecules that RDKit cannot read or describe are left out and counted in ``info``. Raises MissingData, BadData.
    """
    import numpy as np

    require_choice("inputs", inputs, ("descriptors", "fingerprint"))
    require_choice("layout", layout, tuple(FILES))
    located = locate("qm9", files=FILES[layout])
    targets, names, smiles = read_targets(located.path, located.label)
    # in the file's order, so that the molecules of an archive need never be in memory together
    chosen = pool([name.encode() for name in names], rows).in_file_order()
    key = {
        "sha256": located.sha256,
        # which rows in which order, not how they were asked for: features must never meet the targets of other rows
        "rows": features.content_hash(map(str, chosen.rows.tolist())),
        "inputs": inputs,
        "features": features.VERSION,
        "rdkit": features.rdkit_version(),
    }
    stored = load_arrays("qm9", key)
    if stored is None:
        molecules = (
            _from_smiles([smiles[row] for row in chosen.rows])
            if smiles
            else _from_records(located.path, located.label, names, set(chosen.rows.tolist()))
        )
        stored = dict(zip(("x", "kept"), features.featurise(molecules, inputs), strict=True))
        save_arrays("qm9", key, stored)
    x, kept = stored["x"], stored["kept"].astype(bool)
    info = located.describe(rows=len(names)) | {
        "inputs": inputs,
        "unreadable": int((~kept).sum()),
        "rdkit": features.rdkit_version(),
    }
    return real_data(
        np.asarray(x, dtype=np.float32),
        targets[chosen.rows][kept],
        chosen.held_out[kept],
        seed=seed,
        n_latents=n_latents,
        info=info,
    )


def read_targets(path: Path, label: str = "") -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Targets (n, 12) in the publisher's units, names of the molecules, and their SMILES ([] in the SDF layout)."""
    if path.name.startswith("gdb9."):
        targets, text = read_table(path, "gdb9.sdf.csv", TARGETS, ("mol_id",), label)
        return targets, text["mol_id"], []
    targets, text = read_table(path, "qm9.csv", TARGETS, ("mol_id", "smiles"), label)
    return targets, text["mol_id"], text["smiles"]


def _from_smiles(smiles: Iterable[str]) -> Iterator[Any]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        for text in smiles:
            yield Chem.MolFromSmiles(text)


def _from_records(path: Path, label: str, names: list[str], wanted: set[int]) -> Iterator[Any]:
    """Molecules of the wanted rows of the SDF, hydrogens implicit, in its order; None where RDKit refuses."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        for row, record in enumerate(records(path, label, names)):
            if row in wanted:
                yield Chem.MolFromMolBlock(record.decode("utf-8", "replace"), sanitize=True, removeHs=True)


def records(path: Path, label: str, names: list[str]) -> Iterator[bytes]:
    """The records of gdb9.sdf, one for each of ``names``. Raises BadData where their number or a name differs."""
    count = 0
    lines: list[bytes] = []
    with open_member(path, "gdb9.sdf", label) as stream:
        for line in stream:
            if not line.startswith(RECORD_END):
                lines.append(line)
                continue
            name = lines[0].decode("utf-8", "replace").strip() if lines else ""
            if count >= len(names) or name != names[count]:
                expected = names[count] if count < len(names) else "the end"
                raise BadData(f"{label}: gdb9.sdf, record {count + 1}: '{name}', but gdb9.sdf.csv says {expected}")
            yield b"".join(lines)
            lines = []
            count += 1
    if count != len(names):
        raise BadData(f"{label}: gdb9.sdf has {count} records and gdb9.sdf.csv {len(names)} rows; they must agree")


def check_file(path: Path, label: str = "") -> int:
    """Read all of a file with every check; returns its number of molecules. Raises BadData."""
    _, names, smiles = read_targets(path, label)
    if not smiles:
        for _ in records(path, label, names):
            pass
    return len(names)
