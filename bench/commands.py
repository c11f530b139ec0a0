"""The commands behind the command line; each returns an exit code."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry as registry_module
from bench.cli import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from bench.errors import UsageError
from bench.registry import Registry, discover

if TYPE_CHECKING:
    from bench.plan import Cell
    from bench.spec import RunSpec
    from bench.store import Store

DEFAULT_SEEDS = {"smoke": "0", "standard": "0-2", "paper": "0-4"}
TIMEOUT_S = {"smoke": 120.0, "standard": 900.0, "paper": 6 * 3600.0}


def run_command(options: argparse.Namespace) -> int:
    """Run what is selected and not done yet; every cell ends in a record."""
    if not options.all and not (options.learners or options.datasets):
        raise UsageError("nothing selected: give --all, or --learners and/or --datasets")
    from bench.plan import Selection, parse_seeds, plan
    from bench.store import Store

    found = discover(options.plugin)
    _warn_of_broken(found)
    seeds = options.seeds or DEFAULT_SEEDS.get(options.budget, "0")
    selection = Selection(
        learners=options.learners or (),
        datasets=options.datasets or (),
        repetitions=parse_seeds(seeds),
        budget=options.budget,
        device=_device(options.device),
        data_seed=options.data_seed,
        settings=options.settings,
    )
    cells = plan(selection, found)
    store = Store(options.out, create=True)
    interrupted = _execute(options, cells, store, found)
    return _closing_words(cells, store, options.out, interrupted=interrupted)


def _execute(options: argparse.Namespace, cells: Sequence[Cell], store: Store, found: Registry) -> bool:
    """Bring every cell to a record, running what is not done; True if interrupted."""
    store.put_plan((cell.spec.key, asdict(cell.spec)) for cell in cells)
    todo = _still_to_do(cells, store, fresh=options.fresh)
    for cell in cells:
        if cell.skip:
            store.put(cell.spec.key, _skipped(cell))
    _announce(cells, todo)
    return bool(todo) and _run_cells(options, todo, store, found)


def reproduce_command(options: argparse.Namespace) -> int:
    """Run the paper settings, write and print the reproduction table."""
    from bench import reproduce
    from bench.store import Store, write_records, write_text

    found = discover(options.plugin)
    chosen = reproduce.select(options.learner)
    if not chosen:
        raise UsageError("no learner here declares a paper setting")
    trials = reproduce.trials(chosen, found, device=_device(options.device), quick=options.quick)
    cells = [cell for trial in trials for cell in trial.cells]
    store = Store(options.out, create=True)
    interrupted = _execute(options, cells, store, found)
    made = [(trial, [store.get(cell.spec.key) for cell in trial.cells]) for trial in trials]
    text = reproduce.markdown(made, quick=options.quick)
    print(text)
    if options.learner is None:
        from bench.report.leaderboard import slim

        name = "reproduction-quick" if options.quick else "reproduction"
        write_text(Path(options.to) / f"{name}.md", text)
        # settings that differ in the score alone share their cells
        kept = {cell.spec.key: record for cell in cells if (record := store.get(cell.spec.key))}
        write_records(Path(options.to) / f"{name}.jsonl", [slim(record) for record in kept.values()])
    return _closing_words(cells, store, options.out, interrupted=interrupted)


def _run_cells(options: argparse.Namespace, todo: Sequence[Cell], store: Store, found: Registry) -> bool:
    from bench.display import Display
    from bench.executors import local

    specs = [cell.spec for cell in todo]
    jobs = options.jobs or (1 if specs[0].device == "cuda" else max(1, (os.cpu_count() or 1) // options.threads))
    limits = local.Limits(options.timeout or TIMEOUT_S[options.budget], options.memory_limit)
    origins = {found.learners[spec.learner].origin for spec in specs} | {
        found.datasets[spec.dataset].origin for spec in specs
    }
    preload = ["bench.cell", "bench.metrics.evaluate", *sorted(name for name in origins if not name.endswith(".py"))]
    with Display(len(specs), jobs) as display:
        outcomes = local.run(
            _fitted_together(specs, found) if options.share else [[spec] for spec in specs],
            store,
            jobs=jobs,
            limits=limits,
            threads=options.threads,
            plugin_files=[str(Path(file).resolve()) for file in options.plugin],
            preload=preload,
            on_change=display.show,
        )
        try:
            for spec, record in outcomes:
                display.done(spec, record)
        except KeyboardInterrupt:
            outcomes.close()  # type: ignore[attr-defined]
            return True
    return False


def _fitted_together(specs: Sequence[RunSpec], found: Registry) -> list[list[RunSpec]]:
    """Cells that differ in the model seed alone, for learners that fit many seeds in one pass; others by themselves."""
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        many = hasattr(registry_module.load(found.learners[spec.learner]), "fit_many")
        same = replace(spec, repetition=0, model_seed=0)
        groups.setdefault(same.key if many else spec.key, []).append(spec)
    return list(groups.values())


def _still_to_do(cells: Iterable[Cell], store: Store, *, fresh: bool) -> list[Cell]:
    def done(cell: Cell) -> bool:
        record = store.get(cell.spec.key)
        return record is not None and record["status"] == "ok"

    # two paper settings may share a cell: it is run once
    unique = {cell.spec.key: cell for cell in cells}.values()
    return [cell for cell in unique if not cell.skip and (fresh or not done(cell))]


def _skipped(cell: Cell) -> dict[str, Any]:
    from bench import provenance

    return {
        "spec": asdict(cell.spec),
        "status": "skipped",
        "reason": cell.skip,
        "phases": {},
        "memory": {},
        "provenance": provenance.stamp("cpu", 1),
    }


def _announce(cells: Sequence[Cell], todo: Sequence[Cell]) -> None:
    skipped: dict[str, int] = Counter(cell.skip for cell in cells if cell.skip)
    total = len({cell.spec.key for cell in cells})
    done = total - len(todo) - sum(skipped.values())
    print(f"{total} cells: {len(todo)} to run, {done} done before, {sum(skipped.values())} do not apply")
    for reason, count in sorted(skipped.items()):
        print(f"  {count} skipped: {reason}")
    sys.stdout.flush()


def _closing_words(cells: Sequence[Cell], store: Store, out: str, *, interrupted: bool) -> int:
    records = [store.get(key) for key in dict.fromkeys(cell.spec.key for cell in cells)]
    counts = Counter(record["status"] if record else "not run" for record in records)
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) + f"; records in {out}/runs")
    if interrupted:
        print("interrupted; the same command resumes where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    if set(counts) - {"ok", "skipped"}:
        print(f"some cells failed: python -m bench status --out {out}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK


def _device(wanted: str) -> str:
    if wanted == "cpu":
        return "cpu"
    # torch takes seconds to import: only ask it where a driver is installed
    has_driver = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()
    if wanted == "auto" and not has_driver:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu or install a CUDA build")
    return "cpu"


def _warn_of_broken(found: Registry) -> None:
    for where, reason in found.broken.items():
        print(f"warning: {where} is left out: {reason}", file=sys.stderr)


def list_command(options: argparse.Namespace) -> int:
    """Print learners, datasets and metrics; imports none of them."""
    found = discover(options.plugin)
    learners = [
        asdict(info) | {"missing": registry_module.missing_requirements(info)} for info in found.learners.values()
    ]
    absent = _absent_sources()
    datasets = [
        asdict(info) | {"missing": registry_module.missing_requirements(info), "fetch": absent.get(info.source, "")}
        for info in found.datasets.values()
    ]
    metrics = [asdict(info) for info in found.metrics.values()]
    if options.json:
        print(
            json.dumps(
                {"learners": learners, "datasets": datasets, "metrics": metrics, "broken": found.broken}, indent=1
            )
        )
        return EXIT_OK
    order = sorted(learners, key=lambda row: bool(row["reference"]))
    print("Learners (identified up to; needs)")
    _print_rows(
        [
            (
                row["name"],
                "reference" if row["reference"] else row["guarantee"],
                ", ".join(row["needs"]).replace("|", " or ") or "inputs only",
                _with_missing(row),
            )
            for row in order
        ]
    )
    print("\nDatasets (truth; has)")
    _print_rows(
        [
            (
                row["name"],
                "latents known" if row["truth"] else "latents unknown",
                ", ".join(row["provides"]) or "inputs only",
                _with_missing(row),
            )
            for row in datasets
        ]
    )
    print("\nMetrics (perfect where identified up to; range)")
    _print_rows([(row["name"], row["tests"], row["range"], row["summary"]) for row in metrics])
    _warn_of_broken(found)
    return EXIT_OK


def _with_missing(row: dict[str, Any]) -> str:
    paper = f" [{row['paper']}]" if row["paper"] not in ("", "reference") else ""
    lacks = f" -- missing here: pip install {' '.join(row['missing'])}" if row["missing"] else ""
    fetch = f" -- data is not here: {row['fetch']}" if row.get("fetch") else ""
    return f"{row['summary']}{paper}{lacks}{fetch}"


def _absent_sources() -> dict[str, str]:
    """Names of the data sources that are not on this machine, with the command that mends it."""
    from bench.data import list_sources

    return {row["name"]: f"python -m bench data fetch {row['name']}" for row in list_sources() if not row["found"]}


def _print_rows(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    # cut at the terminal's edge; a pipe gets whole lines
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    for row in rows:
        line = "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + "  " + row[3]
        print(line if len(line) <= limit else line[: limit - 1] + "…")


def status_command(options: argparse.Namespace) -> int:
    """Print how many planned cells are done, and why the others are not."""
    from bench.store import Store

    store = Store(options.out)
    plan = store.plan()
    records = {key: store.get(key) for key in plan}
    counts = Counter(record["status"] if record else "not run" for record in records.values())
    print(f"{len(plan)} cells planned in {options.out}")
    for status, count in sorted(counts.items()):
        print(f"  {status:<9} {count}")
    reasons: dict[tuple[str, str], list[str]] = {}
    for key, record in records.items():
        if record and record["status"] != "ok":
            spec = plan[key]
            cell = f"{spec['dataset']} · {spec['learner']}"
            names = reasons.setdefault((record["status"], record["reason"]), [])
            if cell not in names:
                names.append(cell)
    for (status, reason), names in sorted(reasons.items(), key=lambda item: (item[0][0] == "skipped", item[0])):
        print(f"\n{status}: {reason}")
        for name in names:
            print(f"  {name}")
    return EXIT_FAILED if set(counts) - {"ok", "skipped", "not run"} else EXIT_OK


def report_command(options: argparse.Namespace) -> int:
    """Write the leaderboard; prints the files written."""
    from bench.report import write_leaderboard

    for path in write_leaderboard(options.out, options.to, options.plugin):
        print(path)
    return EXIT_OK


def compare_command(options: argparse.Namespace) -> int:
    """Print two learners side by side on the cells that both have."""
    from bench import compare

    return compare.compare_command(options)


def check_command(options: argparse.Namespace) -> int:
    """Try every learner of the plugin files against the contract."""
    from bench.check import check_learner

    found = discover(options.files)
    origins = {str(Path(file).resolve()) for file in options.files}
    broken = 0
    for info in found.learners.values():
        if (origins and info.origin not in origins) or "truth" in info.needs:
            continue
        print(info.name)
        for finding in check_learner(info):
            detail = f" ({finding.detail})" if finding.detail else ""
            print(f"  {'ok  ' if finding.kept else 'FAIL'} {finding.promise}{detail}")
            broken += not finding.kept
    return EXIT_FAILED if broken else EXIT_OK


def metrics_command(options: argparse.Namespace) -> int:
    """Print the stress table: the answer of every metric, and in brackets what it must be."""
    from bench.metrics.stress import stress_table

    text = stress_table()
    print(text, end="")
    return EXIT_FAILED if "✗" in text else EXIT_OK


def data_command(options: argparse.Namespace) -> int:
    """List, download or verify the files of real datasets."""
    from bench import data
    from bench.api import BadData, NotApplicable

    if options.action == "list":
        for row in data.list_sources():
            facts = [f"{key}: {value}" for key, value in row.items() if key != "name" and value not in ("", None)]
            print("\n  ".join([str(row["name"]), *facts]))
        return EXIT_OK
    names = options.names or [str(row["name"]) for row in data.list_sources()]
    for name in names:
        data.require_known(name)
    code = EXIT_OK
    for name in names:
        try:
            print(_fetch(name) if options.action == "fetch" else data.verify(name))
        except (BadData, NotApplicable, OSError) as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            code = EXIT_FAILED
    return code


def _fetch(name: str) -> str:
    from rich.console import Console
    from rich.progress import Progress

    from bench import data

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=1.0)
        path = data.fetch(name, progress=lambda fraction, message: bar.update(task, completed=fraction))
    return f"{name}: {path}"
