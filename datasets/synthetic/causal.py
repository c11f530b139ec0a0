"""Multi-task data whose factors cause some targets and are shifted by others (Chen et al. 2024, Algorithm 1).

In each task k of the d factors cause the target; the others, spurious there, are driven by it::

    z_c ~ N(0, 1),   y = wᵀ z_c + N(0, σ_t²),   z_s = γ y + N(0, 0.1²),
    w ~ N(0, 1),  γ ~ U(-1, 1),  σ_t ~ U(2, 3),  the causal set drawn without replacement.

``standardise`` then brings every factor to mean 0 and deviation 1 within each task (over all its samples), as the
paper does, while y stays as drawn. The spurious factors' deviation given y then varies from task to task instead
of being 0.1; without it the data follows the equations exactly.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, dataset

from .common import linear_mmse, n_held_out, product_of_marginals, require_range
from .mixing import json_number, linear_matrix, relu_mixing
from .tasks import task_data

Array = NDArray[np.float64]
SPURIOUS_NOISE = 0.1


def causal_latents(
    rng: np.random.Generator, *, d: int, k: int, n_tasks: int, n_per_task: int, standardise: bool
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Latents (n_tasks, n_per_task, d), targets (n_tasks, n_per_task) and causal mask (n_tasks, d)."""
    causal = np.zeros((n_tasks, d), dtype=bool)
    chosen = np.argsort(rng.random((n_tasks, d)), axis=1)[:, :k]
    np.put_along_axis(causal, chosen, True, axis=1)
    weights = np.where(causal, rng.standard_normal((n_tasks, d)), 0.0)
    gamma = rng.uniform(-1.0, 1.0, (n_tasks, d))
    sigma = rng.uniform(2.0, 3.0, (n_tasks, 1))

    z = rng.standard_normal((n_tasks, n_per_task, d))
    y = np.matmul(z, weights[:, :, None])[:, :, 0] + sigma * rng.standard_normal((n_tasks, n_per_task))
    spurious = gamma[:, None, :] * y[:, :, None] + SPURIOUS_NOISE * z
    z = np.where(causal[:, None, :], z, spurious)
    if standardise:
        z -= z.mean(axis=1, keepdims=True)
        z /= z.std(axis=1, keepdims=True)
    return z, y, causal


def _check(d: int, k: int, n_tasks: int, n_per_task: int) -> None:
    require_range("d", d, 1)
    require_range("k", k, 1, d)
    require_range("n_tasks", n_tasks, 1)
    require_range("n_per_task", n_per_task, 3)


@dataset(
    "linear-causal",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": "yes",
        "heads-span": {"n_tasks<d": "no", "otherwise": "yes"},
        "gaussian-given-target": {"k=1": "yes", "otherwise": "nearly"},
        "factorised-given-u": {"k=1": "yes", "otherwise": "nearly"},
        "exponential-given-u": {"k=1": "yes", "otherwise": "nearly"},
        "sparse-separating-heads": "no",
        "grouped-tasks": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="Chen et al. 2024, TMLR, Leveraging Task Structures for Improved Identifiability, Algorithm 1",
    summary="causal and spurious factors per task, mixed by a matrix, observation noise 0.01",
    provides=("targets", "aux"),
    difficulty={"noise": (0.01, 0.1, 1.0)},
    budgets={"smoke": {"d": 5, "n_tasks": 50, "n_per_task": 50}},
)
def linear_causal(
    *,
    seed: int,
    d: int = 10,
    k: int = 2,
    n_tasks: int = 200,
    n_per_task: int = 100,
    mixing: str = "random",
    standardise: bool = True,
    noise: float = 0.01,
) -> Data:
    """x = M z + noise · ε with a square M: the data of Chen et al. 2024, linear case.

    Parameters
    ----------
    seed          of all draws: tasks, latents, mixing, noise and evaluation set
    d, k          factors, and how many of them cause each target (1 <= k <= d)
    n_tasks, n_per_task   tasks, and samples of each; 20 % of them are held out
    mixing        "identity", "orthogonal" (Haar) or "random" (standard normal entries, any condition number)
    standardise   bring every factor to mean 0 and deviation 1 within each task, as the paper does
    noise         standard deviation of the observation noise

    Ceiling: the linear minimum mean squared error estimate of z from x under the pooled moments of the training
    latents, M and the noise known; None where ``noise`` is 0. ``info["cond"]`` is the condition number of M.
    Raises ValueError for parameters outside these ranges.
    """
    _check(d, k, n_tasks, n_per_task)
    require_range("noise", noise, 0.0)
    rng_latents, rng_mixing, rng_noise = np.random.default_rng(seed).spawn(3)
    matrix = linear_matrix(mixing, d, rng_mixing)
    z, y, causal = causal_latents(
        rng_latents, d=d, k=k, n_tasks=n_tasks, n_per_task=n_per_task, standardise=standardise
    )

    def observe(latents: Array) -> Array:
        x = latents @ matrix.T
        return x + noise * rng_noise.standard_normal(x.shape)

    def ceiling(x: Array, z_train: Array) -> Array:
        covariance = np.cov(z_train, rowvar=False, bias=True).reshape(d, d)
        return linear_mmse(x, matrix, noise, z_train.mean(axis=0), covariance)

    return task_data(
        z,
        y,
        causal,
        n_train=n_per_task - n_held_out(n_per_task),
        observe=observe,
        z_independent=product_of_marginals(z.reshape(-1, d), rng_noise),
        rng=rng_noise,
        ceiling=ceiling if noise else None,
        info={
            "d": d,
            "k": k,
            "n_tasks": n_tasks,
            "n_per_task": n_per_task,
            "mixing": mixing,
            "cond": json_number(np.linalg.cond(matrix)),
        },
    )


