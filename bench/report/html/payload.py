"""What the page's script reads: every cell in short, packed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.facts import FACTORS
from bench.report.rows import Board, headline
from bench.run.store import Record

DIGITS = 6


def packed(payload: Mapping[str, Any]) -> str:
    """JSON, gzipped, as base64: letters that can close no tag. The same payload gives the same text."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), default=str)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=9, mtime=0)).decode()


def cells(made: Sequence[Board], ids: Mapping[int, str], commands: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """{"rows": {id: row}, "cells": [cell], "provenance": [stamp]}; rows name their cells by number.

    ids        {id(row): name in the page}
    commands   {name in the page: command lines}
    """
    found: list[dict[str, Any]] = []
    stamps: list[Any] = []
    rows: dict[str, Any] = {}
    for board in made:
        for row in board.rows:
            records = row.every_record
            numbers = list(range(len(found), len(found) + len(records)))
            found += [_cell(record, stamps) for record in records]
            name = ids[id(row)]
            rows[name] = {
                "name": row.name,
                "board": board.title,
                "budget": board.budget,
                "metric": headline(row, board),
                "theorem": f"{row.theorem.answer}: {row.theorem.why}" if row.theorem.answer else "",
                "cells": numbers,
                "commands": list(commands.get(name, ())),
            }
    return {"rows": rows, "cells": found, "provenance": stamps}


def _cell(record: Record, stamps: list[Any]) -> dict[str, Any]:
    provenance = record.get("provenance", {})
    if provenance not in stamps[-50:]:
        stamps.append(provenance)
    metrics = {name: value for name, value in record.get("metrics", {}).items() if value}
    return {
        "spec": record["spec"],
        "status": record["status"],
        "reason": record["reason"],
        "converged": record.get("converged"),
        "converged_reason": record.get("converged_reason", ""),
        "metrics": {
            name: [_short(value[part]) for part in ("value", "chance", "ceiling")] for name, value in metrics.items()
        },
        "factors": {
            name: [round(score, 3) for score in metrics[name]["extra"]["per_factor"]]
            for name in FACTORS
            if metrics.get(name, {}).get("extra", {}).get("per_factor")
        },
        "cpu_s": {name: _short(phase["cpu_s"]) for name, phase in record.get("phases", {}).items()},
        "wall_s": {name: _short(phase["wall_s"]) for name, phase in record.get("phases", {}).items()},
        "memory": {name: _short(value, 1) for name, value in record.get("memory", {}).items()},
        "n_parameters": record.get("n_parameters"),
        "provenance": next(i for i in reversed(range(len(stamps))) if stamps[i] == provenance),
    }


def _short(value: Any, digits: int = DIGITS) -> Any:
    return round(value, digits) if isinstance(value, float) else value
