"""Records as one flat table, a line a cell: CSV, and parquet where pandas can write it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.run.store import Record

SPEC = ("dataset", "learner", "repetition", "effort", "budget", "data_seed", "model_seed", "device")
PHASES = ("load", "fit", "encode", "score")


def flat(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Every record as {column: value}; scores in a column each, the parameters as JSON."""
    return [_flat(record) for record in records]


def csv_text(records: Sequence[Record]) -> str:
    """The table as CSV with a header. Text that a spreadsheet would take for a formula is quoted by an apostrophe."""
    rows = flat(records)
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def write_parquet(records: Sequence[Record], path: Path) -> bool:
    """Write the table as parquet; False where pandas has no engine for it (pip install pyarrow)."""
    import pandas as pd

    try:
        pd.DataFrame(flat(records)).to_parquet(path, index=False)
    except ImportError:
        return False
    return True


def _flat(record: Record) -> dict[str, Any]:
    spec, phases = record["spec"], record.get("phases", {})
    row: dict[str, Any] = {name: spec.get(name, 1.0 if name == "effort" else None) for name in SPEC}
    row["learner_params"] = json.dumps(spec["learner_params"], sort_keys=True)
    row["dataset_params"] = json.dumps(spec["dataset_params"], sort_keys=True)
    row |= {"status": record["status"], "reason": record["reason"], "converged": record.get("converged")}
    row |= {f"{phase}_cpu_s": phases.get(phase, {}).get("cpu_s") for phase in PHASES}
    row |= {name: record.get("memory", {}).get(name) for name in ("peak_mib", "fit_peak_mib")}
    row["n_parameters"] = record.get("n_parameters")
    row["git_revision"] = record.get("provenance", {}).get("git_revision")
    return row | {name: found["value"] for name, found in sorted(record.get("metrics", {}).items()) if found}


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
