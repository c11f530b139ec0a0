"""The crash matrix: what each clumsy or hostile learner must come to, on this machine and on a node of a cluster.

The learners are those of ``plugins/hostile.py`` and ``plugins/toy.py``; each misbehaves in a way of its own, or does
something unusual that is allowed. Statuses and causes are exact: a prefix is given where the rest names numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.run.executors.confine import landlock_version

PLUGINS = Path(__file__).resolve().parent / "plugins"
TOY, HOSTILE = PLUGINS / "toy.py", PLUGINS / "hostile.py"

HEALTHY = [
    "bad-thread",
    "bad-fork-returns",
    "bad-numpy-count",
    "bad-progress",
    "bad-words",
    "bad-children",
    "bad-pool",
    "bad-vandal",
    "bad-caller",
    "bad-wanders",
    "bad-dice",
    "bad-long",
    "toy-copy",
    "toy-slow",
]
TIMEOUT_S = 60
"""For cells that never end; the others take seconds, on a busy machine tens of them."""
TOO_LONG = f"not done after {TIMEOUT_S} s; allow more with --timeout"
TOO_LARGE = "used more than 1500 MiB; allow more with --memory-limit"
EXPECTED = dict.fromkeys(HEALTHY, ("ok", "")) | {
    "bad-half-message": ("timeout", TOO_LONG),
    "bad-garbage": ("failed", "the learner's process sent a message that says its header has"),
    "bad-huge": ("failed", "the learner's process sent a message whose arrays have more than 1572864000 bytes"),
    "bad-forged": ("failed", "the learner's process sent a message of the type 'record'"),
    "bad-closes": ("failed", "the learner's process closed its connection"),
    "bad-signal": ("killed", "process ended by signal 40"),
    "bad-exits": ("failed", "process ended with exit code 3 and no record"),
    "bad-stops": ("timeout", TOO_LONG),
    "bad-nan-count": ("failed", "bad-nan-count.n_parameters_ is 'nan', not a whole number"),
    "bad-endless": ("failed", "bad-endless.history_ is nested too deep for JSON"),
    "bad-message": ("failed", "Odd: (its message cannot be read)"),
    "bad-family-eats": ("oom", TOO_LARGE),
    "bad-gulp": ("oom", "out of memory: "),
    "bad-shouts": ("failed", "ValueError: hoarse"),
    "bad-masked": ("failed", "bad-masked.encode returned a MaskedArray, not a numpy array (n, d)"),
    "toy-raises": ("failed", "ValueError: no luck today"),
    "toy-shape": ("failed", "toy-shape.encode returned shape (59, 2) for 60 samples, not (60, d)"),
    "toy-list": ("failed", "toy-list.encode returned a list, not a numpy array (n, d)"),
    "toy-nan": ("diverged", "120 of 120 codes are NaN or infinite"),
    "toy-hangs": ("timeout", TOO_LONG),
    "toy-eats": ("oom", TOO_LARGE),
    "toy-dies": ("killed", "process ended by SIGSEGV"),
    "toy-declines": ("skipped", "one task only; needs two"),
    "toy-labels": ("skipped", "needs class labels, which the data has not"),
}
if landlock_version() >= 6:  # below, its signals arrive and it ends the processes that watch it
    EXPECTED["bad-killer"] = ("failed", "PermissionError: ")


def command(out: Path) -> list[object]:
    """The matrix as arguments of the command line."""
    words = ["run", "--learners", "bad-*,toy-*", "--datasets", "toy", "--budget", "smoke", "--seeds", "0"]
    words += ["--plugin", TOY, "--plugin", HOSTILE, "--out", out, "--set", f"bad-vandal.out={out}"]
    return [*words, "--timeout", TIMEOUT_S, "--memory-limit", 1500]


def records(out: Path) -> dict[str, dict[str, Any]]:
    """Records of a folder, by learner."""
    found = [json.loads(path.read_text()) for path in (out / "runs").glob("*.json")]
    return {record["spec"]["learner"]: record for record in found}


def deviations(out: Path) -> dict[str, Any]:
    """Cells that came to something else than the matrix says, or to nothing; empty if all is as it must be."""
    found = {name: (record["status"], record["reason"]) for name, record in records(out).items()}
    wrong: dict[str, Any] = {name: found.get(name, "no record") for name in {*EXPECTED} - {*found}}
    for name, (status, reason) in found.items():
        wanted = EXPECTED.get(name, (status, reason))
        if status != wanted[0] or not reason.startswith(wanted[1]) or (status == "ok" and reason):
            wrong[name] = (status, reason)
    return wrong
