"""Single-task learners: what one target, or one set of labels, identifies.

Roeder, Metz, Kingma (ICML 2021): the features under a softmax classifier are identified up to a linear map, given
enough classes. Reizinger, Bizeul, Juhos et al. (2024, arXiv 2410.21869): for clusters on a sphere, cross-entropy over
class labels, or over one label per instance (DIET: Balestriero 2023), recovers the latents themselves up to a linear
map. Logits are W f(x), without bias. A single regression target, in contrast, identifies one direction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import NotApplicable, Progress, TrainView
from bench.toolkit.encoders import VectorNetwork, encode_rows, encoder
from bench.toolkit.encoders.vector import ResidualMLP
from bench.toolkit.networks import Streams, n_parameters
from bench.toolkit.preprocess import Float64
from bench.toolkit.rows import Prepared
from bench.toolkit.training import Loss, TrainingOptions, train


class _Network(nn.Module):
    """Encoder and head, trained together; only the encoder makes codes."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head


@dataclass(kw_only=True, eq=False)
class SingleTask:
    """What the three learners share: the encoder, its parameters, and ``encode``.

    steps, batch_size   minibatches, and samples in each
    learning_rate, weight_decay   of AdamW, one cycle
    hidden, blocks      width and number of residual blocks of the encoder of vectors; other kinds have theirs
                        (``bench.toolkit.encoders``)
    """

    steps: int = 1500
    batch_size: int = 512
    learning_rate: float = 1e-2
    weight_decay: float = 0.0
    hidden: int = 64
    blocks: int = 3
    inputs_: Prepared = field(init=False, repr=False)

    def _train(
        self,
        view: TrainView,
        head: Callable[[Streams], nn.Module],
        loss: Loss,
        rows: Mapping[str, Any],
        *,
        seed: int,
        device: str,
        progress: Progress,
        validation_fraction: float = 0.1,
    ) -> dict[str, Any]:
        """Train encoder and head from their seed; returns what happened, for ``history_``.

        head   makes the head from the stream of initial values, after the encoder
        rows   arrays or tensors of n rows each, a minibatch of which goes to ``loss``
        """
        init = Streams([seed], "init")
        network = encoder(self.inputs_, view.n_latents, init, vector=self._vector_network(view, init))
        self.network_ = _Network(network, head(init))
        self.n_parameters_ = n_parameters(self.network_)
        options = TrainingOptions(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup=0.1,
            weight_decay=self.weight_decay,
            validation_fraction=validation_fraction,
            clip_norm=1.0,
        )
        data = {
            name: torch.from_numpy(values) if isinstance(values, np.ndarray) else values
            for name, values in rows.items()
        }
        result = train(self.network_, loss, data, seeds=[seed], options=options, progress=progress, device=device)
        return result.history()

    def _vector_network(self, view: TrainView, init: Streams) -> VectorNetwork:
        return lambda columns: ResidualMLP(columns, self.hidden, self.blocks, view.n_latents, init)

    def encode(self, x: Any, aux: Any = None) -> Float64:
        device = next(self.network_.parameters()).device
        return encode_rows(self.network_.encoder, self.inputs_(x), device=device)


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over the rows (E,), of logits (E, B, C) and labels (E, B)."""
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), label.flatten(), reduction="none")
    return losses.view(label.shape).mean(dim=1)


def integer_aux(view: TrainView) -> np.ndarray[Any, np.dtype[np.integer[Any]]]:
    """The auxiliary variable (n,) where it is a category."""
    aux = view.aux
    if aux is None or np.ndim(aux) != 1 or not np.issubdtype(np.asarray(aux).dtype, np.integer):
        raise NotApplicable("needs labels: an integer for every sample as class label or auxiliary variable")
    return np.asarray(aux)
