"""Inputs and TrainViews taken apart into arrays, and put together again in another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, TrainView
from bench.toolkit.inputs import KINDS, kind_of

Arrays = dict[str, NDArray[Any]]
VECTORS = ("sample", "task", "y", "labels")


def take_apart(name: str, x: Any) -> tuple[dict[str, Any], Arrays]:
    """Inputs of any kind (or None) as JSON values and arrays whose names begin with ``name``.

    Raises BadData for what is no kind of input and for arrays of objects or text.
    """
    if x is None:
        return {f"{name}.kind": None}, {}
    kind = kind_of(x)
    if kind == "vector":
        return {f"{name}.kind": kind}, {name: _numbers(name, x)}
    parts = {field.name: getattr(x, field.name) for field in fields(x)}
    return {f"{name}.kind": kind}, {f"{name}.{part}": _numbers(part, a) for part, a in parts.items() if a is not None}


def put_together(name: str, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The inputs that ``take_apart`` took apart; raises BadData as their kind does."""
    kind = values[f"{name}.kind"]
    if kind is None:
        return None
    if kind == "vector":
        return arrays[name]
    start = f"{name}."
    return KINDS[kind](**{key[len(start) :]: array for key, array in arrays.items() if key.startswith(start)})


def view_apart(view: TrainView) -> tuple[dict[str, Any], Arrays]:
    """A TrainView as JSON values and arrays."""
    values, arrays = take_apart("x", view.x)
    aux_values, aux_arrays = take_apart("aux", view.aux)
    values |= aux_values | {
        "n_tasks": int(view.n_tasks),
        "n_latents": int(view.n_latents),
        "target_type": str(view.target_type),
    }
    found = {name: getattr(view, name) for name in VECTORS}
    return values, arrays | aux_arrays | {name: _numbers(name, a) for name, a in found.items() if a is not None}


def view_together(values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> TrainView:
    """The TrainView that ``view_apart`` took apart."""
    return TrainView(
        x=put_together("x", values, arrays),
        aux=put_together("aux", values, arrays),
        n_tasks=values["n_tasks"],
        n_latents=values["n_latents"],
        target_type=values["target_type"],
        **{name: arrays.get(name) for name in VECTORS},  # type: ignore[arg-type]
    )


def _numbers(name: str, array: Any) -> NDArray[Any]:
    found = np.asarray(array)
    if found.dtype.kind not in "biuf":
        raise BadData(f"the dataset's {name} is an array of {found.dtype}; give numbers")
    return found.astype(np.float64) if found.dtype.itemsize > 8 else found
