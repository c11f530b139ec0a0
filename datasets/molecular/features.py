"""Fixed-length vectors of molecules: RDKit descriptors and Morgan count fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Inputs = Literal["descriptors", "fingerprint", "graph", "counts"]
VERSION = 1  # part of every cache key: raise it when the numbers change

# Quick descriptors (together 0.6 ms a molecule) that vary among molecules of few heavy atoms; from the molecular graph
# alone, so that the SMILES and the geometry of a molecule give the same vector.
DESCRIPTORS = (
    "MolWt", "HeavyAtomCount", "NumValenceElectrons", "NHOHCount", "NOCount", "NumHeteroatoms",
    "NumHAcceptors", "NumHDonors", "NumRotatableBonds", "RingCount", "NumAliphaticCarbocycles",
    "NumAliphaticHeterocycles", "NumAromaticRings", "NumSaturatedRings", "FractionCSP3", "TPSA", "LabuteASA",
    "MolLogP", "MolMR", "HallKierAlpha", "Kappa1", "Kappa2", "Kappa3", "BalabanJ", "BertzCT",
    "Chi0", "Chi1", "Chi0v", "Chi1v", "Chi2v", "Chi3v", "Chi4v",
    "MaxEStateIndex", "MinEStateIndex", "MaxPartialCharge", "MinPartialCharge",
    *(f"PEOE_VSA{i}" for i in range(1, 15)),
    *(f"SMR_VSA{i}" for i in (1, 2, 3, 4, 5, 6, 7, 9, 10)),
    *(f"SlogP_VSA{i}" for i in (1, 2, 3, 4, 5, 6, 8, 10, 11)),
    *(f"EState_VSA{i}" for i in range(1, 11)),
    *(f"VSA_EState{i}" for i in range(1, 10)),
)  # fmt: skip


def descriptors(molecules: Sequence[Any], names: Sequence[str] = DESCRIPTORS) -> NDArray[np.float64]:
    """(n, len(names)) RDKit descriptors, NaN where RDKit has no value."""
    import numpy as np
    from rdkit.Chem import Descriptors

    functions = dict(Descriptors._descList)
    chosen = [functions[name] for name in names]
    values = np.empty((len(molecules), len(chosen)))
    for row, molecule in zip(values, molecules, strict=True):
        row[:] = [function(molecule) for function in chosen]
    return values


def fingerprints(molecules: Sequence[Any], *, radius: int = 2, size: int = 512) -> NDArray[np.float32]:
    """(n, size) counts of hashed atom environments up to ``radius`` bonds (Rogers & Hahn 2010)."""
    import numpy as np
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=size)
    counts = np.empty((len(molecules), size), dtype=np.float32)
    for row, molecule in zip(counts, molecules, strict=True):
        row[:] = generator.GetCountFingerprintAsNumPy(molecule)
    return counts


def featurise(molecules: Iterable[Any], inputs: Inputs) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features (k, d_x) float32 of the molecules that have them, and which those are (n,) bool. None is no molecule."""
    import numpy as np

    compute: Callable[[Any], NDArray[Any]] = fingerprints if inputs == "fingerprint" else descriptors
    features, kept = [], []
    for molecule in molecules:
        row = None if molecule is None else compute([molecule])[0].astype(np.float32)
        kept.append(row is not None and bool(np.isfinite(row).all()))
        if kept[-1]:
            features.append(row)
    width = 0 if not features else len(features[0])  # type: ignore[arg-type]
    return np.array(features, dtype=np.float32).reshape(-1, width), np.array(kept, dtype=bool)


def rdkit_version() -> str:
    """Of the installed RDKit; canonical SMILES and descriptors are the same only within one version."""
    import rdkit

    return str(rdkit.__version__)


def content_hash(texts: Iterable[str]) -> str:
    """One hash of a list of strings, for records."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
