"""Is a record one? Its parts have the types that everything which reads records relies on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.run.spec import NUMBER, of_kind, wrong_in_spec

STATUSES = ("ok", "skipped", "failed", "diverged", "timeout", "oom", "killed")
PARTS: dict[str, type] = {"phases": dict, "memory": dict, "provenance": dict, "metrics": dict, "data": dict}
PARTS |= {"metric_versions": dict, "history": dict}


def wrong_in_record(record: Any) -> str:
    """What is wrong with a record, in words; "" for a good one."""
    if not isinstance(record, Mapping):
        return "it is no object"
    wrong = wrong_in_spec(record.get("spec"))
    if wrong:
        return wrong
    if record.get("status") not in STATUSES:
        return f"its status is {str(record.get('status'))[:40]!r}"
    if not isinstance(record.get("reason", ""), str):
        return "its reason is no text"
    for name, kind in PARTS.items():
        if not isinstance(record.get(name, kind()), kind):
            return f"its {name} are no object"
    for name, phase in record.get("phases", {}).items():
        if not isinstance(phase, Mapping) or not all(of_kind(phase.get(key), NUMBER) for key in ("wall_s", "cpu_s")):
            return f"its phase '{name[:40]}' has no times"
    for name, value in record.get("memory", {}).items():
        if not of_kind(value, NUMBER):
            return f"its memory '{name[:40]}' is no number"
    for name, score in record.get("metrics", {}).items():
        if not isinstance(score, Mapping) or not isinstance(score.get("reason", ""), str):
            return f"its metric '{name[:40]}' is no score"
        if not all(score.get(key) is None or of_kind(score[key], NUMBER) for key in ("value", "chance", "ceiling")):
            return f"its metric '{name[:40]}' has a value that is no number"
        if not isinstance(score.get("extra", {}), Mapping):
            return f"its metric '{name[:40]}' has extras that are no object"
    return ""
