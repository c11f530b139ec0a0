"""Single-task learners: what one target, or one set of labels, identifies.

Roeder, Metz, Kingma (ICML 2021): the features under a softmax classifier are identified up to a linear map, given
enough classes. Reizinger, Bizeul, Juhos et al. (2024, arXiv 2410.21869): for clusters on a sphere, cross-entropy over
class labels, or over one label per instance (DIET: Balestriero 2023), recovers the latents themselves up to a linear
map. Logits are W f(x), without bias. A single regression target, in contrast, identifies one direction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from baselines.networks import Embedding, Linear, Streams, n_parameters
from baselines.preprocess import Float64, Standardizer, standardizer_for
from baselines.residual import ResidualMLP, encode_with
from baselines.training import Batch, Loss, TrainingOptions, train
from bench.api import NotApplicable, Progress, TrainView, learner


class _Network(nn.Module):
    """Encoder and head, trained together; only the encoder makes codes."""

    def __init__(self, encoder: ResidualMLP, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head


@dataclass(kw_only=True, eq=False)
class _SingleTask:
    """What the three learners share: the encoder, its parameters, and ``encode``.

    steps, batch_size   minibatches, and samples in each
    learning_rate, weight_decay   of AdamW, one cycle
    hidden, blocks      width and number of residual blocks of the encoder (``baselines.residual``)
    """

    steps: int = 1500
    batch_size: int = 512
    learning_rate: float = 1e-2
    weight_decay: float = 0.0
    hidden: int = 64
    blocks: int = 3
    standardizer_: Standardizer = field(init=False, repr=False)

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
        encoder = ResidualMLP(view.x.shape[1], self.hidden, self.blocks, view.n_latents, init)
        self.network_ = _Network(encoder, head(init))
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
        data = {name: torch.as_tensor(values) for name, values in rows.items()}
        result = train(self.network_, loss, data, seeds=[seed], options=options, progress=progress, device=device)
        return result.history()

    def _inputs(self, x: Any) -> Tensor:
        return torch.from_numpy(self.standardizer_(x)).float()

    def encode(self, x: Any, aux: Any = None) -> Float64:
        return encode_with(self.network_.encoder, self.standardizer_, x)


def _cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Mean over the rows (E,), of logits (E, B, C) and labels (E, B)."""
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), label.flatten(), reduction="none")
    return losses.view(label.shape).mean(dim=1)


def _integer_aux(view: TrainView) -> np.ndarray[Any, np.dtype[np.integer[Any]]]:
    """The auxiliary variable (n,) where it is a category."""
    aux = view.aux
    if aux is None or np.ndim(aux) != 1 or not np.issubdtype(np.asarray(aux).dtype, np.integer):
        raise NotApplicable("needs labels: an integer for every sample as class label or auxiliary variable")
    return np.asarray(aux)


