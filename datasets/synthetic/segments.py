"""Nonstationary segments: the data of time-contrastive learning and of the identifiable VAE.

In segment m = 1..M the factors are Gaussian with deviations of their own (Hyvärinen and Morioka 2016; Khemakhem et
al. 2020)::

    z | m ~ N(μ_m, S_m),  σ_mj ~ U(0.5, 3),  μ_m = 0, or μ_mj ~ U(-5, 5) where uncentred,  x = g(z),

with S_m = diag(σ_m²), so that the factors are independent given the segment. ``coupling`` > 0 makes that conditional
prior non-factorised while it stays identifiable: the precision becomes

    S_m⁻¹ = diag(σ_m⁻²) + c · Σ_j (e_j − s_j e_{j+1})(e_j − s_j e_{j+1})ᵀ,    s_j = ±1,

a chain of couplings between neighbouring factors that is the *same* in all segments. p(z | m) is then an exponential
family in the statistics (z_j, z_j²) over a base measure that does not factorise (the setting of Lu et al. 2022): the
segments' precisions differ by diagonal matrices alone, and only permutation and scaling keep that so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.api import Data, EvalView, TrainView, dataset

from .common import extra_held_out, product_of_marginals, require_range
from .mixing import Mixing, conditioned_mixing, json_number

Array = NDArray[np.float64]
DEVIATIONS = (0.5, 3.0)
MEANS = (-5.0, 5.0)


def segment_covariances(sigma: Array, coupling: float, signs: Array) -> Array:
    """Covariances (M, d, d) of the segments from deviations sigma (M, d) and the chain's signs (d - 1,).

    With coupling > 0 the factors are rescaled, by one constant each, to the average variance they had without.
    """
    n_segments, d = sigma.shape
    precision = np.zeros((n_segments, d, d))
    precision[:, range(d), range(d)] = sigma**-2.0
    if coupling == 0.0:
        return np.asarray(np.linalg.inv(precision))
    differences = np.eye(d)[:-1] - signs[:, None] * np.eye(d)[1:]
    covariance = np.linalg.inv(precision + coupling * differences.T @ differences)
    variance = np.diagonal(covariance, axis1=1, axis2=2).mean(axis=0)
    scale = np.sqrt((sigma**2).mean(axis=0) / variance)
    return np.asarray(scale[:, None] * covariance * scale)


@dataset(
    "tcl-segments",
    properties={
        "injective-mixing": {"sizes=true": "no", "otherwise": "yes"},
        "linear-mixing": {"sizes=true": "no", "n_layers=1": "yes", "otherwise": "no"},
        "factorised-given-u": {"coupling=0": "yes", "otherwise": "no"},
        "exponential-given-u": "yes",
        "independent-non-gaussian": {"coupling=0": "nearly", "otherwise": "no"},
        "sizes-are-truth": {"sizes=true": "yes", "otherwise": "no"},
        "heads-span": "no",
        "gaussian-given-target": "no",
        "sparse-separating-heads": "no",
        "grouped-tasks": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
    },
    paper="Hyvärinen & Morioka 2016, NeurIPS; Khemakhem et al. 2020, AISTATS, section 5.1",
    summary="Gaussian factors whose variances change from segment to segment, 3 mixing layers, no noise",
    provides=("aux", "labels"),
    difficulty={"n_layers": (1, 3, 5)},
    budgets={
        "smoke": {"d": 3, "n_segments": 20, "n_per_segment": 80},
        "paper": {"n_per_segment": 1000},
    },
)
def tcl_segments(
    *,
    seed: int,
    d: int = 5,
    n_segments: int = 40,
    n_per_segment: int = 250,
    n_layers: int = 3,
    centred: bool = True,
    coupling: float = 0.0,
    shared_matrix: bool = False,
    sizes: bool = False,
) -> Data:
    """Segments with their own variances, mixed by a smooth network: the data of the TCL and iVAE papers.

    Parameters
    ----------
    seed          of all draws: segments, latents, mixing and evaluation set
    d             factors, and dimensions of x
    n_segments, n_per_segment   segments M, and training samples L of each; a quarter as many more are held out
    n_layers      linear layers of the mixing, tanh(a) + 0.1 a between them; 1 is linear ICA
    centred       zero means, as in the papers; otherwise means U(-5, 5) by segment and factor
    coupling      strength c >= 0 of the coupling between neighbouring factors; 0 keeps the prior factorised
    shared_matrix   one matrix in all layers, as the released iVAE program mixes; otherwise one draw a layer
    sizes         the truth to recover is |z_j| instead of z_j: all that time-contrastive learning promises where
                  segments differ in variance alone (Hyvärinen and Morioka 2016 score |z_j| too)

    The segment is both the auxiliary variable u and the class label; there are no targets. No ceiling is given: x
    determines z. In the independent evaluation set every factor has its marginal over all segments; the segment
    stated beside it is random, for no segment fits such a sample.
    Raises ValueError for parameters outside these ranges.
    """
    require_range("d", d, 1)
    require_range("n_segments", n_segments, 1)
    require_range("n_per_segment", n_per_segment, 1)
    require_range("n_layers", n_layers, 1)
    require_range("coupling", coupling, 0.0)
    rng_latents, rng_mixing, rng_evaluation = np.random.default_rng(seed).spawn(3)
    mixing = conditioned_mixing((d,) * (n_layers + 1), rng_mixing, activation="smooth", unit="incoming")
    if shared_matrix:
        mixing = Mixing(n_layers * mixing.weights[:1], mixing.biases, mixing.activation)

    sigma = rng_latents.uniform(*DEVIATIONS, (n_segments, d))
    mean = rng_latents.uniform(*MEANS, (n_segments, d)) * (not centred)
    signs = rng_latents.choice([-1.0, 1.0], d - 1)
    factor = np.linalg.cholesky(segment_covariances(sigma, coupling, signs))
    n_test = extra_held_out(n_per_segment)
    noise = rng_latents.standard_normal((n_segments, n_per_segment + n_test, d))
    z = mean[:, None, :] + noise @ factor.transpose(0, 2, 1)

    z_train, z_test = z[:, :n_per_segment].reshape(-1, d), z[:, n_per_segment:].reshape(-1, d)
    z_independent = product_of_marginals(z.reshape(-1, d), rng_evaluation)
    segment = np.repeat(np.arange(n_segments), n_per_segment)
    nothing = np.zeros(0, dtype=np.int64)
    truth = np.abs if sizes else np.asarray
    train = TrainView(
        x=mixing(z_train).astype(np.float32),
        sample=nothing,
        task=nothing,
        y=np.zeros(0),
        n_tasks=0,
        n_latents=d,
        aux=segment,
        labels=segment.copy(),
    )
    evaluation = EvalView(
        x_test=mixing(z_test).astype(np.float32),
        aux_test=np.repeat(np.arange(n_segments), n_test),
        z_train=truth(z_train),
        z_test=truth(z_test),
        x_independent=mixing(z_independent).astype(np.float32),
        z_independent=truth(z_independent),
        aux_independent=rng_evaluation.integers(n_segments, size=len(z_independent)),
    )
    info = {
        "n_train": len(z_train),
        "n_test": len(z_test),
        "d": d,
        "n_segments": n_segments,
        "n_per_segment": n_per_segment,
        "n_layers": n_layers,
        "centred": centred,
        "coupling": coupling,
        "sizes": sizes,
        "cond": json_number(mixing.condition_number(z_test)),
    }
    return Data(train, evaluation, info)
