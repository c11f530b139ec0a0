"""The published images of the disentanglement literature: random ones of a file, their factors and their tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.api import Data, NotApplicable, dataset
from bench.toolkit.inputs import Images
from datasets.images import cars3d, dsprites, mpi3d, shapes3d, smallnorb
from datasets.images.grid import Factor, Pictures, read_images, scored
from datasets.images.supervision import Known, Supervision
from datasets.sources import locate
from datasets.synthetic.common import extra_held_out, n_held_out, require_choice, require_range

Open = Callable[[Path, str], Pictures]
FEWEST = 40


@dataset(
    "dsprites",
    properties={
        "injective-mixing": "no",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<5": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "otherwise": "nearly"},
    },
    paper="Matthey, Higgins, Hassabis, Lerchner 2017; labels of Reizinger et al. 2024",
    summary="white shapes in 737,280 combinations of scale, orientation and place; the class is the shape",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    source="dsprites",
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
)
def load_dsprites(
    *,
    seed: int,
    n: int = 10_000,
    side: int = 32,
    n_tasks: int = 40,
    n_cells: int = 100,
    labels: str = "category",
    periodic: bool = True,
    noise: float = 0.1,
) -> Data:
    """Random images of dSprites, with sparse tasks on their factors and classes.

    Parameters
    ----------
    seed       which images are drawn and which of them held out, and the tasks
    n, side    training images (a quarter as many more are held out; fewer where the file has not that many), and
               pixels along each side of them, by means of equal squares: a divisor of the file's
    n_tasks    sparse binary tasks; every image has all of them
    n_cells    classes that are cells of the factors where ``labels`` is "cells"
    labels     "category" (Reizinger's protocol) or "cells"
    periodic   factors that go round are scored, and asked for, as sine and cosine; false: not at all
    noise      standard deviation of the targets' noise over that of their signal

    Categories are no linear factors: shape is the class, and neither asked for nor scored. A square looks the same
    after a quarter turn and an ellipse after half a one, so that their orientation is in no image. Raises MissingData,
    BadData, ValueError for other parameters, NotApplicable for a file of fewer than 40 images.
    """
    told = Supervision(n_tasks, n_cells, labels, noise)
    return _drawn("dsprites", dsprites.DSprites, dsprites.FACTORS, "shape", told, seed, n, side, periodic)


@dataset(
    "shapes3d",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<8": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "otherwise": "nearly"},
    },
    paper="Burgess & Kim 2018; labels of Reizinger et al. 2024",
    summary="rooms in 480,000 combinations of three hues, scale and orientation; the class is the shape",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    source="shapes3d",
    requires=("h5py",),
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
)
def load_shapes3d(
    *,
    seed: int,
    n: int = 10_000,
    side: int = 32,
    n_tasks: int = 40,
    n_cells: int = 100,
    labels: str = "category",
    periodic: bool = True,
    noise: float = 0.1,
) -> Data:
    """Random images of 3D Shapes; parameters and errors as of dsprites. Hues go round the whole circle."""
    told = Supervision(n_tasks, n_cells, labels, noise)
    return _drawn("shapes3d", shapes3d.Shapes3D, shapes3d.FACTORS, "shape", told, seed, n, side, periodic)


@dataset(
    "mpi3d-toy",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<4": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "otherwise": "nearly"},
    },
    paper="Gondal et al. 2019, NeurIPS; labels of Reizinger et al. 2024",
    summary="a robot's arm, simply rendered: size of the object, camera and two axes; the class is the shape",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    source="mpi3d-toy",
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
)
@dataset(
    "mpi3d-realistic",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<4": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "otherwise": "nearly"},
    },
    paper="Gondal et al. 2019, NeurIPS; labels of Reizinger et al. 2024",
    summary="the combinations of mpi3d-toy, realistically rendered",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    source="mpi3d-realistic",
    defaults={"variant": "realistic"},
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
)
@dataset(
    "mpi3d-real",
    properties={
        "injective-mixing": "nearly",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<4": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "otherwise": "nearly"},
    },
    paper="Gondal et al. 2019, NeurIPS; labels of Reizinger et al. 2024",
    summary="the combinations of mpi3d-toy, photographed",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    source="mpi3d-real",
    defaults={"variant": "real"},
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 50000}},
    on_request=True,
)
def load_mpi3d(
    *,
    seed: int,
    variant: str = "toy",
    n: int = 10_000,
    side: int = 32,
    n_tasks: int = 40,
    n_cells: int = 100,
    labels: str = "category",
    noise: float = 0.1,
) -> Data:
    """Random images of MPI3D, toy, realistic or real; parameters and errors as of dsprites.

    The two axes of the arm do not go round. Colours of object and background and the shape are categories.
    """
    require_choice("variant", variant, ("toy", "realistic", "real"))
    told = Supervision(n_tasks, n_cells, labels, noise)
    return _drawn(f"mpi3d-{variant}", mpi3d.Mpi3d, mpi3d.FACTORS, "object shape", told, seed, n, side, False)


@dataset(
    "smallnorb",
    properties={
        "injective-mixing": "nearly",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<3": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "otherwise": "nearly"},
    },
    paper="LeCun, Huang, Bottou 2004, CVPR; labels of Reizinger et al. 2024",
    summary="photographs of 50 toys by elevation and azimuth of the camera; the class is the kind of toy",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    source="smallnorb",
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 38880}},
    on_request=True,
)
def load_smallnorb(
    *,
    seed: int,
    n: int = 10_000,
    side: int = 32,
    n_tasks: int = 40,
    n_cells: int = 100,
    labels: str = "category",
    periodic: bool = True,
    noise: float = 0.1,
) -> Data:
    """Random images of small NORB, of the first camera; parameters and errors as of dsprites.

    The azimuth goes round; the toy and the light are categories. Both halves of the data are drawn from.
    """
    told = Supervision(n_tasks, n_cells, labels, noise)
    return _drawn("smallnorb", smallnorb.SmallNorb, smallnorb.FACTORS, "category", told, seed, n, side, periodic)


@dataset(
    "cars3d",
    properties={
        "injective-mixing": "nearly",
        "linear-mixing": "no",
        "heads-span": {"n_tasks<3": "no", "otherwise": "nearly"},
        "sparse-separating-heads": {"n_tasks<10": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "vmf-clusters-span": {"labels=category": "no", "otherwise": "nearly"},
    },
    paper="Reed, Zhang, Zhang, Lee 2015, NeurIPS; labels of Reizinger et al. 2024",
    summary="183 rendered cars by elevation and azimuth of the camera; the class is the car",
    provides=("targets", "binary", "labels", "aux"),
    kind="image",
    source="cars3d",
    budgets={"smoke": {"n": 400, "n_tasks": 10}, "paper": {"n": 14054}},
    on_request=True,
)
def load_cars3d(
    *,
    seed: int,
    n: int = 10_000,
    side: int = 32,
    n_tasks: int = 40,
    n_cells: int = 100,
    labels: str = "category",
    periodic: bool = True,
    noise: float = 0.1,
) -> Data:
    """Random images of Cars3D; parameters and errors as of dsprites. The azimuth goes round."""
    told = Supervision(n_tasks, n_cells, labels, noise)
    return _drawn("cars3d", cars3d.Cars3D, cars3d.FACTORS, "car", told, seed, n, side, periodic)


def _drawn(
    source: str,
    open_file: Open,
    described: tuple[Factor, ...],
    category: str,
    told: Supervision,
    seed: int,
    n: int,
    side: int,
    periodic: bool,
) -> Data:
    """Data of random images of a file: training and held-out ones are different rows of it."""
    require_range("n", n, 20)
    located = locate(source)
    pictures = open_file(located.path, located.label)
    available = len(pictures.index)
    if available < FEWEST:
        raise NotApplicable(f"{located.label}: only {available} images; at least {FEWEST} are needed")
    rng_rows, rng_train, rng_test, rng_tasks = np.random.default_rng(seed).spawn(4)
    total = min(n + extra_held_out(n), available)
    rows = rng_rows.choice(available, total, replace=False)
    n_test = n_held_out(total)
    pixels = read_images(pictures, rows, side, located.sha256)
    index = pictures.index[rows]
    z, names = scored(described, index, periodic=periodic)
    column = [factor.name for factor in described].index(category)

    def known(part: slice) -> Known:
        return Known(Images(pixels[part]), z[part], index[part, column])

    every, _ = scored(described, pictures.index, periodic=periodic)
    train, truth = told.views(
        known(slice(n_test, None)),
        known(slice(None, n_test)),
        names,
        rng_train=rng_train,
        rng_test=rng_test,
        rng_tasks=rng_tasks,
        spread=every.std(axis=0),
    )
    info = located.describe(rows=available)
    counts = {"n_train": total - n_test, "n_test": n_test, "n_tasks": told.n_tasks, "side": side}
    return Data(train, truth, {**info, **counts, "rows_used": total, "title": f"{info['title']}, {total:,} used"})
