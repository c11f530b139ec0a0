"""Records as tables: one row a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def to_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a record: spec, status, one column a metric, times and memory."""
    import pandas as pd

    return pd.DataFrame(
        {
            **{name: record["spec"][name] for name in ("dataset", "learner", "repetition", "budget", "device")},
            "status": record["status"],
            "reason": record.get("reason", ""),
            **{name: score.get("value") for name, score in record.get("metrics", {}).items()},
            **{f"{name}_cpu_s": phase["cpu_s"] for name, phase in record.get("phases", {}).items()},
            **{f"{name}_wall_s": phase["wall_s"] for name, phase in record.get("phases", {}).items()},
            **record.get("memory", {}),
        }
        for record in records
    )


def flat_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Everything a table can hold: the columns of ``to_frame``, and chance, ceiling and reason of each score, the
    whole spec, parameters as JSON text, the provenance's words. Seeds are text: those of judged runs have 128 bits.
    """
    import json

    import pandas as pd

    rows = []
    for record in records:
        spec = dict(record["spec"])
        row: dict[str, Any] = {name: spec.pop(name) for name in ("dataset", "learner", "repetition")}
        for name, value in sorted(spec.items()):
            simple = isinstance(value, str | float | bool) or (isinstance(value, int) and not name.endswith("_seed"))
            row[name] = value if simple else json.dumps(value, sort_keys=True)
        row |= {"status": record["status"], "reason": record.get("reason", "")}
        row |= {"n_parameters": record.get("n_parameters"), "converged": record.get("converged")}
        for name, score in sorted(record.get("metrics", {}).items()):
            row[name] = score.get("value")
            row |= {f"{name}.{part}": score.get(part) for part in ("chance", "ceiling")}
            row[f"{name}.reason"] = score.get("reason", "")
        for name, phase in record.get("phases", {}).items():
            row |= {f"{name}_cpu_s": phase["cpu_s"], f"{name}_wall_s": phase["wall_s"]}
        row |= {f"memory.{name}": value for name, value in record.get("memory", {}).items()}
        origin = record.get("provenance", {})
        row |= {f"provenance.{name}": value for name, value in origin.items() if isinstance(value, str | bool | int)}
        rows.append(row)
    return pd.DataFrame(rows)
