"""What the harness adds to a cell: process, imports, record. And what it takes until ``bench list`` has answered.

``python -m tests.benchmarks.profiling.cells LEARNER N [ray]`` runs N trivial cells one after the other as ``bench run``
does, in an interpreter that has loaded nothing, and prints JSON: wall seconds of each cell beyond its own phases.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent.parent
TRIVIAL = {"raw": "no torch", "untrained": "torch"}
"""Learners whose fit costs next to nothing, and what their cells import."""


def overheads(learner: str, n_cells: int, executor: str = "local") -> dict[str, Any]:
    """Wall seconds of the first and of each later cell beyond its own phases, and their largest peak memory."""
    from bench import registry
    from bench.run.cell import job_of
    from bench.run.executors import jobs as several
    from bench.run.executors import on_ray
    from bench.run.executors.imports import foreign_imports
    from bench.run.executors.local import Pool
    from bench.run.plan import Selection, plan

    found = registry.discover()
    selection = Selection([learner], ["linear-causal"], repetitions=range(n_cells), budget="smoke")
    jobs = [job_of([cell.spec], found) for cell in plan(selection, found)]
    # `bench run` has imported the plugins' packages by then too; what counts is a cell's processes
    preload = ["bench.run.cell", "bench.metrics.evaluate", *foreign_imports([found.learners[learner].origin])]
    preload.append(found.datasets["linear-causal"].origin)
    spent, peaks, statuses = [], [], []
    with on_ray.Nodes(threads=1, closed=[]) if executor == "ray" else Pool() as pool:
        last = time.perf_counter()
        pool.preload(preload)
        for outcome in several.run(jobs, pool, at_once=1, limits=several.Limits(120, 2048)):
            now = time.perf_counter()
            own = sum(phase["wall_s"] for phase in outcome.record["phases"].values())
            spent.append(now - last - own)
            peaks.append(outcome.record["memory"]["peak_mib"])
            statuses.append(outcome.record["status"])
            last = now
    return {"first_s": spent[0], "later_s": spent[1:], "peak_mib": max(peaks), "statuses": statuses}


def in_new_interpreter(learner: str, n_cells: int) -> dict[str, Any]:
    """``overheads`` without anything loaded before."""
    found: dict[str, Any] = json.loads(command("-m", __name__, learner, str(n_cells))["output"])
    return found


def command(*arguments: str) -> dict[str, Any]:
    """Run Python with these arguments: output, wall and CPU seconds, peak MiB of the largest child so far."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"output": done.stdout, "wall_s": wall, "cpu_s": cpu}


def cells(quick: bool) -> dict[str, Any]:
    """Start-up of the commands, then the overhead of cells."""
    rounds = 1 if quick else 7
    rows = []
    for name, arguments in {
        "python, nothing imported": ("-c", "pass"),
        "python -m bench list": ("-m", "bench", "list"),
        "python -m bench run --help": ("-m", "bench", "run", "--help"),
        "import torch, for comparison": ("-c", "import torch"),
    }.items():
        runs = [command(*arguments) for _ in range(1 if "torch" in name else rounds)]
        rows.append([name, *(statistics.median(run[key] for run in runs) for key in ("wall_s", "cpu_s"))])
    cell_rows = []
    for learner, imports in TRIVIAL.items():
        found = in_new_interpreter(learner, 2 if quick else 8)
        later = statistics.median(found["later_s"])
        cell_rows.append([f"{learner} ({imports})", found["first_s"], later, found["peak_mib"]])
    return {
        "note": "Wall seconds: what matters here is waiting, and a cell's work is in other processes.",
        "tables": [
            {"caption": "", "columns": ["command", "wall s", "CPU s"], "rows": rows},
            {
                "caption": "A cell's wall time beyond loading, fitting, encoding and scoring. The first cell of a run"
                " starts the process that imports what the cells need; all are forked from it.",
                "columns": ["cell", "first, wall s", "each later one, wall s", "peak MiB of its learner"],
                "rows": cell_rows,
            },
        ],
        "curves": [],
    }


if __name__ == "__main__":
    print(json.dumps(overheads(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])))
