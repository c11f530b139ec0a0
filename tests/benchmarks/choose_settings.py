"""Choose a learner's settings by its own validation loss: the rule of this suite, as a program.

    python -m tests.benchmarks.choose_settings ivae tcl-segments --grid learning_rate=0.003,0.01 batch_size=64,256 \\
        --set tcl-segments.d=3 --data-seeds 2

Fits the learner over the grid on development data sets, whose seeds no board and no reproduction table uses, and prints
the validation losses, lowest mean first. The true latents, the held-out targets and every score stay unread: the data
set's evaluation view is dropped where it is made. ``--loss`` names another entry of the learner's history than
"validation_loss", with dots for nested ones; ``--maximise`` where more of it is better, as of a likelihood.

Losses of different rows compare only where the loss itself is the same: not, say, over values of β, nor over
different numbers of codes with a penalty on them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench import registry
from bench.api import Diverged, NotApplicable
from bench.errors import UsageError
from bench.report.markdown import table
from bench.run.plan import parse_settings, resolve
from bench.run.spec import derive_seed


@dataclass(frozen=True)
class Choice:
    """A point of the grid: parameters, validation losses by (data seed, model seed), CPU seconds of a fit."""

    params: Mapping[str, Any]
    losses: Sequence[float | None]
    cpu_s: float

    @property
    def mean(self) -> float:
        """inf where a fit has no loss."""
        finite = [loss for loss in self.losses if loss is not None]
        return fmean(finite) if len(finite) == len(self.losses) else float("inf")


def grid_points(options: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every combination of "name=value,value"; values are JSON, or words. "name=[[256],[256,256]]" has two lists."""
    axes = {}
    for option in options:
        name, equals, values = option.partition("=")
        if not equals:
            raise UsageError(f"--grid '{option}': write PARAM=VALUE,VALUE")
        axes[name] = _value(values) if values.startswith("[") else [_value(text) for text in values.split(",")]
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def choose(
    learner: str,
    dataset: str,
    points: Sequence[Mapping[str, Any]],
    *,
    settings: Sequence[str] = (),
    loss: str = "validation_loss",
    data_seeds: int = 2,
    model_seeds: int = 1,
    budget: str = "standard",
) -> list[Choice]:
    """Validation losses of the learner at every point, lowest mean first.

    settings   parameters that all points share, as ``bench run --set`` takes them
    loss       the entry of ``history_`` to judge by, "a.b" for history_["a"]["b"]
    Raises UsageError for unknown names and for a learner that keeps no validation loss.
    """
    found = registry.discover()
    info, data_info = found.learner(learner), found.dataset(dataset)
    shared = parse_settings(settings, found)
    usual = resolve(info, budget, shared.get(learner, {}), data_info.kind)
    of_data = resolve(data_info, budget, shared.get(dataset, {}))
    unknown = sorted({name for point in points for name in point} - set(usual))
    if unknown:
        raise UsageError(f"--grid: '{unknown[0]}' is no parameter of {learner}; it has {', '.join(usual)}")
    views = [
        registry.load(data_info)(seed=derive_seed("development", dataset, seed), **of_data).train
        for seed in range(data_seeds)
    ]
    made = []
    for point in points:
        losses: list[float | None] = []
        start = time.process_time()
        for view, seed in itertools.product(views, range(model_seeds)):
            model = registry.load(info)(**{**usual, **point})
            try:
                model.fit(view, seed=derive_seed("development", learner, seed), device="cpu", progress=_silent)
            except (Diverged, NotApplicable) as trouble:
                print(f"{point}: {trouble}", flush=True)
                losses.append(None)
                continue
            losses.append(_entry(getattr(model, "history_", {}), loss, learner))
        made.append(Choice(point, losses, (time.process_time() - start) / max(len(losses), 1)))
    return sorted(made, key=lambda choice: choice.mean)


def markdown(choices: Sequence[Choice], loss: str = "validation loss") -> str:
    """The choices as a table, in their order."""
    header = ["settings", loss, "each fit", "CPU s a fit"]
    rows = []
    for choice in choices:
        words = ", ".join(f"{name}={json.dumps(value)}" for name, value in choice.params.items())
        each = ", ".join("–" if loss is None else f"{loss:.4f}" for loss in choice.losses)
        rows.append([words, f"{choice.mean:.4f}", each, f"{choice.cpu_s:.1f}"])
    return table(header, rows)


def _entry(history: Mapping[str, Any], loss: str, learner: str) -> float | None:
    value: Any = history
    for part in loss.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise UsageError(f"'{learner}' keeps no '{loss}': nothing to choose its settings by")
        value = value[part]
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _silent(fraction: float, message: str) -> None:
    """No progress on the screen: the table is short."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("learner")
    parser.add_argument("dataset")
    parser.add_argument("--grid", nargs="+", required=True, metavar="PARAM=VALUE,VALUE")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME.PARAM=VALUE", dest="settings")
    parser.add_argument("--loss", default="validation_loss", metavar="NAME")
    parser.add_argument("--maximise", action="store_true")
    parser.add_argument("--data-seeds", type=int, default=2)
    parser.add_argument("--model-seeds", type=int, default=1)
    parser.add_argument("--budget", default="standard")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    try:
        choices = choose(
            options.learner,
            options.dataset,
            list(grid_points(options.grid)),
            settings=options.settings,
            loss=options.loss,
            data_seeds=options.data_seeds,
            model_seeds=options.model_seeds,
            budget=options.budget,
        )
    except UsageError as error:
        parser.exit(2, f"{error}\n")
    if options.maximise:
        choices.sort(key=lambda choice: -choice.mean if math.isfinite(choice.mean) else math.inf)
    print(markdown(choices, options.loss.replace("_", " ")))


if __name__ == "__main__":
    main()
