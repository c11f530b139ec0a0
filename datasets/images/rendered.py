"""``sprites`` and ``room``: images rendered from known factors, so that no download is needed.

The shape is a category and no factor: it is drawn apart from the factors, and neither asked for nor scored. Neither is
the angle of a sprite, which nobody learns (docs/images.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, EvalView, TrainView, dataset
from bench.toolkit.inputs import Images
from datasets.images import factors, room, sprites
from datasets.images.factors import Float64
from datasets.images.supervision import Known, Supervision
from datasets.synthetic.common import MAX_INDEPENDENT, extra_held_out, require_range

Draw = Callable[[np.random.Generator, Float64], tuple[Images, NDArray[np.int64]]]


@dataset(
    "sprites",
    properties={
        "injective-mixing": {"angle=true": "no", "otherwise": "yes"},
        "linear-mixing": "no",
        "heads-span": {"n_tasks<5": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "labels=hard-cells": "no", "otherwise": "nearly"},
    },
    paper="none: made for this suite, after dSprites (Matthey et al. 2017); tasks of Lachapelle et al. 2023",
    summary="rendered shapes: size, place and hues as factors; 40 sparse binary tasks, 100 cells as classes",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
    version=2,
)
@dataset(
    "sprites-shape",
    properties={
        "injective-mixing": {"angle=true": "no", "otherwise": "yes"},
        "linear-mixing": "no",
        "heads-span": {"n_tasks<5": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "labels=hard-cells": "no", "otherwise": "nearly"},
    },
    paper="Reizinger et al. 2024, arXiv 2410.21869: the label is the category alone",
    summary="sprites whose only label is the shape: four classes that say nothing about the factors",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    defaults={"labels": "category"},
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
    version=2,
)
@dataset(
    "sprites-held-out",
    properties={
        "injective-mixing": {"angle=true": "no", "otherwise": "yes"},
        "linear-mixing": "no",
        "heads-span": {"n_tasks<5": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "labels=hard-cells": "no", "otherwise": "nearly"},
    },
    paper="after Schott et al. 2022, ICLR (compositional splits)",
    summary="sprites, scored on combinations never trained on: to the right and of high hue at once",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    defaults={"held_out": True},
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
    version=2,
)
def load_sprites(
    *,
    seed: int,
    n: int = 10_000,
    side: int = 32,
    n_tasks: int = 40,
    n_cells: int = 100,
    labels: str = "cells",
    rho: float = 0.0,
    held_out: bool = False,
    angle: bool = False,
    noise: float = 0.1,
) -> Data:
    """Sprites with sparse tasks and classes.

    Parameters
    ----------
    seed       of all draws
    n, side    training images (a quarter as many more are held out), and pixels along each side of them
    n_tasks    sparse binary tasks; every image has all of them
    n_cells    classes that are cells of the factors, 25 samples a cell at least on average
    labels     "cells", drawn for every sample as ``factors.cells`` says; "hard-cells", the likeliest of them; or
               "category": the shape. The auxiliary variable is the same
    rho        correlation of any two factors, before they are made uniform
    held_out   train on images never both right of the middle and of hue above 0, score those that are
    angle      shapes are turned, each by an angle of its own, which is not scored
    noise      standard deviation of the targets' noise over that of their signal

    x determines z, so that no ceiling is given. With correlated factors or held-out combinations there is an
    independent set of uniform factors beside. Raises ValueError for parameters outside their ranges.
    """
    require_range("side", side, 8)

    def draw(rng: np.random.Generator, z: Float64) -> tuple[Images, NDArray[np.int64]]:
        shape = rng.integers(len(sprites.SHAPES), size=len(z))
        turned = rng.uniform(-np.pi, np.pi, len(z)) if angle else None
        return Images(sprites.render_sprites(z, shape, side=side, angle=turned)), shape

    pair = (sprites.FACTORS.index("x"), sprites.FACTORS.index("hue")) if held_out else None
    told = Supervision(n_tasks, n_cells, labels, noise)
    return _supervised(seed, draw, sprites.FACTORS, told, n=n, rho=rho, pair=pair)


@dataset(
    "room",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<5": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "labels=hard-cells": "no", "otherwise": "nearly"},
    },
    paper="none: made for this suite, after 3D Shapes (Burgess & Kim 2018)",
    summary="rendered rooms: hues of floor, wall and object, its size, the camera's azimuth; tasks and cells",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
    version=2,
)
def load_room(
    *,
    seed: int,
    n: int = 10_000,
    side: int = 32,
    n_tasks: int = 40,
    n_cells: int = 100,
    labels: str = "cells",
    rho: float = 0.0,
    held_out: bool = False,
    noise: float = 0.1,
) -> Data:
    """Rooms with sparse tasks and classes; parameters as of sprites. The combinations held out: hues of floor and wall
    above 0."""
    require_range("side", side, 8)

    def draw(rng: np.random.Generator, z: Float64) -> tuple[Images, NDArray[np.int64]]:
        shape = rng.integers(len(room.SHAPES), size=len(z))
        return Images(room.render_room(z, shape, side=side)), shape

    pair = (room.FACTORS.index("floor"), room.FACTORS.index("wall")) if held_out else None
    told = Supervision(n_tasks, n_cells, labels, noise)
    return _supervised(seed, draw, room.FACTORS, told, n=n, rho=rho, pair=pair)


@dataset(
    "sprites-pairs",
    properties={"injective-mixing": "yes", "linear-mixing": "no", "instance-views": "no"},
    paper="Locatello et al. 2020, ICML: pairs that share factors",
    summary="pairs of sprites that share some factors, which ones nobody says; the pair is the auxiliary variable",
    provides=("aux", "pairs"),
    kind="image",
    budgets={"smoke": {"n": 400}, "paper": {"n": 50000}},
    on_request=True,
)
def load_sprite_pairs(
    *, seed: int, n: int = 10_000, side: int = 32, n_changed: int | None = None, rho: float = 0.0
) -> Data:
    """Images 2i and 2i + 1 are a pair and have aux i; they differ in shape and in ``n_changed`` factors.

    seed       of all draws
    n, side    training images, an even number, and pixels along each side of them
    n_changed  factors that differ, between 1 and 5; None: drawn for every pair from 1 to 4
    rho        correlation of any two factors
    The shape is drawn for every image, and so is nothing that a pair shares. Raises ValueError for other parameters.
    """
    require_range("n", n, 4)
    require_range("side", side, 8)
    if n_changed is not None:
        require_range("n_changed", n_changed, 1, len(sprites.FACTORS))
    rng_train, rng_test = np.random.default_rng(seed).spawn(2)
    d = len(sprites.FACTORS)

    def draw(rng: np.random.Generator, n_pairs: int) -> tuple[Images, Float64]:
        z = factors.draw_pairs(rng, n_pairs, d, rho, n_changed)
        return Images(sprites.render_sprites(z, rng.integers(len(sprites.SHAPES), size=len(z)), side=side)), z

    x, z = draw(rng_train, n // 2)
    x_test, z_test = draw(rng_test, max(extra_held_out(n) // 2, 1))
    none = np.empty(0, dtype=np.int64)
    train = TrainView(x=x, sample=none, task=none, y=np.empty(0), n_tasks=0, n_latents=d, aux=np.arange(len(z)) // 2)
    truth = EvalView(
        x_test=x_test,
        # pairs of the held-out images are others than those of the training images
        aux_test=len(z) // 2 + np.arange(len(z_test)) // 2,
        z_train=z,
        z_test=z_test,
        latent_names=sprites.FACTORS,
    )
    return Data(train, truth, {"n_train": len(z), "n_test": len(z_test), "side": side})


def _supervised(
    seed: int,
    draw: Draw,
    names: tuple[str, ...],
    told: Supervision,
    *,
    n: int,
    rho: float,
    pair: tuple[int, int] | None,
) -> Data:
    """Data of images that ``draw(rng, z)`` renders, and what is told of them; ``pair`` as of ``draw_combinations``."""
    require_range("n", n, 20)
    rng_train, rng_test, rng_tasks, rng_independent = np.random.default_rng(seed).spawn(4)
    d = len(names)

    def latents(rng: np.random.Generator, count: int, held_out: bool) -> Float64:
        if pair is None:
            return factors.draw_factors(rng, count, d, rho)
        return factors.draw_combinations(rng, count, d, rho, pair, held_out=held_out)

    z, z_test = latents(rng_train, n, False), latents(rng_test, extra_held_out(n), True)
    (x, shape), (x_test, shape_test) = draw(rng_train, z), draw(rng_test, z_test)
    train, truth = told.views(
        Known(x, z, shape),
        Known(x_test, z_test, shape_test),
        names,
        rng_train=rng_train,
        rng_test=rng_test,
        rng_tasks=rng_tasks,
    )
    independent: dict[str, Any] = {}
    if pair is not None or rho != 0:
        z_independent = factors.draw_factors(rng_independent, min(MAX_INDEPENDENT, n), d)
        independent = {
            "z_independent": z_independent,
            "x_independent": draw(rng_independent, z_independent)[0],
            "aux_independent": rng_independent.choice(np.asarray(train.labels), len(z_independent)),
        }
    truth = replace(truth, spread=None if pair is None else np.full(d, 1 / np.sqrt(3)), **independent)
    side = int(x.pixels.shape[2])
    info = {"n_train": n, "n_test": len(z_test), "n_tasks": told.n_tasks, "side": side, "rho": rho}
    return Data(train, truth, info)
