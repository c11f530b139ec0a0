"""The protocol of Chen et al. (2024) on real data: do seeds agree on codes, and do the codes still tell the targets?

    python -m tests.benchmarks.consistency_protocol [superconductivity qm9-graph] [--latents 5 6 7 8] [--seeds 5] \\
        [--learners mtlcm mtrn rrr pca] [--set qm9-graph.rows=null] [--to page.md]

Fits every learner with as many data and model seeds as asked for and prints a table a dataset, in markdown: weak and
strong consistency of all pairs of seeds, mean and range, beside the R² of the targets, because codes that say nothing
can agree as well as any. Without ``--latents`` the paper's numbers: 10 for superconductivity, 5 to 8 for QM9.

Codes are whitened symmetrically by their training covariance, so that no correlation between the codes of one seed is
counted as agreement with those of another. They are compared on held-out samples, as ``bench.metrics`` does: matched or
rotated on one half, scored on the other. The columns "as released" repeat what the paper's program prints: canonical
variates fitted and compared by ranks on the same samples ("weak"), and codes matched on the samples they are scored on
("strong"), neither whitened.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from bench import registry
from bench.api import Data
from bench.errors import UsageError
from bench.metrics import consistency, target_r2
from bench.report.markdown import table
from bench.run.plan import parse_settings, resolve
from bench.run.spec import derive_seed

Float = NDArray[np.float64]

LATENTS: dict[str, tuple[int, ...]] = {"superconductivity": (10,), "qm9-graph": (5, 6, 7, 8), "qm9": (5, 6, 7, 8)}
LEARNERS = ("mtlcm", "mtrn", "rrr", "pca")
ENOUGH = 0.99  # of the targets' variance: what the effective rank counts components up to
REMARK = (
    "A learner without randomness agrees with itself whatever it learns: `pca` and `rrr` differ between seeds by their "
    "training samples alone, and their place at the top of these columns says nothing about identifiability."
)


@dataclass(frozen=True)
class Fit:
    """What one seed left: codes of the held-out samples, plain and whitened by training, R², CPU seconds of the fit."""

    codes: Float
    white: Float
    r2: float
    cpu_s: float


def whitener(codes: Float) -> Float:
    """(d, d): the symmetric map of codes (n, d) to unit covariance; directions that do not vary are left alone."""
    values, vectors = np.linalg.eigh(np.cov(codes.T, bias=True).reshape(codes.shape[1], -1))
    scale = np.where(values > 1e-10 * values[-1], 1 / np.sqrt(np.maximum(values, 1e-300)), 1.0)
    return np.asarray((vectors * scale) @ vectors.T)


def as_released(a: Float, b: Float) -> dict[str, float]:
    """{"weak", "strong"} of codes (n, d) of the same samples, in sample, as the paper's program has them."""
    correlation = np.abs(np.corrcoef(a, b, rowvar=False)[: a.shape[1], a.shape[1] :])
    strong = correlation[linear_sum_assignment(-correlation)].mean()
    white_a, white_b = ((x - x.mean(0)) @ whitener(x) for x in (a, b))
    left, _, right = np.linalg.svd(white_a.T @ white_b)
    u, v = white_a @ left, white_b @ right.T
    k = min(a.shape[1], b.shape[1])
    weak = fmean(abs(np.corrcoef(rankdata(u[:, j]), rankdata(v[:, j]))[0, 1]) for j in range(k))
    return {"weak": float(weak), "strong": float(strong)}


def held_out(a: Float, b: Float) -> dict[str, float]:
    """{"weak", "strong"} as ``bench.metrics`` has them."""
    return dict(consistency(a, b))


def variance_held(data: Data) -> Float:
    """(T,) share of the training targets' variance that their first 1, 2, … T principal components hold."""
    view = data.train
    y = np.zeros((view.n_samples, view.n_tasks))
    y[view.sample, view.task] = view.y
    values = np.linalg.eigvalsh(np.cov(y, rowvar=False))[::-1]
    return np.asarray(np.cumsum(values) / values.sum())


