"""Classification: features under a softmax over class labels (Reizinger et al. 2024; Roeder et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from baselines.supervised.single_task import SingleTask, cross_entropy, integer_aux
from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.networks import Linear
from bench.toolkit.rows import prepare
from bench.toolkit.training import Batch


def class_labels(view: TrainView) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Labels (n,) renumbered 0..C-1 without gaps: the classes, else an integer auxiliary variable.

    Raises NotApplicable without either, for fewer than two classes, and for a class with one sample: with nothing to
    share, it says nothing about the latents, and its sample cannot be both learned from and held out.
    """
    labels = integer_aux(view) if view.labels is None else view.labels
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
    assumes=("injective-mixing", "vmf-clusters-span"),
    summary="cross-entropy over class labels (or an integer auxiliary variable), logits W f(x)",
    paper="Reizinger, Bizeul, Juhos et al. 2024, arXiv 2410.21869; Roeder, Metz, Kingma 2021, ICML",
    guarantee="linear",
    version=2,
    assumptions="clusters of von Mises-Fisher type, one a class, whose centres span the latents",
    needs=("labels|aux",),
    effort=("steps",),
    budgets={"smoke": {"steps": 150, "batch_size": 128}, "paper": {"steps": 4000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={
        "graph": {"steps": 800},
        "image": {"steps": 1000, "batch_size": 128, "learning_rate": 1e-2, "weight_decay": 0.5},
    },
)
@dataclass(kw_only=True, eq=False)
class SingleTaskClassification(SingleTask):
    """Codes (n, n_latents): features f(x) of a classifier with logits W f(x); parameters as in the base class.

    Raises NotApplicable where classes are too few to span the factors, which is what its guarantee rests on.
    """

    needs_span: ClassVar[bool] = True

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.inputs_ = prepare(view)
        labels = class_labels(view)
        n_classes, d = int(labels.max()) + 1, view.n_latents
        if self.needs_span and n_classes <= d:
            raise NotApplicable(f"{n_classes} classes cannot span {d} latents: at least {d + 1} are needed")

        def loss(batch: Batch) -> Tensor:
            return cross_entropy(self.network_.head(self.network_.encoder(batch["x"])), batch["label"])

        self.history_ = self._train(
            view,
            lambda init: Linear(d, n_classes, init, bias=False),
            loss,
            {"x": self.inputs_(view.x), "label": labels},
            seed=seed,
            device=device,
            progress=progress,
        )
        self.history_ |= {"n_classes": n_classes}
        return self


@learner(
    "few-class-classification",
    summary="the same network and loss on classes too few to span the factors, as benchmarks of images have them",
    paper="Reizinger, Bizeul, Juhos et al. 2024, arXiv 2410.21869, Table 4: the label is the shape alone",
    guarantee="none",
    assumptions="nothing is claimed: the theorem needs more classes than factors",
    needs=("labels",),
    effort=("steps",),
    budgets={"smoke": {"steps": 150, "batch_size": 128}, "paper": {"steps": 4000}},
    by_kind={"image": {"steps": 1000, "batch_size": 128, "learning_rate": 1e-2, "weight_decay": 0.5}},
    accepts=("image",),
)
@dataclass(kw_only=True, eq=False)
class FewClassClassification(SingleTaskClassification):
    """Codes (n, n_latents) of the classifier, whatever the number of classes: what is lost is to be seen.

    Raises NotApplicable where there are more classes than latents, which is the base class's case.
    """

    needs_span: ClassVar[bool] = False

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        n_classes = int(class_labels(view).max()) + 1
        if n_classes > view.n_latents:
            raise NotApplicable(f"{n_classes} classes can span {view.n_latents} latents: single-task-classification")
        return super().fit(view, seed=seed, device=device, progress=progress)
