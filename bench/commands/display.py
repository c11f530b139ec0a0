"""What a run shows while it works: a live board on a terminal, one line a cell elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bench.run.executors.jobs import Running
    from bench.run.spec import RunSpec

STYLES = {"ok": "green", "skipped": "dim"}


class Display:
    """Shows a run of ``total`` cells. ``done`` after every cell, ``show`` whenever something moved."""

    def __init__(self, total: int, jobs: int, console: Console | None = None) -> None:
        self.total, self.jobs = total, jobs
        self.counts: Counter[str] = Counter()
        self.started = time.monotonic()
        self.console = console or Console(stderr=True)
        self._live = Live(console=self.console, refresh_per_second=8) if self.console.is_terminal else None

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(Text(""))
            self._live.stop()

    def done(self, spec: RunSpec, record: dict[str, Any]) -> None:
        self.counts[record["status"]] += 1
        status, seconds = record["status"], sum(phase["wall_s"] for phase in record["phases"].values())
        number = sum(self.counts.values())
        line = (
            f"[{number:>{len(str(self.total))}}/{self.total}] {spec.dataset} · {spec.learner} · seed {spec.repetition}"
        )
        if status == "ok":
            if not self._live:
                self.console.print(f"{line}  ok {seconds:.1f} s", markup=False, highlight=False, soft_wrap=True)
        else:
            text = f"{line}  {status}: {record['reason']}"
            style = STYLES.get(status, "red")
            self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def show(self, running: Sequence[Running]) -> None:
        if self._live:
            self._live.update(self._board(running))

    def _board(self, running: Sequence[Running]) -> Group:
        finished = sum(self.counts.values())
        failed = finished - self.counts["ok"] - self.counts["skipped"]
        elapsed = time.monotonic() - self.started
        partly = sum(item.fraction * len(item.specs) for item in running)
        left = elapsed / (finished + 0.5 * partly) * (self.total - finished - 0.5 * partly) if finished else None
        head = Table.grid(padding=(0, 2))
        head.add_row(
            ProgressBar(total=max(1, self.total), completed=finished, width=32),
            f"{finished}/{self.total} cells",
            Text(f"{failed} failed", style="red" if failed else "dim"),
            f"{_clock(elapsed)} gone",
            f"about {_clock(left)} left" if left is not None else "",
        )
        rows = Table.grid(padding=(0, 2))
        for item in running:
            seeds = ",".join(str(spec.repetition) for spec in item.specs)
            rows.add_row(
                f"  {item.specs[0].dataset}",
                item.specs[0].learner,
                f"seed {seeds}",
                f"{100 * item.fraction:3.0f} %",
                Text(item.message[:40], style="dim"),
                Text(f"{time.monotonic() - item.started:.0f} s", style="dim"),
            )
        return Group(head, rows)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
