"""DIET on images as its authors train it: random crops and colour jitter of an image are the views of one instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from baselines.supervised.diet import Diet, InstanceHead
from baselines.supervised.single_task import cross_entropy
from bench.api import Progress, TrainView, learner
from bench.toolkit.networks import Streams
from bench.toolkit.rows import prepare
from bench.toolkit.training import Batch

SMALLEST_CROP = 0.6
"""Side of the smallest crop, as a part of the image's."""
JITTER = 0.3
"""Largest change of a channel's gain; a third of it is the largest shift, as a part of the range of pixels."""


@learner(
    "diet-augmented",
    assumes=("injective-mixing", "vmf-clusters-span", "instance-views"),
    summary="diet whose instances are images and whose views of one are random crops and colour jitter",
    paper="Reizinger, Bizeul, Juhos et al. 2024, arXiv 2410.21869; Balestriero 2023",
    guarantee="linear",
    assumptions="views differ in what is no factor; crops and jitter change place, size and hue, which are some",
    effort=("steps",),
    budgets={"smoke": {"steps": 60, "batch_size": 64}, "paper": {"steps": 4000}},
    accepts=("image",),
    by_kind={"image": {"steps": 350, "batch_size": 256, "learning_rate": 2e-3}},
)
@dataclass(kw_only=True, eq=False)
class AugmentedDiet(Diet):
    """Codes (n, n_latents) of images (n, c, h, w); every image is an instance, seen through other crops at every step.

    Parameters as of ``diet``, without ``instances``, which must stay "auto". The codes are of whole images.
    """

    steps: int = 800

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        if self.instances != "auto":
            raise ValueError(f"instances={self.instances!r}: here every image is an instance")
        self.inputs_ = prepare(view)
        n, d = view.n_samples, view.n_latents

        def loss(batch: Batch) -> Tensor:
            seen = augmented(batch["x"][0], batch.noise)[None]
            logits = self.network_.head(self.network_.encoder(seen), batch["instance"])
            right = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
            return cross_entropy(logits, right)

        self.history_ = self._train(
            view,
            lambda init: InstanceHead(n, d, init, distinct=True),
            loss,
            {"x": self.inputs_(view.x), "instance": np.arange(n)},
            seed=seed,
            device=device,
            progress=progress,
            validation_fraction=0.0,  # a held-out image would meet a row of W that was never trained
        )
        self.history_ |= {"n_instances": n, "instances": "augmented images"}
        return self


def augmented(images: Tensor, noise: Streams) -> Tensor:
    """One random view (n, c, h, w) float32 of each image, in the units of its pixels.

    A square crop of ``SMALLEST_CROP`` to all of the side, anywhere in the image, brought back to its size; then gain
    and shift of every channel.
    """
    n, channels = images.shape[:2]
    drawn = noise.uniform(n, 3 + 2 * channels)[0].to(images.device)
    side = SMALLEST_CROP + (1 - SMALLEST_CROP) * drawn[:, 0]
    place = (2 * drawn[:, 1:3] - 1) * (1 - side)[:, None]  # of the crop's middle; the image is [-1, 1]²
    maps = torch.zeros(n, 2, 3, device=images.device)
    maps[:, 0, 0] = maps[:, 1, 1] = side
    maps[:, :, 2] = place
    grid = nn.functional.affine_grid(maps, list(images.shape), align_corners=False)
    crops = nn.functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    gain, shift = (2 * drawn[:, 3:] - 1).reshape(n, 2, channels, 1, 1).unbind(1)
    return crops * (1 + JITTER * gain) + 255 * JITTER / 3 * shift
