"""Molecules to select from: their graphs, and latent factors that are whitened descriptors of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.api import NotApplicable
from datasets.cache import load_arrays, save_arrays
from datasets.molecular import archive, features, graphs, library, scaffolds
from datasets.molecular.molecules import LATENTS
from datasets.sources import locate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 2  # part of the cache key
Name = Literal["enumerated", "qm9"]


@dataclass(frozen=True)
class Library:
    """n molecules.

    smiles       canonical for enumerated molecules, the publisher's for QM9's
    packed       their graphs
    descriptors  (n, 6) ``LATENTS`` in RDKit's units
    scaffolds    (n,) str
    info         for the record
    """

    smiles: list[str]
    packed: graphs.Packed
    descriptors: NDArray[np.float64]
    scaffolds: list[str]
    info: dict[str, Any]

    def __len__(self) -> int:
        return len(self.smiles)


def load_library(name: Name, size: int, seed: int) -> Library:
    """``size`` molecules grown from ``seed``, or those of QM9's qm9.csv that have a graph; computed once, then cached.

    Raises NotApplicable where that many cannot be grown, MissingData and BadData for QM9.
    """
    import numpy as np

    key: dict[str, Any] = {
        "name": name,
        "versions": [VERSION, features.VERSION, graphs.VERSION, scaffolds.VERSION],
        "rdkit": features.rdkit_version(),
        "latents": LATENTS,
    }
    info: dict[str, Any] = {"library": name}
    located = None
    if name == "qm9":
        located = locate("qm9", files=("qm9.csv",))
        key |= {"sha256": located.sha256}
    else:
        key |= {"growth": library.VERSION, "size": size, "seed": seed}
    stored = load_arrays("causal-library", key)
    if stored is None:
        if located is not None:
            _, names, smiles = archive.read_targets(located.path, located.label)
        else:
            smiles = library.grow(size, seed=seed)
            names = smiles
        stored = _computed(names, smiles)
        save_arrays("causal-library", key, stored)
    found = [str(text) for text in stored["smiles"]]
    if located is not None:
        info |= located.describe(rows=int(stored["n_read"]))
    return Library(
        smiles=found,
        packed=graphs.Packed.of(stored),
        descriptors=np.asarray(stored["descriptors"], dtype=np.float64),
        scaffolds=[str(text) for text in stored["scaffolds"]],
        info=info | {"library_size": len(found), "library_sha256": features.content_hash(found)},
    )


def whitened(values: NDArray[np.float64], *, by_ranks: bool) -> NDArray[np.float64]:
    """Descriptors (n, d) → factors (n, d) of mean 0 and identity covariance, each as near its descriptor as can be.

    Symmetric whitening of the standardised descriptors maximises the factors' summed correlation with them (Kessy,
    Lewin, Strimmer, American Statistician 2018). ``by_ranks`` first makes every descriptor normal by its ranks.
    """
    import numpy as np
    from scipy.stats import norm, rankdata

    if by_ranks:
        values = norm.ppf((rankdata(values, axis=0) - 0.5) / len(values))
    spread = values.std(0)
    if (spread == 0).any():
        raise NotApplicable(f"{LATENTS[int((spread == 0).argmax())]} is the same in all molecules of the library")
    standard = (values - values.mean(0)) / spread
    e, v = np.linalg.eigh(standard.T @ standard / len(standard))
    if e[0] < 1e-6:
        raise NotApplicable("the descriptors of the library depend linearly on each other: choose fewer latents")
    return np.asarray(standard @ (v / np.sqrt(e)) @ v.T)


def _computed(names: Sequence[str], smiles: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Arrays for the cache, of the molecules that have a graph and all descriptors."""
    import numpy as np

    parsed = [molecule for _, molecule in archive.parsed(dict(zip(names, smiles, strict=True)))]
    _, usable, _ = graphs.read(zip(names, parsed, strict=True))
    rows: list[int] = np.flatnonzero(usable).tolist()
    values = features.descriptors([parsed[row] for row in rows], LATENTS)
    described = np.asarray(np.isfinite(values).all(1))
    rows = [row for row, fine in zip(rows, described, strict=True) if fine]
    packed, _, _ = graphs.read((names[row], parsed[row]) for row in rows)
    failed = graphs.LeftOut()
    return packed.arrays() | {
        "n_read": np.array(len(names)),
        "smiles": np.array([smiles[row] for row in rows], dtype=np.str_),
        "descriptors": values[described],
        "scaffolds": np.array([scaffolds.scaffold(names[row], parsed[row], failed) for row in rows], dtype=np.str_),
    }
