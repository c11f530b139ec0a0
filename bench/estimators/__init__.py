"""Every learner as a scikit-learn estimator: ``MTLCM(n_latents=4).fit(x, y, task).transform(x)``.

``from bench.estimators import MTLCM, IVAE, SparseBilevel`` gives classes by name, ``make("mtlcm")`` by the learner's
name in the suite, plugins included, and ``load`` reads back what ``save`` wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.registry import discover

__all__ = ["class_names", "load", "make"]

CAPITALS = {
    **{word: word.upper() for word in ("ajd", "diet", "icarl", "ica", "mtlcm", "mtrn", "pca", "rrr", "tcl", "vae")},
    "fastica": "FastICA",
    "ivae": "IVAE",
    "l1": "L1",
}


def class_name(learner: str) -> str:
    """``ivae-blind`` is the class ``IVAEBlind``."""
    return "".join(CAPITALS.get(word, word.capitalize()) for word in learner.split("-"))


@cache
def class_names() -> dict[str, str]:
    """{class: learner} of all learners that are installed; reference rows that read the truth are none."""
    return {class_name(name): name for name, info in discover().learners.items() if "truth" not in info.needs}


def make(learner: str, plugin_files: Sequence[str | Path] = ()) -> type[Any]:
    """The estimator class of a learner; raises UsageError for a name nobody knows."""
    if not plugin_files and learner in class_names().values():
        return _class(learner)
    from bench.estimators.base import estimator_class

    return estimator_class(discover(plugin_files).learner(learner), class_name(learner), __name__)


@cache
def _class(learner: str) -> type[Any]:
    from bench.estimators.base import estimator_class

    return estimator_class(discover().learner(learner), class_name(learner), __name__)


def load(path: str | Path) -> Any:
    """A fitted estimator from the file that ``save`` wrote; raises UsageError for any other file."""
    from bench.estimators.storage import load as load_from

    return load_from(path)


def __getattr__(name: str) -> Any:
    # on first use, so that a package a learner needs is needed by that learner alone; pickle finds classes this way too
    if not name.startswith("_") and name in class_names():
        return _class(class_names()[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; estimators: {', '.join(class_names())}")
