"""``python -m bench run``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.commands.execution import (
    cell_pool,
    closing_words,
    device_of,
    execute,
    limits_of,
    require_fence,
    still_to_do,
    warn_of_broken,
)
from bench.commands.rounds import rounds
from bench.commands.terminal import counted, emit
from bench.errors import EXIT_OK, UsageError
from bench.registry import Registry, discover

if TYPE_CHECKING:
    from bench.run.plan import Cell
    from bench.run.store import Store

DEFAULT_SEEDS = {"smoke": "0", "standard": "0-2", "paper": "0-4"}


def main(options: argparse.Namespace) -> int:
    """Run what is selected and not done yet; every cell ends in a record, the run in a table of scores."""
    if not options.all and not (options.learners or options.datasets or options.data or options.sweep):
        raise UsageError("nothing selected: give --all, or --learners and/or --datasets, or --data FILE")
    if options.sweep and (options.all or options.datasets or options.data):
        raise UsageError("--sweep names its datasets itself: leave out --all, --datasets and --data")
    from bench.run.store import Store, salt_for

    found = discover(options.plugin)
    warn_of_broken(found)
    salt = salt_for(options.out, options.judge)
    if salt:
        require_fence(options)
    with cell_pool(options, found) as pool:
        cells = planned(options, found, salt)
        if options.dry_run:
            _describe(options, cells, found)
            return EXIT_OK
        store = Store(options.out, create=True, salt=salt)
        interrupted, ran = False, []
        for some in rounds(cells, store, until_converged=options.until_converged):
            ran += some
            interrupted = bool(some) and execute(options, some, store, found, pool)
            if interrupted:
                break
        cells = ran
    if not interrupted:
        _scores(cells, store, found)
    return closing_words(cells, store, options.out, interrupted=interrupted)


def planned(options: argparse.Namespace, found: Registry, salt: str = "") -> list[Cell]:
    """The cells of the command line; own data stands beside, or in place of, the datasets named."""
    from bench.run.effort import parse_efforts
    from bench.run.plan import Selection, parse_seeds, plan
    from bench.run.shard import parse_shard, part_of

    seeds = parse_seeds(options.seeds or DEFAULT_SEEDS.get(options.budget, "0"))
    settings = list(options.settings)
    selection = Selection(
        learners=options.learners or (),
        datasets=options.datasets or (),
        repetitions=seeds,
        budget=options.budget,
        device=device_of(options),
        data_seed=options.data_seed,
        settings=settings,
        threads=options.threads,
        salt=salt,
        efforts=parse_efforts(options.effort),
        sweeps=options.sweep,
    )
    cells = plan(selection, found) if options.all or options.datasets or not options.data else []
    if options.data:
        from bench.commands.own_data import plan_own

        cells += plan_own(options, selection, found)
    return part_of(cells, *parse_shard(options.shard)) if options.shard else cells


def _scores(cells: Sequence[Cell], store: Store, found: Registry) -> None:
    """Print the table of scores of these cells, and of the metrics that plugins add."""
    from bench.report.leaderboard import read_consistency
    from bench.report.scores import markdown, standings

    records = [record for key in dict.fromkeys(cell.spec.key for cell in cells) if (record := store.get(key))]
    consistency = read_consistency(records, store.root, found)
    items = standings(records, found, consistency)
    if not items:
        return
    print()
    emit(markdown(items))
    for info in found.foreign_metrics():
        scores = [record.get("metrics", {}).get(info.name, {}) for record in records]
        if any(score.get("value") is not None for score in scores):
            print()
            emit(markdown(standings(records, found, consistency, by=info.name)))
    print()


def _describe(options: argparse.Namespace, cells: Sequence[Cell], found: Registry) -> None:
    """What a run would do, without doing it."""
    from pathlib import Path

    from bench.report.markdown import table
    from bench.run.store import Store

    store = Store(options.out) if (Path(options.out) / "store.json").exists() else None
    todo = {cell.spec.key for cell in still_to_do(cells, store, found, fresh=options.fresh)}
    unique = {cell.spec.key: cell for cell in cells}
    rows: dict[tuple[str, str], list[str]] = {}
    names = _data_names(cells)
    for key, cell in unique.items():
        state = f"skipped: {cell.skip}" if cell.skip else "to run" if key in todo else "done"
        name = (names[_data_key(cell)], cell.spec.learner)
        row = rows.setdefault(name, [*name, "", state])
        row[2] += f"{', ' if row[2] else ''}{cell.spec.repetition}"
        row[3] = "to run" if "to run" in (row[3], state) else state
    limits = limits_of(options)
    emit(
        f"{counted(len(unique), 'cell')}: {len(todo)} to run; at most {limits.timeout_s:g} s and "
        f"{limits.memory_mib:g} MiB each; nothing was run (--dry-run)\n\n"
        + table(["dataset", "learner", "seeds", "state"], list(rows.values()), numeric_from=4)
    )


def _data_key(cell: Cell) -> str:
    return json.dumps([cell.spec.dataset, cell.spec.dataset_params], sort_keys=True)


def _data_names(cells: Sequence[Cell]) -> dict[str, str]:
    """Names of the data of these cells: the dataset, with what tells its sets of parameters apart in a sweep."""
    from bench.report.naming import tell_apart, titled

    specs = {_data_key(cell): cell.spec for cell in cells}
    names: dict[str, str] = {}
    for dataset in {spec.dataset for spec in specs.values()}:
        own = {key: spec.dataset_params for key, spec in specs.items() if spec.dataset == dataset}
        names |= {key: titled(dataset, words) for key, words in zip(own, tell_apart(list(own.values())), strict=True)}
    return names
