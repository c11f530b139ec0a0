"""``python -m bench check``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.api import Info
from bench.commands.terminal import counted
from bench.errors import EXIT_FAILED, EXIT_OK, UsageError, unknown
from bench.registry import METRICS, Registry, discover, missing_requirements
from bench.run.check import Finding
from bench.run.check_process import check_apart, kind_of

MENDS = {
    "can be imported": "import it by hand: python -c 'import MODULE', or python FILE",
    "can be imported, every parameter has a default": "give every constructor parameter a default; list packages that "
    "may be missing in the decorator's requires=(…)",
    "fits small data that has all it needs": "the view has x (360, 8), 12 tasks, 3 latents, aux and labels; say what "
    "it cannot do without in needs=(…), raise NotApplicable only for data that cannot work",
    "fit returns the learner": "end fit with `return self`",
    "gives finite float codes, a row a sample": "encode returns a float array (n, d) of finite numbers",
    "encodes": "encode(x, aux=None) must work on fewer rows than fit saw; aux comes only with aux_at_test=True",
    "same seed, same codes to the bit": "draw everything from numpy.random.default_rng(seed) or a torch.Generator "
    "seeded with it; no time, no set order, no global state",
    "a sample's code does not depend on the samples beside it": "compute means and scales in fit and keep them; switch "
    "batch normalisation to eval in encode",
    "leaves the view as it was": "copy an array before changing it in place: the next learner gets the same one",
    "leaves the global random state alone": "no numpy.random.seed, random.seed or torch.manual_seed: make a generator",
    "leaves its arrays and the global random state alone": "copy before changing in place; make a generator for draws",
    "loads, or says what it lacks": "raise MissingData with the command that mends it, BadData for a wrong file",
    "returns Data": "return bench.api.Data(TrainView(…), EvalView(…), info)",
    "its arrays belong together": "see the fields of TrainView and EvalView in bench/api.py",
    "has what it says it provides": "make provides, truth and kind of the decorator say what the data has",
    "info holds JSON values": "numbers, strings, lists and dicts only",
    "same seed, same data to the bit": "draw everything from numpy.random.default_rng(seed)",
    "another seed, other data": "use the seed",
    "without truth, the held-out samples do not depend on the seed": "choose them by their content or a fixed seed",
    "gives a number for four arrays": "def metric(z_train, codes_train, z_test, codes_test) -> float",
    "same arrays, same number": "draw from numpy.random.default_rng(0), or do not draw",
    "stays in its range": "correct range= in the decorator, or the number",
    "scores the true factors better than noise": "correct direction= in the decorator, or the number",
    "keeps within time and memory": "make its smoke budget smaller (budgets={'smoke': {…}}), or allow more --timeout",
    "leaves its process alive": "something below Python crashed: run it with python -X faulthandler",
}


def main(options: argparse.Namespace) -> int:
    """Try plugins against the contract, each in a process of its own; a line each, the broken promises, one line more.

    Named are files, and learners, datasets and metrics that are installed; without a name all built-in ones are tried.
    """
    files = [name for name in options.names if name.endswith(".py") or Path(name).is_file()]
    found = discover(files)
    chosen = _chosen(options.names, files, found)
    kept = broken = bad = 0
    for where, reason in found.broken.items():
        print(f"FAIL {where} cannot be read: {reason}")
        broken, bad = broken + 1, bad + 1
    for info in chosen:
        lacking = missing_requirements(info)
        if lacking:
            print(f"skip {kind_of(info)} {info.name}: needs {lacking[0]}: pip install {lacking[0]}", flush=True)
            continue
        findings = check_apart(info, files, options.timeout)
        wrong = [finding for finding in findings if not finding.kept]
        kept, broken, bad = kept + len(findings) - len(wrong), broken + len(wrong), bad + bool(wrong)
        _print(info, findings, wrong)
    names = counted(len(chosen), "plugin")
    promises = counted(broken, "promise")
    print(f"{names} checked: {f'{promises} broken by {bad}' if broken else 'all is well'}, {kept:,} kept")
    return EXIT_FAILED if broken else EXIT_OK


def _chosen(names: Sequence[str], files: Sequence[str], found: Registry) -> list[Info]:
    everything: list[Info] = [*found.learners.values(), *found.datasets.values(), *found.metrics.values()]
    ours = [info for info in everything if not _cannot_be_checked(info)]
    if not names:
        return [info for info in ours if not info.origin.endswith(".py")]
    origins = {str(Path(file).resolve()) for file in files}
    chosen = [info for info in ours if info.origin in origins]
    for name in names:
        if name in files:
            continue
        named = [info for info in everything if info.name == name]
        if not named:
            raise unknown("plugin", name, [info.name for info in everything])
        reason = _cannot_be_checked(named[0])
        if reason:
            raise UsageError(f"'{name}' is {reason}")
        chosen += named
    return chosen


def _cannot_be_checked(info: Info) -> str:
    if "truth" in getattr(info, "needs", ()) and kind_of(info) == "learner":
        return "a reference row of the harness, not a plugin"
    if info.origin.startswith(f"{METRICS}."):
        return "a built-in metric: `python -m bench metrics` shows what it answers on known codes"
    return ""


def _print(info: Info, findings: Sequence[Finding], wrong: Sequence[Finding]) -> None:
    name = f"{kind_of(info)} {info.name}"
    if not wrong:
        said = next((finding.detail for finding in findings if finding.detail.startswith("not loaded")), "")
        print(f"ok   {name}: {counted(len(findings), 'promise')} kept{f' ({said})' if said else ''}", flush=True)
        return
    print(f"FAIL {name}: {len(findings) - len(wrong)} of {counted(len(findings), 'promise')} kept")
    for finding in wrong:
        detail = " ".join(finding.detail.split())
        print(f"     broken: {finding.promise}{f' ({detail})' if detail else ''}")
        mend = MENDS.get(finding.promise, "correct tests= in the decorator, or the number: see docs/metrics.md")
        print(f"     mend:   {mend}", flush=True)
