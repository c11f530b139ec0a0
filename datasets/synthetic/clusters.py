"""Clusters on the sphere: the latent classification problem of Reizinger et al. 2024 (arXiv 2410.21869).

::

    v_c uniform on S^{d−1}, c = 1..|C|,   z | c around v_c on the sphere,   x = g(z),

where z | c is von Mises-Fisher with concentration κ (the case of the theory), or v_c plus Laplace or normal noise of
variance 1/κ in each coordinate, projected back to the sphere (the misspecified cases). g is a bias-free network of
linear layers with LeakyReLU (slope 0.2) between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, EvalView, TrainView, dataset

from .common import extra_held_out, require_choice, require_range
from .mixing import conditioned_mixing, json_number

Array = NDArray[np.float64]
DISTRIBUTIONS = ("vmf", "laplace", "normal")
TARGET_NOISE = 0.1


def unit(v: Array) -> Array:
    """The rows of v (…, d) scaled to length one."""
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True))


def sample_von_mises_fisher(rng: np.random.Generator, mean: Array, kappa: float) -> Array:
    """One draw (n, d) from vMF(mean_i, kappa) for each row of unit vectors mean (n, d), d >= 2, kappa >= 0.

    Wood 1994, Simulation of the von Mises Fisher distribution, algorithm VM*: the cosine w to the mean by rejection
    from a transformed Beta((d−1)/2, (d−1)/2), the direction across it uniform.
    """
    n, d = mean.shape
    # Equal to (−2κ + √(4κ² + (d−1)²)) / (d−1), without the cancellation at large κ.
    b = (d - 1) / (2.0 * kappa + np.sqrt(4.0 * kappa**2 + (d - 1) ** 2))
    x0 = (1.0 - b) / (1.0 + b)
    c = kappa * x0 + (d - 1) * np.log1p(-(x0**2))
    cosine = np.empty(n)
    open_rows = np.arange(n)
    while len(open_rows):
        beta = rng.beta((d - 1) / 2.0, (d - 1) / 2.0, len(open_rows))
        w = (1.0 - (1.0 + b) * beta) / (1.0 - (1.0 - b) * beta)
        accepted = kappa * w + (d - 1) * np.log1p(-x0 * w) - c >= np.log(rng.random(len(open_rows)))
        cosine[open_rows[accepted]] = w[accepted]
        open_rows = open_rows[~accepted]
    across = rng.standard_normal((n, d))
    across -= (across * mean).sum(axis=1, keepdims=True) * mean
    return cosine[:, None] * mean + np.sqrt(np.maximum(1.0 - cosine**2, 0.0))[:, None] * unit(across)


def sample_around(rng: np.random.Generator, mean: Array, kappa: float, distribution: str) -> Array:
    """One latent (n, d) on the sphere around each row of unit vectors mean (n, d)."""
    if distribution == "vmf":
        return sample_von_mises_fisher(rng, mean, kappa)
    if distribution == "laplace":
        return unit(mean + rng.laplace(scale=np.sqrt(0.5 / kappa), size=mean.shape))
    return unit(mean + rng.normal(scale=np.sqrt(1.0 / kappa), size=mean.shape))


@dataset(
    "clusters",
    properties={
        "injective-mixing": "yes",
        "linear-mixing": {"n_layers=1": "yes", "otherwise": "no"},
        "vmf-clusters-span": {"n_clusters<=d": "no", "distribution=vmf": "yes", "otherwise": "nearly"},
        "instance-views": {"n_instances=0": "no", "otherwise": "yes"},
        "heads-span": "no",
        "gaussian-given-target": "no",
        "sparse-separating-heads": "no",
        "grouped-tasks": "no",
        "factorised-given-u": "no",
        "exponential-given-u": "no",
        "independent-non-gaussian": "no",
        "sizes-are-truth": "no",
    },
    paper="Reizinger, Bizeul, Juhos et al. 2024, arXiv 2410.21869",
    summary="classes are clusters on a sphere; one dense continuous target; LeakyReLU mixing, no noise",
    provides=("targets", "aux", "labels"),
    budgets={"smoke": {"n_clusters": 30, "n_samples": 1500}, "paper": {"n_samples": 50000}},
)
def clusters(
    *,
    seed: int,
    d: int = 5,
    n_clusters: int = 100,
    kappa: float = 10.0,
    distribution: str = "vmf",
    n_samples: int = 10000,
    n_layers: int = 4,
    n_instances: int = 0,
) -> Data:
    """Clusters around random directions of a sphere, with the cluster as class label.

    Parameters
    ----------
    seed          of all draws: cluster vectors, latents, mixing and target
    d             factors, and dimensions of x; z lies on the sphere S^{d-1} in R^d (d >= 2)
    n_clusters    |C|; linear identifiability needs more than d clusters, spread in all directions
    kappa         concentration, > 0
    distribution  "vmf", "laplace" or "normal"
    n_samples     training samples, spread evenly over the clusters; a quarter as many more are held out
    n_layers      linear layers of the mixing
    n_instances   0, or how many instances there are, at least one a cluster: every sample is then a view of one, a new
                  draw around the instance's cluster vector, and the auxiliary variable names the instance

    Without instances the cluster is class label and auxiliary variable. One task with a dense target, y = aᵀz plus
    noise of 10 % of its deviation, a uniform on the sphere, lets single-task regression show what one target
    identifies; it depends on every factor, so that ``causal`` would say nothing and is left out. No ceiling is given:
    x determines z. No independent evaluation set exists: coordinates on a sphere cannot be independent, and off the
    sphere g was never seen. With many clusters the factors are all but uncorrelated anyway.
    Raises ValueError for parameters outside these ranges.
    """
    require_range("d", d, 2)
    require_range("n_clusters", n_clusters, 2)
    require_range("kappa", kappa, 1e-9)
    require_choice("distribution", distribution, DISTRIBUTIONS)
    require_range("n_samples", n_samples, n_clusters)
    require_range("n_layers", n_layers, 1)
    if n_instances:
        require_range("n_instances", n_instances, n_clusters)
    rng_latents, rng_mixing, rng_target, rng_instances = np.random.default_rng(seed).spawn(4)
    mixing = conditioned_mixing((d,) * (n_layers + 1), rng_mixing, activation="leaky-relu", pick="best")

    centres = unit(rng_latents.standard_normal((n_clusters, d)))
    n_test = extra_held_out(n_samples)
    labels = np.concatenate([rng_latents.permutation(np.arange(n) % n_clusters) for n in (n_samples, n_test)])
    z = sample_around(rng_latents, centres[labels], kappa, distribution)
    y = z @ unit(rng_target.standard_normal(d))
    y += TARGET_NOISE * y.std() * rng_target.standard_normal(len(y))

    aux = labels
    if n_instances:
        # instance i belongs to cluster i mod n_clusters
        first, rest = divmod(n_instances, n_clusters)
        aux = labels + n_clusters * rng_instances.integers(first + (labels < rest))

    x = mixing(z).astype(np.float32)
    train, test = slice(n_samples), slice(n_samples, None)
    view = TrainView(
        x=x[train],
        sample=np.arange(n_samples),
        task=np.zeros(n_samples, dtype=np.int64),
        y=y[train],
        n_tasks=1,
        n_latents=d,
        aux=aux[train],
        labels=labels[train].copy(),
    )
    evaluation = EvalView(
        x_test=x[test],
        aux_test=aux[test],
        sample_test=np.arange(n_test),
        task_test=np.zeros(n_test, dtype=np.int64),
        y_test=y[test],
        z_train=z[train],
        z_test=z[test],
    )
    info = {
        "n_train": n_samples,
        "n_test": n_test,
        "d": d,
        "n_clusters": n_clusters,
        "kappa": kappa,
        "distribution": distribution,
        "n_layers": n_layers,
        "cond": json_number(mixing.condition_number(z[test])),
    }
    return Data(view, evaluation, info)
