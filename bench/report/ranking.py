"""Ranks: shared on a board where the paired difference cannot be told from zero, averaged over boards, and the
critical difference of average ranks (Demšar 2006, Journal of Machine Learning Research 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.report.holding import where_held
from bench.report.markdown import DASH, folded, score, table
from bench.report.paired import cell_scores, mean_interval
from bench.report.rows import Board, Row, headline
from bench.statistics.better import MARGIN
from bench.statistics.families import paired_differences
from bench.statistics.intervals import Interval, Seeds, seed_interval, t_interval

Scores = Mapping[Seeds, float | None]

FAMILIES = {"mcc_independent": "mcc", "r2_independent": "linear_r2"}
"""Scores that take the place of another where latent factors are correlated: ranked together with it."""

TITLES = {
    "mcc": "MCC",
    "linear_r2": "linear R²",
    "block_mcc": "block MCC",
    "consistency.strong": "strong consistency",
    "consistency.weak": "weak consistency",
}
WIDEST = 10
"""Datasets side by side: more would not fit GitHub's column."""

HOW_TO_READ = f"""\
A learner's rank on a dataset is one more than the number of learners that are better by more than chance: those
whose paired difference on the same seeds has an interval above zero, corrected for the number of pairs on the board
(Holm), so that of equally good learners none is told apart on 95 % of boards, and is more than {MARGIN}: 0.999 and
1.000 are one place. Learners that cannot be told apart share a rank, and few seeds tell little apart. A failed cell
counts as the lowest score that any learner has in that cell; learners without a finished cell come last. Reference
rows are not ranked. **Bold**: ranked by the score its guarantee is about. Mean ranks: ± half-width of a Student t
interval, datasets as units; learners that do not apply everywhere come below the others, as their mean is over other
datasets. First come the ranks among learners whose theorem promises the score and holds, or nearly holds, on the
dataset (`python -m bench list --json` has the assumptions and which data meet them); then those among all."""


def shared_ranks(
    scores: Mapping[str, Scores], interval: Callable[[dict[Seeds, float]], Interval] = seed_interval
) -> dict[str, int]:
    """Ranks on one board, from {learner: {cell: score, None where it failed}}; higher scores are better.

    Rank = 1 + number of learners whose mean paired difference to this one has an interval above zero, all pairs of
    the board taken together (``statistics.families``). In a failed cell a learner gets the lowest score any learner has
    there. Learners with no finished cell rank last, together. Two learners are compared on their common cells; with
    fewer than two of them nothing tells them apart.
    """
    complete = with_failures_lowest(scores)
    worse_than = dict.fromkeys(complete, 0)
    for (first, second), difference in paired_differences(complete, interval).items():
        if told_apart(difference):
            worse_than[second if difference.mean > 0.0 else first] += 1
    ranks = {name: 1 + count for name, count in worse_than.items()}
    return ranks | {name: len(complete) + 1 for name in scores if name not in complete}


def told_apart(difference: Interval) -> bool:
    """Does the interval exclude 0, and is the difference one that matters?"""
    return not difference.covers(0.0) and abs(difference.mean) > MARGIN


