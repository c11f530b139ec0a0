"""What it costs to predict molecules of scaffolds never trained on, in and out of the distribution.

    python -m tests.benchmarks.scaffold_shift [--seeds 3] [--rows N] [--learner mtrn] [--set mtrn.steps=400]

Prints, for every split of QM9, the mean absolute error over the twelve targets in deviations of the training and of
the held-out molecules, and R²: means over data seeds and their spread. Without ``--learner`` of a ridge regression
from the graphs' counts, with ``RIDGE`` as penalty on standardised columns; with one, of ridge regressions on its codes.
Trained on are the same molecules whether scores are "in" or "out". The last column says how far the held-out
molecules' targets lie from the training ones': differences of means in deviations, average and largest over targets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import registry
from bench.api import Data
from bench.errors import UsageError
from bench.report.markdown import table
from bench.run.plan import parse_settings, resolve
from bench.run.spec import derive_seed
from bench.toolkit.inputs import flat

Float = NDArray[np.float64]
Codes = Callable[[Data, int], tuple[Float, Float]]

RIDGE = 10.0
SPLITS = (
    ("random", "out"),
    ("scaffold", "in"),
    ("scaffold", "out"),
    ("rarest-scaffold", "in"),
    ("rarest-scaffold", "out"),
)


def counts(data: Data, seed: int) -> tuple[Float, Float]:
    """The graphs' counts of training and held-out molecules."""
    return flat(data.train.x).astype(np.float64), flat(data.eval.x_test).astype(np.float64)


def codes_of(learner: str, settings: Sequence[str]) -> Codes:
    """Codes of a learner of the suite, fitted to the training molecules."""
    found = registry.discover()
    info = found.learner(learner)
    params = resolve(info, "standard", parse_settings(settings, found).get(learner, {}), "graph")

    def codes(data: Data, seed: int) -> tuple[Float, Float]:
        model = registry.load(info)(**params)
        model.fit(data.train, seed=derive_seed("model", learner, "qm9-graph", seed), device="cpu", progress=_silent)
        return model.encode(data.train.x), model.encode(data.eval.x_test)

    return codes


def ridge_predictions(train: Float, y: Float, test: Float, penalty: float) -> Float:
    """Held-out predictions (m, T) of a ridge regression of y (n, T) on standardised columns of train (n, p)."""
    mean, scale = train.mean(0), train.std(0)
    varies = scale > 0
    a, b = ((x[:, varies] - mean[varies]) / scale[varies] for x in (train, test))
    weights = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ (y - y.mean(0)))
    return np.asarray(b @ weights + y.mean(0))


def scores(data: Data, codes: tuple[Float, Float]) -> dict[str, float]:
    """Mean absolute error in two units, R², and the shift of the targets, means over targets but for the last."""
    view, held = data.train, data.eval
    y = np.zeros((view.n_samples, view.n_tasks))
    y[view.sample, view.task] = view.y
    y_test = np.zeros((len(held.x_test), view.n_tasks))
    assert held.y_test is not None
    y_test[held.sample_test, held.task_test] = held.y_test
    error = ridge_predictions(codes[0], y, codes[1], RIDGE) - y_test
    mae = np.abs(error).mean(0)
    shift = np.abs(y_test.mean(0) - y.mean(0)) / y.std(0)
    return {
        "MAE, training deviations": float((mae / y.std(0)).mean()),
        "MAE, held-out deviations": float((mae / y_test.std(0)).mean()),
        "R²": float((1 - np.square(error).mean(0) / y_test.var(0)).mean()),
        "shift, average": float(shift.mean()),
        "shift, largest": float(shift.max()),
    }


def rows(codes: Codes, n_seeds: int, params: dict[str, Any], load: Callable[..., Data]) -> Iterator[list[str]]:
    """A row of the table for every split."""
    for split, evaluate in SPLITS:
        found: list[dict[str, float]] = []
        for seed in range(n_seeds):
            data_seed = derive_seed("data", "qm9-graph", seed)
            data = load(seed=data_seed, **(params | {"split": split, "evaluate": evaluate}))
            found.append(scores(data, codes(data, seed)))
        cells = [[one[name] for one in found] for name in found[0]]
        where = "" if split == "random" else f", {evaluate} of it" if evaluate == "out" else ", in distribution"
        yield [f"{split}{where}", *(f"{fmean(v):.3f} (±{max(v) - min(v):.3f})" for v in cells)]


def _silent(fraction: float, message: str) -> None:
    """Progress of single fits is not shown."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, help="molecules at most; default: all in the file")
    parser.add_argument("--learner")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME.PARAM=VALUE", dest="settings")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    try:
        info = registry.discover().dataset("qm9-graph")
        params = resolve(info, "standard", {}) | {"rows": options.rows}
        codes = codes_of(options.learner, options.settings) if options.learner else counts
        made = list(rows(codes, options.seeds, params, registry.load(info)))
    except UsageError as error:
        parser.exit(2, f"{error}\n")
    header = ["split", *("MAE, training deviations", "MAE, held-out deviations", "R²", "shift, average", "largest")]
    print(table(header, made))


if __name__ == "__main__":
    main()
