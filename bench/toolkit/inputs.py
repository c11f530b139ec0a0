"""The kinds of x: vectors, images, sequences, graphs.

Vectors are plain arrays (n, d_x). Each other kind is a small frozen container with ``len``, row indexing that gives the
same kind, and ``flat()``, a view as vectors for learners that need them. Nothing is kept per sample in Python.
``content_hash`` tells whether two inputs are the same to the bit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, Kind, NotApplicable, TrainView

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Rows = NDArray[Any] | slice | list[int]
FLAT_SIDE = 16


@dataclass(frozen=True, eq=False)
class Images:
    """pixels   (n, c, h, w) uint8

    Raises BadData for another type or shape.
    """

    pixels: NDArray[np.uint8]
    kind: ClassVar[Kind] = "image"

    def __post_init__(self) -> None:
        if not isinstance(self.pixels, np.ndarray) or self.pixels.dtype != np.uint8 or self.pixels.ndim != 4:
            raise BadData(f"images must be a uint8 array (n, channels, height, width), not {_what(self.pixels)}")

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Rows) -> Self:
        return replace(self, pixels=self.pixels[rows])

    def flat(self) -> Float32:
        """Pixels (n, c·h'·w') in [0, 1]; sides above 16 are halved, by means of 2 × 2 pixels, while they are even.

        Linear learners decompose a square matrix of as many columns, at a cost that grows with their third power.
        """
        pixels: NDArray[Any] = self.pixels
        while max(pixels.shape[2:]) > FLAT_SIDE and pixels.shape[2] % 2 == 0 and pixels.shape[3] % 2 == 0:
            rows = pixels[:, :, ::2].astype(np.float32) + pixels[:, :, 1::2]
            pixels = (rows[..., ::2] + rows[..., 1::2]) / np.float32(4)
        return np.asarray(pixels.reshape(len(self), -1) / np.float32(255), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Sequences:
    """values   (n, steps, p) float32, all of one length

    Raises BadData for another type or shape, for ragged lists with the first sample that differs, and for values that
    are not finite.
    """

    values: Float32
    kind: ClassVar[Kind] = "sequence"

    def __post_init__(self) -> None:
        if isinstance(self.values, list | tuple) and len({len(sample) for sample in self.values}) > 1:
            lengths = [len(sample) for sample in self.values]
            odd = next(i for i, length in enumerate(lengths) if length != lengths[0])
            raise BadData(
                f"sequences must have one length: sample 0 has {lengths[0]} steps, sample {odd} has {lengths[odd]};"
                " cut or pad them"
            )
        if not isinstance(self.values, np.ndarray) or self.values.dtype != np.float32 or self.values.ndim != 3:
            raise BadData(f"sequences must be a float32 array (n, steps, p), not {_what(self.values)}")
        _require_finite("sequences", self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Rows) -> Self:
        return replace(self, values=self.values[rows])

    def flat(self) -> Float32:
        """Mean over the steps (n, p)."""
        return self.values.mean(axis=1, dtype=np.float64).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Graphs:
    """n graphs, packed one after the other.

    nodes           (N, f) float32 features of all nodes
    node_offsets    (n + 1,) int64: graph i has the nodes node_offsets[i] to node_offsets[i + 1]
    edges           (M, 2) int64 pairs of nodes, counted from the first node of their graph; an undirected edge once
    edge_features   (M, g) float32
    edge_offsets    (n + 1,) int64
    positions       (N, 3) float32, or None
    counts          (n, c) float32 what ``flat`` shows beside the sums of features (molecules: environments), or None

    Raises BadData, naming the graph, for offsets that do not add up, an edge to a node that is not there, a graph
    without nodes, wrong types and shapes, and values that are not finite.
    """

    nodes: Float32
    node_offsets: Int64
    edges: Int64
    edge_features: Float32
    edge_offsets: Int64
    positions: Float32 | None = None
    counts: Float32 | None = None
    kind: ClassVar[Kind] = "graph"

    def __post_init__(self) -> None:
        n = len(self.node_offsets) - 1
        for name, width in (("nodes", None), ("edge_features", None), ("positions", 3), ("counts", None)):
            value = getattr(self, name)
            if value is None and name in ("positions", "counts"):
                continue
            right = isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim == 2
            if not right or (width is not None and value.shape[1] != width):
                raise BadData(f"{name} of graphs must be a float32 array (…, {width or 'k'}), not {_what(value)}")
            _require_finite(f"{name} of graphs", value)
        for name in ("node_offsets", "edge_offsets", "edges"):
            value = getattr(self, name)
            if not isinstance(value, np.ndarray) or value.dtype != np.int64 or value.ndim != 1 + (name == "edges"):
                raise BadData(f"{name} of graphs must be int64, not {_what(value)}")
        _check_offsets("node", self.node_offsets, len(self.nodes))
        _check_offsets("edge", self.edge_offsets, len(self.edges))
        if len(self.edge_offsets) != n + 1:
            raise BadData(f"edge_offsets speak of {len(self.edge_offsets) - 1} graphs, node_offsets of {n}")
        if self.edges.shape[1] != 2 or len(self.edge_features) != len(self.edges):
            raise BadData(
                f"edges must be (M, 2) with M feature rows, not {self.edges.shape} and {len(self.edge_features)}"
            )
        if self.positions is not None and len(self.positions) != len(self.nodes):
            raise BadData(f"{len(self.positions)} positions for {len(self.nodes)} nodes")
        if self.counts is not None and len(self.counts) != n:
            raise BadData(f"{len(self.counts)} rows of counts for {n} graphs")
        sizes = np.diff(self.node_offsets)
        if n and sizes.min() == 0:
            raise BadData(f"graph {int(sizes.argmin())} has no nodes; leave it out")
        graph = np.repeat(np.arange(n), np.diff(self.edge_offsets))
        wrong = ((self.edges < 0) | (self.edges >= sizes[graph][:, None])).any(axis=1)
        if wrong.any():
            at = int(wrong.argmax())
            raise BadData(
                f"graph {graph[at]}: edge {at - self.edge_offsets[graph[at]]} joins nodes {self.edges[at].tolist()}, "
                f"the graph has {sizes[graph[at]]} nodes"
            )

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    def __getitem__(self, rows: Rows) -> Self:
        chosen = np.arange(len(self))[rows]
        nodes, node_offsets = taken(self.node_offsets, chosen)
        edges, edge_offsets = taken(self.edge_offsets, chosen)
        return replace(
            self,
            nodes=self.nodes[nodes],
            node_offsets=node_offsets,
            edges=self.edges[edges],
            edge_features=self.edge_features[edges],
            edge_offsets=edge_offsets,
            positions=None if self.positions is None else self.positions[nodes],
            counts=None if self.counts is None else self.counts[chosen],
        )

    def flat(self) -> Float32:
        """(n, 2 + f + g + c): number of nodes and edges, sums of their features, and ``counts``."""
        parts = [
            np.diff(self.node_offsets)[:, None],
            np.diff(self.edge_offsets)[:, None],
            _sums(self.nodes, self.node_offsets),
            _sums(self.edge_features, self.edge_offsets),
            *([] if self.counts is None else [self.counts]),
        ]
        return np.concatenate([part.astype(np.float32) for part in parts], axis=1)


Inputs = NDArray[Any] | Images | Sequences | Graphs
KINDS: dict[Kind, type] = {"vector": np.ndarray, "image": Images, "sequence": Sequences, "graph": Graphs}


def kind_of(x: Any) -> Kind:
    """The kind of x; raises BadData for what is none of ``KINDS``."""
    for kind, container in KINDS.items():
        if isinstance(x, container):
            return kind
    raise BadData(f"x is a {type(x).__name__}; give an array (n, d_x), Images, Sequences or Graphs")


def flat(x: Any) -> NDArray[Any]:
    """x as vectors (n, columns): itself, or the view that its kind offers."""
    return np.asarray(x.flat()) if isinstance(x, Images | Sequences | Graphs) else np.asarray(x)


def flat_view(view: TrainView) -> TrainView:
    """The same view with x as vectors; ``view`` itself where they are vectors already."""
    return replace(view, x=flat(view.x)) if view.kind != "vector" else view


def require_kind(view: TrainView, *kinds: Kind) -> None:
    """Raise NotApplicable where x is of none of the kinds."""
    if view.kind not in kinds:
        raise NotApplicable(f"takes {' or '.join(kinds)} inputs, the data is {view.kind}s")


def content_hash(x: Any) -> str:
    """sha256 over type, shape and bytes of all arrays of x, whatever its kind."""
    digest = hashlib.sha256(kind_of(x).encode())
    arrays = [x] if isinstance(x, np.ndarray) else [getattr(x, field.name) for field in fields(x)]
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def taken(offsets: Int64, chosen: NDArray[Any]) -> tuple[Int64, Int64]:
    """Positions of the items of the chosen groups, one group after the other, and their new offsets."""
    start, size = offsets[chosen], offsets[chosen + 1] - offsets[chosen]
    new = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    return np.repeat(start - new[:-1], size) + np.arange(new[-1]), new


def _sums(values: Float32, offsets: Int64) -> NDArray[np.float64]:
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    return np.asarray(total[offsets[1:]] - total[offsets[:-1]])


def _check_offsets(what: str, offsets: Int64, total: int) -> None:
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != total:
        raise BadData(
            f"{what}_offsets must run from 0 to {total}, the number of {what}s, not {offsets[:1]} to {offsets[-1:]}"
        )
    falling = np.diff(offsets) < 0
    if falling.any():
        raise BadData(f"{what}_offsets fall at graph {int(falling.argmax())}")


def _require_finite(what: str, values: NDArray[Any]) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        raise BadData(f"{what} hold a value that is not finite at {tuple(int(i) for i in np.argwhere(bad)[0])}")


def _what(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
