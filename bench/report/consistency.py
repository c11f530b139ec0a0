"""Agreement of a learner's codes across seeds: the score where the true latents are unknown (Roeder et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from bench.run.spec import RunSpec
from bench.run.store import Record, Store


def consistency_of(records: Sequence[Record], store: Store) -> dict[str, dict[str, Any]]:
    """Pairwise agreement of the held-out codes of one learner on one dataset.

    Returns {"r-s": {"strong": value, "weak": value}} for every pair of repetitions whose codes are stored, or
    {"r-s": {"reason": text}} where the scores are outside their domain. The held-out samples of a dataset without
    truth do not depend on the seed, so that the codes are of the same samples.
    """
    import numpy as np

    from bench.metrics import OutOfDomain, consistency

    codes = {}
    for record in records:
        found = store.codes(RunSpec.from_dict(record["spec"]).key) if record["status"] == "ok" else {}
        if "test" in found:
            codes[record["spec"]["repetition"]] = found["test"].astype(np.float64)
    pairs: dict[str, dict[str, Any]] = {}
    for first, second in combinations(sorted(codes), 2):
        try:
            pairs[f"{first}-{second}"] = dict(consistency(codes[first], codes[second]))
        except OutOfDomain as reason:
            pairs[f"{first}-{second}"] = {"reason": str(reason)}
    return pairs
