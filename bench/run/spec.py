"""RunSpec: the frozen description of one cell. Every number of a record follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

ADDED_LATER: Mapping[str, Any] = {"threads": 1, "effort": 1.0}
_NOTHING = object()


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
    threads: int = 1
    effort: float = 1.0

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
