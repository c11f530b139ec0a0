"""Molecules as packed graphs: what an atom and a bond say, what is counted, and who is left out."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.molecular import graphs, scaffolds


def parsed(*smiles: str) -> list[tuple[str, object]]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        return [(text, Chem.MolFromSmiles(text)) for text in smiles]


def node(packed: graphs.Packed, feature: str) -> list[float]:
    return graphs.graphs(packed).nodes[:, graphs.ATOM_FEATURES.index(feature)].tolist()


def test_atoms_and_bonds_of_small_molecules() -> None:
    packed, kept, left_out = graphs.read(parsed("CC#N", "c1ccoc1", "C[NH3+]"))
    made = graphs.graphs(packed)
    assert kept.all()
    assert not left_out.describe()
    assert made.node_offsets.tolist() == [0, 3, 8, 10]
    assert node(packed, "hydrogens") == [3, 0, 0, 1, 1, 1, 0, 1, 3, 3]
    assert node(packed, "O") == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    assert node(packed, "sp")[:3] == [0, 1, 1]
    assert node(packed, "ring of 5") == [0] * 3 + [1] * 5 + [0] * 2
    assert node(packed, "charge")[-1] == 1
    assert made.edges[:2].tolist() == [[0, 1], [1, 2]]
    triple = graphs.BOND_FEATURES.index("triple")
    assert made.edge_features[:, triple].tolist() == [0, 1, *[0] * 6]
    assert made.flat().shape == (3, 2 + len(graphs.ATOM_FEATURES) + len(graphs.BOND_FEATURES) + graphs.N_COUNTS)


def test_counts_do_not_depend_on_the_order_of_the_atoms() -> None:
    packed, _, _ = graphs.read(parsed("OCC(N)C1CC1", "C1CC1C(CO)N", "CCO", "OCC"))
    counts = graphs.environment_counts(packed, 40)
    np.testing.assert_array_equal(counts[0], counts[1])
    np.testing.assert_array_equal(counts[2], counts[3])
    np.testing.assert_array_equal(counts.sum(1), packed.sizes + packed.bond_sizes)
    assert (np.diff(counts.sum(0)) <= 0).all(), "the most frequent first"


def test_molecules_without_a_graph_are_counted_and_the_first_ten_named() -> None:
    bad = [(f"m{i}", None) for i in range(12)]
    packed, kept, left_out = graphs.read([*bad, *parsed("CCl", "CO")], positions=False)
    assert kept.tolist() == [False] * 13 + [True]
    assert len(packed.sizes) == 1
    assert left_out.describe()["unreadable"] == {"number": 12, "first": [f"m{i}" for i in range(10)]}
    assert left_out.describe()["element other than C, N, O, F"] == {"number": 1, "first": ["CCl"]}
    _, kept, left_out = graphs.read(parsed("CO"), positions=True)
    assert not kept.any()
    assert left_out.number == {"no positions": 1}


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_rarest_scaffolds_are_held_out_whole(share: float) -> None:
    labels = ["a"] * 6 + ["b"] * 2 + ["c", "d"]
    held = scaffolds.rarest(labels, share)
    assert held.sum() == (2 if share == 0.2 else 4)
    assert not held[:6].any()
    hashed = scaffolds.hashed(labels * 3, share)
    for label in "abcd":
        assert len(set(hashed[np.array(labels * 3) == label].tolist())) == 1


def test_scaffolds_that_are_not_read_again_are_named_once_in_order() -> None:
    assert scaffolds.unparsable(["c1ccccc1", "C1CC", "", "c1ccc1c", "C1CC"]) == ["C1CC", "c1ccc1c"]
