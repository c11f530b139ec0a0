"""RunSpec: the frozen description of one cell. Every number of a record follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bench.errors import UsageError

ADDED_LATER: Mapping[str, Any] = {"effort": 1.0, "threads": 1}
_NOTHING = object()
NUMBER = (int, float)
SPEC_TYPES: dict[str, tuple[type, ...]] = {
    "learner": (str,),
    "dataset": (str,),
    "budget": (str,),
    "device": (str,),
    "data_sha256": (str,),
    "repetition": (int,),
    "data_seed": (int,),
    "model_seed": (int,),
    "learner_version": (int,),
    "dataset_version": (int,),
    "threads": (int,),
    "effort": NUMBER,
    "learner_params": (dict,),
    "dataset_params": (dict,),
}
REQUIRED = ("learner", "dataset", "repetition", "data_seed", "model_seed", "budget")


@dataclass(frozen=True)
class RunSpec:
    """One learner on one dataset with one pair of seeds.

    learner, dataset                names
    learner_version, dataset_version   versions of the code, raised when results change
    learner_params, dataset_params  every parameter, resolved: defaults, then budget, then ``--set``
    repetition    which of the seeds on the command line
    data_seed, model_seed   the derived seeds that are really used
    budget        "smoke", "standard" or "paper"
    effort        how long the learner trains, in multiples of ``learner_params`` (``bench.run.effort``)
    device        "cpu" or "cuda"
    data_sha256   hash of the file the dataset reads, "" for generated data
    threads       of the numerical libraries: sums are taken in another order with another number, and scores change
    """

    learner: str
    dataset: str
    repetition: int
    data_seed: int
    model_seed: int
    budget: str
    device: str = "cpu"
    learner_version: int = 1
    dataset_version: int = 1
    learner_params: Mapping[str, Any] = field(default_factory=dict)
    dataset_params: Mapping[str, Any] = field(default_factory=dict)
    data_sha256: str = ""
    effort: float = 1.0
    threads: int = 1

    @property
    def key(self) -> str:
        """Name of the cell: 16 hex digits of the sha256 of its canonical JSON."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    def canonical(self) -> str:
        """JSON with sorted keys and no spaces: equal specs give equal strings.

        A field that was added later is left out at its default: cells that were stored before keep their keys.
        """
        values = {name: value for name, value in asdict(self).items() if ADDED_LATER.get(name, _NOTHING) != value}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """Raises UsageError for values that are no spec."""
        if wrong := wrong_in_spec(values):
            raise UsageError(f"no cell is described by this: {wrong}")
        return cls(**values)


def derive_seed(*parts: object, bits: int = 32) -> int:
    """A seed in [0, 2**bits) from the parts' names: independent streams that stay the same when others are added."""
    text = json.dumps([str(part) for part in parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: bits // 8], "big")


def derive_data_seed(dataset: str, base: int, salt: str = "") -> int:
    """The seed of a dataset's draw number ``base``.

    With a salt, which no learner is told, it has 128 bits, so that nobody finds it by trying; without, anybody can
    derive it, which is what published results are for.
    """
    return derive_seed("data", dataset, base, salt, bits=128) if salt else derive_seed("data", dataset, base)


def wrong_in_spec(spec: Any) -> str:
    """What is wrong with the spec of a record, in words; "" for a good one."""
    if not isinstance(spec, Mapping):
        return "its spec is no object"
    for name in REQUIRED:
        if name not in spec:
            return f"its spec has no '{name}'"
    known = {field.name for field in fields(RunSpec)}
    for name, value in spec.items():
        if name not in known:
            return f"its spec has '{str(name)[:40]}', which this version does not know"
        if not of_kind(value, SPEC_TYPES[name]):
            return f"'{name}' in its spec is a {type(value).__name__}"
    return ""


def of_kind(value: Any, kinds: tuple[type, ...]) -> bool:
    """Is the value of one of these types? A truth value is no number."""
    return isinstance(value, kinds) and not isinstance(value, bool)
