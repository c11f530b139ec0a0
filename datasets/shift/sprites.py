"""``shift-sprites``: sprites whose few-shot supports mislead, lack a combination, or were stained elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, Episode, dataset
from bench.toolkit.inputs import Images
from datasets.images.rendered import load_sprites
from datasets.shift.episodes import how_many, misleading_episode, moved_episode, spurious_pairs
from datasets.shift.erm import Features, misleading_images
from datasets.synthetic.common import require_choice, require_range

SHIFTS = ("spurious", "combination", "stain")
HOSPITALS, SEEN = 5, 3


@dataset(
    "shift-sprites",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<5": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
    },
    paper="after Fumero et al. 2023, NeurIPS",
    summary="sprites: pre-training on sparse tasks, then few-shot tasks with a spurious factor",
    provides=("targets", "binary"),
    kind="image",
    budgets={"smoke": {"n": 3000, "n_tasks": 10, "side": 16, "episodes": 4}, "paper": {"n": 50000}},
    on_request=True,
    version=2,
)
@dataset(
    "shift-sprites-stain",
    properties={"linear-mixing": "no", "gaussian-given-target": "no"},
    paper="after Fumero et al. 2023, NeurIPS; Bandi et al. 2018 (Camelyon17)",
    summary="sprites in the colours of five places: supports from three, queries from two that nobody trained on",
    provides=("targets", "binary"),
    kind="image",
    defaults={"shift": "stain"},
    budgets={"smoke": {"n": 3000, "n_tasks": 10, "side": 16, "episodes": 4}, "paper": {"n": 50000}},
    on_request=True,
    version=2,
)
def load_shift_sprites(
    *,
    seed: int,
    n: int = 10_000,
    side: int = 32,
    n_tasks: int = 40,
    shift: str = "spurious",
    aligned: float = 0.9,
    episodes: int = 100,
) -> Data:
    """Sprites with sparse tasks to learn from, and few-shot tasks whose classes are signs of single factors.

    seed       of all draws
    n, side, n_tasks   as of sprites
    shift      "spurious": another factor's sign is the class in the share ``aligned`` of the support; "combination":
               one of the four groups is missing; "stain": a colour matrix and a gamma for each of five places,
               two of which appear in queries alone
    episodes   few-shot tasks with 10 samples of each class; two fifths as many with 25, a fifth with 100
    Raises ValueError for other parameters and BadData where n is too small for 100 shots.
    """
    require_choice("shift", shift, SHIFTS)
    require_range("aligned", aligned, 0.5, 1.0)
    require_range("episodes", episodes, 1)
    data = load_sprites(seed=seed, n=n, side=side, n_tasks=n_tasks)
    rng_episodes, rng_stain, rng_erm = np.random.default_rng([seed, 2]).spawn(3)
    x, x_test, place = data.train.x, data.eval.x_test, None
    if shift == "stain":
        palettes = [(_colours(rng_stain), float(np.exp(0.3 * rng_stain.standard_normal()))) for _ in range(HOSPITALS)]
        place = rng_stain.integers(HOSPITALS, size=len(x_test))
        x, x_test = stained(x, rng_stain.integers(SEEN, size=len(x)), palettes), stained(x_test, place, palettes)
    assert data.eval.z_test is not None
    z = np.asarray(data.eval.z_test)
    drawn: list[Episode] = []
    for shots, count in how_many(episodes).items():
        for core, other in spurious_pairs(rng_episodes, z.shape[1], count):
            label, attribute = z[:, core] > 0, z[:, other] > 0
            if place is not None:
                drawn.append(moved_episode(rng_episodes, label, place, shots, seen=SEEN))
            else:
                missing = shift == "combination"
                drawn.append(
                    misleading_episode(rng_episodes, label, attribute, shots, aligned=aligned, missing=missing)
                )
    train = replace(data.train, x=x, labels=None, aux=None)
    label = np.asarray(data.eval.z_train) > 0
    used = misleading_images(rng_erm, label) if shift == "spurious" else np.ones_like(label)
    erm = Features(train, x_test, label, used, seed)
    return Data(
        train,
        replace(data.eval, x_test=x_test, aux_test=None, episodes=tuple(drawn), oracles={"erm": erm}),
        {**data.info, "shift": shift, "episodes": len(drawn)},
    )


def stained(x: Images, place: NDArray[np.int64], palettes: list[tuple[NDArray[np.float64], float]]) -> Images:
    """The images, each in the colours (matrix, gamma) of its place."""
    pixels = x.pixels.copy()
    for k, (matrix, gamma) in enumerate(palettes):
        of_place = place == k
        mixed = np.einsum("cd,ndhw->nchw", matrix, pixels[of_place] / np.float32(255), optimize=True)
        pixels[of_place] = 255 * np.clip(mixed, 0, 1) ** gamma + 0.5
    return Images(pixels)


def _colours(rng: np.random.Generator) -> NDArray[np.float64]:
    """A matrix (3, 3) near the identity whose rows sum to 1: white stays white."""
    matrix = np.eye(3) + 0.2 * rng.standard_normal((3, 3))
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))
