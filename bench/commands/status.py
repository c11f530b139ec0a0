"""``python -m bench status``."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from typing import Any

from bench.commands.terminal import counted, emit
from bench.errors import EXIT_FAILED, EXIT_OK

NAMED = 12
"""So many cells of one reason are named; of more, the rest is counted."""


def main(options: argparse.Namespace) -> int:
    """Print how many planned cells are done, and why the others are not: failures first, what does not apply last."""
    from bench.run.store import Store

    store = Store(options.out)
    plan = store.plan()
    entries = store.entries()
    records = {key: entries.get(key) for key in plan}
    counts = Counter(record.status if record else "not run" for record in records.values())
    lines = [f"{counted(len(plan), 'cell')} planned in {options.out}"]
    lines += [f"- {status}: {count}" for status, count in sorted(counts.items())]
    groups: dict[tuple[str, str], list[str]] = {}
    for key, record in records.items():
        if record is None:
            groups.setdefault(("not run", "python -m bench run with the same options does them"), []).append(key)
        elif record.status != "ok":
            groups.setdefault((record.status, record.reason), []).append(key)
    order = {"not run": 1, "skipped": 2}
    for (status, reason), keys in sorted(groups.items(), key=lambda item: (order.get(item[0][0], 0), item[0])):
        lines += ["", f"{status}: {reason} ({counted(len(keys), 'cell')})"]
        lines += _skips(keys, plan) if status == "skipped" else _names(keys, plan)
    emit("\n".join(lines))
    return EXIT_FAILED if set(counts) - {"ok", "skipped", "not run"} else EXIT_OK


def _names(keys: list[str], plan: Mapping[str, Any]) -> list[str]:
    """One line a learner on a dataset, with its seeds."""
    seeds: dict[str, list[int]] = {}
    for key in keys:
        spec = plan[key]
        seeds.setdefault(f"{spec['dataset']} · {spec['learner']}", []).append(spec["repetition"])
    lines = [f"- {name} · seed {', '.join(map(str, sorted(set(of))))}" for name, of in seeds.items()]
    rest = len(lines) - NAMED
    return lines if rest <= 1 else [*lines[:NAMED], f"- and {rest} more"]


def _skips(keys: list[str], plan: Mapping[str, Any]) -> list[str]:
    """One line a dataset: what does not apply there."""
    learners: dict[str, list[str]] = {}
    for key in keys:
        spec = plan[key]
        names = learners.setdefault(spec["dataset"], [])
        if spec["learner"] not in names:
            names.append(spec["learner"])
    return [f"- {dataset}: {', '.join(names)}" for dataset, names in learners.items()]
