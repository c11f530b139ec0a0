"""Where every learner stands over all boards of a budget: score, rank, cost, coverage; and the answer in a sentence.

Everything here follows from the records, and is shown first on every page that the report writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.report.markdown import score, seconds
from bench.report.paired import mean_interval
from bench.report.ranking import (
    TITLES,
    Scores,
    competitors,
    family_of,
    mean_ranks,
    metric_on,
    promising,
    scores_of,
    shared_ranks,
    with_failures_lowest,
)
from bench.report.rows import Board, headline
from bench.statistics.intervals import Interval, t_interval

SHOWN = 5
RULE = """\
By mean rank over the datasets with known latent factors, where learners that cannot be told apart share a rank; the \
score is the mean over those datasets, ± its 95 % interval with datasets as units."""
RULE_COVERING = "A learner stands here if it applies to at least half of the datasets."
LEAST = 2
"""Datasets where a learner's theorem must hold for it to be among the first: on one, any may be."""
RULE_WHERE_HELD = """\
Ranks, scores, costs and counts of these rows are over the datasets where the learner's theorem promises this score \
and holds or nearly holds, two at least: other datasets for other learners, which meet where they overlap. The rank \
among all learners on all datasets stands beside."""


@dataclass
class Standing:
    """One learner over the boards of a budget.

    scores   {board label: mean score over seeds}, failed cells as the lowest score of any learner there
    ranks    {board label: shared rank}
    cpu_s    {board label: mean CPU seconds of a fit}
    n_boards how many boards have this score at all
    overall  mean rank among all learners on all boards, where ``ranks`` are of those whose theorem holds
    cells, unconverged, failed   counts over its boards
    """

    name: str
    guarantee: str
    n_boards: int
    scores: dict[str, float] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    cells: int = 0
    unconverged: int = 0
    failed: int = 0
    overall: Interval | None = None

    @property
    def score(self) -> Interval | None:
        return t_interval(list(self.scores.values())) if self.scores else None

    @property
    def rank(self) -> Interval | None:
        return mean_ranks([{"": float(rank)} for rank in self.ranks.values()])[""] if self.ranks else None

    @property
    def cost(self) -> float | None:
        """Median over the boards: one slow dataset is not the price of the method."""
        return median(self.cpu_s.values()) if self.cpu_s else None

    @property
    def covers_half(self) -> bool:
        return 2 * len(self.scores) >= self.n_boards

    @property
    def marks(self) -> str:
        return "†" if self.unconverged else ""


@dataclass(frozen=True)
class Answer:
    """The five rows of the first screen.

    family      the score they are compared by, as ``ranking.FAMILIES`` names it
    top         the first standings, best first: ``SHOWN``, or all that share the first place
    held        are they of cells where the theorem holds or nearly holds? False where no learner has such a cell
    tied        all others of the first's mean rank
    highest     over all cells, whatever theorems say: the learner of the highest mean score
    margin      mean difference of the first to the second over their common boards, datasets as units
    ahead_on    on how many of ``n_common`` boards the first has the higher mean
    cells, done, unconverged, failed   counts over all competitors' cells that apply
    silent      done cells that do not say whether they converged
    """

    family: str
    top: Sequence[Standing]
    margin: Interval | None
    ahead_on: int
    n_common: int
    cells: int
    done: int
    unconverged: int
    failed: int
    silent: int
    tied: Sequence[Standing] = ()
    held: bool = False
    highest: Standing | None = None

    @property
    def rule(self) -> str:
        return f"{RULE} {RULE_WHERE_HELD if self.held else RULE_COVERING}"


def main_budget(boards: Sequence[Board]) -> str:
    """The budget of the first screen: the usual one where it was run, else the largest."""
    budgets = list(dict.fromkeys(board.budget for board in boards))
    return "standard" if "standard" in budgets else budgets[-1]


