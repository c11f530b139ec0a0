"""No plugin can hang, crash or falsify a run, and nothing of it is left when the run has ended."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.run.provenance import usable_cores
from tests.conftest import ROOT, Run
from tests.end_to_end import matrix
from tests.end_to_end.kill_loop import alive, rounds
from tests.end_to_end.matrix import HOSTILE, TOY, records


def gone(folder: Path, within_s: float = 30.0) -> bool:
    deadline = time.monotonic() + within_s
    while alive(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary folder for a run, with a short name; empty at the end, and nobody works in it."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    yield folder
    assert gone(folder), alive(folder)
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_every_learner_of_the_matrix_costs_its_own_cell(bench: Run, tmp_path: Path, scratch: Path) -> None:
    out = tmp_path / "r"
    done = bench(*matrix.command(out), "--jobs", 2, environment={"TMPDIR": str(scratch)})
    assert alive(scratch) == []  # the run has waited for all of them
    assert "Traceback" not in done.stderr + done.stdout
    assert len(matrix.EXPECTED) >= 25
    assert matrix.deviations(out) == {}
    assert json.loads((out / "store.json").read_text())["format"] == 1
    assert done.returncode == 1
    made = records(out)
    assert made["bad-numpy-count"]["n_parameters"] == 7
    assert made["bad-words"]["history"] == {"half": "\\ud800", "colour": "red", "\\udfff": 1}
    assert made["bad-pool"]["history"] == {"rows": 60}
    assert len(made["bad-shouts"]["log"]) < 2**16


def test_shared_generators_differ_from_cell_to_cell(bench: Run, tmp_path: Path, scratch: Path) -> None:
    done = bench(
        *("run", "--learners", "bad-dice", "--datasets", "toy", "--budget", "smoke", "--seeds", "0-2", "--out", "r"),
        *("--plugin", TOY, "--plugin", HOSTILE),
        environment={"TMPDIR": str(scratch)},
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(path.read_text())["history"] for path in (tmp_path / "r" / "runs").glob("*.json")]
    assert len({history["numpy"] for history in found}) == len({history["python"] for history in found}) == 3


def start(
    tmp_path: Path, scratch: Path, *learners: str, root: Path = ROOT, jobs: int | None = None
) -> subprocess.Popen[str]:
    """A run of these learners, going."""
    command = [sys.executable, "-m", "bench", "run", "--learners", ",".join(learners), "--datasets", "toy"]
    command += ["--budget", "smoke", "--seeds", "0", "--plugin", str(TOY), "--plugin", str(HOSTILE), "--out", "r"]
    return subprocess.Popen(
        [*command, "--timeout", "500", "--jobs", str(jobs or len(learners))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_every_signal,
    )


def hears_every_signal() -> None:
    """As from a terminal: what `nohup` ignores would be ignored by the run as well."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def cells_under_way(scratch: Path) -> int:
    return len(list(scratch.glob("bench-*/c*")))