def class_labels(view: TrainView) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Labels (n,) renumbered 0..C-1 without gaps: the classes, else an integer auxiliary variable.

    Raises NotApplicable without either, for fewer than two classes, and for a class with one sample: with nothing to
    share, it says nothing about the latents, and its sample cannot be both learned from and held out.
    """
    labels = _integer_aux(view) if view.labels is None else view.labels
    names, numbered, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise NotApplicable("needs at least two classes; every sample has the same label")
    if counts.min() < 2:
        raise NotApplicable(
            f"class {names[counts.argmin()]} has one sample ({int((counts < 2).sum())} such class(es)); "
            "merge or leave out classes with fewer than two"
        )
    return numbered.reshape(-1).astype(np.int64)


@learner(
    "single-task-classification",
    summary="cross-entropy over class labels (or an integer auxiliary variable), logits W f(x)",
    paper="Reizinger, Bizeul, Juhos et al. 2024, arXiv 2410.21869; Roeder, Metz, Kingma 2021, ICML",
    guarantee="linear",
    version=2,
    assumptions="clusters of von Mises-Fisher type, one a class, whose centres span the latents",
    needs=("labels|aux",),
    budgets={"smoke": {"steps": 150, "batch_size": 128}, "paper": {"steps": 4000}},
)
@dataclass(kw_only=True, eq=False)
class SingleTaskClassification(_SingleTask):
    """Codes (n, n_latents): features f(x) of a classifier with logits W f(x); parameters as in the base class."""

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.standardizer_ = standardizer_for(view)
        labels = class_labels(view)
        n_classes, d = int(labels.max()) + 1, view.n_latents
        if n_classes <= d:
            raise NotApplicable(f"{n_classes} classes cannot span {d} latents: at least {d + 1} are needed")

        def loss(batch: Batch) -> Tensor:
            return _cross_entropy(self.network_.head(self.network_.encoder(batch["x"])), batch["label"])

        self.history_ = self._train(
            view,
            lambda init: Linear(d, n_classes, init, bias=False),
            loss,
            {"x": self._inputs(view.x), "label": labels},
            seed=seed,
            device=device,
            progress=progress,
        )
        self.history_ |= {"n_classes": n_classes}
        return self


@learner(
    "single-task-regression",
    summary="one target, mean squared error: the degenerate case",
    paper="Roeder, Metz, Kingma 2021, ICML (what their diversity condition excludes)",
    guarantee="none",
    version=2,
    assumptions="only the direction of the one target's head is determined",
    needs=("targets",),
    budgets={"smoke": {"steps": 150, "batch_size": 128}, "paper": {"steps": 4000}},
)
@dataclass(kw_only=True, eq=False)
class SingleTaskRegression(_SingleTask):
    """Codes (n, n_latents): features of a network trained on one task's targets; parameters as in the base class.

    task    the task to learn; of a multi-task dataset all others are ignored
    """

    task: int = 0

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.standardizer_ = standardizer_for(view)
        if not 0 <= self.task < view.n_tasks:
            raise NotApplicable(f"task {self.task} does not exist: the data has {view.n_tasks}")
        mine = np.asarray(view.task) == self.task
        y = np.asarray(view.y, dtype=np.float64)[mine]
        d = view.n_latents
        if len(y) <= d:
            raise NotApplicable(f"task {self.task} has {len(y)} targets, too few for {d} latents")
        if not np.isfinite(y).all():
            raise NotApplicable(f"task {self.task} holds targets that are not finite; leave those out")
        if y.std() <= 1e-12 * np.abs(y).max():
            raise NotApplicable(f"the target of task {self.task} is constant")

        def loss(batch: Batch) -> Tensor:
            predicted = self.network_.head(self.network_.encoder(batch["x"]))[..., 0]
            return 0.5 * (predicted - batch["y"]).square().mean(dim=1)

        self.history_ = self._train(
            view,
            lambda init: Linear(d, 1, init),
            loss,
            {
                "x": self._inputs(view.x)[np.asarray(view.sample)[mine]],
                "y": ((y - y.mean()) / y.std()).astype(np.float32),
            },
            seed=seed,
            device=device,
            progress=progress,
        )
        self.history_ |= {"task": self.task}
        return self


class _InstanceHead(nn.Module):
    """Rows w_i of W, one an instance: logits of a batch over the instances in it.

    distinct   no instance comes twice in a batch. Small initial rows let the views of a cluster move together
    """

    def __init__(self, n_instances: int, d: int, init: Streams, *, distinct: bool = False) -> None:
        super().__init__()
        self.distinct = distinct
        self.table = Embedding(n_instances, d, init, scale=0.05)

    def forward(self, features: Tensor, instance: Tensor) -> Tensor:
        """Logits (E, B, B): row b over the instances of the batch, the right one on the diagonal, each counted once."""
        logits = features @ self.table(instance).mT
        if self.distinct:
            return logits
        same = instance[:, :, None] == instance[:, None, :]
        repeated = same.tril(diagonal=-1).any(dim=2)  # an earlier row has the same instance
        left_out = same | repeated[:, None, :]
        left_out.diagonal(dim1=1, dim2=2).fill_(False)
        return logits.masked_fill(left_out, -torch.inf)


@learner(
    "diet",
    summary="cross-entropy over instance labels: every sample, or every group of views, is its own class",
    paper="Reizinger, Bizeul, Juhos et al. 2024, arXiv 2410.21869; Balestriero 2023",
    guarantee="linear",
    assumptions="several views of every instance, drawn around von Mises-Fisher cluster centres that span the latents",
    needs=(),
    version=2,
    budgets={"smoke": {"steps": 100, "batch_size": 128}, "paper": {"steps": 4000}},
)
@dataclass(kw_only=True, eq=False)
class Diet(_SingleTask):
    """Codes (n, n_latents): features f(x) of a classifier of instances with logits W f(x).

    instances    "sample": every sample is an instance. Without augmentation the labels then carry no information
                 and nothing is identified. "aux": samples with the same integer auxiliary variable are views
                 of one instance, as in the paper's program, which draws a new latent around the instance's cluster
                 at every step

    Other parameters as in the base class. The softmax runs over the instances of the minibatch, a uniform sample
    of all (sampled softmax; the paper's program sums over all 10,240).
    """

    instances: str = "sample"
    steps: int = 800

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        if self.instances not in ("sample", "aux"):
            raise ValueError(f"instances={self.instances!r}: choose sample or aux")
        self.standardizer_ = standardizer_for(view)
        index = np.arange(view.n_samples)
        if self.instances == "aux":
            index = np.unique(_integer_aux(view), return_inverse=True)[1].reshape(-1).astype(np.int64)
        n_instances, d = int(index.max()) + 1, view.n_latents

        def loss(batch: Batch) -> Tensor:
            logits = self.network_.head(self.network_.encoder(batch["x"]), batch["instance"])
            right = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
            return _cross_entropy(logits, right)

        self.history_ = self._train(
            view,
            lambda init: _InstanceHead(n_instances, d, init, distinct=self.instances == "sample"),
            loss,
            {"x": self._inputs(view.x), "instance": index},
            seed=seed,
            device=device,
            progress=progress,
            # A held-out sample that is the only view of its instance would meet a row of W that was never trained.
            validation_fraction=0.0,
        )
        self.history_ |= {"n_instances": n_instances}
        return self
