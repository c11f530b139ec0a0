"""How long a large results folder takes to be looked at.

``python -m tests.benchmarks.store_scale 100000 RECORD.json`` writes that many copies of a record, each for another
seed, and prints JSON: wall seconds and peak MiB of what ``run`` does before the first cell, of ``status``, and of
reading every record as ``report`` does.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = {
    "see what is done": "from bench.run.store import Store; from bench.run.progress import state_of;"
    "store = Store(out); keys = list(store.plan()); versions = json.loads(words);"
    "state = state_of(store, keys, versions); print(len(state.done), file=sys.stderr)",
    "status": "from bench.cli import main; main(['status', '--out', out])",
    "read every record": "from bench.run.store import read_records; print(len(read_records(out)), file=sys.stderr)",
}


def measure(count: int, template: dict[str, Any]) -> dict[str, Any]:
    """Write the folder, then each step in an interpreter of its own."""
    from dataclasses import asdict, replace

    from bench.run.spec import RunSpec
    from bench.run.store import Store

    found: dict[str, Any] = {"records": count}
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "r")
        store = Store(out, create=True)
        base = RunSpec.from_dict(template["spec"])
        start = time.perf_counter()
        planned = []
        for seed in range(count):
            spec = replace(base, repetition=seed, model_seed=seed)
            store.put(spec.key, {**template, "spec": asdict(spec)})
            planned.append((spec.key, asdict(spec)))
        store.put_plan(planned)
        found["write, s"] = round(time.perf_counter() - start, 1)
        for name, code in STEPS.items():
            program = (
                "import json, resource, sys, time; out, words = sys.argv[1:]; start = time.perf_counter();"
                f"{code}; peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024;"
                "print(json.dumps([round(time.perf_counter() - start, 2), round(peak)]))"
            )
            words = json.dumps(template.get("metric_versions", {}))
            done = subprocess.run(
                [sys.executable, "-c", program, out, words], cwd=ROOT, capture_output=True, text=True, check=True
            )
            with contextlib.redirect_stderr(io.StringIO()):
                found[f"{name}, s and MiB"] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())), indent=1))