def mean_ranks(ranks: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """Mean over boards of each learner's rank with its t interval, boards as units; sorted.

    ranks   one mapping {learner: rank} a board; a learner that does not apply to a board is absent there
    Learners ranked on more boards come first, those on equally many by their mean.
    """
    names = dict.fromkeys(name for board in ranks for name in board)
    means = {name: t_interval([board[name] for board in ranks if name in board]) for name in names}
    return dict(sorted(means.items(), key=lambda item: (-item[1].n, item[1].mean, item[0])))


@dataclass(frozen=True)
class CriticalDifference:
    """Average ranks over boards, and how far apart two must be to differ (Nemenyi).

    difference   the critical difference at ``level``; two average ranks closer than it are not told apart
    ranks        {learner: average rank}, 1 is best, ties share their average; sorted
    statistic, p_value   Friedman's chi-square, corrected for ties: do the learners differ at all?
    n_boards, left_out   boards used; learners and boards left out, as the test needs every learner on every board
    """

    difference: float
    ranks: Mapping[str, float]
    statistic: float
    p_value: float
    n_boards: int
    left_out: tuple[str, ...] = ()


def critical_difference(means: Mapping[str, Mapping[str, float]], level: float = 0.95) -> CriticalDifference | None:
    """Friedman's test and Nemenyi's critical difference q √(k (k + 1) / 6N) of k learners on N boards.

    means   {board: {learner: mean score}}, higher is better, -inf where every cell failed; a learner that does not
            apply is absent. Learners and boards with the most gaps are left out until none is left.
    Returns None for fewer than two boards or three learners without gaps.
    """
    import numpy as np
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    boards, learners, left_out = _without_gaps(means)
    if len(boards) < 2 or len(learners) < 3:
        return None
    grid = np.array([[means[board][name] for name in learners] for board in boards])
    ranks = rankdata(-grid, axis=1)
    # Friedman's test of the ranks: those of the scores, but -inf may be ranked and not subtracted
    constant = bool(np.all(ranks == ranks[:, :1]))
    found = (0.0, 1.0) if constant else friedmanchisquare(*ranks.T)
    k, n = len(learners), len(boards)
    quantile = studentized_range.ppf(level, k, np.inf) / np.sqrt(2.0)
    average = dict(zip(learners, ranks.mean(axis=0).tolist(), strict=True))
    return CriticalDifference(
        difference=float(quantile * np.sqrt(k * (k + 1) / (6.0 * n))),
        ranks=dict(sorted(average.items(), key=lambda item: (item[1], item[0]))),
        statistic=float(found[0]),
        p_value=float(found[1]),
        n_boards=n,
        left_out=left_out,
    )


def ranking(boards: Sequence[Board]) -> str:
    """Markdown: for every score that learners are judged by, their ranks board by board, mean ranks and the annex.

    The boards are those of one budget. Learners on boards with fewer than two seeds cannot be told apart: such
    boards are named and not ranked. Returns "" where there is nothing to rank.
    """
    families = dict.fromkeys(family_of(headline(row, board)) for board in boards for row in competitors(board))
    parts: list[str] = []
    for family in families:
        title = TITLES.get(family, family)
        held = [promising(board, family) for board in boards]
        where = _family_block(family, held, f"By {title}, where a theorem promises it and holds or nearly holds")
        everywhere = _family_block(family, boards, f"By {title}, all learners on all datasets")
        parts += where + everywhere
    parts = [HOW_TO_READ, *parts] if parts else []
    thin = [board.title for board in boards if len(board.seeds()) < 2 and competitors(board)]
    if thin:
        parts.append(f"Not ranked, as one seed tells no learner from another: {', '.join(thin)}.")
    return "\n\n".join(parts)


def _family_block(family: str, boards: Sequence[Board], heading: str) -> list[str]:
    ranked: list[tuple[Board, dict[str, int]]] = []
    means: dict[str, dict[str, float]] = {}
    judged: set[str] = set()
    for board in boards:
        metric = metric_on(board, family)
        if metric is None or len(board.seeds()) < 2:
            continue
        scores = {row.name: own for row in competitors(board) if (own := scores_of(row, metric))}
        if len(scores) < 2:
            continue
        ranked.append((board, shared_ranks(scores, lambda values, metric=metric: mean_interval(values, metric))))  # type: ignore[misc]
        means[board.title if board.title not in means else f"{board.title} ({len(ranked)})"] = _means(scores)
        judged |= {row.name for row in competitors(board) if headline(row, board) == metric}
    if not ranked:
        return []
    over = mean_ranks([ranks for _, ranks in ranked])
    tables = []
    for start in range(0, len(ranked), WIDEST):
        part = ranked[start : start + WIDEST]
        last = start + WIDEST >= len(ranked)
        rows = [
            [
                f"**{name}**" if name in judged else name,
                *(str(ranks[name]) if name in ranks else DASH for _, ranks in part),
                *([score(interval, digits=1), str(interval.n)] if last else []),
            ]
            for name, interval in over.items()
        ]
        # numbers for names: the table stays narrow
        header = ["learner", *map(str, range(start + 1, start + 1 + len(part))), *(["mean rank", "of"] if last else [])]
        tables.append(table(header, rows))
    numbered = ", ".join(
        f"{number} {board.label or board.dataset}" for number, (board, _) in enumerate(ranked, start=1)
    )
    words = f"Critical difference of average ranks: {heading[0].lower()}{heading[1:]}"
    annex = folded(words, _annex(critical_difference(means)))
    return [f"### {heading}", f"Datasets: {numbered}.", *tables, annex]


def _annex(found: CriticalDifference | None) -> str:
    if found is None:
        return "None: it needs two datasets at least, and three learners that ran on all of them."
    best = min(found.ranks.values())
    rows = [
        [name, f"{rank:.2f}", "" if rank - best < found.difference else "worse than the first"]
        for name, rank in found.ranks.items()
    ]
    words = (
        f"n = {found.n_boards} datasets, {len(found.ranks)} learners. Friedman's χ² = {found.statistic:.2f}, "
        f"p = {found.p_value:.2g}. Nemenyi's critical difference at 5 %: {found.difference:.2f}; average ranks that "
        "are closer are not told apart. Average ranks are those of mean scores, not the shared ranks above."
    )
    if found.left_out:
        words += f" Left out, so that every learner is on every dataset: {', '.join(found.left_out)}."
    return words + "\n\n" + table(["learner", "average rank", "against the first"], rows)


def competitors(board: Board) -> list[Row]:
    """Rows that are ranked: no references, and none that does not apply to this dataset."""
    return [
        row
        for row in board.rows
        if not row.info.reference and any(record["status"] != "skipped" for record in row.records)
    ]


def family_of(metric: str) -> str:
    return FAMILIES.get(metric, metric)


def promising(board: Board, family: str) -> Board:
    """The board with those rows whose theorem promises this score and holds, or nearly holds, there.

    A theorem about linear maps promises no MCC: its learner neither wins nor loses by that.
    """
    held = where_held(board)
    return replace(held, rows=[row for row in held.rows if family_of(headline(row, board)) == family])


def metric_on(board: Board, family: str) -> str | None:
    """The score of that family that learners are judged by on this board."""
    used = [name for name in (headline(row, board) for row in competitors(board)) if family_of(name) == family]
    return max(set(used), key=used.count) if used else None


def scores_of(row: Row, metric: str) -> dict[Seeds, float | None]:
    own = cell_scores(row, metric)
    # a row whose every cell failed has no pairs of codes either: it ranks last there too
    return own or ({} if row.ok else {(0, 0): None})


def with_failures_lowest(scores: Mapping[str, Scores]) -> dict[str, dict[Seeds, float]]:
    """Scores with the lowest of its cell in every failed cell, of the learners that finished any cell."""
    lowest: dict[Seeds, float] = {}
    for own in scores.values():
        for key, value in own.items():
            if value is not None:
                lowest[key] = min(value, lowest.get(key, value))
    return {
        name: {key: lowest[key] if value is None else value for key, value in own.items() if key in lowest}
        for name, own in scores.items()
        if any(value is not None for value in own.values())
    }


def _means(scores: Mapping[str, Scores]) -> dict[str, float]:
    """Mean over seeds of the filled scores; -inf without a finished cell."""
    means = {name: sum(own.values()) / len(own) for name, own in with_failures_lowest(scores).items()}
    return {name: means.get(name, float("-inf")) for name in scores}


def _without_gaps(means: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Boards and learners of a complete grid, and the names of what was left out to get it."""
    boards = list(means)
    learners = list(dict.fromkeys(name for board in boards for name in means[board]))
    left_out: list[str] = []
    while boards and learners:
        by_learner = {name: sum(name not in means[board] for board in boards) / len(boards) for name in learners}
        by_board = {board: sum(name not in means[board] for name in learners) / len(learners) for board in boards}
        worst_learner = max(learners, key=by_learner.__getitem__)
        worst_board = max(boards, key=by_board.__getitem__)
        if by_learner[worst_learner] == 0.0:
            break
        if by_board[worst_board] > by_learner[worst_learner]:
            boards.remove(worst_board)
            left_out.append(worst_board)
        else:
            learners.remove(worst_learner)
            left_out.append(worst_learner)
    return boards, learners, tuple(left_out)
