"""Settings are chosen by validation loss on development seeds, without a look at the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench import registry
from bench.api import Data, EvalView
from bench.errors import UsageError
from tests.benchmarks.choose_settings import Choice, choose, grid_points, markdown

SMALL = ["tcl-segments.n_segments=5", "tcl-segments.n_per_segment=60", "tcl-segments.d=3", "ivae.batch_size=64"]


def test_grid_is_every_combination() -> None:
    assert list(grid_points(["a=1,0.5", "b=silu,true"])) == [
        {"a": 1, "b": "silu"},
        {"a": 1, "b": True},
        {"a": 0.5, "b": "silu"},
        {"a": 0.5, "b": True},
    ]
    assert list(grid_points(["hidden=[[256],[256,128]]"])) == [{"hidden": [256]}, {"hidden": [256, 128]}]
    with pytest.raises(UsageError, match="write PARAM=VALUE"):
        list(grid_points(["a"]))


def test_losses_follow_from_training_data_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    points = list(grid_points(["steps=2,150"]))
    chosen = choose("ivae", "tcl-segments", points, settings=SMALL)
    assert [choice.params["steps"] for choice in chosen] == [150, 2], "training helps"
    assert all(len(choice.losses) == 2 and np.isfinite(choice.mean) for choice in chosen)
    real = registry.load(registry.discover().dataset("tcl-segments"))

    def without_truth(**params: Any) -> Data:
        return Data(train=real(**params).train, eval=EvalView(x_test=None))

    load, parameters = registry.load, registry.parameters(registry.discover().dataset("tcl-segments"))
    monkeypatch.setattr(registry, "load", lambda info: without_truth if info.name == "tcl-segments" else load(info))
    monkeypatch.setattr(
        registry,
        "parameters",
        lambda info, of=registry.parameters: parameters if info.name == "tcl-segments" else of(info),
    )
    again = choose("ivae", "tcl-segments", points, settings=SMALL)
    assert [choice.losses for choice in again] == [choice.losses for choice in chosen]


def test_a_fit_without_a_loss_comes_last_and_is_shown() -> None:
    text = markdown([Choice({"steps": 5}, [0.25, 0.35], 1.0), Choice({"steps": 2}, [None, 0.1], 1.0)])
    best, other = text.splitlines()[2:]
    assert best.split("|")[1:3] == [" steps=5    ", "            0.3000 "]
    assert "inf" in other
    assert "–, 0.1000" in other
    assert Choice({}, [None, 0.1], 1.0).mean == float("inf")


def test_what_cannot_be_chosen_is_refused() -> None:
    with pytest.raises(UsageError, match="'stepz' is no parameter of ivae"):
        choose("ivae", "tcl-segments", [{"stepz": 1}], settings=SMALL)
    with pytest.raises(UsageError, match="'pca' keeps no 'validation_loss'"):
        choose("pca", "tcl-segments", [{}], settings=SMALL[:3])
