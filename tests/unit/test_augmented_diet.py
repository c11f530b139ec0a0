"""Views of images: they stay near the image's pixels, keep what crops keep, and are drawn from the given stream."""

import numpy as np
import torch

from baselines.supervised.augmented_diet import JITTER, AugmentedDiet, augmented
from baselines.supervised.diet import Diet
from bench.toolkit.networks import Streams
from datasets.images.rendered import load_sprites


def test_views_are_crops_of_the_image_in_other_colours() -> None:
    flat = torch.full((50, 3, 8, 8), 100, dtype=torch.uint8)
    seen = augmented(flat, Streams([0], "noise"))
    assert seen.shape == (50, 3, 8, 8)
    assert seen.dtype == torch.float32
    assert torch.allclose(seen.std(dim=(2, 3)), torch.zeros(50, 3), atol=1e-3)  # a crop of one colour has one colour
    low, high = 100 * (1 - JITTER) - 255 * JITTER / 3, 100 * (1 + JITTER) + 255 * JITTER / 3
    means = seen.mean(dim=(2, 3))
    assert low <= float(means.min()) < 80
    assert 120 < float(means.max()) <= high
    assert torch.equal(seen, augmented(flat, Streams([0], "noise")))
    assert not torch.equal(seen, augmented(flat, Streams([1], "noise")))


def test_crops_move_and_enlarge_what_is_seen() -> None:
    dot = torch.zeros(300, 1, 33, 33, dtype=torch.uint8)
    dot[:, :, 14:19, 14:19] = 200
    seen = augmented(dot, Streams([0], "noise"))[:, 0]
    bright = (seen > seen.flatten(1).median(dim=1).values[:, None, None] + 80).float()
    area = bright.sum(dim=(1, 2))
    assert float(area.median()) > 27  # 25 pixels in the image itself
    columns = (bright.sum(1) * torch.arange(33)).sum(1) / area.clamp(min=1)
    assert float(columns[area > 5].std()) > 2


def test_codes_are_of_whole_images_and_the_record_says_what_an_instance_was() -> None:
    view = load_sprites(seed=0, n=300, side=16, n_tasks=2).train
    learner = AugmentedDiet(steps=30, batch_size=64, learning_rate=2e-3)
    learner.fit(view, seed=0, device="cpu", progress=lambda fraction, text="": None)
    codes = learner.encode(view.x)
    assert codes.shape == (300, view.n_latents)
    assert np.isfinite(codes).all()
    assert learner.history_["instances"] == "augmented images"
    plain = Diet(steps=30, batch_size=64, learning_rate=2e-3)
    plain.fit(view, seed=0, device="cpu", progress=lambda fraction, text="": None)
    assert not np.allclose(codes, plain.encode(view.x), atol=1e-3)  # of the same draws but for the views