def standings(boards: Sequence[Board], family: str = "mcc") -> list[Standing]:
    """Every learner that has the score on a board where the truth is known; best first.

    Learners on at least half of the boards come first, by mean rank; of equal ones those on more boards, as a mean
    over fewer is over other data; then by score.
    """
    used = [(board, metric) for board in boards if board.truth and (metric := metric_on(board, family))]
    made: dict[str, Standing] = {}
    for board, metric in used:
        rows = {row.name: row for row in competitors(board)}
        scores = {name: own for name, row in rows.items() if (own := scores_of(row, metric))}
        filled = with_failures_lowest(scores)
        ranks = _ranks(board, scores, metric)
        for name, row in rows.items():
            standing = made.setdefault(name, Standing(name, row.info.guarantee, len(used)))
            standing.cells += len(row.records)
            standing.unconverged += len(row.unconverged)
            standing.failed += len(row.failed)
            if filled.get(name):
                standing.scores[board.label] = sum(filled[name].values()) / len(filled[name])
            if name in ranks:
                standing.ranks[board.label] = ranks[name]
            if (cost := row.mean_of("phases", "fit", "cpu_s")) is not None:
                standing.cpu_s[board.label] = cost
    return sorted(made.values(), key=_order)


def answer(boards: Sequence[Board]) -> Answer | None:
    """The answer over the boards of one budget; None where no learner has a score on known factors."""
    known = [board for board in boards if board.truth]
    families = [family_of(headline(row, board)) for board in known for row in competitors(board)]
    if not families:
        return None
    family = "mcc" if "mcc" in families else max(set(families), key=families.count)
    everyone = standings(known, family)
    over_all = _covering(everyone)
    if not over_all:
        return None
    promised = _on_their_ground(standings([promising(board, family) for board in known], family))
    overall = {standing.name: standing.rank for standing in everyone}
    top = promised or over_all
    for standing in top:
        standing.overall = overall.get(standing.name)
    tied = [other for other in top[1:] if _same_rank(top[0], other)]
    margin, ahead, common = _margin(top)
    cells = [record for board in boards for row in competitors(board) for record in row.records]
    cells = [record for record in cells if record["status"] != "skipped"]
    return Answer(
        family=family,
        top=top[: max(SHOWN, 1 + len(tied))],
        margin=margin,
        ahead_on=ahead,
        n_common=common,
        cells=len(cells),
        done=sum(record["status"] == "ok" for record in cells),
        unconverged=sum(record["status"] == "ok" and record.get("converged") is False for record in cells),
        failed=sum(record["status"] != "ok" for record in cells),
        silent=sum(record["status"] == "ok" and record.get("converged") is None for record in cells),
        tied=tied,
        held=bool(promised),
        highest=max(over_all, key=lambda standing: standing.score.mean if standing.score else float("-inf")),
    )


def _same_rank(first: Standing, second: Standing) -> bool:
    return first.rank is not None and second.rank is not None and second.rank.mean <= first.rank.mean


def _on_their_ground(standings: Sequence[Standing]) -> list[Standing]:
    """Those with scores on ``LEAST`` boards, or with any where none has; by rank, number of boards and score alone.

    How large a part of the boards a theorem covers depends on which datasets are there, and is no merit of a learner.
    """
    scored = [standing for standing in standings if standing.scores]
    enough = [standing for standing in scored if len(standing.scores) >= LEAST] or scored
    return sorted(enough, key=lambda standing: _order(standing)[2:])


def _covering(standings: Sequence[Standing]) -> list[Standing]:
    """Those with scores on at least half of the boards, or with any where none has."""
    scored = [standing for standing in standings if standing.scores]
    return [standing for standing in scored if standing.covers_half] or scored


