"""Did the learner find which factors cause which target?"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.metrics.base import OutOfDomain, metric


@metric(
    "causal_f1",
    tests="permutation+scaling",
    range="[0, 1]",
    paper="Chen et al. 2024, causal indicators",
    summary="F1 of the causal indicators over tasks × factors, after the matching of mcc",
    assumptions="a learner that returns causal indicators; a matching fitted on train",
    needs=("truth", "causal"),
    version=2,
)
def causal_f1(causal_true: Any, causal_found: Any, matching: Any = None) -> float:
    """F1 score of found against true task supports, pooled over tasks and factors.

    causal_true (n_tasks, d_z) bool, causal_found (n_tasks, d) bool, matching (d_z,) the code of each factor, −1 for
    none; identity if None. Factors without a code are never found; indicators of codes without a factor are false
    positives. Range 0 … 1, higher is better. Raises OutOfDomain where shapes disagree or nothing is causal.
    Reference: Chen et al., TMLR 2024.
    """
    return support_scores(causal_true, causal_found, matching)[0]


def support_scores(causal_true: Any, causal_found: Any, matching: Any = None) -> tuple[float, float]:
    """F1, and its expectation if every factor's found tasks were permuted (exact)."""
    true, found = np.asarray(causal_true, dtype=bool), np.asarray(causal_found, dtype=bool)
    if true.ndim != 2 or found.ndim != 2 or len(true) != len(found):
        raise OutOfDomain(f"causal indicators have shapes {true.shape} and {found.shape}, expected (n_tasks, ·) twice")
    n_tasks, d_z = true.shape
    code = np.arange(d_z) if matching is None else np.asarray(matching)
    code = np.where(code < found.shape[1], code, -1)
    aligned = np.where(code >= 0, found[:, code], False)
    size = int(true.sum() + found.sum())
    if not true.any():
        raise OutOfDomain("no factor causes any target")
    hits = float((true & aligned).sum())
    by_chance = float((true.sum(0) * aligned.sum(0)).sum() / n_tasks)
    return 2 * hits / size, 2 * by_chance / size
