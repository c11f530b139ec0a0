"""Codes with a known answer: every case states what a correct metric must say, an interval, or that it must refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.metrics.base import Score, ScoreInput
from bench.metrics.chance import gaussian_r2, generator, in_sample_mcc
from bench.metrics.disentanglement import entropies
from bench.metrics.matching import match
from bench.metrics.moments import Matrix

N, D, TASKS = 2000, 10, 20


@dataclass(frozen=True)
class Known:
    """The interval a correct score lies in; or, with ``refuse``, words that the reason for giving none must contain."""

    low: float = 0.0
    high: float = 0.0
    refuse: str = ""

    def holds(self, score: Score | None) -> bool:
        if score is None:
            return False
        if self.refuse:
            return score.value is None and self.refuse in score.reason
        return score.value is not None and self.low <= score.value <= self.high

    def __str__(self) -> str:
        if self.refuse:
            return "must refuse"
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return f"{middle:.4g}" if half < 1e-6 else f"{middle:.2f} ± {half:.2f}"


def exactly(value: float) -> Known:
    return Known(value - 1e-9, value + 1e-9)


def about(value: float, tolerance: float) -> Known:
    return Known(value - tolerance, value + tolerance)


def refuse(words: str) -> Known:
    return Known(refuse=words)


@dataclass(frozen=True)
class Case:
    """Codes, and what is known of their scores; metrics not in ``known`` are shown without a claim."""

    name: str
    inputs: ScoreInput
    known: dict[str, Known] = field(default_factory=dict)


_EVERYTHING = ("mcc", "mcc_spearman", "weak_mcc", "linear_r2", "dci_d", "dci_c", "block_mcc", "mcc_per_task")


@dataclass(frozen=True)
class _World:
    """Factors, tasks and supports that the cases share; pairs of factors cause the same tasks."""

    rng: np.random.Generator
    z: Matrix
    z_test: Matrix
    task: Any
    causal: Any

    def case(
        self,
        name: str,
        encode: Callable[[Matrix], Matrix],
        known: dict[str, Known],
        *,
        encode_test: Callable[[Matrix], Matrix] | None = None,
        factors: tuple[Matrix, Matrix] | None = None,
        independent: bool = False,
        causal_found: Any = None,
    ) -> Case:
        z, z_test = factors or (self.z, self.z_test)
        free = self.rng.standard_normal((N, D)) if independent else None
        inputs = ScoreInput(
            z_train=z,
            codes_train=encode(z),
            z_test=z_test,
            codes_test=(encode_test or encode)(z_test),
            task_test=self.task[: len(z_test)],
            z_independent=free,
            codes_independent=None if free is None else encode(free),
            causal_true=self.causal[:, : z.shape[1]],
            causal_found=causal_found,
        )
        return Case(name, inputs, known)


def cases() -> Iterator[Case]:
    """All cases; the same on every call."""
    rng = generator(7)
    causal = rng.random((TASKS, D // 2)).repeat(2, axis=1) < 0.4
    world = _World(rng, rng.standard_normal((N, D)), rng.standard_normal((N, D)), rng.integers(0, TASKS, N), causal)
    yield from _equivalent(world)
    yield from _mixed(world)
    yield from _partial(world)
    yield from _correlated(world)
    yield from _refused(world)
    yield from _wide(_World(generator(9), world.z, world.z_test, world.task, causal))


def _equivalent(w: _World) -> Iterator[Case]:
    """Codes that are the factors up to permutation and scaling: everything is 1."""
    perfect = {name: exactly(1) for name in _EVERYTHING} | {"nonlinear_r2": about(1, 0.01)}
    free = {"mcc_independent": exactly(1), "r2_independent": exactly(1), "causal_f1": exactly(1)}
    order, sign = w.rng.permutation(D), w.rng.choice([-1.0, 1.0], D)
    scale = w.rng.uniform(0.1, 10, D) * sign
    huge = 10.0 ** np.resize([20, -20, 0], D)
    yield w.case("identity", lambda z: z, perfect | free, independent=True, causal_found=w.causal)
    yield w.case(
        "permutation, scaling, sign",
        lambda z: z[:, order] * scale,
        perfect | free,
        independent=True,
        causal_found=w.causal[:, order],
    )
    yield w.case("scale 1e±20", lambda z: z * huge, perfect)
    yield w.case("columns scaled 1 … 1e20", lambda z: z * np.logspace(0, 20, D), perfect)
    yield w.case("shift by 1e6", lambda z: z + 1e6, perfect)
    yield w.case(
        "float32 codes",
        lambda z: z.astype(np.float32),
        {k: about(v.high, 1e-6) for k, v in perfect.items()}
        | {"dci_d": about(1, 1e-3), "dci_c": about(1, 1e-3), "nonlinear_r2": about(1, 0.01)},
    )


def _mixed(w: _World) -> Iterator[Case]:
    """Codes that hold all information, in another form."""
    rotation = np.linalg.qr(w.rng.standard_normal((D, D)))[0]
    found = match(rotation)
    pairs_of = np.abs(rotation[found.factor, found.code])
    entropy = entropies(np.abs(rotation.T))
    linear = {"weak_mcc": exactly(1), "linear_r2": exactly(1), "r2_independent": exactly(1)}
    yield w.case(
        "rotation",
        lambda z: z @ rotation,
        linear
        | {
            "mcc": about(float(pairs_of.mean()), 0.03),
            "mcc_independent": about(float(pairs_of.mean()), 0.03),
            "mcc_spearman": about(float((6 / np.pi * np.arcsin(pairs_of / 2)).mean()), 0.03),
            "nonlinear_r2": about(1, 0.01),
            "dci_d": about(entropy[0], 0.02),
            "dci_c": about(entropy[1], 0.02),
            "block_mcc": Known(0.4, 0.9),
        },
        independent=True,
    )
    bad = rotation * np.logspace(0, -8, D) @ rotation.T
    straight = {"weak_mcc": about(1, 1e-6), "linear_r2": about(1, 1e-6), "nonlinear_r2": about(1, 0.01)}
    yield w.case("mixing of condition 1e8", lambda z: z @ bad, straight)
    angle = np.pi / 4
    turn = np.kron(np.eye(D // 2), [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    yield w.case(
        "rotation by 45° inside pairs",
        lambda z: z @ turn,
        {k: v for k, v in linear.items() if k != "r2_independent"}
        | {"block_mcc": exactly(1), "mcc": about(np.sqrt(0.5), 0.03), "dci_d": about(1 - np.log(2) / np.log(D), 0.02)},
    )
    yield w.case(
        "elementwise monotone, z³",
        lambda z: z**3,
        {
            "mcc": about(3 / np.sqrt(15), 0.02),
            "mcc_spearman": exactly(1),
            "weak_mcc": about(3 / np.sqrt(15), 0.02),
            "linear_r2": about(0.6, 0.04),
            "nonlinear_r2": Known(0.95, 1),
            "mcc_per_task": about(3 / np.sqrt(15), 0.04),
        },
    )
    flipped = {name: exactly(-1) for name in ("mcc", "mcc_spearman", "weak_mcc", "block_mcc")}
    yield w.case(
        "sign flips on held-out", lambda z: z, flipped | {"linear_r2": about(-3, 0.01)}, encode_test=lambda z: -z
    )
    orders = np.stack([w.rng.permutation(D) for _ in range(TASKS)])
    task = w.task
    yield w.case(
        "factors reordered in every task",
        lambda z: np.take_along_axis(z, orders[task], axis=1),
        {"mcc_per_task": exactly(1), "mcc": Known(0.05, 0.35), "weak_mcc": Known(0.05, 0.6)},
    )


def _partial(w: _World) -> Iterator[Case]:
    """Codes that hold a part of the information, none, or more columns than needed."""
    sd = 1 / np.sqrt(D * (N - 1))
    per_task = in_sample_mcc(N // TASKS, D, D)[0]
    nothing = {"mcc": about(0, 4 * sd), "mcc_spearman": about(0, 4 * sd), "weak_mcc": about(0, 4 * sd)}
    chance = {"linear_r2": about(gaussian_r2(N, N, D), 0.004), "nonlinear_r2": about(0, 0.02)}

    def noise(z: Matrix, width: int = D) -> Matrix:
        return w.rng.standard_normal((len(z), width))

    yield w.case(
        "noise",
        noise,
        nothing
        | chance
        | {
            "dci_d": about(0.11, 0.04),
            "dci_c": about(0.11, 0.04),
            "block_mcc": about(0, 4 * sd),
            "mcc_per_task": about(per_task, 0.03),
            "mcc_independent": about(0, 4 * sd),
            "causal_f1": about(float(w.causal.mean()), 0.15),
        },
        independent=True,
        causal_found=w.rng.permutation(w.causal),
    )
    few = (w.z[:100], w.z_test[:100])
    yield w.case(
        "20 noise codes, 100 samples",
        lambda z: noise(z, 20),
        {"mcc": about(0, 4 / np.sqrt(D * 99)), "linear_r2": about(gaussian_r2(100, 100, D), 0.15)},
        factors=few,
    )
    yield w.case(
        "factors + noise of sd 1",
        lambda z: z + noise(z),
        {
            "mcc": about(np.sqrt(0.5), 0.02),
            "mcc_spearman": about(6 / np.pi * np.arcsin(np.sqrt(0.5) / 2), 0.02),
            "weak_mcc": about(np.sqrt(0.5), 0.02),
            "linear_r2": about(0.5, 0.02),
            "nonlinear_r2": about(0.5, 0.05),
        },
    )
    third = about(0.3, 4 * sd)
    yield w.case(
        "3 of 10 factors",
        lambda z: z[:, :3],
        {
            "mcc": exactly(0.3),
            "mcc_spearman": exactly(0.3),
            "weak_mcc": third,
            "linear_r2": about(0.3, 0.01),
            "mcc_per_task": exactly(0.3),
        },
    )
    whole = {name: exactly(1) for name in ("mcc", "mcc_spearman", "weak_mcc", "linear_r2", "dci_d", "block_mcc")}
    yield w.case(
        "every factor twice",
        lambda z: np.hstack([z, -z]),
        whole | {"dci_c": exactly(1 - np.log(2) / np.log(2 * D))},
    )
    # 10 of 50 codes that look alike to whoever does not know the factors: as many of them as luck has it, 2 ± 1.1.
    lucky = about(D / 50, 0.34)
    yield w.case(
        "factors and 40 noise codes",
        lambda z: np.hstack([noise(z, 40), z]),
        {"mcc": lucky, "mcc_spearman": lucky, "weak_mcc": lucky, "linear_r2": lucky}
        | {"dci_d": exactly(1), "dci_c": exactly(1), "nonlinear_r2": about(1, 0.01)},
    )
    constant = {"mcc": exactly(0.9), "mcc_spearman": exactly(0.9), "weak_mcc": about(0.9, 4 * sd)}
    yield w.case(
        "one code constant",
        lambda z: np.where(np.arange(D) == 3, 7.0, z),
        constant | {"linear_r2": about(0.9, 0.004), "mcc_per_task": exactly(0.9)},
    )
    zero = {name: exactly(0) for name in ("mcc", "mcc_spearman", "weak_mcc", "dci_d", "dci_c", "mcc_per_task")}
    yield w.case("all codes constant", lambda z: np.full((len(z), D), 3.0), zero | {"linear_r2": about(0, 0.003)})


def _correlated(w: _World) -> Iterator[Case]:
    """Factors with correlation 0.9, and codes that look at every factor but their own."""
    rho = 0.9

    def equicorrelated() -> Matrix:
        shared = w.rng.standard_normal((N, 1))
        return np.sqrt(rho) * shared + np.sqrt(1 - rho) * w.rng.standard_normal((N, D))

    def others(z: Matrix) -> Matrix:
        return (z.sum(1, keepdims=True) - z) / (D - 1)

    factors = (equicorrelated(), equicorrelated())
    # Correlation of a factor with the mean of the nine others, under ρ and under independence.
    fooled = rho / np.sqrt((1 + (D - 2) * rho) / (D - 1))
    yield w.case(
        "identity, factors correlated 0.9",
        lambda z: z,
        {"mcc": exactly(1), "linear_r2": exactly(1), "mcc_independent": exactly(1), "r2_independent": exactly(1)},
        factors=factors,
        independent=True,
    )
    yield w.case(
        "means of the other factors, correlated 0.9",
        others,
        {
            "mcc": about(fooled, 0.02),
            "weak_mcc": exactly(1),
            "linear_r2": exactly(1),
            "mcc_independent": about(1 / np.sqrt(D - 1), 0.03),
            "r2_independent": exactly(1),
        },
        factors=factors,
        independent=True,
    )
    without = {name: refuse("correlated") for name in ("mcc", "mcc_spearman", "dci_d", "dci_c", "mcc_per_task")}
    yield w.case("the same without an independent set", others, without | {"linear_r2": exactly(1)}, factors=factors)


def _refused(w: _World) -> Iterator[Case]:
    """Outside every metric's domain: a reason, no number."""
    names = ("mcc", "mcc_spearman", "weak_mcc", "linear_r2", "nonlinear_r2", "dci_d", "dci_c")

    def all_refuse(words: str) -> dict[str, Known]:
        return {name: refuse(words) for name in names}

    def spoiled(z: Matrix) -> Matrix:
        return np.where(np.arange(z.size).reshape(z.shape) == 5, np.nan, z)

    yield w.case("one code is NaN", spoiled, all_refuse("not finite"))
    fixed = np.arange(D) == 2
    yield w.case(
        "a factor is constant",
        lambda z: z,
        all_refuse("constant"),
        factors=(np.where(fixed, 1.0, w.z), np.where(fixed, 1.0, w.z_test)),
    )
    double = [0, *range(D - 1)]
    yield w.case(
        "a factor is listed twice",
        lambda z: z,
        all_refuse("dependent"),
        factors=(w.z[:, double], w.z_test[:, double]),
    )
    yield w.case("10 samples of 10 factors", lambda z: z, all_refuse("too few"), factors=(w.z[:10], w.z_test[:10]))
    yield w.case(
        "codes wider than half the samples",
        lambda z: w.rng.standard_normal((len(z), 60)),
        {name: refuse("too few") for name in ("dci_d", "dci_c")}
        | {"mcc": about(0, 4 / np.sqrt(D * 99)), "linear_r2": about(gaussian_r2(100, 100, D), 0.15)},
        factors=(w.z[:100], w.z_test[:100]),
    )


