"""A plugin's check in a process of its own, with a limit: a plugin that dies or hangs is a finding, not the end.

Run as a module it is that process: ``python -m bench.run.check_process KIND NAME FILE…``; findings go to the file that
the environment variable BENCH_FINDINGS names, one JSON object a line, an empty line when all is checked.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import psutil

from bench.api import DatasetInfo, Info, LearnerInfo
from bench.run.check import Finding

PlugType = Literal["learner", "dataset", "metric"]
FINDINGS = "BENCH_FINDINGS"
MEMORY_MIB = 4096
"""More than the small data of a check can ask for."""

POLL_S = 0.05
ROOT = str(Path(__file__).resolve().parents[2])


def check_apart(info: Info, files: Sequence[str], timeout_s: float) -> list[Finding]:
    """Findings of a plugin, checked in a process of its own that is ended after ``timeout_s`` seconds."""
    with tempfile.TemporaryDirectory(prefix="bench-check-") as scratch:
        findings = Path(scratch) / "findings"
        findings.touch()
        path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, FINDINGS: str(findings), "PYTHONPATH": path}
        command = [sys.executable, "-m", __name__, kind_of(info), info.name, *files]
        log = Path(scratch) / "log"
        with log.open("w") as out:
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
            over = _watch(process, timeout_s)
        lines = findings.read_text().splitlines()
        made = [Finding(**json.loads(line)) for line in lines if line]
        words = log.read_text(errors="replace").strip().splitlines()
    if over:
        made.append(Finding("keeps within time and memory", False, over))
    elif process.returncode or "" not in lines:
        code = process.returncode
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}: {words[-1] if words else ''}"
        made.append(Finding("leaves its process alive", False, f"ended by {name}"))
    return made


def _watch(process: subprocess.Popen[bytes], timeout_s: float) -> str:
    """Wait for the process; ends it beyond its limits, and says so."""
    started, over = time.monotonic(), ""
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            if psutil.Process(process.pid).memory_info().rss > MEMORY_MIB * 2**20:
                over = f"took more than {MEMORY_MIB} MiB"
        if time.monotonic() - started > timeout_s:
            over = f"not done after {timeout_s:g} s"
        if over:
            process.kill()
            process.wait()
            return over
        time.sleep(POLL_S)
    return ""


def kind_of(info: Info) -> PlugType:
    if isinstance(info, LearnerInfo):
        return "learner"
    return "dataset" if isinstance(info, DatasetInfo) else "metric"


def _findings(info: Any) -> Iterator[Finding]:
    if isinstance(info, LearnerInfo):
        from bench.run.check import check_learner

        return check_learner(info)
    if isinstance(info, DatasetInfo):
        from bench.run.check_data import check_dataset

        return check_dataset(info)
    from bench.run.check_metric import check_metric

    return check_metric(info)


def main(arguments: Sequence[str]) -> None:
    """Body of the process: every finding is written as soon as it is made."""
    from bench.registry import discover

    kind, name, *files = arguments
    found = discover(files)
    info = {"learner": found.learners, "dataset": found.datasets, "metric": found.metrics}[kind][name]  # type: ignore[index]
    with open(os.environ[FINDINGS], "a", encoding="utf-8") as out:
        for finding in _findings(info):
            out.write(json.dumps(asdict(finding)) + "\n")
            out.flush()
        out.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])
