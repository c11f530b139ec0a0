"""Few-shot accuracy under shift: heads that the harness fits on the codes of a few labelled samples.

Codes are whitened first (ZCA, on the training samples): otherwise their scales decide, as penalised heads prefer large
columns. Heads are logistic, the penalty's strength chosen by cross-validation within the support.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import Episode
from bench.metrics.base import OutOfDomain, Score, metric
from bench.metrics.chance import generator
from bench.metrics.moments import as_matrix, tame

Float64 = NDArray[np.float64]
PENALTIES = (0.3, 0.1, 0.03, 0.01, 0.003)  # of heads on columns of variance 1, strongest first
FOLDS = 5
ITERATIONS = 150
ROTATIONS = 3
MOST_CODES = 128
FEW_SHOT = ("few_shot_acc", "few_shot_worst", "basis_gain")


@metric(
    "few_shot_acc",
    tests="none",
    range="[0, 1]",
    paper="Fumero et al. 2023",
    summary="accuracy of L1 logistic heads on few labelled samples whose support misleads, groups balanced",
    assumptions="none; read beside few_shot_worst and the oracle",
    needs=("episodes",),
)
@metric(
    "few_shot_worst",
    tests="none",
    range="[0, 1]",
    paper="Fumero et al. 2023; Sagawa et al. 2020",
    summary="the same heads on the group they do worst on, usually that which the support hardly shows",
    assumptions="as few_shot_acc",
    needs=("episodes",),
)
@metric(
    "basis_gain",
    tests="permutation+scaling",
    range="[-1, 1]",
    paper="none: made for this suite",
    summary="few_shot_worst minus that of the same codes, whitened and turned at random; 0: the axes carry nothing",
    assumptions="classes depend on one factor each",
    needs=("episodes",),
)
def few_shot_scores(codes_train: Any, codes_test: Any, episodes: Sequence[Episode], seed: int = 0) -> dict[str, Score]:
    """The three scores by name, from codes (n, d) of the training and the held-out samples.

    The value is the mean over the episodes with the fewest shots; ``extra["by_shots"]`` has all, ``extra["se"]`` the
    standard error over episodes and ``extra["l2"]`` the value under L2 heads. ``basis_gain`` is a mean over
    three rotations, drawn from ``seed``. Chance is ½ for the accuracies, 0 for the gain.

    Raises OutOfDomain for codes that are constant or not finite and for more than 128 of them, on which a head of ten
    samples measures its penalty.
    """
    train, test = tame(as_matrix("codes_train", codes_train), as_matrix("codes_test", codes_test))
    if train.shape[1] > MOST_CODES:
        raise OutOfDomain(
            f"{train.shape[1]} codes are more than {MOST_CODES}: few-shot heads would measure the penalty"
        )
    white = _whitened(np.asarray(train, dtype=np.float64), np.asarray(test, dtype=np.float64))
    rng = generator(seed, len(train))
    turned = [white @ _rotation(rng, white.shape[1]) for _ in range(ROTATIONS)]
    by_shots: dict[str, dict[str, float]] = {name: {} for name in FEW_SHOT}
    errors: dict[str, dict[str, float]] = {name: {} for name in FEW_SHOT}
    ridge: dict[str, dict[str, float]] = {name: {} for name in FEW_SHOT}
    for shots in sorted({episode.shots for episode in episodes}):
        these = [episode for episode in episodes if episode.shots == shots]
        lasso = _accuracies(white, these, l1=True)
        others = [_accuracies(codes, these, l1=True) for codes in turned]
        plain = _accuracies(white, these, l1=False)
        gain = lasso.worst - np.mean([other.worst for other in others], axis=0)
        key = str(shots)
        for name, values in (("few_shot_acc", lasso.mean), ("few_shot_worst", lasso.worst), ("basis_gain", gain)):
            by_shots[name][key] = float(values.mean())
            errors[name][key] = float(values.std(ddof=1) / np.sqrt(len(these))) if len(these) > 1 else float("nan")
        ridge["few_shot_acc"][key], ridge["few_shot_worst"][key] = float(plain.mean.mean()), float(plain.worst.mean())
    fewest = str(min(episode.shots for episode in episodes))
    return {
        name: Score(
            values[fewest],
            chance=0.0 if name == "basis_gain" else 0.5,
            extra={
                "by_shots": values,
                "se": {k: e for k, e in errors[name].items() if np.isfinite(e)},
                **({"l2": ridge[name]} if ridge[name] else {}),
            },
        )
        for name, values in by_shots.items()
    }


@dataclass(frozen=True)
class _Accuracies:
    """Mean over groups, and the lowest group's accuracy, one an episode."""

    mean: Float64
    worst: Float64