def _wide(w: _World) -> Iterator[Case]:
    """More codes than factors: width alone is worth nothing, and copies of the factors are found again."""
    rotation, directions = np.linalg.qr(w.rng.standard_normal((D, D)))[0], w.rng.standard_normal((D, 1000))
    found = match(rotation)
    no_more = Known(0.0, float(np.abs(rotation[found.factor, found.code]).mean()) + 0.03)
    yield w.case(
        "a rotation in 1000 random directions",
        lambda z: z @ rotation @ directions,
        dict.fromkeys(("mcc", "mcc_spearman", "mcc_independent", "mcc_per_task"), no_more)
        | {"weak_mcc": exactly(1), "linear_r2": exactly(1), "r2_independent": exactly(1), "dci_d": Known(0.0, 0.15)},
        independent=True,
    )
    hidden, offset = w.rng.standard_normal((D, 300)), w.rng.standard_normal(300)
    yield w.case(
        "300 random features max(0, z·w + b)",
        lambda z: np.maximum(z @ hidden + offset, 0.0),
        {"mcc": no_more, "linear_r2": Known(0.0, 0.9), "nonlinear_r2": about(1, 0.05)},
    )
    copies = 1 / np.sqrt(1 + 0.3**2)
    yield w.case(
        "every factor in 3 noisy copies, 10 noise codes",
        lambda z: np.hstack(
            [w.rng.standard_normal((N, 10)), *(z + 0.3 * w.rng.standard_normal(z.shape) for _ in "123")]
        ),
        {
            "mcc": about(copies, 0.01),
            "weak_mcc": about(copies, 0.01),
            "linear_r2": about(copies**2, 0.01),
            "block_mcc": about(copies, 0.01),
        },
    )


def agreement_cases() -> Iterator[tuple[str, Any, Any, dict[str, Known]]]:
    """Pairs of codes of the same samples, and what ``consistency`` must say of them."""
    rng = generator(8)
    codes, noise = rng.standard_normal((N, D)), rng.standard_normal((N, D))
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0]
    found = match(rotation)
    level = float(np.abs(rotation[found.factor, found.code]).mean())
    sd = 1 / np.sqrt(D * (N / 2 - 1))
    same = {"strong": exactly(1), "weak": exactly(1)}
    yield "the same", codes, codes, same
    yield "permutation, scaling 1e±20, sign", codes, codes[:, ::-1] * -(10.0 ** np.resize([20, -20], D)), same
    yield "rotation", codes, codes @ rotation, {"strong": about(level, 0.03), "weak": exactly(1)}
    yield "independent", codes, noise, {"strong": about(0, 4 * sd), "weak": about(0, 4 * sd)}
    yield "the first half of the codes", codes, codes[:, : D // 2], {"strong": exactly(0.5), "weak": exactly(0.5)}
    flat = np.where(np.arange(D) < 2, codes, 1.0)
    yield "2 codes live, 8 collapsed in both", flat, flat, {"strong": exactly(0.2), "weak": exactly(0.2)}
