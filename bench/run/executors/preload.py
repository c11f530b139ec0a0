"""Imported once by the fork server: what all cells need is loaded here and shared with every cell that is forked."""

import contextlib
import importlib
import os

for _name in os.environ.get("BENCH_PRELOAD", "").split(","):
    if _name:
        # a module that cannot be imported fails again in the cell that needs it, and its record says why
        with contextlib.suppress(Exception):
            importlib.import_module(_name)
