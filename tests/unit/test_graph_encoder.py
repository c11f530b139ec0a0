"""The graph encoder: pairs of nodes, invariances that whitened codes must have, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from bench.api import TrainView
from bench.toolkit.encoders import encode_rows, encoder
from bench.toolkit.encoders.graph import Moments, all_pairs
from bench.toolkit.inputs import Graphs
from bench.toolkit.networks import Streams
from bench.toolkit.rows import prepare


def random_graphs(n: int, seed: int, *, positions: bool = True) -> Graphs:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 8, n)
    edges = [(np.array([[i, i + 1] for i in range(size - 1)]).reshape(-1, 2)) for size in sizes]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    edge_offsets = np.concatenate([[0], np.cumsum(sizes - 1)]).astype(np.int64)
    return Graphs(
        nodes=rng.normal(size=(offsets[-1], 5)).astype(np.float32),
        node_offsets=offsets,
        edges=np.concatenate(edges).astype(np.int64),
        edge_features=rng.normal(size=(edge_offsets[-1], 2)).astype(np.float32),
        edge_offsets=edge_offsets,
        positions=(2 * rng.normal(size=(offsets[-1], 3))).astype(np.float32) if positions else None,
    )


def view_of(x: Graphs) -> TrainView:
    none = np.array([], dtype=np.int64)
    return TrainView(x=x, sample=none, task=none, y=none.astype(float), n_tasks=1, n_latents=2)


def moved(x: Graphs, seed: int) -> Graphs:
    """Every graph turned and shifted on its own, nodes and edges in another order, edges from the other end."""
    rng = np.random.default_rng(seed)
    nodes, positions, edges, features = [], [], [], []
    for i in range(len(x)):
        at, of = (slice(*offsets[i : i + 2]) for offsets in (x.node_offsets, x.edge_offsets))
        order = rng.permutation(x.node_offsets[i + 1] - x.node_offsets[i])
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        shuffled = rng.permutation(x.edge_offsets[i + 1] - x.edge_offsets[i])
        nodes.append(x.nodes[at][order])
        edges.append(np.argsort(order)[x.edges[of][shuffled]][:, ::-1])
        features.append(x.edge_features[of][shuffled])
        if x.positions is not None:
            positions.append(x.positions[at][order] @ turn + 3 * rng.normal(size=3))
    return Graphs(
        nodes=np.concatenate(nodes),
        node_offsets=x.node_offsets,
        edges=np.ascontiguousarray(np.concatenate(edges)),
        edge_features=np.concatenate(features),
        edge_offsets=x.edge_offsets,
        positions=np.concatenate(positions).astype(np.float32) if positions else None,
    )


def test_every_pair_of_nodes_of_a_graph_is_there_once() -> None:
    pairs = all_pairs(torch.tensor([0, 1, 4, 6]))
    assert pairs.tolist() == [[1, 2], [1, 3], [2, 3], [4, 5]]
    assert all_pairs(torch.tensor([0, 1])).shape == (0, 2)


@pytest.mark.parametrize("architecture", ["edges", "distances", "egnn"])
def test_moving_turning_and_reordering_changes_whitened_codes_by_less_than_1e_4(architecture: str) -> None:
    x = random_graphs(300, 0)
    inputs = prepare(view_of(x))
    network = encoder(inputs, 3, Streams([1], "init"), architecture=architecture)
    codes = encode_rows(network, inputs(x))
    again = encode_rows(network, inputs(moved(x, 5)))
    e, v = np.linalg.eigh(np.cov(codes.T))
    assert e[0] > 1e-3 * e[-1], "the codes have three directions"
    assert np.abs((codes - again) @ (v / np.sqrt(e))).max() < 1e-4


@pytest.mark.parametrize("architecture", ["distances", "egnn"])
def test_positions_matter_where_they_are_used(architecture: str) -> None:
    x = random_graphs(50, 0)
    inputs = prepare(view_of(x))
    network = encoder(inputs, 2, Streams([1], "init"), architecture=architecture)
    assert x.positions is not None
    larger = Graphs(**{**vars(x), "positions": x.positions * np.float32(1.3)})
    assert np.abs(encode_rows(network, inputs(x)) - encode_rows(network, inputs(larger))).max() > 1e-2


def test_moments_are_lengths_of_dipoles() -> None:
    x = random_graphs(30, 0)
    rows = prepare(view_of(x))(x)
    moments = Moments(x.nodes.shape[1], Streams([1], "init"))
    h = torch.from_numpy(np.asarray(x.nodes, dtype=np.float32))
    with torch.no_grad():
        charges, lengths = moments.charges(h[None])[0].numpy(), moments(h, rows)
        assert x.positions is not None
        parts = [slice(a, b) for a, b in itertools.pairwise(x.node_offsets)]
        dipoles = [charges[part].T @ (x.positions[part] - x.positions[part].mean(0)) for part in parts]
        expected = moments.outer(torch.from_numpy(np.linalg.norm(dipoles, axis=2).astype(np.float32))[None])[0]
    assert lengths.shape == (30, x.nodes.shape[1])
    assert torch.allclose(lengths, expected, atol=5e-3)


def test_architectures_that_cannot_be_are_named() -> None:
    inputs = prepare(view_of(random_graphs(20, 0, positions=False)))
    with pytest.raises(ValueError, match="architecture='gcn': choose one of auto, edges, distances, egnn"):
        encoder(inputs, 2, Streams([0], "init"), architecture="gcn")
    with pytest.raises(ValueError, match="architecture='egnn' needs positions, and the graphs have none"):
        encoder(inputs, 2, Streams([0], "init"), architecture="egnn")


@pytest.mark.parametrize("readout", [True, False])
def test_codes_are_sums_over_parts_but_for_the_readout(readout: bool) -> None:
    x = random_graphs(40, 0)
    inputs = prepare(view_of(x))
    options = {"architecture": "edges", "linear": False, "readout": readout}
    network = encoder(inputs, 2, Streams([1], "init"), **options)
    pairs = Graphs(
        nodes=x.nodes,
        node_offsets=x.node_offsets[::2],
        edges=x.edges + np.repeat(np.where(np.arange(40) % 2, x.node_offsets[:-1] - np.roll(x.node_offsets[:-1], 1), 0),
                                  np.diff(x.edge_offsets))[:, None],
        edge_features=x.edge_features,
        edge_offsets=x.edge_offsets[::2],
        positions=x.positions,
    )  # fmt: skip
    single, joined = encode_rows(network, inputs(x)), encode_rows(network, inputs(pairs))
    difference = np.abs(single[::2] + single[1::2] - joined).max()
    assert (difference > 1e-2) == readout
    if not readout:
        assert difference < 1e-5