def fits(learner: str, params: Mapping[str, Any], data: Sequence[Data], name: str) -> Iterator[Fit]:
    """The learner's fits, a data set and a model seed each."""
    make = registry.load(registry.discover().learner(learner))
    for seed, given in enumerate(data):
        model = make(**params)
        start = time.process_time()
        model.fit(given.train, seed=derive_seed("model", learner, name, seed), device="cpu", progress=_silent)
        cpu_s = time.process_time() - start
        view, held = given.train, given.eval
        train, test = (np.asarray(model.encode(x), dtype=np.float64) for x in (view.x, held.x_test))
        r2 = target_r2(train, view.sample, view.task, view.y, test, held.sample_test, held.task_test, held.y_test)
        print(
            f"{name}, {view.n_latents} latents, {learner}, seed {seed}: R² {r2:.3f}, {cpu_s:.0f} CPU s", file=sys.stderr
        )
        yield Fit(test, (test - train.mean(0)) @ whitener(train), r2, cpu_s)


def row(learner: str, d: int, made: Sequence[Fit]) -> list[str]:
    """A row of the table."""
    pairs = list(itertools.combinations(made, 2))
    ours = [held_out(a.white, b.white) for a, b in pairs]
    theirs = [as_released(a.codes, b.codes) for a, b in pairs]
    return [
        f"{learner}",
        str(d),
        f"{fmean(fit.r2 for fit in made):.3f}",
        *(_range([pair[kind] for pair in ours]) for kind in ("weak", "strong")),
        *(_range([pair[kind] for pair in theirs]) for kind in ("weak", "strong")),
        f"{fmean(fit.cpu_s for fit in made):.0f}",
    ]


def section(
    name: str, learners: Sequence[str], latents: Iterable[int], n_seeds: int, settings: Sequence[str]
) -> Iterator[str]:
    """Lines of markdown on one dataset. Raises UsageError for unknown names, and for datasets whose truth is known."""
    found = registry.discover()
    info, chosen = found.dataset(name), parse_settings(settings, found)
    if info.truth:
        raise UsageError(f"{name}: its held-out samples follow the seed; codes can be compared with the truth instead")
    params = resolve(info, "standard", chosen.get(name, {}))
    of_learner = {one: resolve(found.learner(one), "standard", chosen.get(one, {}), info.kind) for one in learners}
    rows = []
    head: list[str] = []
    for d in latents:
        seeds = [derive_seed("data", name, seed) for seed in range(n_seeds)]
        data = [registry.load(info)(seed=seed, **(params | {"n_latents": d})) for seed in seeds]
        share = variance_held(data[0])
        if not head:
            rank = int(np.searchsorted(share, ENOUGH)) + 1
            head = [
                f"## {data[0].info.get('title', name)}",
                "",
                f"{n_seeds} seeds. The targets have effective rank {rank} of {len(share)}: so many components hold "
                f"{ENOUGH:.0%} of their variance. No codes of fewer dimensions can have a higher linear R² in training "
                "than the share that as many components hold: "
                + ", ".join(f"{share[k - 1]:.3f} with {k}" for k in latents)
                + ".",
                "",
            ]
        rows += [row(one, d, list(fits(one, of_learner[one], data, name))) for one in learners]
    header = ["learner", "latents", "target R²", "weak", "strong", "weak, as released", "strong, as released", "CPU s"]
    yield from [*head, table(header, rows), ""]


def _range(values: Sequence[float]) -> str:
    """Mean, and the least and the largest where there are several."""
    words = f"{fmean(values):.3f}"
    return words if len(values) == 1 else f"{words} ({min(values):.3f}–{max(values):.3f})"


def _silent(fraction: float, message: str) -> None:
    """Progress of single fits is not shown."""


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("datasets", nargs="*", default=["superconductivity", "qm9-graph"])
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS))
    parser.add_argument("--latents", nargs="+", type=int)
    parser.add_argument("--seeds", type=int, default=5, help="how many, two at least")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME.PARAM=VALUE", dest="settings")
    parser.add_argument("--to", type=Path, help="write the page there as well")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds: seeds are compared in pairs, at least 2 are needed")
    import torch

    torch.set_num_threads(1)
    lines = ["# Consistency across seeds", "", REMARK, ""]
    try:
        for name in options.datasets:
            latents = options.latents or LATENTS.get(name, (6,))
            lines += section(name, options.learners, latents, options.seeds, options.settings)
    except UsageError as error:
        parser.exit(2, f"{error}\n")
    page = "\n".join(lines)
    print(page)
    if options.to:
        options.to.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
