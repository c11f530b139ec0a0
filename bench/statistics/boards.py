"""Simulated boards: how often equally good learners are told apart, and how often different ones are.

Part of ``python -m bench.statistics.coverage``. Scores are the data seed's difficulty, which all learners share, and
independent noise of each learner with standard deviation 1, or a standard deviation of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bench.statistics.families import Pair, corrected
from bench.statistics.intervals import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Noise = Literal["normal", "skewed", "uneven", "two noisy", "failing"]
NOISES: dict[Noise, str] = {
    "normal": "normal",
    "skewed": "skewed",
    "uneven": "normal, sd e^N(0, 1) of each learner",
    "two noisy": "normal, two of the learners with sd 3",
    "failing": "normal, one score in ten 10 lower",
}


@dataclass(frozen=True)
class BoardErrors:
    """Shares of simulated boards.

    separated   boards of equally good learners on which any two are told apart
    behind      learners of those boards that are behind another
    found       boards on which the first learner, made better by ``lead``, is told apart from the second
    """

    separated: float
    behind: float
    found: float


def board_errors(
    n_learners: int, n_seeds: int, repeats: int, *, noise: Noise = "normal", lead: float = 3.0, seed: int = 0
) -> BoardErrors:
    """Simulate ``repeats`` boards of equally good learners, and again with one learner better by ``lead``."""
    import numpy as np

    generator = np.random.default_rng(seed)
    separated = behind = found = 0
    for _ in range(repeats):
        scores = _scores(generator, n_learners, n_seeds, noise)
        losers = {
            other if difference.mean > 0.0 else one
            for (one, other), difference in differences(scores).items()
            if not difference.covers(0.0)
        }
        separated += bool(losers)
        behind += len(losers)
        scores[0] += lead
        found += not differences(scores)["0", "1"].covers(0.0)
    return BoardErrors(separated / repeats, behind / (repeats * n_learners), found / repeats)


def _scores(generator: np.random.Generator, n_learners: int, n_seeds: int, noise: Noise) -> Array:
    import numpy as np

    size = (n_learners, n_seeds)
    own: Array = 1.0 - generator.standard_exponential(size) if noise == "skewed" else generator.standard_normal(size)
    if noise == "uneven":
        own *= np.exp(generator.standard_normal((n_learners, 1)))
    elif noise == "two noisy":
        own[-2:] *= 3.0
    elif noise == "failing":
        own -= 10.0 * (generator.random(size) < 0.1)
    return own + 3.0 * generator.standard_normal(n_seeds)


def differences(scores: Array) -> dict[Pair, Interval]:
    """``families.paired_differences`` of scores (learners, seeds), learners named "0", "1", …; all pairs at once."""
    import numpy as np

    from bench.statistics.intervals import t_quantile

    one, other = np.triu_indices(len(scores), 1)
    n = scores.shape[1]
    pairs = scores[one] - scores[other]
    means, errors = pairs.mean(axis=1).tolist(), (pairs.std(axis=1, ddof=1) / np.sqrt(n)).tolist()
    width = t_quantile(0.975, n - 1)
    plain = {
        (str(i), str(j)): Interval(mean, width * error, n, f"t, {n} seeds", error=error, freedom=n - 1.0)
        for i, j, mean, error in zip(one.tolist(), other.tolist(), means, errors, strict=True)
    }
    return corrected(plain)
