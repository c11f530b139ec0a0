"""``python -m bench score``: every metric on codes made elsewhere."""

from __future__ import annotations

import argparse
import json
from typing import Any

from bench.commands.terminal import emit
from bench.errors import EXIT_OK, UsageError, unknown
from bench.registry import discover, load

ARRAYS = ("codes", "z", "codes_test", "z_test", "codes_other", "task", "causal", "causal_found")
ALIASES = {"codes_train": "codes", "z_train": "z"}


def main(options: argparse.Namespace) -> int:
    """Print one table: score, interval, chance level."""
    from bench.scoring import evaluate

    plugins = {info.name: load(info) for info in discover(options.plugin).foreign_metrics()}
    made = evaluate(**_arrays(options.file), full=options.full, plugins=plugins)
    if options.json:
        print(json.dumps(made.rows(), indent=1, allow_nan=False))
    else:
        emit(str(made))
    return EXIT_OK


def _arrays(file: str) -> dict[str, Any]:
    """The file's arrays by the names ``bench.evaluate`` takes; raises UsageError."""
    import numpy as np

    try:
        with np.load(file, allow_pickle=False) as content:
            if not hasattr(content, "files"):
                raise UsageError(f"'{file}' is a single array; save several with numpy.savez(file, codes=…, z=…)")
            arrays = {ALIASES.get(name, name): content[name] for name in content.files}
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"'{file}' is no npz file of plain arrays: {error}") from None
    for name in arrays:
        if name not in ARRAYS:
            raise unknown(f"array in '{file}':", name, [*ARRAYS, *ALIASES])
    if "codes" not in arrays:
        raise UsageError(f"'{file}' has no array codes, only {', '.join(arrays) or 'nothing'}")
    return arrays
