"""Runs cells on this machine, several at a time, each in processes of its own (``supervisor``)."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence

from bench.run import provenance
from bench.run.cell import Job, Outcome
from bench.run.executors.pool import Pool, Running
from bench.run.executors.supervisor import Limits

__all__ = ["Limits", "run"]

DISPLAY_S = 0.1


def run(
    jobs: Sequence[Job],
    pool: Pool,
    *,
    at_once: int,
    limits: Limits,
    on_change: Callable[[Sequence[Running]], None] = lambda running: None,
) -> Iterator[Outcome]:
    """Run the jobs, ``at_once`` at a time; yields the outcome of every cell as it comes.

    Closing the generator (Ctrl-C does) ends what is running; those cells have no outcome and are run the next time.
    """
    waiting = list(reversed(jobs))
    running: list[Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(pool.start(waiting.pop(), limits))
            ready, _, _ = select.select(running, [], [], DISPLAY_S)
            for item in ready:
                for outcome in item.heard():
                    outcome.record["provenance"] = provenance.if_changed(outcome.record["provenance"])
                    yield outcome
                if item.over or item.finished == len(item.specs):
                    running.remove(item)
                    pool.forget(item)
            on_change(running)
    finally:
        for item in running:
            pool.forget(item)
