"""Few-shot tasks on held-out samples whose support misleads: a second attribute follows the class, or some are missing.

After the six benchmarks of Fumero et al. (NeurIPS 2023); measured there with pretrained backbones, here with known
factors. The class is the sign of a core factor, the attribute that of a spurious one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, Episode

Bool = NDArray[np.bool_]
ALIGNED = 0.9  # share of a class with attribute = class in the support: at 0.98 ten shots do not show that they differ
QUERY_OF_GROUP = 100
_SHARES = {10: 1.0, 25: 0.4, 100: 0.2}  # of the episodes, by shots: with more of them, scores vary less


def how_many(episodes: int) -> dict[int, int]:
    """Few-shot tasks by number of shots, ``episodes`` with the fewest."""
    return {shots: max(1, round(share * episodes)) for shots, share in _SHARES.items()}


def spurious_pairs(rng: np.random.Generator, d: int, count: int) -> list[tuple[int, int]]:
    """``count`` ordered pairs (core, spurious) of d factors, every pair once before any comes again."""
    every = [(a, b) for a in range(d) for b in range(d) if a != b]
    order = np.concatenate([rng.permutation(len(every)) for _ in range(-(-count // len(every)))])
    return [every[i] for i in order[:count]]


def misleading_episode(
    rng: np.random.Generator,
    label: Bool,
    attribute: Bool,
    shots: int,
    *,
    aligned: float = ALIGNED,
    missing: bool = False,
    rows: NDArray[Any] | None = None,
) -> Episode:
    """One few-shot task: ``shots`` samples of each class, and a query that is balanced over the four groups.

    label, attribute   (n,) of the held-out samples
    aligned   share of the support's samples of each class with the attribute of the class, to a whole number: drawn one
              by one, a third of all classes of ten samples have no other, and nothing tells class and attribute apart
    missing   instead: the support never shows class 0 with the attribute, and is otherwise uniform
    rows      held-out samples to draw from; None: all
    Raises BadData where a group has too few samples.
    """
    rows = np.arange(len(label)) if rows is None else rows
    group = 2 * label.astype(np.int64) + attribute
    of_group = [rng.permutation(rows[group[rows] == g]) for g in range(4)]
    n_same = (shots, int(rng.binomial(shots, 0.5))) if missing else (round(aligned * shots),) * 2
    used: dict[int, int] = {}
    support = []
    for c in (0, 1):
        used |= {3 * c: n_same[c], 1 + c: shots - n_same[c]}  # groups 0 and 3 have attribute = class
        of_class = np.concatenate([of_group[g][: used[g]] for g in (3 * c, 1 + c)])
        support.append(rng.permutation(of_class))  # the heads' cross-validation cuts a class in this order
    size = min(QUERY_OF_GROUP, *(len(of_group[g]) - used[g] for g in range(4)))
    if size < 10:
        raise BadData(f"few-shot tasks of {shots} shots need more held-out samples than {len(rows)}")
    query = [of_group[g][used[g] : used[g] + size] for g in range(4)]
    chosen, asked = np.concatenate(support), np.concatenate(query)
    return Episode(
        shots=shots,
        support=chosen,
        y_support=label[chosen].astype(np.int64),
        query=asked,
        y_query=label[asked].astype(np.int64),
        group_query=group[asked],
    )


def moved_episode(
    rng: np.random.Generator,
    label: Bool,
    place: NDArray[Any],
    shots: int,
    *,
    seen: int,
    rows: NDArray[Any] | None = None,
) -> Episode:
    """Support from the places below ``seen``, query from the others: groups are class and place.

    rows   held-out samples to draw from; None: all. Raises BadData where they are too few.
    """
    rows = np.arange(len(label)) if rows is None else rows
    known, other = rows[place[rows] < seen], rows[place[rows] >= seen]
    pools = [rng.permutation(known[label[known] == c])[:shots] for c in (False, True)]
    support = np.concatenate(pools)
    query = rng.permutation(other)[: 4 * QUERY_OF_GROUP]
    if len(support) < 2 * shots or len(query) < 40:
        raise BadData(f"few-shot tasks of {shots} shots need more held-out samples than {len(rows)}")
    return Episode(
        shots=shots,
        support=support,
        y_support=label[support].astype(np.int64),
        query=query,
        y_query=label[query].astype(np.int64),
        group_query=2 * place[query] + label[query],
    )
