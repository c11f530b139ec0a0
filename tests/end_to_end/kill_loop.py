"""Kills a run again and again without a warning, and counts what it leaves: processes, files, records.

``python -m tests.end_to_end.kill_loop 200`` prints JSON; the suite does a few rounds. The moments of the kills are
drawn from a generator, between the start of the run and its end; the same results folder goes through all rounds.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
PLUGINS = ROOT / "tests" / "end_to_end" / "plugins"
LEARNERS = "raw,pca,bad-children,bad-pool,toy-copy,toy-slow"

PATIENCE_S = 30.0
LEFT = ("processes after 1 s", "entries after 1 s", "processes for good", "entries for good")
"""After a second is what is promised of a machine with room; a busy one may take longer, but not for ever."""


def command(out: Path) -> list[str]:
    words = ["run", "--learners", LEARNERS, "--datasets", "toy", "--budget", "smoke", "--seeds", "0", "--jobs", "2"]
    words += ["--plugin", str(PLUGINS / "toy.py"), "--plugin", str(PLUGINS / "hostile.py"), "--out", str(out)]
    return [sys.executable, "-m", "bench", *words]


def alive(scratch: Path) -> list[str]:
    """Command lines of processes of the runs with this temporary folder, their learners' children included.

    Found by the folder's name, which no other run on the machine has: it is in the environment of all of them, and in
    the words of those whose environment may not be read, or who have emptied it.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if str(scratch) in words or str(scratch) in process.environ().get("TMPDIR", ""):
                found.append(words[:2000])
    return found


def scores(out: Path) -> dict[str, Any]:
    found = {}
    for path in sorted((out / "runs").glob("*.json")):
        record = json.loads(path.read_text())
        found[path.name] = (record["status"], record.get("metrics"))
    return found


def rounds(count: int, seed: int = 0) -> dict[str, Any]:
    """Kill ``count`` runs, then let one end; what was left after each kill, and whether the records agree."""
    rng = random.Random(seed)
    counts = dict.fromkeys(("kills", "kills after the end", *LEFT), 0)
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as name:
        folder = Path(name)
        scratch, out, whole = folder / "t", folder / "r", folder / "whole"
        scratch.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
        start = time.monotonic()
        subprocess.run(command(whole), cwd=folder, env=environment, check=True, capture_output=True)
        longest = time.monotonic() - start
        for _ in range(count):
            process = subprocess.Popen(
                [*command(out), "--fresh"],
                cwd=folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                process.wait(timeout=rng.uniform(0.05, 1.0) * longest)
                counts["kills after the end"] += 1
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                counts["kills"] += 1
            process.wait()
            time.sleep(1.0)
            counts["processes after 1 s"] += len(alive(scratch))
            counts["entries after 1 s"] += len(list(scratch.iterdir()))
            give_up = time.monotonic() + PATIENCE_S
            while time.monotonic() < give_up and (alive(scratch) or any(scratch.iterdir())):
                time.sleep(0.1)
            counts["processes for good"] += len(alive(scratch))
            counts["entries for good"] += len(list(scratch.iterdir()))
        subprocess.run(command(out), cwd=folder, env=environment, check=True, capture_output=True)
        return {**counts, "records as without kills": scores(out) == scores(whole), "cells": len(scores(whole))}


if __name__ == "__main__":
    print(json.dumps(rounds(int(sys.argv[1])), indent=1))
