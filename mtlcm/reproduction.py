"""The settings on which MTLCM must prove itself: the paper's linear and nonlinear data."""

from __future__ import annotations

from bench.api import Evidence, PaperSetting

# the `paper` budget of `mtlcm-flow`
_PAPER = {"steps": 500, "batch": 4096, "flow_steps": 1000, "network": {"flow_hidden": (256, 256)}}
_QUICK_DATA = {"d": 5, "k": 2, "n_tasks": 40, "n_per_task": 50}
_QUICK_NETWORK = {"steps": 40, "batch": 1024, "flow_steps": 40, "network": None}


def _linear(
    d: int,
    k: int,
    n_tasks: int,
    reference: str,
    source: str,
    expect: str,
    *,
    metric: str = "mcc",
    title: str = "",
    evidence: Evidence = "measured",
    reference_cpu_s: float | None = None,
) -> PaperSetting:
    """Linear mixing: the paper's synthetic data, 100 samples a task."""
    return PaperSetting(
        title=f"linear, Gaussian M, d={d}, k={k}, T={n_tasks}, n=100{title}",
        learner="mtlcm",
        dataset="linear-causal",
        metric=metric,
        reference=reference,
        source=source,
        expect=(expect,),
        evidence=evidence,
        reference_cpu_s=reference_cpu_s,
        dataset_params={"d": d, "k": k, "n_tasks": n_tasks, "n_per_task": 100},
        quick={"dataset": _QUICK_DATA},
    )


def _nonlinear(d: int, reference: str, *expect: str) -> PaperSetting:
    """One hidden layer of mixing, 500 tasks of 200 samples, as in the paper's Algorithm 1."""
    return PaperSetting(
        title=f"nonlinear, one hidden mixing layer, 100 observed, d={d}, k=4, T=500, n=200",
        learner="mtlcm-flow",
        dataset="nonlinear-causal",
        metric="mcc",
        reference=reference,
        source="reduced-rank regression, then joint diagonalisation, measured",
        evidence="measured",
        expect=expect,
        learner_params=_PAPER,
        dataset_params={"d": d, "k": 4, "n_tasks": 500, "n_per_task": 200},
        quick={"learner": _QUICK_NETWORK, "dataset": {**_QUICK_DATA, "d_observed": 40}},
    )


_DIAGONALISATION = "joint diagonalisation alone, measured"

SETTINGS = (
    _linear(
        10,
        2,
        200,
        "0.9992",
        "released program, 1000 epochs, one seed, measured",
        "mean >= 0.999",
        metric="mcc_per_task",
        title=", per-task MCC",
        evidence="program",
        reference_cpu_s=523.0,
    ),
    _linear(20, 4, 200, "0.9994", _DIAGONALISATION, "mean >= 0.999"),
    _linear(50, 10, 500, "0.975", _DIAGONALISATION, "mean >= 0.99"),
    _nonlinear(10, "0.986-0.988", "each >= 0.985", "mean >= 0.995"),
    _nonlinear(20, "0.879-0.943", "mean >= 0.97"),
)
