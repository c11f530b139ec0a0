"""Sparse tasks: every target depends on a few of the factors (the vector data of Lachapelle et al. 2023).

::

    z ~ N(0, Σ_ρ), Σ_ρ = (1 − ρ) I + ρ 1 1ᵀ,   y = w_tᵀ z + ε,   x = g(z),
    w_t ~ N(0, 1) on the support of task t, 0 elsewhere,   sd(ε) = noise · sd(w_tᵀ z).

Permutation and scaling are identified if the supports separate the factors: for every factor, the supports without
it cover all others. "bernoulli", "fixed" and "skewed" supports do, "blocks" do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, dataset

from .common import MAX_INDEPENDENT, extra_held_out, require_choice, require_range
from .mixing import conditioned_mixing, json_number
from .tasks import task_data

Array = NDArray[np.float64]
SUPPORTS = ("bernoulli", "fixed", "blocks", "skewed")


def draw_supports(rng: np.random.Generator, n_tasks: int, d: int, support: str, density: float) -> NDArray[np.bool_]:
    """Which factors each task uses: (n_tasks, d) bool, no row empty.

    "bernoulli" takes every factor with probability ``density`` and draws empty supports again; "fixed" takes
    round(density · d) factors, at least one; "blocks" takes pairs of neighbouring factors together, each pair with
    probability ``density``; "skewed" is "bernoulli" with probabilities that fall linearly from the first factor, used
    by nearly all tasks, to the last, used by few, with mean ``density`` (at most ½): tasks share the first factors.
    """
    if support == "fixed":
        size = max(1, round(density * d))
        return np.argsort(np.argsort(rng.random((n_tasks, d)), axis=1), axis=1) < size
    if support == "blocks":
        blocks = draw_supports(rng, n_tasks, (d + 1) // 2, "bernoulli", density)
        return np.repeat(blocks, 2, axis=1)[:, :d]
    probability = density * (2.0 - (2.0 * np.arange(d) + 1.0) / d) if support == "skewed" else np.full(d, density)
    mask = rng.random((n_tasks, d)) < probability
    while (empty := ~mask.any(axis=1)).any():
        mask[empty] = rng.random((int(empty.sum()), d)) < probability
    return mask


@dataset(
    "sparse-tasks",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": {"n_layers=1": "yes", "otherwise": "no"},
        "heads-span": {"n_tasks<d": "no", "binary=true": "nearly", "otherwise": "yes"},
        "sparse-separating-heads": {
            "support=blocks": "no",
            "density>0.9": "no",
            "binary=true": "nearly",
            "otherwise": "yes",
        },
        "grouped-tasks": {"support=blocks": "yes", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "exponential-given-u": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="Lachapelle et al. 2023, ICML, Synergies between disentanglement and sparsity",
    summary="targets that each depend on a few of the factors, which may be correlated; nonlinear mixing",
    provides=("targets", "aux"),
    difficulty={"rho": (0.0, 0.5, 0.9), "support": ("bernoulli", "fixed", "skewed", "blocks")},
    budgets={"smoke": {"d": 4, "d_observed": 8, "n_tasks": 50, "n_per_task": 30}, "paper": {"n_tasks": 20000}},
)
@dataset(
    "sparse-tasks-binary",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": {"n_layers=1": "yes", "otherwise": "no"},
        "heads-span": {"n_tasks<d": "no", "binary=true": "nearly", "otherwise": "yes"},
        "sparse-separating-heads": {
            "support=blocks": "no",
            "density>0.9": "no",
            "binary=true": "nearly",
            "otherwise": "yes",
        },
        "grouped-tasks": {"support=blocks": "yes", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "exponential-given-u": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="Fumero et al. 2023, NeurIPS; latents of Lachapelle et al. 2023",
    summary="the tasks of sparse-tasks with their signs as targets",
    provides=("targets", "aux", "binary"),
    defaults={"binary": True},
    budgets={"smoke": {"d": 4, "d_observed": 8, "n_tasks": 50, "n_per_task": 30}, "paper": {"n_tasks": 20000}},
)
def sparse_tasks(
    *,
    seed: int,
    d: int = 6,
    d_observed: int = 12,
    n_tasks: int = 400,
    n_per_task: int = 50,
    rho: float = 0.0,
    support: str = "bernoulli",
    density: float = 0.5,
    noise: float = 0.1,
    n_layers: int = 3,
    binary: bool = False,
) -> Data:
    """Sparse linear tasks on (correlated) Gaussian factors behind a LeakyReLU network.

    Parameters
    ----------
    seed          of all draws: tasks, latents, noise, mixing and evaluation set
    d, d_observed   factors, and dimensions of x (at least d: every layer is then injective)
    n_tasks, n_per_task   tasks, and training samples of each; a quarter as many more are held out
    rho           correlation of any two factors, between -1/(d-1) and 1, both excluded
    support       "bernoulli", "fixed", "blocks" or "skewed", see ``draw_supports``
    density       probability that a factor (or block) is in a support, or fraction of factors in it
    noise         standard deviation of the target's noise over that of its signal
    n_layers      linear layers of the mixing, LeakyReLU (slope 0.2) between them, without bias
    binary        targets are 1 where wᵀz + ε > 0, else 0

    Every sample belongs to one task; the task is also the auxiliary variable, though the factors do not depend on it.
    No ceiling is given: x determines z. The independent evaluation set has rho = 0. The paper draws new tasks at
    every step (3000 steps of 8 tasks); here the tasks are a fixed set, 20,000 in the "paper" budget.
    Raises ValueError for parameters outside these ranges.
    """
    require_range("d", d, 1)
    require_range("d_observed", d_observed, d)
    require_range("n_tasks", n_tasks, 1)
    require_range("n_per_task", n_per_task, 3)
    require_choice("support", support, SUPPORTS)
    require_range("density", density, 0.01, 0.5 if support == "skewed" else 1.0)
    require_range("noise", noise, 0.0)
    require_range("n_layers", n_layers, 1)
    if not -1.0 / max(d - 1, 1) < rho < 1.0:
        raise ValueError(f"rho={rho!r} must lie strictly between {-1.0 / max(d - 1, 1):.3g} and 1 for d={d}")
    rng_latents, rng_mixing, rng_tasks, rng_evaluation = np.random.default_rng(seed).spawn(4)
    mixing = conditioned_mixing((d,) + n_layers * (d_observed,), rng_mixing, activation="leaky-relu")

    covariance = (1.0 - rho) * np.eye(d) + rho
    causal = draw_supports(rng_tasks, n_tasks, d, support, density)
    weights = np.where(causal, rng_tasks.standard_normal((n_tasks, d)), 0.0)
    signal_sd = np.sqrt(np.einsum("ti,ij,tj->t", weights, covariance, weights))
    n_all = n_per_task + extra_held_out(n_per_task)
    z = rng_latents.standard_normal((n_tasks, n_all, d)) @ np.linalg.cholesky(covariance).T
    y = np.matmul(z, weights[:, :, None])[:, :, 0]
    y += noise * signal_sd[:, None] * rng_latents.standard_normal((n_tasks, n_all))
    if binary:
        y = (y > 0).astype(np.float64)

    return task_data(
        z,
        y,
        causal,
        n_train=n_per_task,
        observe=mixing,
        z_independent=rng_evaluation.standard_normal((min(MAX_INDEPENDENT, n_tasks * n_all), d)),
        rng=rng_evaluation,
        target_type="binary" if binary else "continuous",
        info={
            "d": d,
            "n_tasks": n_tasks,
            "n_per_task": n_per_task,
            "rho": rho,
            "support": support,
            "noise": noise,
            "n_layers": n_layers,
            "cond": json_number(mixing.condition_number(z.reshape(-1, d))),
        },
    )
