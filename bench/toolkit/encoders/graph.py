"""The encoder of graphs: message passing, with a linear path from the flat view beside it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.toolkit.networks import Linear, Streams
from bench.toolkit.rows import GraphInputs, GraphRows


class GraphEncoder(nn.Module):
    """Graphs -> (1, B, width).

    Each of ``layers`` rounds gathers relu(h_neighbour + e) over the neighbours (Hu et al., ICLR 2020) and adds a
    perceptron of it to h. The sum of h over the nodes, in units of an average graph's size, goes through a last layer;
    a linear map of the flat view is added to it, as much of what graphs say is additive in their parts.
    """

    def __init__(self, inputs: GraphInputs, width: int, init: Streams, *, hidden: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.mean_size = inputs.mean_size
        self.enter = Linear(inputs.node_features, hidden, init)
        self.edge = nn.ModuleList(Linear(inputs.edge_features, hidden, init) for _ in range(layers))
        self.inner = nn.ModuleList(Linear(hidden, hidden, init, gain=math.sqrt(2)) for _ in range(layers))
        self.outer = nn.ModuleList(Linear(hidden, hidden, init, gain=0.5) for _ in range(layers))
        self.leave = Linear(hidden, width, init)
        self.linear = Linear(inputs.columns, width, init, bias=False)

    def forward(self, rows: GraphRows) -> Tensor:
        joined = rows.joined
        # an edge is kept once and speaks both ways
        source, target = torch.cat([joined[:, 0], joined[:, 1]]), torch.cat([joined[:, 1], joined[:, 0]])
        h = self.enter(rows.nodes[None])
        for edge, inner, outer in zip(self.edge, self.inner, self.outer, strict=True):
            e = edge(rows.edge_features[None])[0]
            message = torch.relu(h[0][source] + torch.cat([e, e]))
            gathered = h + torch.zeros_like(h).index_add(1, target, message[None])
            h = h + outer(torch.relu(inner(nn.functional.layer_norm(gathered, gathered.shape[-1:]))))
        per_graph = torch.zeros(1, len(rows), h.shape[2], device=h.device).index_add(1, rows.graph_of_node, h)
        out: Tensor = self.leave(per_graph / self.mean_size) + self.linear(rows.counts[None])
        return out
