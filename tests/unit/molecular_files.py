"""Small files of superconductors and molecules in their publishers' layout."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.api import Data
from datasets.molecular.archive import TARGETS
from datasets.molecular.superconductivity import ELEMENTS, FEATURES

N = 60
SMILES = ("C", "CC", "CCO", "C=O", "c1ccccc1", "C#N", "CC(=O)N", "C1CCC1", "CF", "OC=O", "CN(C)C", "c1ccoc1")


def csv_bytes(header: tuple[str, ...], rows: list[list[Any]]) -> bytes:
    return "\n".join(",".join(map(str, row)) for row in [list(header), *rows]).encode() + b"\n"


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


class Superconductors:
    """A random archive in UCI's layout; ``write`` after changing a table."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.path = folder / "superconductivity" / "superconductivty+data.zip"
        self.amounts = rng.integers(1, 5, (N, 86)) * (rng.random((N, 86)) < 0.05)
        self.amounts[:, 7] += self.amounts.sum(1) == 0
        self.targets = rng.normal(3.0, 2.0, (N, 82)).round(6)
        self.train = [list(row) for row in self.targets]
        tc = self.targets[:, -1]
        self.unique = [[*map(int, row), t, f"M{i}"] for i, (row, t) in enumerate(zip(self.amounts, tc, strict=True))]
        self.features: tuple[str, ...] = (*FEATURES, "critical_temp")
        self.write()

    def write(self) -> None:
        header = (*ELEMENTS, "critical_temp", "material")
        members = {"train.csv": csv_bytes(self.features, self.train), "unique_m.csv": csv_bytes(header, self.unique)}
        write_zip(self.path, members)


def small_molecules(n: int = N) -> tuple[list[str], list[str], np.ndarray]:
    smiles = ["C" * (i // len(SMILES)) + SMILES[i % len(SMILES)] for i in range(n)]
    values = np.random.default_rng(1).normal(size=(n, 12)).round(6)
    return [f"gdb_{7 * i + 1}" for i in range(n)], smiles, values


def write_qm9(folder: Path, rows: Callable[[list[list[Any]]], None] = lambda rows: None) -> Path:
    names, smiles, values = small_molecules()
    table = [[name, text, 0.5, *map(float, row)] for name, text, row in zip(names, smiles, values, strict=True)]
    rows(table)
    path = folder / "qm9" / "qm9.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(csv_bytes(("mol_id", "smiles", "A", *TARGETS), table))
    return path


def sdf_members(names: list[str] | None = None) -> dict[str, bytes]:
    from rdkit import Chem

    all_names, smiles, values = small_molecules()
    records = b""
    for name, text in zip(names or all_names, smiles, strict=False):
        molecule = Chem.AddHs(Chem.MolFromSmiles(text))
        molecule.SetProp("_Name", name)
        records += (Chem.MolToMolBlock(molecule) + f">  <_FileComments>  (1) \n{name}\n\n$$$$\n").encode()
    table = [[name, *map(float, row)] for name, row in zip(all_names, values, strict=True)]
    return {"gdb9.sdf": records, "gdb9.sdf.csv": csv_bytes(("mol_id", *TARGETS), table)}


def targets_of(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """The target tables (n, T) of the training and held-out samples."""
    train = np.full((data.train.n_samples, data.train.n_tasks), np.nan)
    train[data.train.sample, data.train.task] = data.train.y
    assert data.eval.sample_test is not None
    test = np.full((len(data.eval.x_test), data.train.n_tasks), np.nan)
    test[data.eval.sample_test, data.eval.task_test] = data.eval.y_test
    return train, test
