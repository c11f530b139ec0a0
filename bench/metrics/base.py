"""What a metric is, what it answers, and how one is registered; nothing here imports more than the standard library.

A metric plugin is a pure function of four arrays that returns a number, or raises ``OutOfDomain``::

    from bench.metrics.base import OutOfDomain, metric

    @metric("first-pair", tests="permutation+scaling", range="[-1, 1]", paper="nobody, 2024")
    def first_pair(z_train, codes_train, z_test, codes_test) -> float:
        '''Correlation of the first factor with the first code: an example, not a good metric.'''
        return float(np.corrcoef(z_test[:, 0], codes_test[:, 0])[0, 1])

The arguments of the decorator must be literals, because ``python -m bench list`` reads them from the source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bench.api import Guarantee, Info

if TYPE_CHECKING:
    from bench.api import BoolArray, Episode, FloatArray, IntArray

Direction = Literal["higher", "lower"]
Plugin = TypeVar("Plugin", bound=Callable[..., Any])


class OutOfDomain(ValueError):
    """Raised where a metric has no meaningful answer; the message is the reason printed instead of a number."""


@dataclass(frozen=True)
class Score:
    """One metric's answer.

    value     the score, finite; None where the metric is outside its domain
    reason    why there is no value; also set beside a value that must be read with care (``extra["flagged"]``)
    chance    what codes independent of the latent factors score on average at this n, d and width; None if unknown
    ceiling   what the best codes obtainable from x score; None if unknown
    extra     JSON values: per-factor scores, matching, spread of the chance level
    """

    value: float | None
    reason: str = ""
    chance: float | None = None
    ceiling: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def normalised(self) -> float | None:
        return normalised(self)


def normalised(score: Score) -> float | None:
    """(score − chance) / (ceiling − chance): 0 is chance, 1 the best possible; None where a part is unknown."""
    if score.value is None or score.chance is None or score.ceiling is None:
        return None
    room = score.ceiling - score.chance
    # Where the ceiling is hardly above chance the ratio measures noise.
    return (score.value - score.chance) / room if room > 1e-3 else None


@dataclass(frozen=True)
class ScoreInput:
    """All that the metrics of one cell may see. Every field but the codes is optional.

    z_train, codes_train, z_test, codes_test    (n, d_z) and (n, d): latent factors and codes of the same samples;
                            the factors are None where the truth is unknown
    z_independent, codes_independent    factors drawn independently of each other, and their codes
    causal_true, causal_found    (n_tasks, d_z) and (n_tasks, d) bool: which factors, which codes, cause which target
    ceiling_train, ceiling_test, ceiling_independent   (n, d_z) the best estimate of z from x; None where it is z itself
    sample_train, task_train, y_train   (m,) targets in long format, sample indexing the rows of codes_train
    sample_test, task_test, y_test  the same for the held-out samples. Without sample_test, task_test[i] is the task of
                            held-out sample i
    spread                  (d_z,) deviation of the factors where the held-out samples show unseen combinations of them
    episodes                few-shot tasks on the held-out samples
    centre                  (d_z,) the point whose orthants are held out one by one; None where that means nothing
    seed                    of the landmarks and permutations some metrics draw; no metric's split depends on it
    """

    codes_train: FloatArray
    codes_test: FloatArray
    z_train: FloatArray | None = None
    z_test: FloatArray | None = None
    z_independent: FloatArray | None = None
    codes_independent: FloatArray | None = None
    causal_true: BoolArray | None = None
    causal_found: BoolArray | None = None
    ceiling_train: FloatArray | None = None
    ceiling_test: FloatArray | None = None
    ceiling_independent: FloatArray | None = None
    sample_train: IntArray | None = None
    task_train: IntArray | None = None
    y_train: FloatArray | None = None
    sample_test: IntArray | None = None
    task_test: IntArray | None = None
    y_test: FloatArray | None = None
    spread: FloatArray | None = None
    episodes: Sequence[Episode] = ()
    centre: FloatArray | None = None
    seed: int = 0


@dataclass(frozen=True)
class MetricInfo(Info):
    """tests       the guarantee class this metric tests: 1 is reached exactly when it is kept
    range       lowest and highest value, as an interval
    direction   "higher" or "lower" is better
    assumptions what must hold for the number to mean that
    needs       what it reads beyond codes: "truth", "task", "causal", "targets", "independent",
                "spread", "episodes", "centre"
    """

    tests: Guarantee = "none"
    range: str = "(-inf, 1]"
    direction: Direction = "higher"
    assumptions: str = ""
    needs: tuple[str, ...] = ("truth",)


def metric(
    name: str,
    *,
    tests: Guarantee,
    range: str,
    paper: str,
    summary: str = "",
    direction: Direction = "higher",
    assumptions: str = "",
    needs: Sequence[str] = ("truth",),
    requires: Sequence[str] = (),
    version: int = 1,
) -> Callable[[Plugin], Plugin]:
    """Register a metric under ``name``. Stack decorators where one function yields several numbers."""
    info = MetricInfo(
        name=name,
        summary=summary,
        paper=paper,
        version=version,
        requires=tuple(requires),
        tests=tests,
        range=range,
        direction=direction,
        assumptions=assumptions,
        needs=tuple(needs),
    )

    def mark(function: Plugin) -> Plugin:
        function.__bench__ = (*getattr(function, "__bench__", ()), info)  # type: ignore[attr-defined]
        return function

    return mark
