"""``python -m bench reproduce``: every learner on its own paper's setting, against the number it must reach."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench import registry as registry_module
from bench.api import Evidence, PaperSetting
from bench.errors import UsageError, unknown
from bench.registry import BUILTIN_PACKAGES, Registry, guard_package
from bench.report.markdown import DASH, score, seconds, table, text
from bench.report.stamps import stamps
from bench.run.plan import Cell, why_not
from bench.run.spec import RunSpec, derive_seed
from bench.run.store import Record
from bench.statistics.expectations import Scores, Unfinished, broken, compared_with
from bench.statistics.intervals import t_interval

BUDGET, QUICK_BUDGET = "reproduce", "reproduce-quick"
N_SEEDS = 5
HEAD = ["verdict", "learner", "setting", "reference", "ours", "CPU s"]
HEADER = """\
Every learner on the setting of its own paper, over five seeds. *Reference* is the number to reach and where it
comes from; *ours* the held-out score, mean ± 95 % Student t interval and the range over seeds; *CPU s* the seconds
of one of our fits, and in brackets its ratio to one fit of the reference program where that was measured (on another
day, the same kind of machine: read it as an order of magnitude). Where seeds were fitted together in one pass, it is
their share of the pass, and no ratio is given. The verdict follows from the stated expectation alone; where that names
a learner, it is its row on the same data, compared seed by seed: *above* means that the 95 % interval of the
differences lies above 0."""
REPRODUCED = "reproduced"
BESIDE = "shown for comparison"
GROUPS: dict[Evidence, str] = {
    "paper": "a paper's number",
    "program": "a released program's, measured",
    "measured": "the same objective or a simpler method, measured here",
    "aim": "this suite's aim",
}
"""What a reference is, in words; verdicts are counted apart by it, as they are not worth the same."""


@dataclass(frozen=True)
class Trial:
    """A setting with its cells, one a seed."""

    setting: PaperSetting
    cells: Sequence[Cell]


def settings() -> list[PaperSetting]:
    """All settings that the packages beside this one declare in their module ``reproduction``."""
    found: list[PaperSetting] = []
    for package in BUILTIN_PACKAGES:
        guard_package(package)
        if importlib.util.find_spec(f"{package}.reproduction"):
            found += importlib.import_module(f"{package}.reproduction").SETTINGS
    return found


def trials(
    chosen: Iterable[PaperSetting], found: Registry, *, device: str, quick: bool, n_seeds: int = N_SEEDS
) -> list[Trial]:
    """The cells of the settings; with ``quick`` at the settings' small sizes."""
    return [
        Trial(setting, [_cell(setting, found, seed, device=device, quick=quick) for seed in range(n_seeds)])
        for setting in chosen
    ]


def select(learner: str | None) -> list[PaperSetting]:
    """All settings, or those of one learner with those they are compared with; raises UsageError if it has none."""
    every = settings()
    if learner is None:
        return every
    chosen = [setting for setting in every if setting.learner == learner]
    if not chosen:
        raise unknown("learner with a paper setting:", learner, {setting.learner for setting in every})
    needed = {_ground(setting, name) for setting in chosen for name in compared_with(setting.expect)}
    return [setting for setting in every if setting in chosen or _ground(setting, setting.learner) in needed]


def verdict(
    setting: PaperSetting, values: Sequence[float], *, complete: bool, others: Mapping[str, Scores] | None = None
) -> str:
    """ "reproduced", or the first expectation that does not hold; raises UsageError for one that cannot be read.

    Where nothing is expected nothing is reproduced either: "shown for comparison".

    others   scores of the learners that the expectations name, on the same data
    """
    if not setting.expect:
        return BESIDE
    if not complete:
        return "not reproduced: some seeds have no score"
    try:
        wrong = broken(setting.expect, values, others or {}, setting.title)
    except Unfinished as unfinished:
        return f"not judged: {unfinished}"
    return f"not reproduced: {wrong}" if wrong else REPRODUCED


def markdown(made: Iterable[tuple[Trial, Sequence[Record | None]]], *, quick: bool) -> str:
    """The reproduction table from the trials and their records."""
    made = list(made)
    scores: dict[str, Scores] = {}
    for trial, records in made:  # a learner's first row on some data is the one that others are compared with
        scores.setdefault(_ground(trial.setting, trial.setting.learner), _scores(trial.setting, records))
    rows: list[tuple[PaperSetting, list[str]]] = []
    for trial, records in made:
        places = {name: _ground(trial.setting, name) for name in compared_with(trial.setting.expect)}
        others = {name: scores[place] for name, place in places.items() if place in scores}
        rows.append((trial.setting, _row(trial.setting, records, others, quick=quick)))
    finished = [record for _, records in made for record in records if record and record["status"] == "ok"]
    lines = ["**Quick run: small sizes, nothing is judged.**"] if quick else _summary(rows)
    parts = ["# Reproduction", "\n".join(f"- {line}" for line in lines)]
    for title, members in _sections(rows):
        parts += [f"## {title}", table(HEAD, members, numeric_from=len(HEAD))]
    return "\n\n".join([*parts, "## How to read", HEADER, "\n".join(f"- {line}" for line in stamps(finished))]) + "\n"


def _sections(rows: Sequence[tuple[PaperSetting, list[str]]]) -> list[tuple[str, list[list[str]]]]:
    """(title, rows): what is not reproduced first, then by what the reference is, then the rows that stand beside."""
    sections: dict[str, list[list[str]]] = {"Not reproduced, not finished or failed": []}
    sections |= {f"Reproduced: {words}": [] for words in GROUPS.values()}
    sections |= {"Not judged": [], "Shown for comparison": []}
    for setting, row in rows:
        title = "Not reproduced, not finished or failed"
        if row[0] == REPRODUCED:
            title = f"Reproduced: {GROUPS[setting.evidence]}"
        elif row[0] in (BESIDE, "not judged"):
            title = "Shown for comparison" if row[0] == BESIDE else "Not judged"
        sections[title].append(row)
    return [(title, members) for title, members in sections.items() if members]


