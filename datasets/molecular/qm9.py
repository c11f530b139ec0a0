"""QM9: from small organic molecules to twelve properties computed by density functional theory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bench.api import BadData, Data, dataset
from datasets.cache import load_arrays, save_arrays
from datasets.molecular import archive, features, graphs, scaffolds
from datasets.molecular.splits import HELD_OUT, pool, real_data
from datasets.sources import Located, locate
from datasets.synthetic.common import require_choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILES = {"auto": (), "csv": ("qm9.csv",), "sdf": ("gdb9.zip", "gdb9.tar.gz")}
Split = Literal["random", "scaffold", "rarest-scaffold"]


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
    version=4,
    budgets={"smoke": {"rows": 500}, "paper": {"rows": None}},
)
@dataset(
    "qm9-graph",
    properties={
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="Ramakrishnan et al., Scientific Data 2014; used by Chen et al., TMLR 2024",
    summary="molecular graphs (heavy atoms, bonds, positions where there are any) to the 12 properties of QM9",
    provides=("targets",),
    kind="graph",
    truth=False,
    source="qm9",
    requires=("rdkit",),
    version=3,
    defaults={"inputs": "graph"},
    budgets={"smoke": {"rows": 500}, "paper": {"rows": None}},
    on_request=True,
)
def qm9(
    *,
    seed: int,
    rows: int | None = 5000,
    n_latents: int = 6,
    inputs: features.Inputs = "descriptors",
    layout: Literal["auto", "csv", "sdf"] = "auto",
    split: Split = "random",
    evaluate: Literal["in", "out"] = "out",
    uncharacterized: bool = True,
) -> Data:
    """Load the data: x of each molecule, unscaled; 12 standardised targets.

    rows        at most this many molecules, chosen by their name in QM9, the same for every seed; None: all
    n_latents   Chen et al. try 5 to 10; six components carry 97 % of the targets' variance
    inputs      "descriptors", "fingerprint" (512 Morgan counts), "graph" (``Graphs``, with positions where the layout
                is "sdf"), or "counts" (the graphs' view as vectors: counts of atoms, bonds and environments)
    layout      "csv" (SMILES, qm9.csv), "sdf" (geometries, gdb9.zip or gdb9.tar.gz), or what is there
    split       what is held out: a fifth of the molecules by their name ("random"), of the scaffolds by theirs, or the
                rarest scaffolds that make a fifth; only the last shifts the distribution
    evaluate    with a split by scaffolds: held-out samples "out" of the distribution, or "in" it, a fifth of the other
                molecules by name. Trained on are the same molecules in both
    uncharacterized   keep the molecules that the authors list as failing a consistency check; False needs their list,
                ``uncharacterized.txt``, beside the data

    Molecules that have no features (unreadable, no record or no positions in the SDF, unknown element) are left out;
    ``info["left_out"]`` counts them by reason and names the first ten. Raises MissingData, BadData.
    """
    import numpy as np

    require_choice("inputs", inputs, ("descriptors", "fingerprint", "graph", "counts"))
    require_choice("layout", layout, tuple(FILES))
    require_choice("split", split, ("random", "scaffold", "rarest-scaffold"))
    require_choice("evaluate", evaluate, ("out", "in"))
    located = locate("qm9", files=FILES[layout])
    targets, names, smiles = archive.read_targets(located.path, located.label)
    doubtful = set() if uncharacterized else archive.doubtful(located.path)
    usable = np.array([row for row, name in enumerate(names) if name not in doubtful], dtype=np.int64)
    # in the file's order, so that the molecules of an archive need never be in memory together
    chosen = pool([names[row].encode() for row in usable], rows).in_file_order()
    rows_chosen = usable[chosen.rows]
    found = _featured(located, rows_chosen, names, smiles, inputs, with_scaffolds=split != "random")
    at = np.searchsorted(rows_chosen, found.rows)
    drawn = [smiles[row] for row in found.rows] if smiles else found.smiles.tolist()
    by_name = chosen.held_out[at]
    info = located.describe(rows=len(names)) | {
        "inputs": inputs,
        "split": split,
        "evaluate": evaluate,
        "unreadable": len(rows_chosen) - len(found.rows),
        "left_out": found.left_out,
        "rdkit": features.rdkit_version(),
    }
    if doubtful:
        info |= {"uncharacterized_dropped": len(names) - len(usable)}
    if split == "random":
        return real_data(
            found.x,
            targets[found.rows],
            by_name,
            seed=seed,
            n_latents=n_latents,
            info=info,
            smiles=drawn,
            target_names=archive.TARGETS,
        )
    labels = found.scaffolds.tolist()
    apart = (scaffolds.rarest if split == "rarest-scaffold" else scaffolds.hashed)(labels, HELD_OUT)
    used = ~apart & (~by_name | (evaluate == "in")) | apart & (evaluate == "out")
    test = apart if evaluate == "out" else by_name
    info |= {"scaffolds": len(set(labels)), "scaffolds_held_out": len(set(found.scaffolds[apart].tolist()))}
    where = "out of distribution" if evaluate == "out" else "in distribution"
    title = f"{info['title']}, {split.replace('-', ' ')}s held out, {where}"
    info |= {"title": title, "scaffolds_unparsable": scaffolds.unparsable(labels)[: graphs.NAMED]}
    return real_data(
        found.x[used],
        targets[found.rows][used],
        test[used],
        seed=seed,
        n_latents=n_latents,
        info=info,
        smiles=[text for text, kept in zip(drawn, used, strict=True) if kept],
        target_names=archive.TARGETS,
    )


@dataclass(frozen=True)
class Featured:
    """x           features of k molecules
    rows        (k,) rows of the table that they belong to, ascending
    smiles      (k,) str of geometries; empty where the table has them
    scaffolds   (k,) str, or empty where they were not asked for
    left_out    the molecules without features, by reason
    """

    x: Any
    rows: NDArray[np.int64]
    smiles: NDArray[np.str_]
    scaffolds: NDArray[np.str_]
    left_out: dict[str, Any]


def _featured(
    located: Located,
    rows: NDArray[np.int64],
    names: Sequence[str],
    smiles: Sequence[str],
    inputs: features.Inputs,
    *,
    with_scaffolds: bool,
) -> Featured:
    """Features of the molecules in the chosen rows, from the cache where it has them."""
    import numpy as np

    as_graphs = inputs in ("graph", "counts")
    key = {
        "sha256": located.sha256,
        # which rows in which order, not how they were asked for: features must never meet the targets of other rows
        "rows": features.content_hash(map(str, rows.tolist())),
        "inputs": "graph" if as_graphs else inputs,
        "scaffolds": scaffolds.VERSION if with_scaffolds else 0,
        "features": [features.VERSION, graphs.VERSION],
        "rdkit": features.rdkit_version(),
        **({} if smiles else {"written": "smiles"}),
    }
    stored = load_arrays("qm9", key)
    if stored is None:
        chosen = {names[row]: int(row) for row in rows}
        molecules = (
            archive.parsed({name: smiles[row] for name, row in chosen.items()})
            if smiles
            else archive.geometries(located.path, located.label, set(chosen))
        )
        stored = _computed(molecules, chosen, inputs, positions=not smiles, with_scaffolds=with_scaffolds)
        if not stored["row"].size:
            raise BadData(f"{located.label}: none of {len(rows)} molecules has features; {stored['left_out']}"[:300])
        save_arrays("qm9", key, stored)
    x: Any = graphs.graphs(graphs.Packed.of(stored)) if as_graphs else stored["x"]
    order = np.argsort(stored["row"])
    x = x[order]
    return Featured(
        x=x.flat() if inputs == "counts" else x,
        rows=np.asarray(stored["row"][order], dtype=np.int64),
        smiles=np.asarray(stored["smiles"][order] if "smiles" in stored else [], dtype=np.str_),
        scaffolds=np.asarray(stored["scaffold"][order], dtype=np.str_)
        if with_scaffolds
        else np.array([], dtype=np.str_),
        left_out=json.loads(str(stored["left_out"])),
    )


def _computed(
    molecules: Iterable[tuple[str, Any]],
    chosen: dict[str, int],
    inputs: features.Inputs,
    *,
    positions: bool,
    with_scaffolds: bool,
) -> dict[str, NDArray[Any]]:
    """For the cache: features, ``row`` of each molecule that has them, its ``scaffold``, and ``left_out`` as JSON.

    With positions also its ``smiles``, as the geometries' table has none.
    """
    import numpy as np
    from rdkit import Chem

    seen: list[str] = []
    rings: list[str] = []
    written: list[str] = []
    failed = graphs.LeftOut()

    def noted() -> Iterator[tuple[str, Any]]:
        for name, molecule in molecules:
            seen.append(name)
            if with_scaffolds:
                rings.append("" if molecule is None else scaffolds.scaffold(name, molecule, failed))
            if positions:
                written.append("" if molecule is None else Chem.MolToSmiles(molecule))
            yield name, molecule

    arrays: dict[str, NDArray[Any]]
    if inputs in ("graph", "counts"):
        packed, kept, left_out = graphs.read(noted(), positions=positions)
        arrays = packed.arrays()
    else:
        x, kept = features.featurise((molecule for _, molecule in noted()), inputs)
        arrays, left_out = {"x": x}, graphs.LeftOut()
        for name, fine in zip(seen, kept, strict=True):
            if not fine:
                left_out.add("unreadable", name)
    for name in sorted(set(chosen) - set(seen), key=chosen.__getitem__):
        left_out.add("no record", name)
    arrays["row"] = np.array([chosen[name] for name in seen], dtype=np.int64)[kept]
    if with_scaffolds:
        arrays["scaffold"] = np.array(rings, dtype=np.str_)[kept]
    if positions:
        arrays["smiles"] = np.array(written, dtype=np.str_)[kept]
    arrays["left_out"] = np.array(json.dumps(left_out.describe() | failed.describe()))
    return arrays
