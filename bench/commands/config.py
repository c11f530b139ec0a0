"""``--config FILE``: a campaign as a TOML file whose keys are the long options of ``run``.

learners = ["mtlcm", "pca"]
datasets = ["linear-causal"]
seeds = "0-4"
budget = "smoke"
[set]
linear-causal.d = 5
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError, unknown

KEYS = (
    *("all", "learners", "datasets", "seeds", "data-seed", "budget", "set", "sweep", "data", "columns", "latents"),
    *("jobs", "threads", "device", "timeout", "memory-limit", "no-share", "fresh", "out", "plugin", "dry-run"),
    *("executor", "address"),
)
LISTS = ("data", "plugin", "sweep")
"""Options that are given once for each of their values."""


def arguments_of(file: str, given: Sequence[str] = ()) -> list[str]:
    """The file's keys as command-line arguments, after the command's name; raises UsageError for what is none.

    given   the arguments of the command line: a list of theirs takes the place of the file's
    """
    try:
        values = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config '{file}' cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config '{file}' is not valid TOML: {error}") from None
    arguments = [given[0]] if given else []
    for key, value in values.items():
        if key not in KEYS:
            raise unknown(f"key in {file}:", key, KEYS)
        option = f"--{key}"
        if option in given and key in LISTS:
            continue
        if key == "set":
            arguments += [part for name, text in _flat(value) for part in (option, f"{name}={text}")]
        elif isinstance(value, bool):
            arguments += [option] if value else []
        elif isinstance(value, list) and key in LISTS:
            arguments += [part for item in value for part in (option, str(item))]
        elif isinstance(value, list):
            arguments += [option, ",".join(map(str, value))]
        elif isinstance(value, dict):
            raise UsageError(f"--config '{file}': {key} is a table; give a value")
        else:
            arguments += [option, str(value)]
    return arguments


def _flat(table: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(table, dict):
        raise UsageError("[set] in the configuration must be a table: NAME.PARAM = VALUE")
    pairs: list[tuple[str, Any]] = []
    for key, value in table.items():
        name = f"{prefix}{key}"
        pairs += _flat(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return pairs