def _cell(setting: PaperSetting, found: Registry, seed: int, *, device: str, quick: bool) -> Cell:
    learner, dataset = found.learner(setting.learner), found.dataset(setting.dataset)
    small = setting.quick if quick else {}
    params = [
        registry_module.parameters(learner)
        | dict(learner.by_kind.get(dataset.kind, {}))
        | dict(setting.learner_params)
        | dict(small.get("learner", {})),
        registry_module.parameters(dataset) | dict(setting.dataset_params) | dict(small.get("dataset", {})),
    ]
    for info, values in zip((learner, dataset), params, strict=True):
        wrong = sorted(set(values) - set(registry_module.parameters(info)))
        if wrong:
            raise UsageError(f"setting '{setting.title}' sets '{wrong[0]}', which is no parameter of {info.name}")
    spec = RunSpec(
        learner=learner.name,
        dataset=dataset.name,
        repetition=seed,
        data_seed=derive_seed("data", dataset.name, 0 if setting.fixed_data else seed),
        model_seed=derive_seed("model", learner.name, dataset.name, seed),
        budget=QUICK_BUDGET if quick else BUDGET,
        device=device,
        learner_version=learner.version_on(dataset.kind),
        dataset_version=dataset.version,
        learner_params=params[0],
        dataset_params=params[1],
    )
    return Cell(spec, why_not(learner, dataset))


def _summary(rows: Sequence[tuple[PaperSetting, list[str]]]) -> list[str]:
    """How many of the settings hold, apart by what their reference is; then the other verdicts."""
    judged = [(setting.evidence, row[0].split(":")[0]) for setting, row in rows if setting.expect]
    lines = []
    for evidence, words in GROUPS.items():
        verdicts = [verdict_ for kind, verdict_ in judged if kind == evidence]
        if verdicts:
            lines.append(
                f"**{verdicts.count(REPRODUCED)} of {len(verdicts)} reproduced** where the reference is {words}"
            )
    beside = sum(not setting.expect for setting, _ in rows)
    others = Counter(words for _, words in judged if words != REPRODUCED)
    lines += [f"{count} {words}" for words, count in others.most_common()]
    return [*lines, *([f"{beside} {BESIDE}"] if beside else [])]


def _small(setting: PaperSetting, records: Sequence[Record | None]) -> str:
    """What a quick run really ran, in words."""
    specs = (record.get("spec", {}) for record in records if record)
    params = next((spec["dataset_params"] for spec in specs if spec), setting.dataset_params)
    return f"{setting.dataset}, small ({', '.join(f'{name}={value}' for name, value in sorted(params.items()))})"


def _ground(setting: PaperSetting, learner: str) -> str:
    """What a learner's scores must have in common with a setting to be compared with it."""
    return json.dumps([learner, setting.dataset, dict(setting.dataset_params), setting.metric], sort_keys=True)


def _scores(setting: PaperSetting, records: Sequence[Record | None]) -> list[float | None]:
    """The setting's metric, one a seed; None where a seed has no score."""
    found = [
        (record["metrics"].get(setting.metric) if record and record["status"] == "ok" else None) for record in records
    ]
    return [score["value"] if score else None for score in found]


def _row(
    setting: PaperSetting, records: Sequence[Record | None], others: Mapping[str, Scores], *, quick: bool
) -> list[str]:
    values = [value for value in _scores(setting, records) if value is not None]
    expected = f"<br>expected: {text('; '.join(setting.expect))}" if setting.expect else ""
    row = [text(setting.learner), f"{text(setting.title)}<br>{text(setting.metric)}{expected}"]
    row.append(f"{text(setting.reference)} ({text(setting.source)})")
    if quick:  # the setting's words and numbers are about its own size, not about this one
        row = [text(setting.learner), f"{text(_small(setting, records))}<br>{text(setting.metric)}", DASH]
    if not values:
        failed = next((_failure(record) for record in records if record and record["status"] != "ok"), "not run")
        return [text(failed), *row, DASH, DASH]
    judged = "not judged"
    if None in records and not quick:
        judged = f"not finished: {len(records) - list(records).count(None)} of {len(records)} seeds run"
    elif not quick:
        judged = verdict(setting, values, complete=len(values) == len(records), others=others)
    span = f"{score(t_interval(values))}<br>{min(values):.3f} to {max(values):.3f}, n={len(values)}"
    return [judged, *row, span, _cpu(setting, records, quick=quick)]


def _failure(record: Record) -> str:
    """Why a cell has no score; of data that are not here the command that gets them, as paths make tables wide."""
    _, found, command = record["reason"].rpartition("get it with: ")
    return f"the data are not here: {command}" if found else f"{record['status']}: {record['reason']}"


def _cpu(setting: PaperSetting, records: Sequence[Record | None], *, quick: bool) -> str:
    """Mean CPU seconds of a fit; set against the reference's where both are of fits by themselves."""
    done = [record for record in records if record and record["status"] == "ok"]
    times = [record["phases"]["fit"]["cpu_s"] for record in done]
    together = max(record.get("fitted_together", 1) for record in done)
    cpu = sum(times) / len(times)
    if together > 1:
        return f"{seconds(cpu)}<br>share of {together} fits"
    ratio = f" ({cpu / setting.reference_cpu_s:.2g}×)" if setting.reference_cpu_s and not quick else ""
    return seconds(cpu) + ratio
