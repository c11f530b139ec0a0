"""A fitted estimator in one npz file: plain arrays, and a JSON header that says which object holds which of them.

Nothing is unpickled and no constructor is called. An object is stored as its class and its attributes, and only
classes of the suite, of installed learners, of torch's modules and of scikit-learn are made again from a file.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from bench import __version__
from bench.errors import UsageError
from bench.registry import BUILTIN_PACKAGES, discover

FORMAT = 1
HEADER = "header"
TRUSTED = ("bench", *BUILTIN_PACKAGES, "torch.nn.modules", "sklearn")


def save(estimator: Any, path: str | Path) -> None:
    """Write the estimator; raises UsageError, naming the attribute, for what is neither array nor JSON."""
    arrays: dict[str, Any] = {}
    fitted = {name: value for name, value in vars(estimator).items() if name not in estimator.get_params(deep=False)}
    kind = getattr(estimator, "kind_", "vector")  # of what it was fitted to
    header = {
        "format": FORMAT,
        "bench": __version__,
        "learner": estimator.info.name,
        "version": estimator.info.version_on(kind),
        "kind": kind,
        "parameters": _packed(estimator.get_params(deep=False), arrays, "parameters", {}),
        "fitted": _packed(fitted, arrays, "fitted", {}),
    }
    text = np.frombuffer(json.dumps(header, allow_nan=False).encode(), dtype=np.uint8)
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{HEADER: text}, **arrays)


def load(path: str | Path) -> Any:
    """The estimator in the file; raises UsageError for another file, a learner nobody knows, or another version."""
    from bench.estimators import make

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop(HEADER).tobytes())
    except (OSError, ValueError, KeyError, EOFError, AttributeError) as error:
        raise UsageError(f"'{path}' is no saved estimator: {error}") from None
    if header.get("format") != FORMAT:
        raise UsageError(f"'{path}' has format {header.get('format')}, this version reads {FORMAT}")
    info = discover().learner(header["learner"])
    version = info.version_on(header.get("kind", "vector"))
    if version != header["version"]:
        raise UsageError(
            f"'{path}' holds {info.name} version {header['version']}, this is version {version}: fit it again"
        )
    estimator = make(info.name)(**_unpacked(header["parameters"], arrays, {}))
    vars(estimator).update(_unpacked(header["fitted"], arrays, {}))
    return estimator


def _packed(value: Any, arrays: dict[str, Any], where: str, seen: dict[int, int]) -> Any:
    """The value as JSON; arrays go to ``arrays`` and leave their name. An object met twice is stored once."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.generic):
        return {"scalar": _packed(np.asarray(value), arrays, where, seen)["array"]}
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return {"objects": [_packed(item, arrays, where, seen) for item in value.ravel()], "shape": value.shape}
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, list | set | frozenset) or type(value) is tuple:
        items = [_packed(item, arrays, f"{where}[{i}]", seen) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {type(value).__name__: items}
    if isinstance(value, dict):
        pairs = [
            [_packed(key, arrays, where, seen), _packed(item, arrays, f"{where}.{key}", seen)]
            for key, item in value.items()
        ]
        return {"ordered" if isinstance(value, OrderedDict) else "dict": pairs}
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        kind = "parameter" if isinstance(value, torch.nn.Parameter) else "tensor"
        stored = _packed(value.detach().cpu().numpy(), arrays, where, seen)["array"]
        return {kind: stored, "grad": value.requires_grad}
    if torch is not None and isinstance(value, torch.dtype | torch.device):
        return {"torch": str(value)}
    return _packed_object(value, arrays, where, seen)


def _packed_object(value: Any, arrays: dict[str, Any], where: str, seen: dict[int, int]) -> Any:
    if id(value) in seen:
        return {"same": seen[id(value)]}
    number = seen[id(value)] = len(seen)
    made = type(value)
    if isinstance(value, tuple):  # a named one
        return {
            "object": _name(made, where),
            "number": number,
            "items": [_packed(v, arrays, where, seen) for v in value],
        }
    if callable(value) and hasattr(value, "__qualname__"):
        return {"function": _name(value, where)}
    if not hasattr(value, "__dict__"):
        raise UsageError(f"{where} is a {made.__name__}, which cannot be saved without pickle")
    state = {key: _packed(item, arrays, f"{where}.{key}", seen) for key, item in vars(value).items()}
    return {"object": _name(made, where), "number": number, "state": state}


def _name(thing: Any, where: str) -> str:
    name = f"{thing.__module__}:{thing.__qualname__}"
    if "<" in name or not _trusted(thing.__module__):
        raise UsageError(f"{where} holds {name}, which cannot be saved without pickle")
    return name


def _trusted(module: str) -> bool:
    roots = (*TRUSTED, *(info.origin for info in discover().learners.values()))
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def _unpacked(value: Any, arrays: dict[str, Any], made: dict[int, Any]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, arrays, made) for item in value]
    if not isinstance(value, dict):
        return value
    (tag, content), *_ = value.items()
    if tag in ("tuple", "set", "frozenset"):
        kinds: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset}
        return kinds[tag](_unpacked(item, arrays, made) for item in content)
    if tag in ("dict", "ordered"):
        pairs = [(_unpacked(key, arrays, made), _unpacked(item, arrays, made)) for key, item in content]
        return OrderedDict(pairs) if tag == "ordered" else dict(pairs)
    if tag == "object":
        return _unpacked_object(value, arrays, made)
    if tag == "objects":
        items = np.empty(len(content), dtype=object)
        items[:] = [_unpacked(item, arrays, made) for item in content]
        return items.reshape(value["shape"])
    if tag in ("tensor", "parameter", "torch"):
        return _torch(tag, content, value, arrays)
    simple = {
        "array": lambda: arrays[content],
        "scalar": lambda: arrays[content][()],
        "float": lambda: float(content),
        "same": lambda: made[content],
        "function": lambda: _found(content),
    }
    return simple[tag]()


def _unpacked_object(value: dict[str, Any], arrays: dict[str, Any], made: dict[int, Any]) -> Any:
    kind = _found(value["object"])
    if "items" in value:
        made[value["number"]] = kind(*(_unpacked(item, arrays, made) for item in value["items"]))
        return made[value["number"]]
    thing = made[value["number"]] = object.__new__(kind)
    vars(thing).update({key: _unpacked(item, arrays, made) for key, item in value["state"].items()})
    return thing


def _torch(tag: str, content: str, value: dict[str, Any], arrays: dict[str, Any]) -> Any:
    import torch

    if tag == "torch":
        kind, _, name = content.partition(".")
        return getattr(torch, name) if kind == "torch" else torch.device(content)
    tensor = torch.from_numpy(np.array(arrays[content]))
    return torch.nn.Parameter(tensor, requires_grad=value["grad"]) if tag == "parameter" else tensor


def _found(name: str) -> Any:
    """The class or function of that name; raises UsageError for a module that files may not name."""
    module, _, path = name.partition(":")
    if not _trusted(module):
        raise UsageError(f"the file names {name}, which no saved estimator holds: it is not trusted")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found
