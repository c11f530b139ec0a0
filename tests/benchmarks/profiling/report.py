"""The page of the profile, a pure function of the stored measurements.

``{"sections": {name: section}}``; a section is::

    title, note       text
    tables            [{"caption", "columns": [name], "rows": [[value]]}]
    curves            [{"what", "variable", "fixed", "points": [{"size", "cpu_s", "peak_mib"}]}]
    cpu_s             what measuring it took
    provenance        bench.run.provenance.stamp, and "load": the mean number of running processes in the minute before
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.report.markdown import DASH, folded, table
from tests.benchmarks.profiling.scaling import power_law, sparkline

Section = Mapping[str, Any]

MIN_MEMORY_MIB = 1.0
"""Resident memory is counted in pages by the kernel and in blocks by the allocator: less than this is noise."""

HEAD = """# Profile: time and memory

Generated from `profile.json` by `python -m tests.benchmarks.profiling --to leaderboard/profile.md`; what it means and
what was tried is in [docs/performance.md](../docs/performance.md). Nothing here is asserted by a test but the
ratios, with slack.

- CPU: seconds of all threads of the process, one thread, median over rounds. Wall time where a column says so.
- Load: processes that wanted a core in the minute before. Above the number of cores the machine was shared, caches and
  memory with it, and CPU seconds are higher than on an idle one; ratios suffer less.
- Peak MiB: resident memory at its highest above what was resident before; the input counts where the work makes it.
- Exponents: cost = a · size^b fitted by least squares in logarithms, b ± its standard error over the sizes given."""


def markdown(profile: Mapping[str, Any]) -> str:
    """The whole page."""
    sections: Mapping[str, Section] = profile["sections"]
    parts = [HEAD, "## Measured on", _provenance(sections)]
    for section in sections.values():
        parts += [f"## {section['title']}", section["note"]] if section["note"] else [f"## {section['title']}"]
        for item in section["tables"]:
            parts += [item["caption"], _table(item)] if item["caption"] else [_table(item)]
        if section["curves"]:
            parts += [_curves(section["curves"]), folded("All points of the curves", _points(section["curves"]))]
    return "\n\n".join(parts) + "\n"


def number(value: Any) -> str:
    """Text as it is; whole numbers with separators; others to two significant digits, never as 1e-05."""
    if value is None:
        return DASH
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return DASH
    if value == 0 or abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:.{1 - math.floor(math.log10(abs(value)))}f}"


def _cell(column: str, value: Any) -> str:
    if value is not None and "MiB" in column:
        return f"<{MIN_MEMORY_MIB:g}" if value < MIN_MEMORY_MIB else f"{value:,.0f}"
    if value is not None and "MCC" in column:
        return f"{value:.4f}"
    return number(value)


def _table(item: Mapping[str, Any]) -> str:
    columns = item["columns"]
    rows = [[_cell(name, value) for name, value in zip(columns, row, strict=True)] for row in item["rows"]]
    texts = [all(isinstance(row[i], str) for row in item["rows"]) for i in range(len(columns))]
    return table(columns, rows, numeric_from=texts.index(False) if False in texts else len(columns))


def _provenance(sections: Mapping[str, Section]) -> str:
    """A line for each machine with its software, and below it one for each revision with the sections measured."""
    groups: dict[str, dict[str, list[Section]]] = {}
    for section in sections.values():
        stamp = section["provenance"]
        groups.setdefault(_machine(stamp), {}).setdefault(_revision(stamp), []).append(section)
    lines = []
    for machine, revisions in groups.items():
        lines.append(f"- {machine}")
        lines += [f"  - {revision}{_when(members)}" for revision, members in revisions.items()]
    return "\n".join(lines)


def _machine(stamp: Mapping[str, Any]) -> str:
    machine = stamp["hardware"]
    packages = ", ".join(f"{name} {stamp['packages'][name]}" for name in ("numpy", "scipy", "torch"))
    return (
        f"{machine['class']}, {machine['memory_gib']} GiB, {machine['system']}, device {stamp['device']};"
        f" Python {stamp['python']}, {packages}"
    )


def _revision(stamp: Mapping[str, Any]) -> str:
    return f"revision {stamp['git_revision'][:7]}" + (" with uncommitted changes" if stamp["git_dirty"] else "")


def _when(sections: Sequence[Section]) -> str:
    loads = [section["provenance"]["load"] for section in sections]
    times = sorted({section["provenance"]["finished_utc"][:16].replace("T", " ") for section in sections})
    busy = f"{min(loads):.1f}" + (f" to {max(loads):.1f}" if max(loads) > min(loads) else "")
    spent = sum(section["cpu_s"] for section in sections)
    titles = "; ".join(section["title"] for section in sections)
    return f", {' to '.join(dict.fromkeys((times[0], times[-1])))} UTC, load {busy}, {spent:.0f} CPU s: {titles}"


def _curves(curves: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for curve in curves:
        sizes, cpu, memory = _columns(curve)
        rows.append(
            [
                curve["what"],
                f"{curve['variable']}; {curve['fixed']}" if curve["fixed"] else curve["variable"],
                f"{number(sizes[0])} to {number(sizes[-1])}",
                sparkline(cpu),
                f"{number(cpu[0])} to {number(cpu[-1])}",
                _exponent(sizes, cpu),
                f"{_cell('MiB', memory[0])} to {_cell('MiB', memory[-1])}",
                _exponent(sizes, memory) if min(memory) >= MIN_MEMORY_MIB else DASH,
            ]
        )
    header = ["what", "grows; fixed", "range", "CPU", "CPU s", "exponent", "peak MiB", "exponent of memory"]
    return table(header, rows, numeric_from=4)


def _columns(curve: Mapping[str, Any]) -> tuple[list[Any], list[float], list[float]]:
    points = sorted(curve["points"], key=lambda point: point["size"])
    return [p["size"] for p in points], [p["cpu_s"] for p in points], [p["peak_mib"] for p in points]


def _exponent(sizes: Sequence[float], costs: Sequence[float]) -> str:
    law = power_law(sizes, costs)
    if law is None:
        return DASH
    return f"{law.exponent:.2f}" if law.error is None else f"{law.exponent:.2f} ± {law.error:.2f}"


def _points(curves: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [curve["what"], curve["variable"], number(size), number(cpu), _cell("MiB", memory)]
        for curve in curves
        for size, cpu, memory in zip(*_columns(curve), strict=True)
    ]
    return table(["what", "grows", "size", "CPU s", "peak MiB"], rows, numeric_from=2)
