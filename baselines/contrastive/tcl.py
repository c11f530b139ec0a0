"""Time-contrastive learning: tell the segments apart, and the factors' statistics appear in the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.linear.fastica import unmix_codes
from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.auxiliary import as_category
from bench.toolkit.encoders import encoder
from bench.toolkit.ensemble import EnsembleLearner
from bench.toolkit.networks import MLP, Linear, Streams
from bench.toolkit.preprocess import Float64
from bench.toolkit.rows import Rows, prepare
from bench.toolkit.training import Batch, TrainingOptions, TrainingResult, train


class SegmentClassifier(nn.Module):
    """Features |a(x)| (E, B, d) and logits of the segments, linear in them."""

    def __init__(self, network: nn.Module, d: int, n_segments: int, init: Streams) -> None:
        super().__init__()
        self.network = network
        self.head = Linear(d, n_segments, init, gain=0.1)

    def features(self, x: Any) -> Tensor:
        features: Tensor = self.network(x).abs()
        return features

    def forward(self, x: Any) -> Tensor:
        return self.head(self.features(x))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy (E,), in nats a sample."""
        log_p = torch.log_softmax(self(batch["x"]), dim=-1)
        return -log_p.gather(-1, batch["segment"][..., None])[..., 0].mean(dim=-1)


@learner(
    "tcl",
    assumes=("factorised-given-u", "sizes-are-truth"),
    summary="time-contrastive learning: segment classifier on |features|, then FastICA on these",
    paper="Hyvärinen & Morioka, NeurIPS 2016",
    guarantee="permutation+scaling",
    version=3,
    effort=("steps",),
    assumptions="of the statistic |z_j| or z_j², not of z_j itself: on data whose segments differ in variance alone "
    "the code tells a factor's size and not its sign; p(z | u) factorises and varies enough over segments",
    needs=("aux|labels",),
    budgets={"smoke": {"steps": 150}, "paper": {"steps": 10000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={
        "graph": {"steps": 1500},
        "image": {"steps": 1000, "batch_size": 128, "learning_rate": 1e-2, "weight_decay": 0.5},
    },
)
@dataclass(kw_only=True, eq=False)
class TCL(EnsembleLearner):
    """Multinomial regression of the segment on |a(x)|, then FastICA on |a(x)|.

    Where z | u is Gaussian with independent components of varying variance, log p(u | x) is linear in the z_j² up to a
    term without u, so that an optimal classifier's last layer holds them up to a linear map, which FastICA undoes. Two
    points that differ in the signs of their factors look alike to such a classifier: the sign is lost (logits that are
    linear in (a, a²) do not bring it back: tried, the features came out folded too).

    hidden, layers, activation      of the feature network
    whiten                          whiten x; None: where it has as many columns as latents
    steps, batch_size, learning_rate, weight_decay, validation_fraction   see ``bench.toolkit.training``
    """

    hidden: int = 100
    layers: int = 4
    activation: str = "leaky_relu"
    whiten: bool | None = None
    steps: int = 2500
    batch_size: int = 256
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    validation_fraction: float = 0.1
    max_iter: int = 500

    def _train(
        self, view: TrainView, seeds: Sequence[int], device: str, progress: Progress
    ) -> tuple[nn.Module, TrainingResult]:
        segment = segments_of(view)
        self.inputs_ = prepare(view, whiten=self.whiten)
        init, d, hidden = Streams(seeds, "init"), view.n_latents, [self.hidden] * (self.layers - 1)
        network = encoder(
            self.inputs_, d, init, vector=lambda columns: MLP([columns, *hidden, d], init, activation=self.activation)
        )
        model = SegmentClassifier(network, d, int(segment.max()) + 1, init)
        options = TrainingOptions(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            validation_fraction=self.validation_fraction,
        )
        rows = self._inputs(view.x, None) | {"segment": torch.from_numpy(segment)}
        return model, train(model, model.loss, rows, seeds=seeds, options=options, progress=progress, device=device)

    def _finish(self, view: TrainView, seed: int) -> None:
        features = super().encode(view.x)
        self.mean_, self.unmixing_, ended = unmix_codes(features, seed=seed, max_iter=self.max_iter, tol=1e-4)
        self.history_ |= ended

    def encode(self, x: Any, aux: Any = None) -> Float64:
        """Codes (n, r): unmixed features of unit variance; r is their rank, ``n_latents`` at most."""
        return (super().encode(x) - self.mean_) @ self.unmixing_

    def _inputs(self, x: Any, aux: Any) -> dict[str, Rows]:
        return {"x": self.inputs_(x)}

    def _codes(self, rows: dict[str, Any]) -> Tensor:
        return self.network_.features(rows["x"])


def segments_of(view: TrainView) -> np.ndarray:
    """Segment (n,) of every sample: the auxiliary variable where it is a category, else the class label.

    Raises NotApplicable where there is neither, or one segment only.
    """
    category = None if view.aux is None else as_category(np.asarray(view.aux))
    if category is None and view.labels is not None:
        category = np.asarray(view.labels, dtype=np.int64)
    if category is None:
        raise NotApplicable("needs a categorical auxiliary variable (segments) or class labels")
    present, segment = np.unique(category, return_inverse=True)
    if len(present) < 2:
        raise NotApplicable("there is one segment only, nothing to tell apart")
    return segment
