"""Inputs that are wrong are refused in one line with their place."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.api import BadData
from bench.toolkit.inputs import Graphs, Images, Sequences, content_hash, kind_of


def graphs(**changes: Any) -> Graphs:
    """Three graphs of 2, 1 and 3 nodes with 1, 0 and 2 edges."""
    parts: dict[str, Any] = {
        "nodes": np.ones((6, 2), np.float32),
        "node_offsets": np.array([0, 2, 3, 6]),
        "edges": np.array([[0, 1], [0, 1], [1, 2]]),
        "edge_features": np.ones((3, 1), np.float32),
        "edge_offsets": np.array([0, 1, 1, 3]),
    }
    return Graphs(**parts | changes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Images(np.zeros((2, 1, 4, 4))), r"images must be a uint8 array .*, not float64 \(2, 1, 4, 4\)"),
        (lambda: Images(np.zeros((2, 4, 4), np.uint8)), r"not uint8 \(2, 4, 4\)"),
        (lambda: Images([[1]]), "not list"),
        (lambda: Sequences([[1.0], [1.0, 2.0]]), "sample 0 has 1 steps, sample 1 has 2"),
        (lambda: Sequences(np.zeros((2, 3, 1))), r"float32 array .*, not float64 \(2, 3, 1\)"),
        (lambda: Sequences(np.full((2, 3, 1), np.nan, np.float32)), r"not finite at \(0, 0, 0\)"),
        (lambda: graphs(node_offsets=np.array([0, 2, 3, 5])), "node_offsets must run from 0 to 6"),
        (lambda: graphs(node_offsets=np.array([0, 4, 3, 6])), "node_offsets fall at graph 1"),
        (lambda: graphs(node_offsets=np.array([0, 2, 2, 6])), "graph 1 has no nodes"),
        (lambda: graphs(edge_offsets=np.array([0, 3])), "edge_offsets speak of 1 graphs, node_offsets of 3"),
        (lambda: graphs(edges=np.array([[0, 1], [0, 1], [1, 3]])), r"graph 2: edge 1 joins nodes \[1, 3\].*3 nodes"),
        (lambda: graphs(edges=np.array([[0, -1], [0, 1], [1, 2]])), "graph 0: edge 0"),
        (lambda: graphs(edge_features=np.ones((2, 1), np.float32)), "edges must be"),
        (lambda: graphs(nodes=np.ones((6, 2))), "nodes of graphs must be a float32 array"),
        (lambda: graphs(positions=np.ones((5, 3), np.float32)), "5 positions for 6 nodes"),
        (lambda: graphs(positions=np.ones((6, 2), np.float32)), "positions of graphs must be"),
        (lambda: graphs(counts=np.ones((2, 1), np.float32)), "2 rows of counts for 3 graphs"),
        (lambda: kind_of("x"), "x is a str; give an array"),
    ],
)
def test_wrong_inputs_are_refused_with_their_place(make: Any, words: str) -> None:
    with pytest.raises(BadData, match=words):
        make()


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=6), data=st.data())
def test_taking_rows_of_graphs_is_taking_them_one_by_one(sizes: list[int], data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    edges = [rng.integers(0, size, (rng.integers(0, 4), 2)) for size in sizes]
    x = Graphs(
        rng.standard_normal((sum(sizes), 2)).astype(np.float32),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate(edges).astype(np.int64),
        rng.standard_normal((sum(map(len, edges)), 1)).astype(np.float32),
        np.concatenate([[0], np.cumsum([len(e) for e in edges])]).astype(np.int64),
    )
    rows = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=8))
    taken = x[rows]
    for i, row in enumerate(rows):
        assert content_hash(taken[[i]]) == content_hash(x[[row]])
