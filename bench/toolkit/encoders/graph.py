"""The encoder of graphs: message passing along edges and, where there are positions, between all pairs of nodes.

A linear path from the flat view stands beside it, as much of what graphs say is additive in their parts. Nodes pass
messages along edges as in GINE (Hu et al., ICLR 2020) and, through filters of their distance, as in SchNet (Schütt et
al., NeurIPS 2017). Matrix products are on nodes, never on edges or pairs, of which there are many more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.toolkit.encoders.egnn import EquivariantRounds
from bench.toolkit.networks import Linear, Streams
from bench.toolkit.rows import GraphInputs, GraphRows

ARCHITECTURES = ("auto", "edges", "distances", "egnn")
N_FILTERS = 24
N_CHARGES = 16  # of ``Moments``
REACH = 8.0  # Å, or whatever unit positions have: distances beyond it are not told apart
_ROOT_FLOOR = 1e-6  # squared length


class GraphEncoder(nn.Module):
    """Graphs -> (1, B, width).

    hidden, layers   width and number of the rounds of messages
    architecture     "edges" (GINE), "distances" (GINE and distance filters), "auto" (distances where there are
                     positions), or "egnn" (``EquivariantRounds``)
    linear           the linear path from the flat view; False where the caller has one beside the encoder
    readout          a hidden layer on the sum, beside it; False: codes are affine in the sum

    The sum of what nodes know after the rounds, in units of an average graph's size, goes through a residual layer and
    a last affine map; a linear map of the flat view is added to it. The layer is there for what is no sum over atoms,
    such as ratios of numbers of parts, which a molecule's shape is made of; with distances ``Moments`` joins the sum.
    Codes depend on positions through lengths alone: they do not change when a graph is moved or turned, nor when its
    nodes or edges are listed in another order.
    Raises ValueError for an architecture that needs positions where there are none.
    """

    def __init__(
        self,
        inputs: GraphInputs,
        width: int,
        init: Streams,
        *,
        hidden: int = 64,
        layers: int = 3,
        architecture: str = "auto",
        linear: bool = True,
        readout: bool = True,
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture={architecture!r}: choose one of {', '.join(ARCHITECTURES)}")
        if architecture in ("distances", "egnn") and not inputs.positions:
            raise ValueError(f"architecture={architecture!r} needs positions, and the graphs have none")
        self.mean_size = inputs.mean_size
        self.distances = inputs.positions and architecture in ("auto", "distances")
        self.enter = Linear(inputs.node_features, hidden, init)
        self.equivariant = EquivariantRounds(hidden, layers, init) if architecture == "egnn" else None
        self.rounds = nn.ModuleList(
            MessageRound(hidden, inputs.edge_features, N_FILTERS if self.distances else 0, init) for _ in range(layers)
        )
        self.moments = Moments(hidden, init) if inputs.positions and architecture in ("auto", "distances") else None
        self.readout = Readout(hidden, init) if readout else None
        self.leave = Linear(hidden, width, init)
        self.linear = Linear(inputs.columns, width, init, bias=False) if linear else None

    def forward(self, rows: GraphRows) -> Tensor:
        h = self.enter(rows.nodes[None])[0]
        joined = rows.joined
        pairs = filters = None
        if self.distances or self.equivariant is not None:
            pairs = all_pairs(rows.node_offsets)
        if self.distances:
            assert pairs is not None
            filters = radial_basis(distances(rows, pairs))
        if self.equivariant is not None:
            assert pairs is not None
            h = self.equivariant(h, rows.positions, pairs)
        for message_round in self.rounds:
            h = message_round(h, joined, rows.edge_features, pairs, filters)
        per_graph = h.new_zeros(len(rows), h.shape[1]).index_add(0, rows.graph_of_node, h) / self.mean_size
        if self.moments is not None:
            per_graph = per_graph + self.moments(h, rows)
        codes: Tensor = self.leave(per_graph[None] if self.readout is None else self.readout(per_graph[None]))
        return codes if self.linear is None else codes + self.linear(rows.counts[None])


class Moments(nn.Module):
    """W |Σ_i q_i (r_i − r̄)|, q the ``N_CHARGES`` charges that an affine map reads off every node: (B, hidden).

    How far charges lie apart, as in a molecule's dipole (Schütt, Unke, Gastegger, ICML 2021), is no sum over nodes of
    what distances say. Positions are taken from their mean, so that charges need not sum to 0.
    """

    def __init__(self, hidden: int, init: Streams) -> None:
        super().__init__()
        self.charges = Linear(hidden, N_CHARGES, init)
        self.outer = Linear(N_CHARGES, hidden, init)

    def forward(self, h: Tensor, rows: GraphRows) -> Tensor:
        assert rows.positions is not None
        of, n = rows.graph_of_node, len(rows)
        size = rows.node_offsets.diff().clamp(min=1).to(h.dtype)[:, None]
        centre = h.new_zeros(n, 3).index_add(0, of, rows.positions) / size
        arm = rows.positions - centre.index_select(0, of)
        pulls = self.charges(h[None])[0][:, :, None] * arm[:, None, :]
        dipoles = h.new_zeros(n, N_CHARGES, 3).index_add(0, of, pulls)
        lengths = (dipoles.square().sum(2) + _ROOT_FLOOR).sqrt()  # the root has no derivative at 0
        out: Tensor = self.outer(lengths[None])[0]
        return out


class Readout(nn.Module):
    """s + W₂ relu(W₁ s) of sums s (1, B, hidden)."""

    def __init__(self, hidden: int, init: Streams) -> None:
        super().__init__()
        self.inner = Linear(hidden, hidden, init)
        self.outer = Linear(hidden, hidden, init, gain=0.5)

    def forward(self, per_graph: Tensor) -> Tensor:
        return per_graph + self.outer(torch.relu(self.inner(per_graph)))


class MessageRound(nn.Module):
    """h + W₂ relu(norm(v + Σ messages)), v = W₁ h; messages relu(v_j + W e) along edges, v_j ∘ filter(distance)."""

    def __init__(self, hidden: int, edge_features: int, n_filters: int, init: Streams) -> None:
        super().__init__()
        self.inner = Linear(hidden, hidden, init)
        self.edge = Linear(edge_features, hidden, init)
        self.filter = Linear(n_filters, hidden, init, bias=False) if n_filters else None
        self.outer = Linear(hidden, hidden, init, gain=0.5)

    def forward(
        self, h: Tensor, joined: Tensor, edge_features: Tensor, pairs: Tensor | None, filters: Tensor | None
    ) -> Tensor:
        v = self.inner(h[None])[0]
        e = self.edge(edge_features[None])[0]
        one, other = joined.unbind(1)
        # an edge is kept once and speaks both ways; index_select, as the gradient of v[one] is slow to add up
        total = v.index_add(0, other, torch.relu(v.index_select(0, one) + e))
        total = total.index_add(0, one, torch.relu(v.index_select(0, other) + e))
        if self.filter is not None:
            assert pairs is not None
            assert filters is not None
            w = self.filter(filters[None])[0]
            one, other = pairs.unbind(1)
            total = total.index_add(0, other, v.index_select(0, one) * w)
            total = total.index_add(0, one, v.index_select(0, other) * w)
        out: Tensor = h + self.outer(torch.relu(nn.functional.layer_norm(total, total.shape[-1:]))[None])[0]
        return out


def all_pairs(node_offsets: Tensor) -> Tensor:
    """(P, 2) int64: each unordered pair of nodes of one graph once, counted over all nodes."""
    size = node_offsets.diff()
    last = torch.repeat_interleave(node_offsets[1:], size)  # the end of each node's graph
    one = torch.arange(len(last), device=last.device)
    partners = last - one - 1  # those listed after it
    first = torch.repeat_interleave(one, partners)
    start = torch.repeat_interleave(partners.cumsum(0) - partners, partners)
    return torch.stack([first, first + 1 + torch.arange(len(first), device=last.device) - start], dim=1)


def distances(rows: GraphRows, pairs: Tensor) -> Tensor:
    """(P,) distances of pairs of nodes."""
    assert rows.positions is not None
    return (rows.positions[pairs[:, 0]] - rows.positions[pairs[:, 1]]).square().sum(1).sqrt()


def radial_basis(distance: Tensor) -> Tensor:
    """(P, N_FILTERS) Gaussian bumps of the distance, evenly spaced up to ``REACH``."""
    centres = torch.linspace(0.0, REACH, N_FILTERS, device=distance.device)
    spacing = REACH / (N_FILTERS - 1)
    return torch.exp(-0.5 * ((distance.clamp(max=REACH)[:, None] - centres) / spacing).square())
