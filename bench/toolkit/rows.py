"""How inputs of each kind enter networks: checked, standardised by their training moments, as tensors of rows.

``prepare(view)`` gives an object that turns inputs of the view's kind into rows. Rows have ``len``, ``to(device)`` and
``rows[index]`` for an index (E, B) of integers, a batch that the kind's encoder takes. Vectors, images, sequences are
tensors (n, …); graphs are a ``GraphRows``. Only vectors have more than one ensemble member.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np
import torch
from torch import Tensor

from bench.api import Kind, NotApplicable, TrainView
from bench.toolkit.inputs import Graphs, Images, Sequences, kind_of, taken
from bench.toolkit.preprocess import AffineInput, Standardizer

_SMALL_ROW = 1024  # values
_BLOCK_OF_LARGE_ROWS = 512


@dataclass(frozen=True, eq=False)
class GraphRows:
    """Packed graphs as tensors; see ``bench.toolkit.inputs.Graphs``. ``counts`` is the standardised flat view."""

    nodes: Tensor
    node_offsets: Tensor
    edges: Tensor
    edge_features: Tensor
    edge_offsets: Tensor
    counts: Tensor
    positions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    def to(self, device: str | torch.device) -> GraphRows:
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return GraphRows(**{name: None if t is None else t.to(device) for name, t in moved.items()})

    def __getitem__(self, index: Tensor) -> GraphRows:
        """The graphs of a batch: index (B,), or (1, B) as the training loop gives it."""
        chosen = index.reshape(-1)
        nodes, node_offsets = _taken(self.node_offsets, chosen)
        edges, edge_offsets = _taken(self.edge_offsets, chosen)
        return GraphRows(
            self.nodes[nodes],
            node_offsets,
            self.edges[edges],
            self.edge_features[edges],
            edge_offsets,
            self.counts[chosen],
            None if self.positions is None else self.positions[nodes],
        )

    @property
    def graph_of_node(self) -> Tensor:
        """(N,) int64: the number of the graph that each node belongs to."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.nodes.device), self.node_offsets.diff())

    @property
    def joined(self) -> Tensor:
        """(M, 2) int64: the ends of each edge, counted over all nodes."""
        first = torch.repeat_interleave(self.node_offsets[:-1], self.edge_offsets.diff())
        return self.edges + first[:, None]


Rows: TypeAlias = Tensor | GraphRows


def rows_at_once(data: Iterable[Rows], most: int) -> int:
    """How many rows to put through a network at once: ``most`` of small ones, fewer of images and graphs."""
    small = all(isinstance(t, Tensor) and t[:1].numel() <= _SMALL_ROW for t in data)
    return most if small else min(most, _BLOCK_OF_LARGE_ROWS)


class VectorInputs:
    """Vectors, standardised or whitened (``AffineInput``); rows (n, columns) float32."""

    kind: ClassVar[Kind] = "vector"

    def __init__(self, view: TrainView, whiten: bool | None) -> None:
        self.affine = AffineInput.for_view(view, whiten)
        self.columns = len(self.affine.standardizer.mean)

    def __call__(self, x: Any) -> Tensor:
        return torch.from_numpy(self.affine(x)).float()

    def dense(self, rows: Tensor) -> Tensor:
        """What a decoder must reproduce, (E, B, columns)."""
        return rows


class ImageInputs:
    """Images; rows (n, c, h, w) uint8, which the encoder standardises by the training moments of each channel.

    mean, scale   (c,) of pixels in 0..255
    """

    kind: ClassVar[Kind] = "image"

    def __init__(self, view: TrainView) -> None:
        _require_samples(view)
        pixels = view.x.pixels
        self.shape: tuple[int, int, int] = pixels.shape[1:]
        self.columns = int(np.prod(self.shape))
        sums = [np.bincount(pixels[:, c].reshape(-1), minlength=256) for c in range(self.shape[0])]
        values = np.arange(256)
        mean = np.array([s @ values / s.sum() for s in sums])
        deviation = np.array([np.sqrt(s @ (values - m) ** 2 / s.sum()) for s, m in zip(sums, mean, strict=True)])
        if not deviation.any():
            raise NotApplicable("all pixels of all images are alike")
        self.mean, self.scale = mean, 1.0 / np.where(deviation > 0, deviation, 1.0)

    def __call__(self, x: Images) -> Tensor:
        _require_same(self, x)
        if x.pixels.shape[1:] != self.shape:
            raise ValueError(f"images of {x.pixels.shape[1:]}, training had {self.shape}")
        return torch.from_numpy(np.ascontiguousarray(x.pixels))

    def standardised(self, rows: Tensor) -> Tensor:
        """Pixels (…, c, h, w) float32, of mean 0 and deviation 1 in each channel."""
        mean, scale = (torch.as_tensor(v, dtype=torch.float32, device=rows.device) for v in (self.mean, self.scale))
        return (rows.float() - mean[:, None, None]) * scale[:, None, None]

    def dense(self, rows: Tensor) -> Tensor:
        """What a decoder must reproduce, (E, B, c·h·w)."""
        return self.standardised(rows).flatten(2)


