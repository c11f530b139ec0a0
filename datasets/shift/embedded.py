"""Benchmarks of shift as embeddings that somebody computed with a pretrained network: one npz a benchmark.

    embedding     (n, k) float16, float32 or float64
    label         (n,) whole numbers from 0: the class
    environment   (n,) whole numbers from 0: what shifts (background, hospital, identity, domain)
    split         (n,) 0: to learn from; 1: held out, as the former; 2: held out, where it has shifted

Files lie in ``$BENCH_DATA/embeddings``; ``datasets.shift.embed`` makes one of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, Data, Episode, EvalView, NotApplicable, TrainView, dataset
from datasets.npz import members
from datasets.shift.episodes import how_many, misleading_episode, moved_episode
from datasets.sources import locate
from datasets.synthetic.common import require_choice, require_range

Int64 = NDArray[np.int64]
PARTS = ("label", "environment", "split")
LEARN, HELD_OUT, SHIFTED = 0, 1, 2
SHIFTS = ("spurious", "moved")
MOST_ROWS = 5_000_000
MOST_GROUPS = 1000  # classes, and environments
TRAIN_SHARE = 0.8
BLOCK = 4096
FEWEST = 20


@dataclass(frozen=True)
class Table:
    """What an npz says of its samples: label, environment and split (n,) int64; ``width`` of the embeddings."""

    label: Int64
    environment: Int64
    split: Int64
    width: int


@dataset(
    "waterbirds",
    properties={"gaussian-given-target": "no"},
    paper="Sagawa et al. 2020, ICLR; protocol after Fumero et al. 2023, NeurIPS",
    summary="embeddings of birds before land or water: the background misleads",
    provides=("targets", "binary", "labels", "aux"),
    truth=False,
    source="waterbirds",
    budgets={"smoke": {"rows": 1000, "episodes": 4}},
    on_request=True,
)
@dataset(
    "civilcomments",
    properties={"gaussian-given-target": "no"},
    paper="Borkan et al. 2019; Koh et al. 2021, ICML; protocol after Fumero et al. 2023, NeurIPS",
    summary="embeddings of comments, toxic or not: who is mentioned misleads",
    provides=("targets", "binary", "labels", "aux"),
    truth=False,
    source="civilcomments",
    defaults={"benchmark": "civilcomments"},
    budgets={"smoke": {"rows": 1000, "episodes": 4}},
    on_request=True,
)
@dataset(
    "camelyon17",
    properties={"gaussian-given-target": "no"},
    paper="Bandi et al. 2018; Koh et al. 2021, ICML; protocol after Fumero et al. 2023, NeurIPS",
    summary="embeddings of tissue, tumour or not, queries from a hospital that nobody learnt from",
    provides=("targets", "binary", "labels", "aux"),
    truth=False,
    source="camelyon17",
    defaults={"benchmark": "camelyon17", "shift": "moved"},
    budgets={"smoke": {"rows": 1000, "episodes": 4}},
    on_request=True,
)
@dataset(
    "pacs",
    properties={"gaussian-given-target": "no"},
    paper="Li et al. 2017, ICCV; protocol after Fumero et al. 2023, NeurIPS",
    summary="embeddings of photos, art, cartoons and sketches, queries from a style that nobody learnt from",
    provides=("targets", "binary", "labels", "aux"),
    truth=False,
    source="pacs",
    defaults={"benchmark": "pacs", "shift": "moved"},
    budgets={"smoke": {"rows": 1000, "episodes": 4}},
    on_request=True,
)
@dataset(
    "vlcs",
    properties={"gaussian-given-target": "no"},
    paper="Fang et al. 2013, ICCV; protocol after Fumero et al. 2023, NeurIPS",
    summary="embeddings of photographs of four collections, queries from one that nobody learnt from",
    provides=("targets", "binary", "labels", "aux"),
    truth=False,
    source="vlcs",
    defaults={"benchmark": "vlcs", "shift": "moved"},
    budgets={"smoke": {"rows": 1000, "episodes": 4}},
    on_request=True,
)
@dataset(
    "officehome",
    properties={"gaussian-given-target": "no"},
    paper="Venkateswara et al. 2017, CVPR; protocol after Fumero et al. 2023, NeurIPS",
    summary="embeddings of 65 things at office and home in four styles, queries from one that nobody learnt from",
    provides=("targets", "binary", "labels", "aux"),
    truth=False,
    source="officehome",
    defaults={"benchmark": "officehome", "shift": "moved"},
    budgets={"smoke": {"rows": 1000, "episodes": 4}},
    on_request=True,
)
def load_embeddings(
    *,
    seed: int,
    benchmark: str = "waterbirds",
    shift: str = "spurious",
    rows: int = 10_000,
    n_latents: int = 16,
    aligned: float = 0.9,
    episodes: int = 100,
) -> Data:
    """Embeddings with tasks to learn from, and few-shot tasks between two classes whose support misleads.

    Parameters
    ----------
    seed       which 80 % of the samples of split 0 are learnt from, and the few-shot tasks
    benchmark  name of the file
    shift      "spurious": in the share ``aligned`` of the support the environment follows the class, queries
               are balanced over the four groups, both from splits 1 and 2; "moved": support from split 1, query from 2
    rows       samples to learn from, and samples held out, at most; the latter do not depend on the seed
    n_latents  codes to learn
    episodes   few-shot tasks with 10 samples of each class; two fifths as many with 25, a fifth with 100, as far as
               there are samples for them

    Tasks to learn from: is it class c, is it environment e, for all of them (one answers for two). Labels are
    the classes, the auxiliary variable the environment. x is float32, not standardised. The true factors are unknown.
    Raises MissingData, BadData, ValueError for other parameters, NotApplicable where no few-shot task can be drawn.
    """
    require_choice("shift", shift, SHIFTS)
    require_range("rows", rows, FEWEST)
    require_range("n_latents", n_latents, 1)
    require_range("aligned", aligned, 0.5, 1.0)
    require_range("episodes", episodes, 1)
    located = locate(benchmark)
    table = read_table(located.path, located.label)
    rng = np.random.default_rng(seed)
    learnable = np.flatnonzero(table.split == LEARN)
    train = np.sort(rng.permutation(learnable)[: min(rows, round(TRAIN_SHARE * len(learnable)))])
    held_out = np.flatnonzero(table.split != LEARN)
    held_out = np.sort(np.random.default_rng(0).permutation(held_out)[:rows])
    if min(len(train), len(held_out)) < FEWEST:
        raise NotApplicable(f"{located.label}: {len(train)} samples to learn from, {len(held_out)} held out; too few")
    used = np.sort(np.concatenate([train, held_out]))
    x, is_test = np.concatenate(list(embeddings(located.path, located.label, used))), np.isin(used, held_out)
    label, environment = table.label[held_out], table.environment[held_out]
    drawn = _episodes(rng, label, environment, table.split[held_out], shift, aligned, episodes)
    if not drawn:
        raise NotApplicable(
            f"{located.label}: too few held-out samples for few-shot tasks of {min(how_many(episodes))} shots"
        )
    tasks = _Tasks(table.label[train], table.environment[train])
    sample, task, y = tasks(table.label[train], table.environment[train])
    sample_test, task_test, y_test = tasks(label, environment)
    view = TrainView(
        x=x[~is_test],
        sample=sample,
        task=task,
        y=y,
        n_tasks=len(tasks.names),
        n_latents=n_latents,
        aux=table.environment[train],
        labels=table.label[train],
        target_type="binary",
    )
    truth = EvalView(
        x_test=x[is_test],
        aux_test=environment,
        sample_test=sample_test,
        task_test=task_test,
        y_test=y_test,
        episodes=drawn,
        target_names=tasks.names,
    )
    counts = {"n_train": len(train), "n_test": len(held_out), "width": table.width, "episodes": len(drawn)}
    shots = sorted({episode.shots for episode in drawn})
    return Data(view, truth, {**located.describe(rows=len(table.label)), **counts, "shift": shift, "shots": shots})


class _Tasks:
    """Is it class c, is it environment e? One task for two classes, as the other would be its opposite."""

    def __init__(self, label: Int64, environment: Int64) -> None:
        self.asked: list[tuple[int, int]] = []
        self.names: tuple[str, ...] = ()
        for which, (word, values) in enumerate((("class", label), ("environment", environment))):
            found = np.unique(values)
            found = found[1:] if len(found) <= 2 else found
            self.asked += [(which, int(value)) for value in found]
            self.names += tuple(f"{word} {value}" for value in found)
        if not self.asked:
            raise BadData("one class and one environment alone to learn from: there is nothing to tell apart")

    def __call__(self, label: Int64, environment: Int64) -> tuple[Int64, Int64, NDArray[np.float64]]:
        answers = np.column_stack([(label, environment)[which] == value for which, value in self.asked])
        n, n_tasks = answers.shape
        return np.repeat(np.arange(n), n_tasks), np.tile(np.arange(n_tasks), n), answers.reshape(-1).astype(np.float64)


def _episodes(
    rng: np.random.Generator, label: Int64, environment: Int64, split: Int64, shift: str, aligned: float, count: int
) -> tuple[Episode, ...]:
    """``count`` few-shot tasks for each number of shots that the held-out samples suffice for."""
    drawn: list[Episode] = []
    classes = np.unique(label)
    for shots, wanted in how_many(count).items():
        found: list[Episode] = []
        for _ in range(4 * wanted):  # pairs of small classes fail, others are tried
            if len(found) == wanted or len(classes) < 2:
                break
            a, b = rng.choice(classes, 2, replace=False)
            rows = np.flatnonzero((label == a) | (label == b))
            try:
                if shift == "moved":
                    place = np.where(split == SHIFTED, 1 + environment, 0)
                    found.append(moved_episode(rng, label == b, place, shots, seen=1, rows=rows))
                else:
                    common, other = _attribute(rng, environment[rows])
                    rows = rows[np.isin(environment[rows], (common, other))]
                    found.append(
                        misleading_episode(rng, label == b, environment == other, shots, aligned=aligned, rows=rows)
                    )
            except BadData:
                continue
        drawn += found
    return tuple(drawn)


def _attribute(rng: np.random.Generator, environment: Int64) -> tuple[int, int]:
    """Two environments that are there, in random order, of which the second is the attribute."""
    found = np.unique(environment)
    if len(found) < 2:
        raise BadData("one environment alone")
    first, second = rng.choice(found, 2, replace=False)
    return int(first), int(second)


def read_table(path: Path, label: str = "") -> Table:
    """Everything but the embeddings, checked. Raises BadData, naming array and row."""
    where = label or path.name
    with members(path, label) as file:
        with file.open("embedding") as stored:
            if len(stored.shape) != 2 or stored.dtype.kind != "f" or not 0 < stored.shape[1] <= 100_000:
                raise BadData(f"{where}: embedding: {stored.dtype} of shape {stored.shape}, expected floats (n, k)")
            n, width = stored.shape
        found: dict[str, Any] = {}
        for name in PARTS:
            with file.open(name) as stored:
                stored.require((n,), "iu", "whole numbers", MOST_ROWS)
                found[name] = stored.all().astype(np.int64)
    for name, most in (("label", MOST_GROUPS - 1), ("environment", MOST_GROUPS - 1), ("split", SHIFTED)):
        wrong = (found[name] < 0) | (found[name] > most)
        if wrong.any():
            row = int(wrong.argmax())
            raise BadData(f"{where}: {name}: row {row} has {found[name][row]}, not 0 to {most}")
    return Table(found["label"], found["environment"], found["split"], width)


def embeddings(path: Path, label: str, rows: Int64) -> Iterator[NDArray[np.float32]]:
    """Embeddings (b, k) of ascending rows, block by block. Raises BadData for values that are not finite."""
    with members(path, label) as file, file.open("embedding") as stored:
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is named below
                piece = stored.rows(some).astype(np.float32)
            if not (finite := np.isfinite(piece).all(axis=1)).all():
                raise BadData(f"{label or path.name}: embedding: row {some[int(finite.argmin())]} is not finite")
            yield piece
        if len(rows) == stored.shape[0]:
            stored.end()


def check_file(path: Path, label: str = "") -> int:
    """Read all of a file with every check; returns its number of samples. Raises BadData."""
    n = len(read_table(path, label).label)
    return sum(len(piece) for piece in embeddings(path, label, np.arange(n)))
