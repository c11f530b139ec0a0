"""All metrics of one cell: the one function the harness calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import numpy as np

from bench.metrics.base import OutOfDomain, Score, ScoreInput
from bench.metrics.chance import generator, in_sample_mcc, matched_correlation_sd, random_unmixing_mcc
from bench.metrics.correlation import mcc_per_factor
from bench.metrics.disentanglement import DCI, linear_dci, linear_dci_chance, tree_dci, tree_dci_chance
from bench.metrics.few_shot import FEW_SHOT, few_shot_scores
from bench.metrics.held_out import held_out_per_factor
from bench.metrics.moments import moments
from bench.metrics.nonlinear import nonlinear_scores
from bench.metrics.ood import orthant_scores
from bench.metrics.pairs import Pairs, decoy, pairs
from bench.metrics.partition import block_score, blocks_of_supports
from bench.metrics.per_task import per_task
from bench.metrics.support import support_scores
from bench.metrics.targets import target_scores

__all__ = ["CORRELATED", "TOO_CORRELATED", "Score", "ScoreInput", "evaluate"]

FourArrays = Callable[[Any, Any, Any, Any], float]

# Mean multiple correlation of the factors with each other: above the first, plain scores are flagged; above the
# second, codes that never look at their factor score so high that no number is given without an independent set.
CORRELATED = 0.5
TOO_CORRELATED = 0.9


def evaluate(
    inputs: ScoreInput, *, full: bool = False, plugins: Mapping[str, FourArrays] | None = None
) -> dict[str, Score]:
    """Score one learner's codes with every metric that applies; never raises for numbers it is given.

    full      also the expensive ones (tree DCI)
    plugins   further metrics by name: pure functions of z_train, codes_train, z_test, codes_test

    Metrics that need what the inputs do not have (truth, tasks, an independent set) are absent from the answer;
    metrics outside their domain are present with a reason and no value.
    """
    inputs = _plain(inputs)
    scores: dict[str, Score] = {}
    try:
        truth = _truth(inputs)
    except OutOfDomain as reason:
        scores |= {name: Score(None, str(reason)) for name in _TRUTH_METRICS}
        truth = None
    if truth is not None:
        scores |= _with_ceilings(truth, inputs, full)
        scores |= _correlation_proof(truth, inputs)
        scores |= _matched(truth, inputs)
        scores |= _unseen_combinations(truth, inputs)
        scores |= _orthants(truth, inputs)
        scores |= _plugins(inputs, plugins or {})
        correlated = decoy(truth.train.zz, truth.train.n)
        scores = {name: _flagged(name, score, correlated, inputs) for name, score in scores.items()}
    scores |= _targets(inputs)
    scores |= _few_shot(inputs)
    return scores


_TRUTH_METRICS = ("mcc", "mcc_spearman", "weak_mcc", "linear_r2", "nonlinear_r2", "dci_d", "dci_c", "dci_i")
# What a code may reach by exploiting correlations between factors. Probes of all codes at once are not fooled.
_FOOLED_BY_CORRELATION = (
    "mcc",
    "mcc_spearman",
    "mcc_per_task",
    "block_mcc",
    "dci_d",
    "dci_c",
    "dci_tree_d",
    "dci_tree_c",
)


def _plain(inputs: ScoreInput) -> ScoreInput:
    """The inputs without what not all of numpy takes: extended precision becomes double, masked values NaN."""
    changed: dict[str, Any] = {}
    for part in fields(inputs):
        value = getattr(inputs, part.name)
        if isinstance(value, np.ma.MaskedArray):
            changed[part.name] = np.ma.filled(value.astype(np.float64), np.nan)
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.dtype.itemsize > 8:
            changed[part.name] = value.astype(np.float64)
    return replace(inputs, **changed) if changed else inputs


def _truth(inputs: ScoreInput) -> Pairs | None:
    if inputs.z_train is None or inputs.z_test is None:
        return None
    found = pairs(inputs.z_train, inputs.codes_train, inputs.z_test, inputs.codes_test)
    if decoy(found.train.zz, found.train.n) == 1.0 and found.d_z > 1:
        raise OutOfDomain("latent factors are linearly dependent: which of them a code stands for is undefined")
    return found


def _with_ceilings(truth: Pairs, inputs: ScoreInput, full: bool) -> dict[str, Score]:
    """Scores of the codes, each beside the same score of the best estimate of z from x."""
    scores = dict(_truth_scores(truth, inputs.seed, full))
    best: dict[str, float | None] = {}
    if inputs.ceiling_train is None or inputs.ceiling_test is None:
        best = dict.fromkeys(scores, 1.0)
    else:
        with suppress(OutOfDomain):  # a ceiling that cannot be scored is an unknown one
            ceiling = _truth(replace(inputs, codes_train=inputs.ceiling_train, codes_test=inputs.ceiling_test))
            assert ceiling is not None
            best = {name: score.value for name, score in _truth_scores(ceiling, inputs.seed, full, chance=False)}
    return {name: replace(score, ceiling=best.get(name)) for name, score in scores.items()}


def _truth_scores(found: Pairs, seed: int, full: bool, chance: bool = True) -> Iterator[tuple[str, Score]]:
    """The metrics of factors and codes alone; ``chance`` False leaves out the chance levels that cost something."""
    wide = found.width > found.d_z

    def correlations(ranked: bool) -> Score:
        these = found.narrow.ranks if ranked else found.narrow
        values = mcc_per_factor(these)
        chosen, sign = these.matching.code, these.matching.sign
        factors = these.matching.factor
        code = these.matching.code_of(found.d_z)
        spread = matched_correlation_sd(
            these.test.n,
            these.test.zz[np.ix_(factors, factors)],
            moments(these.codes_test[:, chosen], these.codes_test[:, :1]).zz * np.outer(sign, sign),
        )
        extra = {
            "per_factor": _list(values),
            "chance_sd": spread * len(factors) / found.d_z,
            "code_of_factor": [int(i) for i in np.where(code >= 0, found.kept[code], -1)],
            "random_unmixing": random_unmixing_mcc(found.d_z)[0] if found.d_z > 1 else 1.0,
        }
        if wide:
            extra["kept"] = [int(i) for i in found.kept]
        return Score(float(values.mean()), chance=0.0, extra=extra)

    def weak() -> Score:
        corr = found.narrow.linear.corr
        return Score(float(corr.mean()), chance=0.0, extra={"per_factor": _list(corr)})

    def linear() -> Score:
        these = found.narrow
        extra = {"per_factor": _list(these.linear.r2), "rank": these.map.rank}
        if wide:
            extra["all_codes"] = _all_codes(found)
        return Score(float(these.linear.r2.mean()), chance=float(these.linear.chance.mean()), extra=extra)

    def nonlinear() -> Score:
        value, chance = nonlinear_scores(found, seed)
        return Score(value, chance=chance)

    def dci_parts(prefix: str, score: Callable[[], DCI], null: Callable[[], DCI]) -> Iterator[tuple[str, Score]]:
        names = [f"{prefix}_{part}" for part in DCI._fields]
        try:
            values = score()
            levels: tuple[float | None, ...] = null() if chance else (None, None, None)
        except OutOfDomain as reason:
            yield from ((name, Score(None, str(reason))) for name in names)
        else:
            for name, value, level in zip(names, values, levels, strict=True):
                yield name, Score(value, chance=level)

    yield "mcc", _guarded(lambda: correlations(ranked=False))
    yield "mcc_spearman", _guarded(lambda: correlations(ranked=True))
    yield "weak_mcc", _guarded(weak)
    yield "linear_r2", _guarded(linear)
    yield "nonlinear_r2", _guarded(nonlinear)
    yield from dci_parts("dci", lambda: linear_dci(found), lambda: linear_dci_chance(found))
    if full:
        yield from dci_parts("dci_tree", lambda: tree_dci(found, seed), lambda: tree_dci_chance(found, seed))


def _all_codes(found: Pairs) -> float | None:
    """Linear R² from every code of a wide one, never a headline; None where it cannot be fitted."""
    with suppress(OutOfDomain):
        return float(found.linear.r2.mean())
    return None


def _correlation_proof(truth: Pairs, inputs: ScoreInput) -> dict[str, Score]:
    """Scores on factors drawn independently of each other, pushed through the same mixing.

    Permutation, signs and maps are fitted on one half of that set and scored on the other, then the other way round.
    Wide codes are reduced to the columns that are kept on the training samples, as everywhere.
    """
    z, codes = inputs.z_independent, inputs.codes_independent
    if z is None or codes is None:
        return {}
    best = inputs.ceiling_independent
    tops: dict[str, float | None] = dict.fromkeys(("mcc_independent", "r2_independent"), _unless_noisy(inputs))
    if best is not None:
        blind = replace(inputs, codes_independent=best, ceiling_independent=None)
        tops = {name: score.value for name, score in _correlation_proof(truth, blind).items()}

    def halves() -> list[Pairs]:
        if len(z) != len(codes):
            raise OutOfDomain(f"z_independent has {len(z)} samples and codes_independent has {len(codes)}")
        same_codes = np.shape(codes)[1:] == (truth.width,)  # not the ceiling's
        kept = codes[:, truth.kept] if same_codes else codes
        order = generator(0, len(z)).permutation(len(z))
        a, b = order[: len(z) // 2], order[len(z) // 2 :]
        return [pairs(z[a], kept[a], z[b], kept[b]), pairs(z[b], kept[b], z[a], kept[a])]

    try:
        both = halves()
    except OutOfDomain as reason:
        return {name: Score(None, str(reason)) for name in ("mcc_independent", "r2_independent")}

    def correlation() -> Score:
        values = np.mean([mcc_per_factor(half) for half in both], axis=0)
        extra = {"per_factor": _list(values)}
        return Score(float(values.mean()), chance=0.0, ceiling=tops["mcc_independent"], extra=extra)

    def r2() -> Score:
        values = np.mean([half.linear.r2 for half in both], axis=0)
        chance = float(np.mean([half.linear.chance for half in both]))
        extra = {"per_factor": _list(values)}
        return Score(float(values.mean()), chance=chance, ceiling=tops["r2_independent"], extra=extra)

    return {"mcc_independent": _guarded(correlation), "r2_independent": _guarded(r2)}


def _unless_noisy(inputs: ScoreInput) -> float | None:
    """1 where x determines z; otherwise unknown, unless the best estimate is given on that set too."""
    return 1.0 if inputs.ceiling_train is None else None


def _matched(truth: Pairs, inputs: ScoreInput) -> dict[str, Score]:
    """Metrics that need tasks or causal structure beside the factors."""
    scores: dict[str, Score] = {}
    task = _task_of_sample(inputs)
    if task is not None:

        def by_task() -> Score:
            codes = truth.narrow.codes_test
            value, size = per_task(truth.z_test, codes, task)
            chance, error = in_sample_mcc(max(round(size), 3), truth.d_z, codes.shape[1], 100)
            best = None if inputs.ceiling_test is None else per_task(truth.z_test, inputs.ceiling_test, task)[0]
            return Score(value, chance=chance, ceiling=1.0 if best is None else best, extra={"chance_se": error})

        scores["mcc_per_task"] = _guarded(by_task)
    if inputs.causal_true is not None:
        blocks = blocks_of_supports(inputs.causal_true)
        if 1 < len(blocks) < truth.d_z:
            scores["block_mcc"] = _guarded(
                lambda: Score(
                    block_score(truth, blocks), chance=0.0, ceiling=_unless_noisy(inputs), extra={"blocks": blocks}
                )
            )
        if inputs.causal_found is not None:

            def support() -> Score:
                value, chance = support_scores(inputs.causal_true, inputs.causal_found, truth.code_of_factor)
                return Score(value, chance=chance, ceiling=1.0)

            scores["causal_f1"] = _guarded(support)
    return scores


def _orthants(truth: Pairs, inputs: ScoreInput) -> dict[str, Score]:
    """Linear probes on orthants that they were not fitted on."""
    if inputs.centre is None:
        return {}

    def score() -> Score:
        values, chance = orthant_scores(truth, inputs.centre)
        best: float | None = 1.0
        if inputs.ceiling_train is not None and inputs.ceiling_test is not None:
            ceiling = pairs(truth.z_train, inputs.ceiling_train, truth.z_test, inputs.ceiling_test)
            best = float(np.median(orthant_scores(ceiling, inputs.centre)[0]))
        extra = {"per_orthant": _list(values)}
        return Score(float(np.median(values)), chance=float(np.median(chance)), ceiling=best, extra=extra)

    return {"ood_r2": _guarded(score)}


def _task_of_sample(inputs: ScoreInput) -> Any:
    """(n_test,) the one task of every held-out sample; None where a sample has none or several."""
    if inputs.task_test is None:
        return None
    n = len(inputs.codes_test)
    if inputs.sample_test is None:
        return inputs.task_test
    if len(inputs.sample_test) != n or len(np.unique(inputs.sample_test)) != n:
        return None
    task = np.empty(n, dtype=np.int64)
    task[np.asarray(inputs.sample_test)] = inputs.task_test
    return task


def _targets(inputs: ScoreInput) -> dict[str, Score]:
    train = (inputs.sample_train, inputs.task_train, inputs.y_train)
    test = (inputs.sample_test, inputs.task_test, inputs.y_test)
    if any(part is None or not len(part) for part in (*train, *test)):
        return {}

    def score() -> Score:
        value, chance = target_scores(inputs.codes_train, *train, inputs.codes_test, *test, inputs.seed)
        ceiling = None
        if inputs.z_train is not None and inputs.z_test is not None:
            ceiling = target_scores(inputs.z_train, *train, inputs.z_test, *test, inputs.seed)[0]
        return Score(value, chance=chance, ceiling=ceiling)

    return {"target_r2": _guarded(score)}


def _unseen_combinations(truth: Pairs, inputs: ScoreInput) -> dict[str, Score]:
    if inputs.spread is None:
        return {}

    def score() -> Score:
        values = held_out_per_factor(truth, inputs.spread)
        extra: dict[str, Any] = {"per_factor": _list(values)}
        if truth.width > truth.d_z:
            with suppress(OutOfDomain):
                extra["all_codes"] = float(held_out_per_factor(truth, inputs.spread, all_codes=True).mean())
        return Score(float(values.mean()), chance=None, ceiling=_unless_noisy(inputs), extra=extra)

    return {"held_out_r2": _guarded(score)}


def _few_shot(inputs: ScoreInput) -> dict[str, Score]:
    """Few-shot heads on the codes, and on the factors as their ceiling."""
    if not inputs.episodes:
        return {}
    try:
        found = few_shot_scores(inputs.codes_train, inputs.codes_test, inputs.episodes, inputs.seed)
    except OutOfDomain as reason:
        return {name: Score(None, str(reason)) for name in FEW_SHOT}
    if inputs.z_train is None or inputs.z_test is None:
        return found
    best = few_shot_scores(inputs.z_train, inputs.z_test, inputs.episodes, inputs.seed)
    return {name: replace(score, ceiling=best[name].value) for name, score in found.items()}


def _plugins(inputs: ScoreInput, plugins: Mapping[str, FourArrays]) -> dict[str, Score]:
    """Metrics from elsewhere, with a chance level from permuting which codes belong to which factors."""
    arrays = (inputs.z_train, inputs.codes_train, inputs.z_test, inputs.codes_test)

    def run(function: FourArrays) -> Score:
        try:
            return score(function)
        except OutOfDomain:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- a metric from elsewhere costs itself, not the cell
            said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            return Score(None, f"the metric raised {said}")

    def score(function: FourArrays) -> Score:
        z_train, codes_train, z_test, codes_test = (np.asarray(a) for a in arrays)
        value = float(function(z_train, codes_train, z_test, codes_test))
        if not np.isfinite(value):
            raise OutOfDomain(f"the metric returned {value}")
        rng = generator(inputs.seed, len(z_train))
        null = [
            float(function(rng.permutation(z_train), codes_train, rng.permutation(z_test), codes_test))
            for _ in range(10)
        ]
        return Score(value, chance=float(np.mean(null)))

    return {name: _guarded(lambda function=function: run(function)) for name, function in plugins.items()}  # type: ignore[misc]


def _flagged(name: str, score: Score, correlated: float, inputs: ScoreInput) -> Score:
    if name not in _FOOLED_BY_CORRELATION or correlated <= CORRELATED or score.value is None:
        return score
    word = f"factors are correlated: codes that ignore their own factor reach {correlated:.2f}"
    if correlated > TOO_CORRELATED and inputs.z_independent is None:
        return replace(score, value=None, reason=f"{word}, and there is no evaluation set with independent factors")
    where = ", see mcc_independent" if inputs.z_independent is not None else ""
    return replace(score, reason=word + where, extra={**score.extra, "flagged": True, "decoy": correlated})


def _guarded(compute: Callable[[], Score]) -> Score:
    try:
        score = compute()
    except OutOfDomain as reason:
        return Score(None, str(reason))
    if score.value is not None and not np.isfinite(score.value):
        return Score(None, "the score overflowed: held-out values lie far outside the training range")
    return score


def _list(values: Any) -> list[float]:
    return [float(v) for v in values]
