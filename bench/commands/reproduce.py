"""``python -m bench reproduce``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.commands.execution import cell_pool, closing_words, device_of, execute
from bench.commands.terminal import emit
from bench.errors import UsageError
from bench.registry import discover


def main(options: argparse.Namespace) -> int:
    """Run the paper settings and print the reproduction table; write it where ``--to`` says, and nowhere else."""
    from bench.report import reproduction as reproduce
    from bench.run.store import Store, write_records, write_text

    found = discover(options.plugin)
    chosen = reproduce.select(options.learner)
    if not chosen:
        raise UsageError("no learner here declares a paper setting")
    with cell_pool(options, found) as pool:
        trials = reproduce.trials(chosen, found, device=device_of(options), quick=options.quick)
        seeds = _seeds(options.seeds, reproduce.N_SEEDS)
        cells = [trial.cells[seed] for trial in trials for seed in seeds]
        store = Store(options.out, create=True)
        # a time that is set against a program's fit is that of a fit by itself
        alone = {cell.spec.key for trial in trials if trial.setting.reference_cpu_s for cell in trial.cells}
        interrupted = execute(options, cells, store, found, pool, alone=alone)
    made = [(trial, [store.get(cell.spec.key) for cell in trial.cells]) for trial in trials]
    text = reproduce.markdown(made, quick=options.quick)
    emit(text)
    if options.to is not None:
        from bench.report.leaderboard import slim

        name = "reproduction-quick" if options.quick else "reproduction"
        write_text(Path(options.to) / f"{name}.md", text)
        # settings that differ in the score alone share their cells
        stored = [(cell.spec.key, record) for trial, own in made for cell, record in zip(trial.cells, own, strict=True)]
        kept = {key: record for key, record in stored if record}
        write_records(Path(options.to) / f"{name}.jsonl", [slim(record) for record in kept.values()])
    return closing_words(cells, store, options.out, interrupted=interrupted)


def _seeds(given: str | None, count: int) -> list[int]:
    """The seeds of ``--seeds``, all of them without; raises UsageError for one that no setting has."""
    from bench.run.plan import parse_seeds

    seeds = parse_seeds(given) if given else list(range(count))
    if seeds[-1] >= count:
        raise UsageError(f"--seeds '{given}': a setting has the seeds 0-{count - 1}")
    return seeds
