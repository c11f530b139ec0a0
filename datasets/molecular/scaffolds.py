"""Ring systems with what links them (Bemis & Murcko, J. Med. Chem. 1996), and splits that keep each on one side."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from datasets.molecular.graphs import LeftOut

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1  # part of every cache key


def scaffold(name: str, molecule: Any, failed: LeftOut) -> str:
    """SMILES of a molecule's scaffold, "" where it has no ring; its own SMILES where RDKit finds none (noted)."""
    from rdkit import Chem
    from rdkit.Chem.Scaffolds import MurckoScaffold

    if not molecule.GetRingInfo().NumRings():
        return ""
    try:
        return str(Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(molecule)))
    except (RuntimeError, ValueError):
        failed.add("no scaffold", name)
        return str(Chem.MolToSmiles(molecule))


def unparsable(scaffolds: Sequence[str]) -> list[str]:
    """Scaffolds whose SMILES RDKit does not read again; as labels of a split they serve all the same."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        return sorted(text for text in set(scaffolds) if Chem.MolFromSmiles(text) is None)


def hashed(scaffolds: Sequence[str], share: float) -> NDArray[np.bool_]:
    """(n,) bool: molecules of the scaffolds whose hash is in the lowest ``share``. Hardly a shift, as scaffolds of one
    hash have nothing in common."""
    import numpy as np

    value = {
        text: int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        for text in set(scaffolds)
    }
    return np.array([value[text] < share * 2**64 for text in scaffolds], dtype=bool)


def rarest(scaffolds: Sequence[str], share: float) -> NDArray[np.bool_]:
    """(n,) bool: molecules of the rarest scaffolds, as many of them as fit into ``share`` of the molecules.

    Rarity is counted among the molecules given; ties are broken by the scaffolds' SMILES.
    """
    import numpy as np

    room = share * len(scaffolds)
    chosen: set[str] = set()
    for text, count in sorted(Counter(scaffolds).items(), key=lambda item: (item[1], item[0])):
        room -= count
        if room < 0:
            break
        chosen.add(text)
    return np.array([text in chosen for text in scaffolds], dtype=bool)
