"""Runs jobs, several at a time: on this machine (``local``) or on the nodes of a Ray cluster (``on_ray``)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from bench.api import Info
from bench.run import provenance
from bench.run.cell import Job, Outcome
from bench.run.executors.supervisor import Limits
from bench.run.spec import RunSpec

__all__ = ["Cells", "Limits", "Running", "Turns", "run"]

DISPLAY_S = 0.1
ASK_AGAIN_S = 1.0
R = TypeVar("R", bound="Running")


class Running(Protocol):
    """A job under way, wherever it is: one cell, or several that are fitted together."""

    job: Job
    started: float
    fraction: float
    message: str
    finished: int
    over: bool

    @property
    def specs(self) -> Sequence[RunSpec]: ...

    def heard(self) -> list[Outcome]:
        """Once it has something to say: cells finished since; sets ``over`` when there will be no more."""
        ...


class Cells(Protocol[R]):
    """Where jobs run."""

    def start(self, job: Job, limits: Limits, codes: Mapping[str, Any] | None = None) -> R:
        """Begin a job; with ``codes`` it is only scored, not fitted."""
        ...

    def ready(self, running: Sequence[R], seconds: float) -> list[R]:
        """Those that have something to say, as soon as one has, and at the latest after these seconds."""
        ...

    def forget(self, running: R) -> None:
        """End what is left of a job."""
        ...


class Executor(Cells[R], Protocol[R]):
    """Where jobs run, and where plugins are asked for their parameters; to be closed, or used in ``with``."""

    def preload(self, modules: Sequence[str]) -> None:
        """Import modules once, for all cells that are started later; never a learner's."""
        ...

    def describe(self, info: Info) -> Mapping[str, Any]:
        """Parameters of a plugin and whether it has ``fit_many``; raises BrokenPlugin where it cannot be imported."""
        ...

    def at_once(self, device: str) -> int:
        """How many cells have a place at a time."""
        ...

    def __enter__(self) -> Executor[R]: ...
    def __exit__(self, *_: object) -> None: ...


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
    cells: Cells[R],
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
    running: list[R] = []
    ask_at = 0.0
    try:
        while waiting or running:
            if time.monotonic() >= ask_at:
                elsewhere = 0
                while waiting and len(running) < at_once and elsewhere < len(waiting):
                    mine = turns.take(waiting[0])
                    if mine:
                        job = waiting.popleft()
                        running.append(cells.start(job, limits, stored(job)))
                    elif mine is None:
                        waiting.popleft()
                    else:
                        elsewhere += 1
                        waiting.rotate(-1)
                ask_at = time.monotonic() + ASK_AGAIN_S if elsewhere else 0.0
            for item in cells.ready(running, DISPLAY_S):
                for outcome in item.heard():
                    outcome.record["provenance"] = provenance.if_changed(outcome.record["provenance"])
                    yield outcome
                if item.over or item.finished == len(item.specs):
                    running.remove(item)
                    cells.forget(item)
            turns.renew()
            on_change(running)
    finally:
        for item in running:
            cells.forget(item)
