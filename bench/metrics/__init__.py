"""Metrics of identifiability: pure functions of latent factors and codes.

Permutations, signs and maps are fitted on training samples and scored on held-out ones. Names are resolved on first
use, so that importing this package costs nothing. What metrics there are is read from their decorators by
``bench.registry``, which imports none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.metrics.agreement import consistency
    from bench.metrics.base import MetricInfo, OutOfDomain, Score, ScoreInput, metric, normalised
    from bench.metrics.correlation import mcc, weak_mcc
    from bench.metrics.disentanglement import DCI, dci
    from bench.metrics.nonlinear import nonlinear_r2
    from bench.metrics.ood import ood_r2
    from bench.metrics.partition import block_mcc
    from bench.metrics.per_task import mcc_per_task
    from bench.metrics.regression import linear_r2
    from bench.metrics.support import causal_f1
    from bench.metrics.targets import target_r2

# Files are not named after their functions: a submodule would shadow the function of the same name here.
_HOME = {
    "DCI": "disentanglement",
    "MetricInfo": "base",
    "OutOfDomain": "base",
    "Score": "base",
    "ScoreInput": "base",
    "block_mcc": "partition",
    "causal_f1": "support",
    "consistency": "agreement",
    "dci": "disentanglement",
    "linear_r2": "regression",
    "mcc": "correlation",
    "mcc_per_task": "per_task",
    "metric": "base",
    "nonlinear_r2": "nonlinear",
    "normalised": "base",
    "ood_r2": "ood",
    "target_r2": "targets",
    "weak_mcc": "correlation",
}

__all__ = [
    "DCI",
    "MetricInfo",
    "OutOfDomain",
    "Score",
    "ScoreInput",
    "block_mcc",
    "causal_f1",
    "consistency",
    "dci",
    "linear_r2",
    "mcc",
    "mcc_per_task",
    "metric",
    "nonlinear_r2",
    "normalised",
    "ood_r2",
    "target_r2",
    "weak_mcc",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bench.metrics' has no attribute '{name}'")
    return getattr(import_module(f"bench.metrics.{_HOME[name]}"), name)