def wait_for(condition: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_killed_leaves_nothing(tmp_path: Path, scratch: Path, number: int) -> None:
    """Whatever ends the run ends its cells, and the children of its learners; no file is left.

    ``kill_loop`` counts what is left after a second; here a busy machine may take longer.
    """
    process = start(tmp_path, scratch, "bad-family-eats", "toy-hangs")
    wait_for(lambda: cells_under_way(scratch) == 2)
    # the run, the zygote, and for each cell a supervisor, a scorer and a learner: those that are counted afterwards
    wait_for(lambda: len(alive(scratch)) >= 8)
    assert len(alive(scratch.parent / "another")) == 0
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert gone(scratch), alive(scratch)
    assert "Traceback" not in stdout + stderr
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "the same command resumes where it stopped" in stderr


def test_kills_at_any_moment_cost_nothing_that_was_done() -> None:
    found = rounds(4, seed=1)
    assert found["processes for good"] == found["entries for good"] == 0, found
    assert found["records as without kills"], found


def test_a_cell_whose_supervisor_is_killed_is_recorded(tmp_path: Path, scratch: Path) -> None:
    process = start(tmp_path, scratch, "toy-hangs")
    wait_for(lambda: cells_under_way(scratch) == 1)
    (zygote,) = psutil.Process(process.pid).children()
    (supervisor,) = zygote.children()
    supervisor.kill()
    process.communicate(timeout=60)
    assert records(tmp_path / "r")["toy-hangs"]["reason"] == "the process that watches the cell was ended from outside"


def test_an_end_that_comes_while_a_process_forks_is_heard() -> None:
    """Python swallows what a signal's handler raises in the middle of a fork."""
    code = (
        "import os, signal, sys, time\n"
        "from bench.run.executors.supervisor import fork\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))\n"
        "os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "fork(lambda: None, 2, set())\n"
        "time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (7, "")


def test_codes_are_kept_whatever_folder_a_learner_works_in(bench: Run, tmp_path: Path) -> None:
    command = ("run", "--learners", "bad-wanders", "--datasets", "toy", "--budget", "smoke", "--seeds", "0")
    assert bench(*command, "--plugin", TOY, "--plugin", HOSTILE, "--out", "r", "--keep-codes").returncode == 0
    assert len(list((tmp_path / "r" / "codes").glob("*.npz"))) == 1


def test_a_temporary_folder_with_a_long_name_does_not_matter(bench: Run, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    done = bench(
        *("run", "--learners", "bad-pool", "--datasets", "toy", "--budget", "smoke", "--seeds", "0", "--out", "r"),
        *("--plugin", TOY, "--plugin", HOSTILE),
        environment={"TMPDIR": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("module", ["random", "json", "socket"])
def test_a_file_in_the_working_folder_does_not_replace_the_standard_library(
    bench: Run, tmp_path: Path, module: str
) -> None:
    (tmp_path / f"{module}.py").write_text("raise SystemExit('shadowed')\n")
    done = bench("run", "--learners", "raw", "--datasets", "linear-causal", "--budget", "smoke", "--out", "r")
    assert done.returncode == 0, done.stderr


def checkout(folder: Path) -> Path:
    """A copy of the code under version control, all of it committed."""
    copy = folder / "copy"
    for package in ("bench", "datasets", "mtlcm", "baselines"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", str(copy), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    return copy


def test_records_name_the_code_that_ran(bench: Run, tmp_path: Path) -> None:
    """A clean checkout is clean; a file nobody added, a plugin's content and an edit in mid-run are in the record."""
    copy = checkout(tmp_path)
    command = ("run", "--learners", "toy-copy", "--datasets", "toy", "--budget", "smoke", "--seeds", "0")
    command += ("--plugin", str(TOY))
    here = {"PYTHONPATH": str(copy)}

    def provenance(out: str, name: str = "toy-copy") -> dict[str, Any]:
        found: dict[str, Any] = records(tmp_path / out)[name]["provenance"]
        return found

    assert bench(*command, "--out", "clean", environment=here).returncode == 0
    clean = provenance("clean")
    assert clean["git_dirty"] is False
    assert len(clean["code_sha256"]) == 64
    assert clean["plugins"]["toy-copy"]["origin"] == str(TOY)
    assert clean["plugins"]["toy-copy"]["sha256"] == hashlib.sha256(TOY.read_bytes()).hexdigest()

    process = start(tmp_path, Path(tempfile.gettempdir()), "toy-copy", "toy-slow", root=copy, jobs=1)
    wait_for(lambda: (tmp_path / "r").exists() and "toy-copy" in records(tmp_path / "r"))
    (copy / "baselines" / "__init__.py").write_text("# edited\n")
    process.communicate(timeout=60)
    assert provenance("r", "toy-copy")["git_dirty"] is False
    edited = provenance("r", "toy-slow")
    assert edited["git_dirty"] is True
    assert edited["edited_while_running"] == ["baselines/__init__.py"]
    assert edited["code_sha256"] == clean["code_sha256"]

    subprocess.run(["git", "-C", str(copy), "checkout", "-q", "."], check=True)
    (copy / "baselines" / "new.py").write_text("# nobody has added this\n")
    assert bench(*command, "--out", "untracked", environment=here).returncode == 0
    assert provenance("untracked")["git_dirty"] is True
    assert provenance("untracked")["code_sha256"] != clean["code_sha256"]


def test_what_a_plugin_changes_at_its_import_stays_with_it(bench: Run, tmp_path: Path) -> None:
    """A plugin that sets torch's default type, or replaces a metric, when it is imported changes no other cell."""
    (tmp_path / "mean.py").write_text(
        "import torch\nimport bench.metrics.evaluate\nfrom bench.api import learner\n"
        "torch.set_default_dtype(torch.float64)\nbench.metrics.evaluate.evaluate = lambda *a, **k: {}\n"
        "@learner('mean', guarantee='none', paper='none')\nclass Mean:\n"
        "    def __init__(self, *, scale: float = 1.0): ...\n"
        "    def fit(self, view, *, seed, device, progress): return self\n"
        "    def encode(self, x, aux=None): return x.astype(float)\n"
    )
    command = ("run", "--datasets", "linear-causal", "--budget", "smoke", "--seeds", "0", "--plugin", "mean.py")
    assert bench(*command, "--learners", "mean,ivae", "--out", "both").returncode == 0
    assert bench(*command, "--learners", "ivae", "--out", "alone").returncode == 0
    both, alone = records(tmp_path / "both"), records(tmp_path / "alone")
    assert both["ivae"]["metrics"] == alone["ivae"]["metrics"]
    assert both["mean"]["metrics"]["mcc"]["value"] is not None


def test_cores_are_those_the_scheduler_gives() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
