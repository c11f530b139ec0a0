"""Which rows are held out, which a seed trains on, and the long format that a TrainView wants."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.api import Data, EvalView, NotApplicable, TrainView
from datasets.synthetic.common import require_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.toolkit.inputs import Inputs

HELD_OUT = 0.2
TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class Pool:
    """rows      (n,) row numbers in use, in an order that depends on their identities alone
    held_out   (n,) bool: which of them are held out, whatever the seed and the size of the pool
    """

    rows: NDArray[np.int64]
    held_out: NDArray[np.bool_]

    def in_file_order(self) -> Pool:
        """The same choice, sorted by row number."""
        order = self.rows.argsort()
        return Pool(self.rows[order], self.held_out[order])


def pool(identities: Sequence[bytes], rows: int | None) -> Pool:
    """Choose at most ``rows`` of the samples, and the held-out fifth, by hashing what each sample *is*.

    The choice depends neither on a seed nor on the order or number of the other rows; rows with one identity
    are all held out or all not. A smaller pool is a subset of a larger one.
    """
    import numpy as np

    if rows is not None:
        require_range("rows", rows, 1)
    digests = b"".join(hashlib.blake2b(identity, digest_size=16).digest() for identity in identities)
    rank, side = np.frombuffer(digests, dtype="<u8").reshape(-1, 2).T
    order = np.argsort(rank, kind="stable")[:rows].astype(np.int64)
    return Pool(order, side[order] < np.uint64(HELD_OUT * 2**64))


def long_format(
    targets: NDArray[np.float64], observed: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(sample, task, y), each (m,), of a target table (n, T); ``observed`` (n, T) says which entries there are."""
    import numpy as np

    n, n_tasks = targets.shape
    if observed is None:
        return np.repeat(np.arange(n), n_tasks), np.tile(np.arange(n_tasks), n), targets.reshape(-1)
    sample, task = np.nonzero(observed)
    return sample, task, targets[sample, task]


def real_data(
    x: Inputs,
    targets: NDArray[np.float64],
    held_out: NDArray[np.bool_],
    *,
    seed: int,
    n_latents: int,
    info: Mapping[str, Any],
    smiles: Sequence[str] = (),
    target_names: Sequence[str] = (),
) -> Data:
    """Data without known latents: n inputs x, targets (n, T), one split. The seed draws 80 % of the rows not held out.

    smiles   of the n inputs where they are molecules and their SMILES are known; for pictures only
    Targets are standardised by the training rows' mean and standard deviation; one that is constant there is only
    centred, and named in ``info``. Raises NotApplicable where too few rows remain.
    """
    import numpy as np

    require_range("n_latents", n_latents, 1)
    candidates = np.flatnonzero(~held_out)
    test = np.flatnonzero(held_out)
    rng = np.random.default_rng(seed)
    train = rng.permutation(candidates)[: round(TRAIN_SHARE * len(candidates))]
    if len(train) < 2 or not len(test):
        raise NotApplicable(f"only {len(train)} training and {len(test)} held-out rows; raise 'rows'")
    mean, scale = targets[train].mean(0), targets[train].std(0)
    constant = scale <= 1e-12 * np.maximum(1.0, np.abs(mean))
    standard = (targets - mean) / np.where(constant, 1.0, scale)
    n_tasks = targets.shape[1]
    sample, task, y = long_format(standard[train])
    sample_test, task_test, y_test = long_format(standard[test])
    view = TrainView(
        x=_taken(x, train),
        sample=sample,
        task=task,
        y=y,
        n_tasks=n_tasks,
        n_latents=n_latents,
    )
    held = EvalView(
        x_test=_taken(x, test),
        sample_test=sample_test,
        task_test=task_test,
        y_test=y_test,
        smiles_test=tuple(smiles[int(row)] for row in test) if smiles else (),
        target_names=tuple(target_names),
    )
    counts = {"rows_used": len(x), "n_train": len(train), "n_test": len(test)}
    title = f"{info['title']}, {len(x):,} used" if len(x) != info["rows"] else info["title"]
    constants = {"constant_targets": np.flatnonzero(constant).tolist()} if constant.any() else {}
    return Data(view, held, {**info, **counts, **constants, "title": title})


def _taken(x: Inputs, rows: NDArray[np.int64]) -> Any:
    import numpy as np

    return np.ascontiguousarray(x[rows], dtype=np.float32) if isinstance(x, np.ndarray) else x[rows]
