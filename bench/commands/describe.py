"""``python -m bench list NAME``: all that is known of one learner, dataset or metric."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from bench import registry as registry_module
from bench.api import DatasetInfo, Info, LearnerInfo
from bench.errors import UsageError, unknown
from bench.registry import Registry
from bench.report.markdown import table
from bench.run.plan import why_not


def description(name: str, found: Registry) -> str:
    """Markdown on one plugin; raises UsageError for a name nobody knows."""
    tables: tuple[dict[str, Any], ...] = (found.learners, found.datasets, found.metrics)
    infos = [members[name] for members in tables if name in members]
    if not infos:
        raise unknown("learner, dataset or metric", name, [key for members in tables for key in members])
    return "\n\n".join(_one(info, found) for info in infos)


def _one(info: Info, found: Registry) -> str:
    parts = [f"# {info.name}", info.summary, "\n".join(f"- {fact}" for fact in _facts(info))]
    parameters = _parameters(info)
    if parameters:
        parts += ["## Parameters", parameters]
    if isinstance(info, LearnerInfo):
        parts += ["## Where it applies", _where(info, found)]
    elif isinstance(info, DatasetInfo):
        fits = [learner.name for learner in found.learners.values() if not why_not(learner, info)]
        parts += ["## Learners that apply", ", ".join(fits)]
    return "\n\n".join(part for part in parts if part)


def _facts(info: Info) -> Iterator[str]:
    yield f"paper: {info.paper}"
    if isinstance(info, LearnerInfo):
        yield f"identifies up to: {info.guarantee}" + (" (a reference row)" if info.reference else "")
        yield f"assumes: {info.assumptions or 'nothing stated'}"
        yield f"needs: {', '.join(info.needs).replace('|', ' or ') or 'inputs only'}; takes {', '.join(info.accepts)}"
    elif isinstance(info, DatasetInfo):
        yield f"has: {', '.join(info.provides) or 'inputs only'}; latents {'known' if info.truth else 'unknown'}"
        yield f"inputs: {info.kind}" + (f"; files: python -m bench data fetch {info.source}" if info.source else "")
    else:
        for word in ("tests", "range", "direction", "assumptions"):
            yield f"{word}: {getattr(info, word) or 'nothing stated'}"
    lacking = registry_module.missing_requirements(info)
    if lacking:
        yield f"missing here: pip install {' '.join(lacking)}"
    others = info.versions if isinstance(info, LearnerInfo) else {}
    also = "".join(f" (on {kind} {number})" for kind, number in others.items())
    yield f"version {info.version}{also}, code: {info.origin}"


def _parameters(info: Info) -> str:
    """A row a parameter: default, what each budget makes of it, what it means."""
    if not isinstance(info, LearnerInfo | DatasetInfo) or registry_module.missing_requirements(info):
        return ""
    try:
        defaults = registry_module.parameters(info)
    except ImportError as error:
        raise UsageError(f"'{info.name}' cannot be imported here: {error}") from None
    meanings = meanings_of(registry_module.load(info))
    rows = []
    for name, default in defaults.items():
        kinds = info.by_kind if isinstance(info, LearnerInfo) else {}
        others = [
            f"{word} {values[name]!r}" for word, values in (*kinds.items(), *info.budgets.items()) if name in values
        ]
        rows.append([name, repr(default), ", ".join(others), meanings.get(name, "").replace("``", "")])
    return table(["parameter", "default", "by kind or budget", "meaning"], rows, numeric_from=4) if rows else ""


def meanings_of(plugin: Any) -> dict[str, str]:
    """{parameter: meaning} from the docstrings of a class and its bases, or of a function.

    Read are lines ``name, name   meaning`` and what is indented below them; the nearest class wins.
    """
    found: dict[str, str] = {}
    for home in reversed(inspect.getmro(plugin) if inspect.isclass(plugin) else (plugin,)):
        names: list[str] = []
        for line in inspect.cleandoc(home.__doc__ or "").splitlines():
            start = re.match(r"^(\w+(?:, \w+)*)(?:  +|, and )(\S.*)$", line)
            if start:
                names = start[1].split(", ")
                found |= dict.fromkeys(names, start[2])
            elif names and line.startswith("  "):
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
            else:
                names = []
    return found | {name: text for name, text in _mentioned(plugin).items() if name not in found}


def _mentioned(plugin: Any) -> dict[str, str]:
    """What the text says right after a name in double backquotes: "``flow_steps`` of the flow"."""
    text = " ".join(inspect.cleandoc(plugin.__doc__ or "").split())
    return {name: clause.strip() for name, clause in re.findall(r"``(\w+)`` ([^;.(,`]+)", text)}


def _where(info: LearnerInfo, found: Registry) -> str:
    rows = []
    for data in (data for data in found.datasets.values() if not data.on_request):
        reason = why_not(info, data)
        rows.append([data.name, f"no: {reason}" if reason else "yes"])
    return table(["dataset", "applies"], rows, numeric_from=2)
