"""How well the codes of a multi-task network tell QM9's targets: MAE in deviations and R², means over the twelve.

    python -m tests.benchmarks.qm9_accuracy [--rows 5000] [--layout sdf] [--latents 8] [--seeds 1] \\
        [--learner mtrn] [--set mtrn.steps=1800 mtrn.batch=512]

Trained on are *all* molecules that are not held out by the hash of their name. A board's seed draws four fifths of
them, so that seeds differ in data; numbers in the literature are of the whole. Predictions are ridge regressions on the
codes (``scaffold_shift.scores``); CPU seconds are of the fit.
"""

from __future__ import annotations

import argparse
import time

from bench import registry
from bench.errors import UsageError
from bench.report.markdown import table
from bench.run.plan import parse_settings, resolve
from bench.run.spec import derive_seed
from datasets.molecular import splits
from tests.benchmarks.scaffold_shift import scores


def main() -> None:
    """Print a row a seed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, help="molecules at most; default: all in the file")
    parser.add_argument("--layout", choices=("csv", "sdf"), default="csv")
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--learner", default="mtrn")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME.PARAM=VALUE", dest="settings")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    splits.TRAIN_SHARE = 1.0  # of this process alone: every molecule that is not held out
    found = registry.discover()
    made = []
    try:
        info, learner = found.dataset("qm9-graph"), found.learner(options.learner)
        sizes = {"rows": options.rows, "layout": options.layout, "n_latents": options.latents}
        params = resolve(learner, "standard", parse_settings(options.settings, found).get(learner.name, {}), "graph")
        for seed in range(options.seeds):
            data = registry.load(info)(
                seed=derive_seed("data", "qm9-graph", seed), **resolve(info, "standard", {}) | sizes
            )
            model = registry.load(learner)(**params)
            begun = time.process_time()
            model.fit(
                data.train, seed=derive_seed("model", learner.name, "qm9-graph", seed), device="cpu", progress=_silent
            )
            spent = time.process_time() - begun
            got = scores(data, (model.encode(data.train.x), model.encode(data.eval.x_test)))
            values = (got["MAE, training deviations"], got["MAE, held-out deviations"], got["R²"])
            made.append([str(seed), str(data.train.n_samples), *(f"{v:.4f}" for v in values), f"{spent:.0f}"])
    except UsageError as error:
        parser.exit(2, f"{error}\n")
    header = ["seed", "molecules", "MAE, training deviations", "MAE, held-out deviations", "R²", "CPU s"]
    print(table(header, made, numeric_from=0))


def _silent(fraction: float, message: str) -> None:
    """Progress of single fits is not shown."""


if __name__ == "__main__":
    main()
