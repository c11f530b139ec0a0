"""``python -m bench new``: the skeleton of a plugin, which passes ``check`` as it is written."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from bench.errors import EXIT_OK, UsageError
from bench.registry import discover

LEARNER = '''"""{title}."""

from __future__ import annotations

import numpy as np

from bench.api import TrainView, learner


@learner(
    "{name}",
    summary="one line on what it does",
    guarantee="none",  # what the theory identifies: "permutation+scaling", "block", "linear" or "none"
    paper="Author, venue year",
    needs=(),  # of the view: "targets", "aux", "labels", "binary"; alternatives as "labels|aux"
    budgets={{"smoke": {{"steps": 10}}}},  # parameters at other sizes than the standard one
)
class {class_name}:
    """Rotates whitened inputs at random: replace fit and encode by yours.

    steps   how often it turns
    """

    def __init__(self, *, steps: int = 100) -> None:
        self.steps = steps

    def fit(self, view: TrainView, *, seed: int, device: str, progress) -> {class_name}:
        rng = np.random.default_rng(seed)  # all randomness follows from the seed
        x = np.asarray(view.x, dtype=np.float64)
        self.mean_ = x.mean(axis=0)
        _, scale, directions = np.linalg.svd(x - self.mean_, full_matrices=False)
        self.map_ = directions[: view.n_latents].T / (scale[: view.n_latents] / np.sqrt(len(x)))
        for step in range(self.steps):
            self.map_ = self.map_ @ np.linalg.qr(rng.standard_normal((self.map_.shape[1],) * 2))[0]
            progress((step + 1) / self.steps, "turning")
        return self

    def encode(self, x, aux=None):
        return (np.asarray(x, dtype=np.float64) - self.mean_) @ self.map_
'''

DATASET = '''"""{title}."""

from __future__ import annotations

import numpy as np

from bench.api import Data, EvalView, TrainView, dataset


@dataset(
    "{name}",
    summary="one line on what it is",
    paper="Author, venue year",
    provides=("targets", "aux"),  # of the view: "targets", "aux", "labels", "binary"
    budgets={{"smoke": {{"n": 500}}}},
)
def {function}(*, seed: int, n: int = 4000, d: int = 3, n_tasks: int = 10) -> Data:
    """Laplace factors, mixed linearly; every sample has one task, which drives their scales.

    n         samples, half of them held out
    d         latent factors
    n_tasks   tasks
    """
    rng = np.random.default_rng(seed)  # all randomness follows from the seed
    scale, weights = rng.uniform(0.5, 3.0, (n_tasks, d)), rng.standard_normal((n_tasks, d))
    task = rng.integers(n_tasks, size=n)
    z = rng.laplace(size=(n, d)) * scale[task]
    x = (z @ rng.standard_normal((d, d))).astype(np.float32)
    y = (z * weights[task]).sum(axis=1) + 0.1 * rng.standard_normal(n)
    half = n // 2
    train = TrainView(
        x=x[:half],
        sample=np.arange(half),
        task=task[:half],
        y=y[:half],
        n_tasks=n_tasks,
        n_latents=d,
        aux=task[:half],
    )
    truth = EvalView(
        x_test=x[half:],
        aux_test=task[half:],
        sample_test=np.arange(n - half),
        task_test=task[half:],
        y_test=y[half:],
        z_train=z[:half],
        z_test=z[half:],
    )
    return Data(train, truth, {{"title": "{title}"}})
'''

METRIC = '''"""{title}."""

from __future__ import annotations

import numpy as np

from bench.metrics.base import metric


@metric(
    "{name}",
    summary="one line on what it is",
    tests="linear",  # the guarantee whose keeping it tests: no map that this leaves open may change the score
    range="(-inf, 1]",
    paper="Author, venue year",
)
def {function}(z_train, codes_train, z_test, codes_test) -> float:
    """R² of the factors from the codes, fitted on training samples, scored on held-out ones: replace it by yours.

    All arrays (n, d); higher is better. Raise bench.metrics.base.OutOfDomain where there is no meaningful answer.
    """
    ones = [np.ones((len(codes), 1)) for codes in (codes_train, codes_test)]
    design, design_test = np.hstack([ones[0], codes_train]), np.hstack([ones[1], codes_test])
    weights = np.linalg.lstsq(design, z_train, rcond=None)[0]
    error = ((z_test - design_test @ weights) ** 2).mean(axis=0)
    return float(np.mean(1.0 - error / z_test.var(axis=0)))
'''

SKELETONS = {"learner": LEARNER, "dataset": DATASET, "metric": METRIC}
NEXT = {
    "learner": "python -m bench run --learners {name},pca --datasets linear-causal --budget smoke --plugin {file}",
    "dataset": "python -m bench run --learners mtlcm,pca --datasets {name} --budget smoke --plugin {file}",
    "metric": "python -m bench run --learners pca --datasets linear-causal --budget smoke --plugin {file}",
}


def main(options: argparse.Namespace) -> int:
    """Write the skeleton; prints the two commands that come next. Raises UsageError, and never overwrites a file."""
    name = options.name
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(f"'{name}' is no plugin's name: lower case letters, digits, dashes, as in my-{options.kind}")
    found = discover()
    for table in (found.learners, found.datasets, found.metrics):
        if name in table:
            raise UsageError(f"'{name}' is taken by {table[name].origin}; choose another name")
    file = Path(options.to or f"{name.replace('-', '_')}.py")
    if file.suffix != ".py":
        raise UsageError(f"--to '{file}': a plugin is a file that ends in .py")
    if file.exists():
        raise UsageError(f"'{file}' is there already; give another with --to FILE")
    words = name.split("-")
    text = SKELETONS[options.kind].format(
        name=name,
        title=" ".join(words).capitalize(),
        class_name="".join(word.capitalize() for word in words),
        function=name.replace("-", "_"),
    )
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"'{file}' cannot be written: {error.strerror}") from None
    print(f"wrote {file}; next:")
    print(f"  python -m bench check {file}")
    print(f"  {NEXT[options.kind].format(name=name, file=file)}")
    return EXIT_OK
