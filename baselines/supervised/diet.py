"""DIET: cross-entropy over instance labels (Balestriero 2023; Reizinger et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from baselines.supervised.single_task import SingleTask, cross_entropy, integer_aux
from bench.api import Progress, TrainView, learner
from bench.toolkit.networks import Embedding, Streams
from bench.toolkit.rows import prepare
from bench.toolkit.training import Batch

MOST_VIEWS = 20
"""Samples of a group at most, on average, for it to be taken for the views of one instance."""


def names_instances(view: TrainView) -> bool:
    """Does the auxiliary variable name instances with a few views each, rather than classes or segments?"""
    aux = view.aux
    if aux is None or np.ndim(aux) != 1 or not np.issubdtype(np.asarray(aux).dtype, np.integer):
        return False
    return 1.5 <= view.n_samples / len(np.unique(aux)) <= MOST_VIEWS


class InstanceHead(nn.Module):
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
    assumes=("injective-mixing", "vmf-clusters-span", "instance-views"),
    summary="cross-entropy over instance labels: every sample, or every group of views, is its own class",
    paper="Reizinger, Bizeul, Juhos et al. 2024, arXiv 2410.21869; Balestriero 2023",
    guarantee="linear",
    assumptions="several views of every instance, drawn around von Mises-Fisher cluster centres that span the latents",
    needs=(),
    version=3,
    effort=("steps",),
    budgets={"smoke": {"steps": 100, "batch_size": 128}, "paper": {"steps": 4000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={"graph": {"steps": 800}, "image": {"steps": 350, "batch_size": 256, "learning_rate": 2e-3}},
)
@dataclass(kw_only=True, eq=False)
class Diet(SingleTask):
    """Codes (n, n_latents): features f(x) of a classifier of instances with logits W f(x).

    instances    "sample": every sample is an instance. Without augmentation the labels then carry no information
                 and nothing is identified. "aux": samples with the same integer auxiliary variable are views
                 of one instance, as in the paper's program, which draws a new latent around the instance's cluster
                 at every step. "auto": "aux" where that variable names groups of at most ``MOST_VIEWS`` samples on
                 average, which are views and not classes; else "sample". Which it was is in ``history_``

    Other parameters as in the base class. The softmax runs over the instances of the minibatch, a uniform sample
    of all (sampled softmax; the paper's program sums over all 10,240).
    """

    instances: str = "auto"
    steps: int = 800

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        if self.instances not in ("auto", "sample", "aux"):
            raise ValueError(f"instances={self.instances!r}: choose auto, sample or aux")
        self.inputs_ = prepare(view)
        index = np.arange(view.n_samples)
        views = self.instances == "aux" or (self.instances == "auto" and names_instances(view))
        if views:
            index = np.unique(integer_aux(view), return_inverse=True)[1].reshape(-1).astype(np.int64)
        n_instances, d = int(index.max()) + 1, view.n_latents

        def loss(batch: Batch) -> Tensor:
            logits = self.network_.head(self.network_.encoder(batch["x"]), batch["instance"])
            right = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
            return cross_entropy(logits, right)

        self.history_ = self._train(
            view,
            lambda init: InstanceHead(n_instances, d, init, distinct=not views),
            loss,
            {"x": self.inputs_(view.x), "instance": index},
            seed=seed,
            device=device,
            progress=progress,
            # A held-out sample that is the only view of its instance would meet a row of W that was never trained.
            validation_fraction=0.1 if views else 0.0,
        )
        self.history_ |= {"n_instances": n_instances, "instances": "aux" if views else "sample"}
        return self
