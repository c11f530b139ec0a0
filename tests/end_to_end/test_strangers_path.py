"""What a stranger does in the first minutes, through the real command line, from a copy of the tree as it is cloned."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git would clone, nothing else."""
    target = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("needs git, to know what a clone holds")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


@pytest.fixture
def call(checkout: Path) -> Call:
    """Runs a command line in the copy, with this interpreter and nothing of this checkout on its path."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            [sys.executable, "-m", "bench", *arguments],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


def mine(folder: Path, seed: int = 0) -> None:
    """mine.npz with everything, mine.csv with the columns a table has, codes.npz."""
    rng = np.random.default_rng(seed)
    n, tasks, d = 600, 10, 3
    task = rng.integers(tasks, size=n)
    z = rng.laplace(size=(n, d)) * rng.uniform(0.5, 3.0, (tasks, d))[task]
    x = z @ rng.standard_normal((d, 5)) + 0.01 * rng.standard_normal((n, 5))
    y = (z * rng.standard_normal((tasks, d))[task]).sum(axis=1)
    words = np.array([f"assay {t}" for t in task])
    np.savez(folder / "mine.npz", x=x, y=y, task=words, z=z)
    np.savez(folder / "codes.npz", codes=z[:, ::-1] * [2.0, -1.0, 0.5] + 0.1 * rng.standard_normal((n, d)), z=z)
    head = ",".join([*(f"f{i}" for i in range(5)), "target", "assay"])
    rows = [",".join([*map(repr, map(float, x[i])), repr(float(y[i])), words[i]]) for i in range(n)]
    (folder / "mine.csv").write_text("\n".join([head, *rows]) + "\n")


def test_make_run_ends_with_a_table(checkout: Path, call: Call) -> None:
    """What `make run` calls is on the command line; a run on smoke ends with scores, intervals and a winner."""
    made = subprocess.run(["make", "-n", "run"], cwd=checkout, capture_output=True, text=True)
    assert "-m bench run --all" in made.stdout
    done = call(
        *("run", "--learners", "mtlcm,pca,oracle,sparse-shared", "--datasets", "linear-causal", "--budget", "smoke"),
        *("--seeds", "0,1", "--out", "first"),
    )
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert "linear-causal (MCC" in table[0]
    rows = {line.split("|")[1].strip(): line for line in table[2:]}
    assert list(rows) == ["mtlcm", "*oracle*", "*pca*"]
    assert "**" in rows["mtlcm"], "the best learner is marked"
    assert " ± " in rows["mtlcm"]
    assert "skipped 1 of 4 pairs: 1 × needs binary targets" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1500)  # installs everything
def test_make_run_from_nothing(checkout: Path, tmp_path: Path) -> None:
    """The first command of README with no environment there: it sets one up, prints the table, writes the report."""
    run = "--learners mtlcm,pca,oracle --datasets linear-causal --budget smoke --seeds 0,1"
    done = subprocess.run(
        ["make", "run", f"PYTHON={sys.executable}", f"VENV={tmp_path / 'venv'}", f"RUN={run}"],
        cwd=checkout,
        env={key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")},
        capture_output=True,
        text=True,
    )
    if done.returncode and ("No matching distribution" in done.stderr or "ConnectionError" in done.stderr):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| mtlcm" in done.stdout
    assert (checkout / "results" / "report" / "index.html").exists()
    assert (tmp_path / "venv" / "bin" / "python").exists()


def test_own_data_to_scores_without_code(checkout: Path, call: Call) -> None:
    mine(checkout)
    with_z = call("run", "--data", "mine.npz", "--learners", "mtlcm,rrr", "--budget", "smoke", "--out", "own")
    assert "mine.npz, 600 rows (MCC)" in with_z.stdout
    table = ("--columns", "x=f* y=target task=assay", "--latents", "3", "--seeds", "0-1", "--budget", "smoke")
    without = call("run", "--data", "mine.csv", *table, "--learners", "rrr", "--out", "own2")
    assert "mine.csv, 600 rows (consistency, strong)" in without.stdout
    again = call("run", "--data", "mine.npz", "--learners", "mtlcm,rrr", "--budget", "smoke", "--out", "own")
    assert "2 cells: 0 to run, 2 done before" in again.stdout
    scored = call("score", "codes.npz")
    (row,) = [line for line in scored.stdout.splitlines() if line.startswith("| mcc ")]
    assert 0.9 < float(row.split("|")[2]) <= 1.0
    assert " to " in row


def test_own_learner_beside_the_published_ones(checkout: Path, call: Call) -> None:
    """Four commands, all in the README: new, check, run, show."""
    call("new", "learner", "my-learner")
    checked = call("check", "my_learner.py")
    assert checked.stdout.splitlines()[-1] == "1 plugin checked: all is well, 8 kept"
    call("run", "--learners", "my-learner", "--datasets", "linear-causal", "--plugin", "my_learner.py", "--seeds", "0")
    shown = call("show", "--with", "published", "--plugin", "my_learner.py")
    rows = {line.split("|")[1].strip(): line for line in shown.stdout.splitlines() if line.startswith("|")}
    assert "°" in rows["mtlcm"]
    assert "°" not in rows["my-learner"]
    assert "° published, not run here: times of" in shown.stdout
    assert "mtrn-ica: its mcc differed by up to 0.18 between machines" in shown.stdout


def test_scores_as_data(checkout: Path, call: Call) -> None:
    """JSON and CSV hold the same numbers; a score nobody has is named with what there is."""
    import csv
    import io
    import json

    published = ("show", "--dataset", "tcl-segments", "--by", "linear_r2", "--out", "leaderboard/records.jsonl")
    as_json = json.loads(call(*published, "--json").stdout)["standings"]
    as_csv = list(csv.DictReader(io.StringIO(call(*published, "--csv").stdout)))
    assert [row["learner"] for row in as_json] == [row["learner"] for row in as_csv]
    assert all(row["metric"] == "linear_r2" for row in as_json)
    assert sum(row["winner"] for row in as_json) == 1
    unknown = call("show", "--by", "no_such_score", "--out", "leaderboard/records.jsonl", code=2)
    assert "unknown score with records: 'no_such_score'" in unknown.stderr
