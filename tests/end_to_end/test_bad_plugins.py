"""One bad plugin costs itself: it is named at once, and everything else runs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import ROOT, Run

PLUGINS = ROOT / "tests" / "end_to_end" / "plugins"
TOY, BROKEN = PLUGINS / "toy.py", PLUGINS / "broken.py"
LEARNER = "from bench.api import learner\n@learner({arguments})\nclass A:\n    def __init__(self, *, a: int = 1): ...\n"
LEAVES = "'leaves', guarantee='none', paper=''"


def write(tmp_path: Path) -> list[object]:
    """Files that are broken at different moments, as options of the command line."""
    files = {
        "syntax.py": "from bench.api import learner\n@learner(",
        "words.py": LEARNER.format(arguments="'words', guarantee='permutation', paper=''"),
        "crash.py": "import os; os.abort()\n" + LEARNER.format(arguments="'crash', guarantee='none', paper=''"),
        "gone.py": "import no_such_module\n" + LEARNER.format(arguments="'gone', guarantee='none', paper=''"),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    options: list[object] = []
    for file in (*files, TOY, BROKEN):
        options += ["--plugin", file]
    return options


def test_the_others_run(bench: Run, tmp_path: Path) -> None:
    plugins = write(tmp_path)
    learners = "toy-copy,crash,gone,broken-default"
    done = bench(
        *("run", "--learners", learners, "--datasets", "toy", "--budget", "smoke", "--seeds", "0", "--out", "r"),
        *plugins,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for words in (
        "warning: syntax.py is left out: SyntaxError",
        "warning: words.py is left out: ValueError: line 2, @learner: unknown guarantee 'permutation'",
        "warning: 'gone' cannot be used, its cells will fail: ",
        "ModuleNotFoundError: No module named 'no_such_module'",
        "warning: 'crash' cannot be used, its cells will fail: ",
        "parameter 'steps' of 'broken-default' has no default",
    ):
        assert words in done.stderr, done.stderr
    found = [json.loads(path.read_text()) for path in (tmp_path / "r" / "runs").glob("*.json")]
    status = {record["spec"]["learner"]: (record["status"], record["reason"]) for record in found}
    assert status["toy-copy"] == ("ok", "")
    assert status["gone"] == ("failed", "ModuleNotFoundError: No module named 'no_such_module'")
    assert status["crash"] == ("killed", "process ended by SIGABRT")
    assert status["broken-default"][0] == "failed"
    (whole,) = [record for record in found if record["status"] == "ok"]
    assert whole["metrics"]["broken-metric"]["reason"] == "the metric raised KeyError: 'no idea'"
    assert whole["metrics"]["mcc"]["value"] is not None


def test_list_and_check_name_them(bench: Run, tmp_path: Path) -> None:
    listed = bench("list", *write(tmp_path))
    assert listed.returncode == 0
    assert "warning: syntax.py is left out: SyntaxError" in listed.stderr
    assert "warning: words.py is left out: ValueError" in listed.stderr
    assert "toy-copy" in listed.stdout
    checked = bench("check", "words.py", "gone.py")
    assert checked.returncode == 1
    assert "FAIL words.py cannot be read: ValueError: line 2" in checked.stdout
    assert "FAIL learner gone" in checked.stdout


def test_a_plugin_that_ends_the_program_ends_nothing(bench: Run, tmp_path: Path) -> None:
    """A metric that leaves, beside a file that leaves at its import with a word of success: each costs itself."""
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n" + LEARNER.format(arguments=LEAVES))
    (tmp_path / "metric.py").write_text(
        "from bench.metrics.base import metric\n"
        "@metric('leaving', tests='none', range='[0, 1]', paper='none')\n"
        "def leaving(z_train, codes_train, z_test, codes_test):\n    raise SystemExit(0)\n"
    )
    command = ("run", "--learners", "raw,leaves", "--datasets", "linear-causal", "--budget", "smoke", "--out", "r")
    done = bench(*command, "--plugin", "leaves.py", "--plugin", "metric.py")
    assert "Traceback" not in done.stderr
    found = [json.loads(path.read_text()) for path in (tmp_path / "r" / "runs").glob("*.json")]
    records = {record["spec"]["learner"]: record for record in found}
    assert records["leaves"]["status"] == "failed"
    assert records["leaves"]["reason"] == "process ended with exit code 0 and no record"
    assert records["raw"]["status"] == "ok"
    assert records["raw"]["metrics"]["leaving"]["reason"] == "the metric raised SystemExit: 0"
    checked = bench("check", "leaves.py")
    assert checked.returncode == 1
    assert "ended by exit code 0" in checked.stdout


def test_control_characters_are_refused(bench: Run, tmp_path: Path) -> None:
    (tmp_path / "bell.py").write_text(LEARNER.format(arguments=r"'bell', guarantee='none', paper='\x1b[2J'"))
    listed = bench("list", "--plugin", "bell.py")
    assert "\x1b" not in listed.stdout
    assert "has control characters" in listed.stderr