def _accuracies(codes: Float64, episodes: Sequence[Episode], *, l1: bool) -> _Accuracies:
    mean, worst = [], []
    x = np.stack([codes[episode.support] for episode in episodes])
    y = np.stack([2.0 * episode.y_support - 1.0 for episode in episodes])
    weights, bias = _heads(x, y, l1=l1)
    for episode, w, b in zip(episodes, weights, bias, strict=True):
        right = (codes[episode.query] @ w + b > 0) == (episode.y_query > 0)
        groups = [right[episode.group_query == g].mean() for g in np.unique(episode.group_query)]
        mean.append(np.mean(groups))
        worst.append(np.min(groups))
    return _Accuracies(np.array(mean), np.array(worst))


def _heads(x: Float64, y: Float64, *, l1: bool) -> tuple[Float64, Float64]:
    """Weights (E, d) and biases (E,) of heads on supports x (E, n, d), y (E, n) in ±1, the classes in equal halves.

    The strength has the least cross-validated loss; the stronger of equals.
    """
    count, n, _ = x.shape
    # Classes follow each other and are drawn at random: every fifth sample gives folds with as many of each.
    held_out = (np.arange(n) % (n // 2) % FOLDS)[None] == np.arange(FOLDS)[:, None]
    loss = np.empty((len(PENALTIES), count))
    xs, ys = np.repeat(x, FOLDS, axis=0), np.repeat(y, FOLDS, axis=0)
    used = np.tile(~held_out, (count, 1)).astype(np.float64)
    for i, penalty in enumerate(PENALTIES):
        w, b = _fit(xs, ys, used, np.full(len(xs), penalty), l1=l1)
        margin = ys * (np.einsum("bnd,bd->bn", xs, w) + b[:, None])
        loss[i] = (np.logaddexp(0, -margin) * (1 - used)).sum(axis=1).reshape(count, FOLDS).sum(axis=1)
    best = np.array(PENALTIES)[loss.argmin(axis=0)]
    return _fit(x, y, np.ones_like(y), best, l1=l1)


def _fit(x: Float64, y: Float64, used: Float64, penalty: Float64, *, l1: bool) -> tuple[Float64, Float64]:
    """Penalised logistic heads of a batch of supports by accelerated proximal gradient (Beck & Teboulle 2009).

    used (B, n) says which samples count; the bias is not penalised.
    """
    x1 = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)
    share = used / used.sum(axis=1, keepdims=True)
    curvature = np.einsum("bni,bn,bnj->bij", x1, share, x1, optimize=True)
    ridge = np.zeros((len(x), x1.shape[2])) if l1 else np.repeat(penalty[:, None], x1.shape[2], axis=1)
    ridge[:, -1] = 0
    step = 1 / (0.25 * np.linalg.eigvalsh(curvature)[:, -1:] + ridge.max(axis=1, keepdims=True))
    shrink = step * penalty[:, None] if l1 else np.zeros_like(step)
    w = ahead = np.zeros((len(x), x1.shape[2]))
    for k in range(ITERATIONS):
        margin = y * np.matmul(x1, ahead[:, :, None])[:, :, 0]
        slope = -(share * y) / (1 + np.exp(np.clip(margin, -50, 50)))
        moved = ahead - step * (np.matmul(slope[:, None], x1)[:, 0] + ridge * ahead)
        moved[:, :-1] = np.sign(moved[:, :-1]) * np.maximum(np.abs(moved[:, :-1]) - shrink, 0)
        ahead = moved + k / (k + 3) * (moved - w)
        w = moved
    return w[:, :-1], w[:, -1]


def _whitened(train: Float64, test: Float64) -> Float64:
    """Held-out codes under the symmetric whitening of the training codes; directions without variance drop out."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-12 * np.maximum(1, np.abs(mean)))
    if not scale.any():
        raise OutOfDomain("all codes are constant")
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov((train - mean).T * scale[:, None], bias=True)))
    kept = values > 1e-8 * values[-1]
    inverse = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)
    return np.asarray(((test - mean) * scale) @ ((vectors * inverse) @ vectors.T))


def _rotation(rng: np.random.Generator, d: int) -> Float64:
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return np.asarray(q * np.sign(np.diag(r)))
