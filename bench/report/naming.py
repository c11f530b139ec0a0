"""Names that tell rows and boards apart: the parameters that differ, and short forms for file names and links."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any


def tell_apart(params: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each set of parameters those that are not the same in all: "d=20, n_tasks=50"; "" where nothing differs."""
    names = list(dict.fromkeys(name for own in params for name in own))
    differing = [name for name in names if len({json.dumps(own.get(name), sort_keys=True) for own in params}) > 1]
    return [", ".join(f"{name}={plain(own[name])}" for name in differing if name in own) for own in params]


def titled(name: str, difference: str) -> str:
    return f"{name} ({difference})" if difference else name


def plain(value: Any) -> str:
    """A parameter's value as ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def slugs(names: Sequence[str]) -> list[str]:
    """A short form of every name, of letters, digits and dashes alone; no two alike."""
    taken: set[str] = set()
    made = []
    for name in names:
        base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "unnamed"
        slug, number = base, 2
        while slug in taken:
            slug, number = f"{base}-{number}", number + 1
        taken.add(slug)
        made.append(slug)
    return made