def sentences(found: Answer, quote: Mapping[str, str] | None = None) -> list[str]:
    """Winner with margin and interval, cost and coverage; then what to think of the cells.

    quote   how a page writes each learner's name; as it is where it has none
    """

    def name(standing: Standing) -> str:
        return (quote or {}).get(standing.name, standing.name)

    title = TITLES.get(found.family, found.family)
    made = [_tie(found, title, name)] if found.tied else _lead(found, title, name)
    if found.held and found.highest is not None and found.highest.name not in [s.name for s in found.top]:
        highest = found.highest
        made.append(
            f"Among all learners on all datasets, whatever their theorems say, {name(highest)} has the highest mean: "
            f"{title} {score(highest.score)} on {len(highest.scores)} of {highest.n_boards}."
        )
    made.append(
        f"{found.cells} cells apply: {found.done} done, {found.failed} failed, {found.unconverged} not converged"
        + (" (†)" if found.unconverged else "")
        + (f", {found.silent} do not say." if found.silent else ".")
    )
    return made


def _tie(found: Answer, title: str, name: Callable[[Standing], str]) -> str:
    """Learners that share the first rank, none of which is said to be first."""
    first = found.top[0]
    where = "where their theorems promise it and hold or nearly hold" if found.held else "that they apply to"
    each = [f"{name(one)} ({len(one.scores)})" for one in (first, *found.tied)]
    return (
        f"{len(each)} learners share the first place, mean rank {score(first.rank, digits=1)} by {title} over the "
        f"datasets {where} (how many of {first.n_boards}): {', '.join(each)}."
    )


def _lead(found: Answer, title: str, name: Callable[[Standing], str]) -> list[str]:
    """Who is first, with cost and coverage; then the runner-up."""
    first = found.top[0]
    clear = found.margin is not None and found.margin.low is not None and not found.margin.covers(0.0)
    first_is = "recovers the latent factors best" if clear or len(found.top) == 1 else "comes first"
    words = f"{name(first)} {first_is}: {title} {score(first.score)} on the "
    words += f"{len(first.scores)} of {first.n_boards} datasets "
    words += "where its theorem holds or nearly holds" if found.held else "that it applies to"
    if first.rank:
        words += f", mean rank {score(first.rank, digits=1)}"
    words += f", {seconds(first.cost)} CPU s a fit (median)."
    return [words, *([_runner_up(found, name(found.top[1]))] if len(found.top) > 1 else [])]


def _runner_up(found: Answer, name: str) -> str:
    second = found.top[1]
    cost = f"{seconds(second.cost)} CPU s a fit"
    if found.margin is None:
        return f"Next is {name} ({score(second.score)}, {cost}); they share no dataset."
    where = f"on the {found.n_common} they share" if found.n_common > 1 else "on the one that they share"
    words = f"Next is {name} ({score(second.score)}, {cost}): the first is {found.margin.mean:+.3f} ahead {where}"
    if found.margin.low is None or found.margin.high is None:
        return f"{words}, too few for an interval."
    verdict = "not told apart" if found.margin.covers(0.0) else "told apart"
    interval = f"95 % interval {found.margin.low:+.3f} to {found.margin.high:+.3f}"
    return f"{words}, {interval}, higher on {found.ahead_on} of {found.n_common}: {verdict}."


def _margin(top: Sequence[Standing]) -> tuple[Interval | None, int, int]:
    if len(top) < 2:
        return None, 0, 0
    first, second = top[0].scores, top[1].scores
    differences = [first[label] - second[label] for label in first if label in second]
    if not differences:
        return None, 0, 0
    return t_interval(differences), sum(value > 0.0 for value in differences), len(differences)


def _ranks(board: Board, scores: Mapping[str, Scores], metric: str) -> dict[str, int]:
    if len(board.seeds()) < 2 or len(scores) < 2:
        return {}
    return shared_ranks(scores, lambda values: mean_interval(values, metric))


def _order(standing: Standing) -> tuple[bool, bool, float, int, float, str]:
    rank = standing.rank.mean if standing.rank else float("inf")
    return (
        not standing.scores,
        not standing.covers_half,
        rank,
        -len(standing.scores),
        -standing.score.mean if standing.score else 0.0,
        standing.name,
    )
