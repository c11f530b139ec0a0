"""Which molecules each task measures, and what it measures of them: see ``molecules_causal``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.api import NotApplicable
from datasets.molecular import scaffolds
from datasets.molecular.balancing import Unmatched, Weights, balance, largest_sample, systematic_sample
from datasets.molecular.splits import HELD_OUT
from datasets.synthetic.common import MAX_INDEPENDENT

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Split = Literal["molecule", "row", "rarest-scaffold"]

VERSION = 1  # part of the cache key
CAUSAL_SD = 0.85
MAX_GAMMA = 0.6
# Weights of a Gaussian library have finite variance where the target's eigenvalues stay below 2: keep away from it
MAX_EIGENVALUE = 1.7
INDEPENDENT_VARIANCE = 0.8  # of the factors in the independent set: the library's tails are thinner than a Gaussian's
EFFECTIVE_PER_SAMPLE = 10
MAX_DRAWS = 200


@dataclass(frozen=True)
class TaskLaw:
    """A Gaussian over (z, y), y of variance 1, both of mean 0.

    causal       (d,) bool
    covariance   (d, d) of z; cross (d,) of z with y
    """

    causal: NDArray[np.bool_]
    covariance: Array
    cross: Array

    def targets(self, z: Array, rng: np.random.Generator) -> Array:
        """y (n,) drawn from its law given z (n, d)."""
        slope = np.linalg.solve(self.covariance, self.cross)
        return np.asarray(z @ slope + np.sqrt(1.0 - self.cross @ slope) * rng.standard_normal(len(z)))


def draw_law(rng: np.random.Generator, d: int, k: int, sigma_s: float, target: Literal["causal", "model"]) -> TaskLaw:
    """The law of one task, as ``molecules_causal`` describes it."""
    causal = np.zeros(d, dtype=bool)
    causal[rng.permutation(d)[:k]] = True
    weights = np.where(causal, rng.standard_normal(d), 0.0)
    noise = rng.uniform(2.0, 3.0)
    gamma = np.where(causal, 0.0, rng.uniform(-MAX_GAMMA, MAX_GAMMA, d))
    if target == "model":
        weights[:] = 0.0
    deviation = np.sqrt(CAUSAL_SD**2 * weights @ weights + noise**2)
    cross = np.where(causal, CAUSAL_SD**2 * weights / deviation, gamma)
    # spurious factors depend on the causal ones through y alone
    covariance = np.where(np.outer(causal, causal), 0.0, np.outer(cross, cross))
    covariance += np.diag(np.where(causal, CAUSAL_SD**2, sigma_s**2))
    return TaskLaw(causal, covariance, cross)


@dataclass(frozen=True)
class Selection:
    """train, test (T, n), (T, m) rows of the library; y_train, y_test their targets
    causal       (T, d) bool
    effective, effective_test   (T,) effective sample sizes of the selections
    redrawn      tasks that were drawn and not used
    independent  rows of the independent evaluation set
    """

    train: Rows
    test: Rows
    y_train: Array
    y_test: Array
    causal: NDArray[np.bool_]
    effective: Array
    effective_test: Array
    redrawn: NDArray[np.int64]
    independent: Rows


def sides(identities: list[str], rings: list[str], split: Split) -> tuple[Rows, Rows]:
    """Rows of the library to select training and held-out molecules from; the same ones for the split by rows."""
    everything = np.arange(len(identities))
    if split == "row":
        return everything, everything
    if split == "rarest-scaffold":
        held = scaffolds.rarest(rings, HELD_OUT)
    else:
        digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in identities)
        held = np.frombuffer(b"".join(digests), dtype="<u8") < np.uint64(HELD_OUT * 2**64)
    return everything[~held], everything[held]


def select(
    z: Array,
    train_side: Rows,
    test_side: Rows,
    *,
    k: int,
    sigma_s: float,
    target: Literal["causal", "model"],
    n_tasks: int,
    n_train: int,
    n_test: int,
    shifted: bool,
    seed: int,
) -> Selection:
    """Draw ``n_tasks`` laws and select molecules for each; z (n, d) of the whole library.

    Where the sides are one, training and held-out molecules of a task are one sample, hence different. ``shifted``
    draws the held-out molecules without weights, as they are, and the independent set from the training side. Raises
    NotApplicable where ``MAX_DRAWS`` laws in a row cannot be served.
    """
    rng = np.random.default_rng(seed)
    together = np.array_equal(train_side, test_side)
    chosen: list[tuple[TaskLaw, Rows, Rows, float, float]] = []
    failed = redrawn = 0

    def held_out(law: TaskLaw) -> tuple[Rows, float]:
        if shifted:
            return rng.choice(test_side, n_test, replace=False), float(len(test_side))
        return _selected(z, law, test_side, n_test, rng)

    while len(chosen) < n_tasks:
        law = draw_law(rng, z.shape[1], k, sigma_s, target)
        try:
            if together:
                rows, effective = _selected(z, law, train_side, n_train + n_test, rng)
                chosen.append((law, rows[:n_train], rows[n_train:], effective, effective))
            else:
                test, effective_test = held_out(law)  # first, as the smaller side refuses sooner
                train, effective = _selected(z, law, train_side, n_train, rng)
                chosen.append((law, train, test, effective, effective_test))
        except Unmatched as reason:
            failed, redrawn = failed + 1, redrawn + 1
            if failed == MAX_DRAWS:
                raise NotApplicable(
                    f"task {len(chosen)}: no selection after {MAX_DRAWS} draws, at last {reason}; "
                    f"raise sigma_s or the library's size, or lower n_per_task or n_latents"
                ) from None
        else:
            failed = 0
    return Selection(
        train=np.stack([train for _, train, *_ in chosen]),
        test=np.stack([test for _, _, test, *_ in chosen]),
        y_train=np.stack([law.targets(z[train], rng) for law, train, *_ in chosen]),
        y_test=np.stack([law.targets(z[test], rng) for law, _, test, *_ in chosen]),
        causal=np.stack([law.causal for law, *_ in chosen]),
        effective=np.array([effective for *_, effective, _ in chosen]),
        effective_test=np.array([effective for *_, effective in chosen]),
        redrawn=np.array(redrawn),
        independent=_independent(z, train_side if shifted else test_side, rng),
    )


def _selected(z: Array, law: TaskLaw, side: Rows, n: int, rng: np.random.Generator) -> tuple[Rows, float]:
    """n different rows out of ``side`` that follow the law, and the effective sample size they come from."""
    if np.linalg.eigvalsh(law.covariance)[-1] > MAX_EIGENVALUE:
        raise Unmatched(f"a covariance of z with an eigenvalue above {MAX_EIGENVALUE}, too wide for the library")
    weights = balance(z[side], law.covariance)
    if weights.effective < EFFECTIVE_PER_SAMPLE * n:
        raise Unmatched(f"an effective sample size of {weights.effective:.0f} for {n} molecules")
    return side[systematic_sample(weights, n, rng)], weights.effective


def _independent(z: Array, side: Rows, rng: np.random.Generator) -> Rows:
    """Different rows with uncorrelated factors of variance ``INDEPENDENT_VARIANCE``, as many as there can be."""
    try:
        weights: Weights = balance(z[side], INDEPENDENT_VARIANCE * np.eye(z.shape[1]))
        return side[systematic_sample(weights, min(MAX_INDEPENDENT, largest_sample(weights)), rng)]
    except Unmatched as reason:
        raise NotApplicable(f"independent evaluation set: {reason}; raise the library's size") from None
