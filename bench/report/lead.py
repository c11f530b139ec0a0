"""Who is first on a board, and by how much: the paired difference to the runner-up with its interval."""

from __future__ import annotations

from collections.abc import Mapping

from bench.report.markdown import score
from bench.report.paired import mean_interval
from bench.report.ranking import (
    TITLES,
    competitors,
    family_of,
    metric_on,
    promising,
    scores_of,
    told_apart,
    with_failures_lowest,
)
from bench.report.rows import Board, headline
from bench.statistics.families import paired_differences
from bench.statistics.intervals import Interval, Seeds


def leads(board: Board) -> list[str]:
    """One sentence for each score that learners are judged by here; none where fewer than two have that score.

    The difference is the mean over the cells that both learners have, seed by seed; the interval is corrected for all
    pairs of the board, as the ranks are (docs/statistics.md). Failed cells count as in the ranks: as the lowest score
    of any learner there.
    """
    families = dict.fromkeys(family_of(headline(row, board)) for row in competitors(board))
    sentences = []
    for family in families:
        held = promising(board, family)
        restricted = len(competitors(held)) < len(competitors(board))
        among = " among learners whose theorem promises it and holds or nearly holds here"
        promised = _lead(held, family, among) if restricted else ""
        sentences += [promised, _lead(board, family, " among all" if promised else "")]
    return [sentence for sentence in sentences if sentence]


def _lead(board: Board, family: str, among: str) -> str:
    metric = metric_on(board, family)
    if metric is None:
        return ""
    scores = with_failures_lowest({row.name: scores_of(row, metric) for row in competitors(board)})
    means = {name: sum(own.values()) / len(own) for name, own in scores.items() if own}
    if len(means) < 2:
        return ""
    first, second = sorted(means, key=lambda name: -means[name])[:2]
    difference = _difference(scores, first, second, metric)
    if difference is None:
        return ""
    title = TITLES.get(metric, TITLES.get(family, family)) + (" on independent z" if metric != family else "")
    return (
        f"First by {title}{among}: `{first}`, {means[first]:.3f}; runner-up `{second}`, {means[second]:.3f}; "
        f"difference {_words(difference)}."
    )


def _difference(scores: Mapping[str, dict[Seeds, float]], first: str, second: str, metric: str) -> Interval | None:
    """First − second among all pairs of the board, as in the ranks: the two were not chosen beforehand."""
    pairs = paired_differences(scores, lambda values: mean_interval(values, metric))
    if (first, second) in pairs:
        return pairs[first, second]
    if (second, first) in pairs:
        return pairs[second, first].negated()
    common = {key: scores[first][key] - scores[second][key] for key in scores[first] if key in scores[second]}
    return mean_interval(common, metric) if common else None  # one seed: a difference without an interval


def _words(difference: Interval) -> str:
    if difference.low is None or difference.high is None:
        return f"{score(difference)}, no interval"
    verdict = "told apart" if told_apart(difference) else "cannot be told apart"
    return f"{difference.mean:+.3f}, 95 % interval {difference.low:+.3f} to {difference.high:+.3f}: {verdict}"
