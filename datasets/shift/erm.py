"""Features of a network trained by empirical risk minimisation on data that mislead: what shift does to plain training.

A reference row that needs the truth: the classes are those that the few-shot tasks ask for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import TrainView

Float64 = NDArray[np.float64]
BIASED = 0.95  # share of a class's training samples with the attribute of the class
FEATURES = 64
STEPS, BATCH_SIZE = 600, 128
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1.0


@dataclass(frozen=True)
class Features:
    """Called, gives the features (n, 64) of the training and the held-out images.

    label     (n, d) bool, d binary classes of the training images, one head each
    used      (n, d) bool, the images that each head is trained on

    One network on all classes: logistic losses, each on its own images. The features are its last hidden layer.
    """

    train: TrainView
    x_test: Any
    label: NDArray[np.bool_]
    used: NDArray[np.bool_]
    seed: int

    def __call__(self) -> tuple[Float64, Float64]:
        import torch

        from bench.toolkit.encoders import encode_rows
        from bench.toolkit.encoders.image import ImageEncoder
        from bench.toolkit.networks import Streams
        from bench.toolkit.rows import ImageInputs
        from bench.toolkit.training import Batch, TrainingOptions, train

        inputs = ImageInputs(self.train)
        network = ImageEncoder(inputs, self.label.shape[1], Streams([self.seed], "init"), hidden=FEATURES)

        def loss(batch: Batch) -> torch.Tensor:
            margin = (2 * batch["label"] - 1) * network(batch["x"])
            used = batch["used"]
            return (used * torch.nn.functional.softplus(-margin)).sum(dim=(1, 2)) / used.sum(dim=(1, 2)).clamp(min=1)

        rows = inputs(self.train.x)
        train(
            network,
            loss,
            {
                "x": rows,
                "label": torch.from_numpy(self.label.astype(np.float32)),
                "used": torch.from_numpy(self.used.astype(np.float32)),
            },
            seeds=[self.seed],
            options=TrainingOptions(
                steps=STEPS,
                batch_size=BATCH_SIZE,
                learning_rate=LEARNING_RATE,
                weight_decay=WEIGHT_DECAY,
                warmup=0.1,
                clip_norm=1.0,
            ),
            progress=lambda fraction, message: None,
        )
        return encode_rows(network.hidden, rows), encode_rows(network.hidden, inputs(self.x_test))


def misleading_images(rng: np.random.Generator, label: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Images (n, d) to train each of d classes on: in 95 % of them the sign of another factor is the class.

    label   (n, d) signs of the factors. The other factor is the next one in a random order of all, taken as a circle
    """
    order = rng.permutation(label.shape[1])
    other = np.empty_like(order)
    other[order] = np.roll(order, -1)
    same = label == label[:, other]
    return np.asarray(same | (rng.random(label.shape) < (1 - BIASED) / BIASED))
