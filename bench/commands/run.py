"""``python -m bench run``."""

from __future__ import annotations

import argparse

from bench.commands.execution import cell_pool, closing_words, device_of, execute, require_fence, warn_of_broken
from bench.errors import UsageError
from bench.registry import discover

DEFAULT_SEEDS = {"smoke": "0", "standard": "0-2", "paper": "0-4"}


def main(options: argparse.Namespace) -> int:
    """Run what is selected and not done yet; every cell ends in a record."""
    if not options.all and not (options.learners or options.datasets):
        raise UsageError("nothing selected: give --all, or --learners and/or --datasets")
    from bench.run.effort import parse_efforts
    from bench.run.plan import Selection, parse_seeds, plan
    from bench.run.shard import parse_shard, part_of
    from bench.run.store import Store, salt_for

    found = discover(options.plugin)
    warn_of_broken(found)
    seeds = options.seeds or DEFAULT_SEEDS.get(options.budget, "0")
    selection = Selection(
        learners=options.learners or (),
        datasets=options.datasets or (),
        repetitions=parse_seeds(seeds),
        budget=options.budget,
        device=device_of(options.device),
        data_seed=options.data_seed,
        settings=options.settings,
        threads=options.threads,
        salt=salt_for(options.out, options.judge),
        efforts=parse_efforts(options.effort),
    )
    if selection.salt:
        require_fence()
    with cell_pool(options, found) as pool:
        cells = plan(selection, found)
        if options.shard:
            cells = part_of(cells, *parse_shard(options.shard))
        store = Store(options.out, create=True, salt=selection.salt)
        interrupted = execute(options, cells, store, found, pool)
    return closing_words(cells, store, options.out, interrupted=interrupted)
