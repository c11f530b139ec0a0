"""Runs cells on this machine, several at a time, each in processes of its own (``supervisor``)."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from bench.run import provenance
from bench.run.cell import Job, Outcome
from bench.run.executors.pool import Pool, Running
from bench.run.executors.supervisor import Limits

__all__ = ["Limits", "Turns", "run"]

DISPLAY_S = 0.1
ASK_AGAIN_S = 1.0


class Turns(Protocol):
    """Who may run what, where several runs share a folder."""

    def take(self, job: Job) -> bool | None:
        """True: it is this run's; False: somebody else runs it now; None: somebody else has finished it."""
        ...

    def renew(self) -> None:
        """Called often."""
        ...


class Alone:
    """Nobody else is there."""

    def take(self, job: Job) -> bool | None:
        return True

    def renew(self) -> None: ...


def run(
    jobs: Sequence[Job],
    pool: Pool,
    *,
    at_once: int,
    limits: Limits,
    turns: Turns | None = None,
    stored: Callable[[Job], Mapping[str, Any] | None] = lambda job: None,
    on_change: Callable[[Sequence[Running]], None] = lambda running: None,
) -> Iterator[Outcome]:
    """Run the jobs, ``at_once`` at a time; yields the outcome of every cell as it comes.

    turns    asked before a job is begun; jobs that somebody else runs are waited for
    stored   codes of a job that is only to be scored

    Closing the generator (Ctrl-C does) ends what is running; those cells have no outcome and are run the next time.
    """
    turns = turns or Alone()
    waiting = deque(jobs)
    running: list[Running] = []
    ask_at = 0.0
    try:
        while waiting or running:
            if time.monotonic() >= ask_at:
                elsewhere = 0
                while waiting and len(running) < at_once and elsewhere < len(waiting):
                    mine = turns.take(waiting[0])
                    if mine:
                        job = waiting.popleft()
                        running.append(pool.start(job, limits, stored(job)))
                    elif mine is None:
                        waiting.popleft()
                    else:
                        elsewhere += 1
                        waiting.rotate(-1)
                ask_at = time.monotonic() + ASK_AGAIN_S if elsewhere else 0.0
            ready, _, _ = select.select(running, [], [], DISPLAY_S)
            for item in ready:
                for outcome in item.heard():
                    outcome.record["provenance"] = provenance.if_changed(outcome.record["provenance"])
                    yield outcome
                if item.over or item.finished == len(item.specs):
                    running.remove(item)
                    pool.forget(item)
            turns.renew()
            on_change(running)
    finally:
        for item in running:
            pool.forget(item)
