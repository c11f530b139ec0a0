"""The settings of images: what the learners are to reach on rendered ones, whose factors are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.api import Evidence, PaperSetting

_AIM = "this suite's aim"
_PROTOTYPE = "prototype, one draw, measured"
_QUICK_DATA = {"n": 400, "n_tasks": 10, "side": 16}
_QUICK: Mapping[str, Mapping[str, Any]] = {
    "mtrn-sparse-rotation": {"steps": 40, "restarts": 4},
    "single-task-classification": {"steps": 60},
    "few-class-classification": {"steps": 60},
    "beta-vae": {"steps": 40},
}


def _sprites(
    learner: str,
    metric: str,
    title: str,
    reference: str,
    source: str,
    *expect: str,
    dataset: str = "sprites",
    evidence: Evidence = "aim",
) -> PaperSetting:
    """10,000 images of 32 × 32 pixels, five factors, codes of five columns; the learner as it is on images."""
    return PaperSetting(
        title=f"sprites, 10,000 images, {title}",
        learner=learner,
        dataset=dataset,
        metric=metric,
        reference=reference,
        source=source,
        expect=expect,
        evidence=evidence,
        quick={"dataset": _QUICK_DATA, "learner": _QUICK.get(learner, {})},
    )


_TASKS, _UNSEEN = "40 sparse binary tasks", "scored on combinations never trained on"

SPRITES = (
    _sprites("mtrn-sparse-rotation", "linear_r2", _TASKS, "0.805", _PROTOTYPE, "mean >= 0.85", evidence="measured"),
    _sprites("mtrn-sparse-rotation", "mcc", _TASKS, "0.947", _PROTOTYPE, "mean >= 0.94", evidence="measured"),
    _sprites("beta-vae", "mcc", "no labels", "no claim", "nothing is identified without labels or tasks"),
    _sprites(
        "single-task-classification",
        "linear_r2",
        "classes that span the factors",
        "at least 0.80",
        _AIM,
        "mean >= 0.80",
    ),
    _sprites(
        "few-class-classification",
        "linear_r2",
        "the class is the shape",
        "0.15",
        _PROTOTYPE,
        "mean <= 0.30",
        dataset="sprites-shape",
        evidence="measured",
    ),
    _sprites(
        "mtrn-sparse-rotation",
        "held_out_r2",
        f"{_TASKS}, {_UNSEEN}",
        "0.72",
        _PROTOTYPE,
        "mean >= 0.75",
        dataset="sprites-held-out",
        evidence="measured",
    ),
    _sprites(
        "pca",
        "held_out_r2",
        _UNSEEN,
        "0.08",
        f"64 of them: {_PROTOTYPE}",
        "mean <= 0.15",
        dataset="sprites-held-out",
    ),
)


_TABLE = "Table 4, Pearson's r of a linear decoder of 512 features"


def _published(learner: str, dataset: str, reference: str, *, source: str = _TABLE, **params: Any) -> PaperSetting:
    """The label is the category alone (Reizinger et al. 2024), on 10,000 images of a file that the user has.

    Nothing is expected: the paper's features are 512 wide and see all images, ours have a column a factor.
    """
    return PaperSetting(
        title=f"{dataset}, 10,000 images, the class is the category",
        learner=learner,
        dataset=dataset,
        metric="weak_mcc",
        reference=reference,
        source=source,
        expect=(),
        evidence="paper",
        dataset_params=params,
        quick={"dataset": {"n": 400, "n_tasks": 10}, "learner": _QUICK.get(learner, {})},
    )


_RAW = "Table 4, the images themselves"

TABLE_4 = (
    _published("few-class-classification", "dsprites", "0.92-0.99 (scale, x, y)", periodic=False),
    _published("raw", "dsprites", "0.62, 0.92, 0.92 (scale, x, y)", source=_RAW, periodic=False),
    _published("few-class-classification", "shapes3d", "0.99, 0.93 (size, azimuth)"),
    _published("raw", "shapes3d", "0.21, 0.04 (size, azimuth)", source=_RAW),
    _published("single-task-classification", "mpi3d-toy", "0.90, 0.84 (x, y)"),
    _published("single-task-classification", "mpi3d-real", "0.83, 0.71 (x, y)"),
    _published("single-task-classification", "smallnorb", "0.79 (elevation)"),
    _published("single-task-classification", "cars3d", "0.78 (elevation)"),
)
"""Rows that run where the files are, and else say the command that fetches them."""
