"""Evidence aggregation: many classifications of one stimulus that is seen through noise, over time.

Vafidis, Bhargava and Rangel (2024), *Disentangling representations through multi-task learning*, arXiv 2407.11249::

    x* ~ U[−½, ½]^d,   X_t = x* + ε_t (sd σ),   o_t = f(X_t),   y_i = 1 where c_i · x* > 0.

f is a frozen random network. A trial shows o_1 … o_T, and every task i asks on which side of its boundary x* lies. To
answer all of them at best is to know the posterior of x*, and the paper argues that a network that does so must hold x*
in linear form once the boundaries span the space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from bench.api import Data, EvalView, NotApplicable, TrainView, dataset
from bench.toolkit.inputs import Sequences

from ..synthetic.common import extra_held_out, product_of_marginals, require_choice, require_range
from .frozen import FrozenEncoder, choose_encoder
from .log_odds import task_log_odds
from .noise import NOISES, draw_noise, likelihood_of
from .posterior import Array, posterior_mean

BOUNDARIES = ("linear", "product")
CONFIDENCE_BOUND = 5.0
"""Where the accumulated evidence of a trial of free duration is clipped."""
_DRAWS_OF_PRODUCTS = 100_000


@dataclass(frozen=True)
class Trials:
    """factors (n, d), readings (n, steps, d) and the number of them that each trial shows, (n,)."""

    factors: Array
    readings: Array
    counts: NDArray[np.int64]


@dataset(
    "evidence",
    paper="Vafidis, Bhargava, Rangel 2024, arXiv 2407.11249, Disentangling representations through multi-task learning",
    summary="noisy readings of two factors over time, through a narrow random network; 24 classifications of them",
    provides=("targets", "binary"),
    kind="sequence",
    properties={
        "injective-mixing": {"encoder_out<d": "no", "otherwise": "yes"},
        "linear-mixing": "no",
        "heads-span": {"n_tasks<d": "no", "boundaries=product": "no", "otherwise": "nearly"},
        "classified-by-hyperplanes": {
            "n_tasks<d": "no",
            "boundaries=product": "no",
            "free_time=true": "nearly",
            "otherwise": "yes",
        },
        "isotropic-noise": {"noise=iid": "yes", "noise=gumbel": "nearly", "noise=ar1": "nearly", "otherwise": "no"},
        "independent-non-gaussian": {"rho=0": "yes", "otherwise": "no"},
        "sparse-separating-heads": "no",
        "grouped-tasks": "no",
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "exponential-given-u": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    budgets={"smoke": {"n": 1000, "steps": 8}, "paper": {"n": 100000}},
)
@dataset(
    "evidence-paper",
    paper="Vafidis, Bhargava, Rangel 2024, arXiv 2407.11249, Disentangling representations through multi-task learning",
    summary="the same as published: a network 40 wide, which makes averaging enough, and fixation and decision steps",
    provides=("targets", "binary"),
    kind="sequence",
    defaults={"encoder_out": 40, "encoder_draws": 1, "fixation": True},
    properties={
        "injective-mixing": {"encoder_out<d": "no", "otherwise": "yes"},
        "linear-mixing": "no",
        "heads-span": {"n_tasks<d": "no", "boundaries=product": "no", "otherwise": "nearly"},
        "classified-by-hyperplanes": {
            "n_tasks<d": "no",
            "boundaries=product": "no",
            "free_time=true": "nearly",
            "otherwise": "yes",
        },
        "isotropic-noise": {"noise=iid": "yes", "noise=gumbel": "nearly", "noise=ar1": "nearly", "otherwise": "no"},
        "independent-non-gaussian": {"rho=0": "yes", "otherwise": "no"},
        "sparse-separating-heads": "no",
        "grouped-tasks": "no",
        "gaussian-given-target": "no",
        "factorised-given-u": "no",
        "exponential-given-u": "no",
        "vmf-clusters-span": "no",
        "instance-views": "no",
        "sizes-are-truth": "no",
    },
    budgets={"smoke": {"n": 1000, "steps": 8}, "paper": {"n": 100000}},
    on_request=True,
)
def evidence(
    *,
    seed: int,
    d: int = 2,
    n_tasks: int = 24,
    sigma: float = 0.2,
    steps: int = 20,
    n: int = 10000,
    encoder_out: int | None = None,
    encoder_draws: int = 32,
    boundaries: str = "linear",
    noise: str = "iid",
    rho: float = 0.0,
    fixation: bool = False,
    free_time: bool = False,
) -> Data:
    """Trials of noisy evidence on ``d`` factors, all of which all tasks classify.

    Parameters
    ----------
    seed          of all draws: factors, noise, encoder and tasks
    d, n_tasks    factors and tasks
    sigma         standard deviation of the noise of a reading (on the first factor, where it is anisotropic)
    steps         readings in a trial
    n             training trials; a quarter as many more are held out
    encoder_out   outputs of the frozen encoder; None for 2d + 1, at which a generic map is injective (Whitney)
    encoder_draws   random networks to choose it from, the least linear of the half that distorts less
                  (``frozen.choose_encoder``); 1 for the paper's
    boundaries    "linear": hyperplanes through the origin, at even angles (i + ½)π/N where d = 2, else with random
                  normals; "product": |x_a x_b| against evenly spaced quantiles of it, for the pairs of factors in
                  turn. A product does not tell the signs of its factors: nothing promises linear codes then
    noise         "iid", "ar1", "anisotropic" or "gumbel": see ``noise.draw_noise``
    rho           correlation of the factors (Gaussian copula, uniform marginals), two factors only
    fixation      a step without stimulus before the readings and another after them, at which the answer is due, and a
                  further channel that is 1 until then
    free_time     trials end after a number of readings that is drawn uniformly from 1 … steps, after which only the
                  further channel, then 0, is informative. Targets are confidences: c_i · Σ X_t, clipped at ±5

    Every target is observed for every sample. The ceiling is the exact posterior mean of the factors, whatever the
    tasks (``posterior.posterior_mean``). ``oracles`` holds the sufficient statistic of the readings and, for two
    independent factors and lines, the exact log odds of all tasks. With rho = 0 the factors are independent as they
    are, and no separate evaluation set is given.
    Raises ValueError for parameters outside these ranges.
    """
    require_range("d", d, 1)
    require_range("n_tasks", n_tasks, 1)
    require_range("sigma", sigma, 1e-3)
    require_range("steps", steps, 1)
    require_range("n", n, 10)
    width = 2 * d + 1 if encoder_out is None else encoder_out
    require_range("encoder_out", width, 1)
    require_range("encoder_draws", encoder_draws, 1)
    require_choice("boundaries", boundaries, BOUNDARIES)
    require_choice("noise", noise, NOISES)
    require_range("rho", rho, -0.99, 0.99)
    if rho != 0.0 and d != 2:
        raise ValueError(f"rho={rho!r} needs d=2, not {d}: the ceiling of correlated factors is known for two alone")
    if boundaries == "product" and (d < 2 or free_time):
        raise ValueError("boundaries='product' needs at least two factors and trials of fixed duration")
    streams = np.random.default_rng(seed).spawn(5)
    rng_factors, rng_noise, rng_encoder, rng_tasks, rng_evaluation = streams
    encoder = choose_encoder(d, width, encoder_draws, rng_encoder)
    normals = boundary_normals(d, n_tasks, rng_tasks)

    def observe(factors: Array) -> tuple[Trials, Sequences]:
        shape = (len(factors), steps, d)
        readings = factors[:, None] + draw_noise(noise, sigma, shape, rng_noise)
        counts = rng_noise.integers(1, steps + 1, len(factors)) if free_time else np.full(len(factors), steps)
        trials = Trials(factors, readings, counts)
        return trials, shown(trials, encoder, fixation=fixation, free_time=free_time)

    n_all = n + extra_held_out(n)
    factors = draw_factors(n_all, d, rho, rng_factors)
    (train, x_train), (test, x_test) = observe(factors[:n]), observe(factors[n:])
    if boundaries == "product":
        labels = product_labels(n_tasks, d, rho, rng_tasks)
        y_train, y_test = labels(train.factors), labels(test.factors)
    else:
        answer = confidences if free_time else sides
        y_train, y_test = answer(train, normals), answer(test, normals)

    parts, x_independent, z_independent = [train, test], None, None
    if rho != 0.0:
        independent, x_independent = observe(product_of_marginals(factors, rng_evaluation))
        z_independent = independent.factors
        parts.append(independent)
    likelihoods = [likelihood_of(noise, sigma, part.readings, part.counts) for part in parts]
    ceilings = [posterior_mean(likelihood, rho) for likelihood in likelihoods]

    def log_odds() -> tuple[Array, ...]:
        if d != 2 or rho != 0.0 or boundaries != "linear":
            raise NotApplicable("exact log odds are known for two independent factors and boundaries that are lines")
        return tuple(task_log_odds(likelihood, normals) for likelihood in likelihoods)

    return Data(
        TrainView(
            x=x_train,
            **dense_targets(y_train),
            n_tasks=n_tasks,
            n_latents=d,
            target_type="continuous" if free_time else "binary",
        ),
        EvalView(
            x_test=x_test,
            **{f"{name}_test": value for name, value in dense_targets(y_test).items()},
            z_train=train.factors,
            z_test=test.factors,
            x_independent=x_independent,
            z_independent=z_independent,
            ceiling_train=ceilings[0],
            ceiling_test=ceilings[1],
            ceiling_independent=ceilings[2] if len(ceilings) > 2 else None,
            centre=np.zeros(d),
            oracles={
                "sufficient-statistic": lambda: tuple(likelihood.statistic for likelihood in likelihoods),
                "task-log-odds": log_odds,
            },
        ),
        info={
            "d": d,
            "n_tasks": n_tasks,
            "sigma": sigma,
            "steps": steps,
            "encoder_out": width,
            "boundaries": boundaries,
            "noise": noise,
            "rho": rho,
            "theory_r2": 1 - 12 * sigma**2 / steps,
            "cond": float(np.median(encoder.condition_numbers(train.readings[:64, 0]))),
        },
    )


def draw_factors(n: int, d: int, rho: float, rng: np.random.Generator) -> Array:
    """(n, d) uniform on [−½, ½], two of them with a Gaussian copula of correlation rho."""
    if rho == 0.0:
        return rng.uniform(-0.5, 0.5, (n, d))
    normal = rng.standard_normal((n, d))
    normal[:, 1] = rho * normal[:, 0] + np.sqrt(1 - rho**2) * normal[:, 1]
    return np.asarray(ndtr(normal) - 0.5)


def boundary_normals(d: int, n_tasks: int, rng: np.random.Generator) -> Array:
    """Unit normals (n_tasks, d) of hyperplanes through the origin: evenly spaced where d is 2, else random."""
    if d == 2:
        angle = (np.arange(n_tasks) + 0.5) * np.pi / n_tasks
        return np.column_stack([-np.sin(angle), np.cos(angle)])
    normal = rng.standard_normal((n_tasks, d))
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def sides(trials: Trials, normals: Array) -> Array:
    """(n, T) 1 where the factors lie on the positive side."""
    return (trials.factors @ normals.T > 0).astype(np.float64)


def confidences(trials: Trials, normals: Array) -> Array:
    """(n, T) evidence accumulated by the end of the trial, on the scale of the readings, clipped."""
    seen = np.arange(trials.readings.shape[1]) < trials.counts[:, None]
    total = np.einsum("nt,ntd->nd", seen, trials.readings)
    return np.clip(total @ normals.T, -CONFIDENCE_BOUND, CONFIDENCE_BOUND)


def product_labels(n_tasks: int, d: int, rho: float, rng: np.random.Generator) -> Any:
    """The function factors (n, d) → (n, T): 1 where |x_a x_b| exceeds the threshold of its task."""
    first, second = np.triu_indices(d, 1)
    pair = np.arange(n_tasks) % len(first)
    a, b = first[pair], second[pair]
    product = np.abs(np.prod(draw_factors(_DRAWS_OF_PRODUCTS, 2, rho, rng), axis=1))
    threshold = np.quantile(product, (np.arange(n_tasks) + 0.5) / n_tasks)
    return lambda factors: (np.abs(factors[:, a] * factors[:, b]) > threshold).astype(np.float64)


def shown(trials: Trials, encoder: FrozenEncoder, *, fixation: bool, free_time: bool) -> Sequences:
    """What a learner sees of the trials."""
    n, steps, _ = trials.readings.shape
    blank = encoder(np.zeros(trials.readings.shape[2]))
    seen = np.arange(steps) < trials.counts[:, None]
    values = encoder(trials.readings)
    values[~seen] = blank
    if fixation or free_time:
        values = np.concatenate([values, seen[..., None].astype(np.float64)], axis=2)
    if fixation:
        before, after = np.append(blank, 1.0), np.append(blank, 0.0)
        values = np.concatenate([np.tile(before, (n, 1, 1)), values, np.tile(after, (n, 1, 1))], axis=1)
    return Sequences(values.astype(np.float32))


def dense_targets(y: Array) -> dict[str, Any]:
    """Targets (n, T), all observed, in long format."""
    n, n_tasks = y.shape
    return {
        "sample": np.repeat(np.arange(n), n_tasks),
        "task": np.tile(np.arange(n_tasks), n),
        "y": y.reshape(-1),
    }
