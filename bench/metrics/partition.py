"""Block MCC: are the factors recovered up to mixing inside blocks?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.metrics.agreement import canonical
from bench.metrics.base import OutOfDomain, metric
from bench.metrics.moments import IntArray
from bench.metrics.pairs import Pairs, pairs

Blocks = Sequence[Sequence[int]]
# A code belongs to a factor's block if its share of the factor's squared importance is at least this.
LINK = 0.1


@metric(
    "block_mcc",
    tests="block",
    range="[-1, 1]",
    paper="von Kügelgen et al. 2021; Fumero et al. 2023",
    summary="mean held-out canonical correlation of each block of factors with the codes assigned to it",
    assumptions="a given partition, e.g. factors that cause the same tasks; linear inside blocks",
    version=2,
)
def block_mcc(z_train: Any, codes_train: Any, z_test: Any, codes_test: Any, blocks: Blocks | None = None) -> float:
    """Recovery up to a permutation of blocks and an invertible linear map inside each.

    blocks    lists of factor indices that cover 0 … d_z − 1 once; None finds them as the connected components of the
              graph that links codes and factors by their linear importances. (A single block found is no achievement:
              the score is then linear recovery; read the number of blocks beside it.)
    The codes of a block are those that ``mcc`` matches to its factors, so a block has no more codes than factors.
    Of more than d_z codes those are used that ``mcc`` uses. Canonical directions of block and codes are fitted on
    train, their signed correlations on the held-out samples are summed and divided by d_z: absences count as 0.

    Range −1 … 1, higher is better, 1 for linear maps inside blocks; with blocks of one factor it is ``mcc``.
    Chance is 0. Raises OutOfDomain as ``linear_r2`` and for blocks that are no partition.
    Reference: block identifiability, von Kügelgen et al., NeurIPS 2021.
    """
    found = pairs(z_train, codes_train, z_test, codes_test)
    return block_score(found, blocks if blocks is not None else found_blocks(found))


def block_score(found: Pairs, blocks: Blocks) -> float:
    found, d_z = found.narrow, found.d_z
    if sorted(i for block in blocks for i in block) != list(range(d_z)):
        raise OutOfDomain(f"blocks {[list(b) for b in blocks]} do not cover the factors 0 … {d_z - 1} once each")
    code = found.matching.code_of(d_z)
    total = 0.0
    for block in blocks:
        factors = list(block)
        mine = code[factors]
        mine = mine[mine >= 0]
        if len(mine):
            total += float(
                canonical(
                    found.z_train[:, factors],
                    found.codes_train[:, mine],
                    found.z_test[:, factors],
                    found.codes_test[:, mine],
                ).sum()
            )
    return total / d_z


def found_blocks(found: Pairs) -> list[list[int]]:
    """Blocks of factors that share codes: components of the graph of linear importances."""
    from scipy.sparse import csr_array  # slow to import, seldom needed
    from scipy.sparse.csgraph import connected_components

    weights = found.narrow.map.coefficients**2
    share = np.divide(weights, weights.sum(0), out=np.zeros_like(weights), where=weights.sum(0) > 0)
    d, d_z = share.shape
    graph = np.zeros((d + d_z, d + d_z))
    graph[:d, d:] = share >= LINK
    _, label = connected_components(csr_array(graph), directed=False)
    return _groups(label[d:])


def blocks_of_supports(causal: Any) -> list[list[int]]:
    """Factors that cause exactly the same tasks: no task can tell them apart. ``causal`` is (n_tasks, d_z) bool."""
    _, label = np.unique(np.asarray(causal, dtype=bool).T, axis=0, return_inverse=True)
    return _groups(np.ravel(label))


def _groups(label: IntArray) -> list[list[int]]:
    """The indices that share a label, groups in order of their first index."""
    return sorted(list(map(int, np.flatnonzero(label == k))) for k in np.unique(label))