class SequenceInputs:
    """Sequences; rows (n, steps, p) float32, each of the p channels standardised over samples and steps."""

    kind: ClassVar[Kind] = "sequence"

    def __init__(self, view: TrainView) -> None:
        _require_samples(view)
        self.steps, self.channels = view.x.values.shape[1:]
        self.columns = self.steps * self.channels
        self.standardizer = Standardizer.fit(view.x.values.reshape(-1, self.channels))
        if self.standardizer.n_varying == 0:
            raise NotApplicable("every channel of the sequences is constant")

    def __call__(self, x: Sequences) -> Tensor:
        _require_same(self, x)
        if x.values.shape[2] != self.channels:
            raise ValueError(f"sequences of {x.values.shape[2]} channels, training had {self.channels}")
        return torch.from_numpy(self.standardizer(x.values)).float()

    def dense(self, rows: Tensor) -> Tensor:
        """What a decoder must reproduce, (E, B, steps·p)."""
        return rows.flatten(2)


class GraphInputs:
    """Graphs; node and edge features and the flat view standardised by their training moments."""

    kind: ClassVar[Kind] = "graph"

    def __init__(self, view: TrainView) -> None:
        _require_samples(view)
        x: Graphs = view.x
        self.node_features, self.edge_features = x.nodes.shape[1], x.edge_features.shape[1]
        self.nodes, self.edges = Standardizer.fit(x.nodes), Standardizer.fit(x.edge_features)
        self.counts = Standardizer.fit(x.flat())
        self.columns = len(self.counts.mean)
        self.positions = x.positions is not None
        self.mean_size = len(x.nodes) / max(len(x), 1)

    def dense(self, rows: GraphRows) -> NoReturn:
        raise NotApplicable("graphs have no decoder, and this learner needs one")

    def __call__(self, x: Graphs) -> GraphRows:
        _require_same(self, x)
        if (x.nodes.shape[1], x.edge_features.shape[1]) != (self.node_features, self.edge_features):
            raise ValueError("graphs of other node or edge features than in training")
        if self.positions and x.positions is None:
            raise ValueError("graphs without positions, training had them")
        return GraphRows(
            torch.from_numpy(self.nodes(x.nodes)).float(),
            torch.from_numpy(x.node_offsets),
            torch.from_numpy(x.edges),
            torch.from_numpy(self.edges(x.edge_features)).float(),
            torch.from_numpy(x.edge_offsets),
            torch.from_numpy(self.counts(x.flat())).float(),
            torch.from_numpy(x.positions) if self.positions and x.positions is not None else None,
        )


Prepared = VectorInputs | ImageInputs | SequenceInputs | GraphInputs


def prepare(view: TrainView, *, whiten: bool | None = False) -> Prepared:
    """How ``view.x`` enters networks, fitted to it.

    whiten   vectors only, see ``AffineInput.for_view``
    Raises NotApplicable for too few samples, too few varying columns, and inputs that are constant or not finite.
    """
    kind = kind_of(view.x)
    if kind == "image":
        return ImageInputs(view)
    if kind == "sequence":
        return SequenceInputs(view)
    return GraphInputs(view) if kind == "graph" else VectorInputs(view, whiten)


def _require_samples(view: TrainView) -> None:
    if view.n_samples <= view.n_latents:
        raise NotApplicable(f"{view.n_samples} samples are too few for {view.n_latents} latents")


def _require_same(inputs: Prepared, x: Any) -> None:
    if kind_of(x) != inputs.kind:
        raise ValueError(f"x is of kind {kind_of(x)}, training had {inputs.kind}")


def _taken(offsets: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """As ``inputs.taken``, of tensors."""
    if not offsets.is_cuda:
        items, new = taken(offsets.numpy(), chosen.numpy())
        return torch.from_numpy(items), torch.from_numpy(new)
    start, size = offsets[chosen], offsets[chosen + 1] - offsets[chosen]
    new = torch.cat([size.new_zeros(1), size.cumsum(0)])
    return torch.repeat_interleave(start - new[:-1], size) + torch.arange(int(new[-1]), device=size.device), new