@dataset(
    "linear-causal-binary",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": "yes",
        "heads-span": {"n_tasks<d": "no", "otherwise": "nearly"},
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "exponential-given-u": "no",
        "sparse-separating-heads": "no",
        "grouped-tasks": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="this suite's; factors and mixing of Chen et al. 2024, TMLR, Algorithm 1",
    summary="linear-causal with the signs of its targets as targets",
    provides=("targets", "aux", "binary"),
    budgets={"smoke": {"d": 5, "n_tasks": 50, "n_per_task": 50}},
)
def linear_causal_binary(
    *,
    seed: int,
    d: int = 10,
    k: int = 2,
    n_tasks: int = 200,
    n_per_task: int = 100,
    mixing: str = "random",
    standardise: bool = True,
    noise: float = 0.01,
) -> Data:
    """``linear_causal``, whose parameters these are, with targets 1 where y > 0, else 0.

    The draws of a seed are those of ``linear_causal``. Given the sign y still varies on its side of 0, and the factors
    that follow it vary along: they are correlated, and not Gaussian.
    """
    data = linear_causal(
        seed=seed,
        d=d,
        k=k,
        n_tasks=n_tasks,
        n_per_task=n_per_task,
        mixing=mixing,
        standardise=standardise,
        noise=noise,
    )
    assert data.eval.y_test is not None
    train = replace(data.train, y=(data.train.y > 0).astype(np.float64), target_type="binary")
    return replace(data, train=train, eval=replace(data.eval, y_test=(data.eval.y_test > 0).astype(np.float64)))


@dataset(
    "nonlinear-causal",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": {"n_mixing_layers=1": "nearly", "otherwise": "no"},
        "heads-span": {"n_tasks<d": "no", "otherwise": "yes"},
        "gaussian-given-target": {"k=1": "yes", "otherwise": "nearly"},
        "factorised-given-u": {"k=1": "yes", "otherwise": "nearly"},
        "exponential-given-u": {"k=1": "yes", "otherwise": "nearly"},
        "sparse-separating-heads": "no",
        "grouped-tasks": "no",
        "independent-non-gaussian": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    paper="Chen et al. 2024, TMLR, Leveraging Task Structures for Improved Identifiability, Algorithm 1",
    summary="causal and spurious factors per task, mixed by a ReLU network into 100 dimensions, no noise",
    provides=("targets", "aux"),
    difficulty={
        "n_mixing_layers": (1, 2, 3),
        "d": (5, 10, 20),
        "n_tasks": (200, 20),
        "n_per_task": (100, 20),
        "standardise": (True, False),
    },
    budgets={
        "smoke": {"d": 5, "k": 2, "n_tasks": 50, "n_per_task": 50, "d_observed": 40},
        "paper": {"d": 20, "n_tasks": 500, "n_per_task": 200},
    },
)
def nonlinear_causal(
    *,
    seed: int,
    d: int = 10,
    k: int = 4,
    n_tasks: int = 200,
    n_per_task: int = 100,
    mixing: Literal["random", "orthogonal"] = "random",
    n_mixing_layers: int = 1,
    d_hidden: int = 100,
    d_observed: int = 100,
    standardise: bool = True,
) -> Data:
    """x = g(z) through a ReLU network without noise: the data of Chen et al. 2024, nonlinear case.

    Parameters
    ----------
    seed          of all draws: tasks, latents, mixing and evaluation set
    d, k          factors, and how many of them cause each target (1 <= k <= d)
    n_tasks, n_per_task   tasks, and samples of each; 20 % of them are held out
    mixing        weights of the network: "random" U(±1/√fan_in), or "orthogonal"
    n_mixing_layers   hidden layers; with one, as in the paper, x is close to linear in z (raw R² about 0.99)
    d_hidden, d_observed   width of the hidden layers and of x, both at least d
    standardise   bring every factor to mean 0 and deviation 1 within each task, as the paper does

    No ceiling is given: x determines z. ``info["cond"]`` is the median condition number of the Jacobian of g.
    Raises ValueError for parameters outside these ranges.
    """
    _check(d, k, n_tasks, n_per_task)
    require_range("n_mixing_layers", n_mixing_layers, 1)
    require_range("d_hidden", d_hidden, d)
    require_range("d_observed", d_observed, d)
    rng_latents, rng_mixing, rng_evaluation = np.random.default_rng(seed).spawn(3)
    network = relu_mixing((d, *(n_mixing_layers * (d_hidden,)), d_observed), rng_mixing, kind=mixing)
    z, y, causal = causal_latents(
        rng_latents, d=d, k=k, n_tasks=n_tasks, n_per_task=n_per_task, standardise=standardise
    )
    pooled = z.reshape(-1, d)
    return task_data(
        z,
        y,
        causal,
        n_train=n_per_task - n_held_out(n_per_task),
        observe=network,
        z_independent=product_of_marginals(pooled, rng_evaluation),
        rng=rng_evaluation,
        info={
            "d": d,
            "k": k,
            "n_tasks": n_tasks,
            "n_per_task": n_per_task,
            "mixing": mixing,
            "n_mixing_layers": n_mixing_layers,
            "cond": json_number(network.condition_number(pooled)),
        },
    )
