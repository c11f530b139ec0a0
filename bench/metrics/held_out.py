"""R² on combinations of factors that were never trained on, against the spread of all combinations."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metrics.base import OutOfDomain, metric
from bench.metrics.pairs import Pairs, pairs


@metric(
    "held_out_r2",
    tests="linear",
    range="(-inf, 1]",
    paper="after Schott et al. 2022",
    summary="1 - squared error on unseen combinations over the variance of the factors on all combinations",
    assumptions="as linear_r2; the map is fitted on the training combinations",
    needs=("truth", "spread"),
)
def held_out_r2(z_train: Any, codes_train: Any, z_test: Any, codes_test: Any, spread: Any) -> float:
    """Mean over factors of 1 − mean (z − ẑ)² / spread², ẑ the affine map of the codes fitted on the training samples.

    Unseen combinations show a part of each factor's range: in terms of their own variance, which ``linear_r2`` divides
    by, the same error looks four times as large. spread (d_z,) deviations over all combinations. Wide codes are reduced
    as for ``linear_r2``. Range (−∞, 1]; a constant guess scores near 0, or below where the mean has moved. Raises
    OutOfDomain as ``linear_r2``.
    """
    return float(np.mean(held_out_per_factor(pairs(z_train, codes_train, z_test, codes_test), spread)))


def held_out_per_factor(found: Pairs, spread: Any, *, all_codes: bool = False) -> Any:
    """(d_z,) the score of each factor; with ``all_codes`` from every column of a wide code, which is no headline."""
    spread = np.asarray(spread, dtype=np.float64)
    z = np.asarray(found.z_test, dtype=np.float64)
    if spread.shape != z.shape[1:] or not (spread > 0).all():
        raise OutOfDomain("the factors' spread must be a positive number for each of them")
    total = np.square(z - z.mean(axis=0)).mean(axis=0)
    return 1 - (1 - (found if all_codes else found.narrow).linear.r2) * total / np.square(spread)
