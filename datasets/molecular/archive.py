"""QM9's files: the table of targets, SMILES or geometries that are joined to it by name, and the list of doubtful ones.

A molecule is its name (``gdb_1`` …), never its position: geometries may come in another order than the table, be fewer,
or be more. Archives are read in one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api import BadData, MissingData
from datasets.molecular.graphs import NAMED
from datasets.molecular.tables import read_table
from datasets.sources import open_member

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TARGETS = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "u0", "u298", "h298", "g298", "cv")
UNITS = ("D", "a0^3", "Eh", "Eh", "Eh", "a0^2", "Eh", "Eh", "Eh", "Eh", "Eh", "cal/mol/K")
DOUBTFUL = "uncharacterized.txt"
RECORD_END = b"$$$$"


def read_targets(path: Path, label: str = "") -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Targets (n, 12) in the publisher's units, names of the molecules, and their SMILES ([] in the SDF layout).

    Raises BadData for what is no finite number (``read_table``) and for names that are there twice.
    """
    if path.name.startswith("gdb9."):
        targets, text = read_table(path, "gdb9.sdf.csv", TARGETS, ("mol_id",), label)
        smiles = []
    else:
        targets, text = read_table(path, "qm9.csv", TARGETS, ("mol_id", "smiles"), label)
        smiles = text["smiles"]
    names = text["mol_id"]
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        raise BadData(
            f"{label or path.name}: {len(twice)} rows with a mol_id that an earlier row has: {named(twice)}; "
            f"keep one row a molecule"
        )
    return targets, names, smiles


def parsed(smiles: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """(name, RDKit molecule, or None where RDKit refuses) of {name: SMILES}."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        for name, text in smiles.items():
            yield name, Chem.MolFromSmiles(text)


def geometries(path: Path, label: str, names: set[str]) -> Iterator[tuple[str, Any]]:
    """(name, RDKit molecule with hydrogens implicit, or None where RDKit refuses) of the named records of the SDF.

    In the order of the file. Of several records of one name the first counts.
    """
    from rdkit import Chem, rdBase

    left = set(names)
    with rdBase.BlockLogs():
        for name, record in records(path, label):
            if name in left:
                left.remove(name)
                molecule = Chem.MolFromMolBlock(record.decode("utf-8", "replace"), sanitize=True, removeHs=True)
                # RDKit keeps the hydrogens that say on which side of a C=N they are; SMILES do not have those
                yield name, molecule and Chem.RemoveAllHs(molecule)


def records(path: Path, label: str) -> Iterator[tuple[str, bytes]]:
    """(name, text) of each record of gdb9.sdf."""
    lines: list[bytes] = []
    with open_member(path, "gdb9.sdf", label) as stream:
        for line in stream:
            if not line.startswith(RECORD_END):
                lines.append(line)
                continue
            yield lines[0].decode("utf-8", "replace").strip() if lines else "", b"".join(lines)
            lines = []


def doubtful(path: Path) -> set[str]:
    """Names of the molecules that QM9's authors list as failing their consistency check: ``uncharacterized.txt``.

    path   of the data file beside which the list lies. Lines that do not begin with a molecule's number are prose.
    Raises MissingData where there is no list, BadData where it has no number.
    """
    listed = path.parent / DOUBTFUL
    try:
        text = listed.read_text("utf-8", "replace")
    except OSError:
        raise MissingData(
            f"{DOUBTFUL} is not beside {path.name}: put the QM9 authors' list there, or set uncharacterized=True"
        ) from None
    first = (line.split(None, 1)[0] for line in text.splitlines() if line.strip())
    names = {f"gdb_{int(word)}" for word in first if word.isdecimal()}
    if not names:
        raise BadData(f"{DOUBTFUL}: no line begins with a molecule's number")
    return names


def check_file(path: Path, label: str = "") -> int:
    """Read all of a file with every check; returns its number of molecules.

    Stricter than reading for use: raises BadData where geometries and table are not of the same molecules, as a
    download that was cut short would have it.
    """
    _, names, smiles = read_targets(path, label)
    if not smiles:
        found = [name for name, _ in records(path, label)]
        if odd := sorted(set(found) ^ set(names)) or ([] if len(found) == len(names) else ["repeated records"]):
            raise BadData(
                f"{label}: gdb9.sdf has {len(found)} records and gdb9.sdf.csv {len(names)} rows; "
                f"not in both: {named(odd)}"
            )
    return len(names)


def named(names: list[str]) -> str:
    """The first ten names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
