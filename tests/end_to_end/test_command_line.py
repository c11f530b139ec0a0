"""The command line as a user types it: outputs, exit codes, resumption, and what a bad cell costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.report.reproduction import settings
from tests.conftest import ROOT, Run

TOY = ROOT / "tests" / "end_to_end" / "plugins" / "toy.py"
SMALL = ("--datasets", "linear-causal", "--budget", "smoke", "--jobs", "2")


def records(out: Path) -> dict[tuple[str, int], dict[str, object]]:
    found = [json.loads(path.read_text()) for path in (out / "runs").glob("*.json")]
    return {(record["spec"]["learner"], record["spec"]["repetition"]): record for record in found}


def scores(out: Path) -> dict[tuple[str, int], object]:
    return {key: record.get("metrics") for key, record in records(out).items()}


def test_run_report_and_resume(bench: Run, tmp_path: Path) -> None:
    """Run, run again (nothing left to do), report: the board holds every row."""
    command = ("run", "--learners", "raw,pca,oracle,random-unmixing", *SMALL, "--seeds", "0,1", "--out", "r")
    first = bench(*command)
    assert first.returncode == 0, first.stderr
    assert "8 cells: 8 to run, 0 done before" in first.stdout
    made = records(tmp_path / "r")
    assert len(made) == 8
    assert {record["status"] for record in made.values()} == {"ok"}
    record = made["pca", 0]
    assert set(record["phases"]) == {"load", "fit", "encode", "score"}  # type: ignore[arg-type]
    assert record["memory"]["peak_mib"] > record["memory"]["fit_peak_mib"] >= 0  # type: ignore[index]
    assert record["provenance"]["packages"]["numpy"]  # type: ignore[index]
    assert made["oracle", 0]["metrics"]["mcc"]["value"] == pytest.approx(1.0)  # type: ignore[index]

    again = bench(*command)
    assert "8 cells: 0 to run, 8 done before" in again.stdout
    assert again.returncode == 0

    report = bench("report", "--out", "r", "--to", "board")
    assert report.returncode == 0, report.stderr
    text = "".join((tmp_path / "board" / name).read_text() for name in ("README.md", "linear-causal.md"))
    for row in ("*raw*", "*pca*", "*oracle*", "*random-unmixing*"):
        assert row in text
    assert "8 cells: 8 done" in text
    from_file = bench("report", "--out", "board/records.jsonl", "--to", "board2")
    assert from_file.returncode == 0, from_file.stderr
    for name in ("README.md", "linear-causal.md", "index.html", "records.csv"):
        assert (tmp_path / "board2" / name).read_text() == (tmp_path / "board" / name).read_text()


def test_same_spec_and_seed_give_identical_metrics(bench: Run, tmp_path: Path) -> None:
    for out in ("a", "b"):
        done = bench("run", "--learners", "pca,untrained,rrr-ajd,mtlcm", *SMALL, "--seeds", "0", "--out", out)
        assert done.returncode == 0, done.stderr
    assert scores(tmp_path / "a") == scores(tmp_path / "b")
    assert scores(tmp_path / "a")


def test_every_way_to_fail_costs_one_cell(bench: Run, tmp_path: Path) -> None:
    arguments = ("--datasets", "toy", "--budget", "smoke", "--seeds", "0", "--plugin", TOY, "--out", "r")
    done = bench("run", "--learners", "toy-*", *arguments, "--timeout", 30, "--memory-limit", 1500)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    found = {name: (record["status"], str(record["reason"])) for (name, _), record in records(tmp_path / "r").items()}
    expected = {
        "toy-copy": ("ok", ""),
        "toy-slow": ("ok", ""),
        "toy-raises": ("failed", "ValueError: no luck today"),
        "toy-shape": ("failed", "toy-shape.encode returned shape (59, 2) for 60 samples, not (60, d)"),
        "toy-list": ("failed", "toy-list.encode returned a list, not a numpy array (n, d)"),
        "toy-nan": ("diverged", "120 of 120 codes are NaN or infinite"),
        "toy-hangs": ("timeout", "not done after 30 s; allow more with --timeout"),
        "toy-eats": ("oom", "used more than 1500 MiB; allow more with --memory-limit"),
        "toy-dies": ("killed", "process ended by SIGSEGV"),
        "toy-declines": ("skipped", "one task only; needs two"),
        "toy-labels": ("skipped", "needs class labels, which the data has not"),
    }
    assert found == expected
    made = records(tmp_path / "r")
    assert "no luck" in str(made["toy-raises", 0]["traceback"])
    assert "last words" in str(made["toy-dies", 0]["log"])

    status = bench("status", "--out", "r")
    assert status.returncode == 1
    assert "timeout: not done after 30 s" in status.stdout
    assert "- toy · toy-hangs · seed 0" in status.stdout

    # the board of a plugin needs the plugin
    report = bench("report", "--out", "r", "--to", "board", "--plugin", TOY)
    assert report.returncode == 0, report.stderr
    text = (tmp_path / "board" / "toy.md").read_text()
    for name, (state, reason) in expected.items():
        assert name in text
        if state not in ("ok", "skipped"):
            assert f"1 {state} of 1: {reason}" in text
    assert "- needs class labels, which the data has not: `toy-labels`" in text


def test_interrupted_run_resumes(tmp_path: Path) -> None:
    """Ctrl-C ends the run with 130, keeps what is done, and the same command does the rest only."""
    command = [sys.executable, "-m", "bench", "run", "--learners", "toy-copy,toy-slow,toy-hangs", "--datasets", "toy"]
    command += ["--budget", "smoke", "--seeds", "0", "--plugin", str(TOY), "--out", "r", "--jobs", "2"]
    command += ["--timeout", "500"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # background jobs of a shell inherit an ignored SIGINT, which is not how a user's terminal starts it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 300  # a busy machine takes its time to start
    while time.monotonic() < deadline and len(list((tmp_path / "r").glob("runs/*.json"))) < 2:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command resumes where it stopped" in stderr
    assert "Traceback" not in stderr
    assert "1 not run, 2 ok" in stdout
    limited = [*command[:-1], "5"]
    again = subprocess.run(limited, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert "3 cells: 1 to run, 2 done before" in again.stdout
    assert again.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--learners", "mtlmc"), "error: unknown learner 'mtlmc'; did you mean mtlcm"),
        (("run", "--all", "--budget", "huge"), "error: unknown budget 'huge'; known: paper, smoke, standard"),
        (("run",), "error: nothing selected"),
        (("run", "--all", "--plugin", "none.py"), "error: plugin file 'none.py' does not exist"),
        (("run", "--all", "--seeds", "x"), "error: --seeds 'x'"),
        (("report", "--out", "nothing"), "error: no results in 'nothing'"),
        (("status", "--out", "nothing"), "error: no results in 'nothing'"),
        (("data", "fetch", "qm8"), "error: unknown data source 'qm8'; did you mean qm9"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(bench: Run, arguments: tuple[str, ...], message: str) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_results_of_another_version_are_refused(bench: Run, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "store.json").write_text('{"format": 0}')
    done = bench("run", "--learners", "raw", *SMALL, "--out", "old")
    assert done.returncode == 2
    assert "holds records of format 0" in done.stderr


def test_list_names_everything_and_imports_no_torch(bench: Run) -> None:
    done = bench("list")
    assert done.returncode == 0
    for name in ("mtlcm", "best-linear", "linear-causal", "qm9", "mcc", "linear_r2"):
        assert f"  {name} " in done.stdout
    listed = json.loads(bench("list", "--json").stdout)
    assert {row["name"] for row in listed["learners"]} >= {"mtlcm", "mtrn", "oracle"}
    assert listed["broken"] == {}
    code = (
        "import sys; from bench.cli import main; main(['list']); main(['list', '--json']);"
        "sys.exit(','.join({'torch', 'numpy', 'scipy', 'sklearn', 'rdkit', 'pandas'} & set(sys.modules)) or 0)"
    )
    light = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert light.stderr == "", "listing imported a heavy package"


def test_missing_real_data_is_skipped_with_the_command_that_mends_it(bench: Run, tmp_path: Path) -> None:
    empty = {"BENCH_DATA": str(tmp_path / "none"), "BENCH_CACHE": str(tmp_path / "cache")}
    arguments = ("--learners", "pca", "--datasets", "qm9,superconductivity", "--budget", "smoke", "--out", "r")
    done = bench("run", *arguments, environment=empty)
    assert done.returncode == 0
    assert "2 cells: 0 to run" in done.stdout
    assert "python -m bench data fetch qm9" in done.stdout
    assert "data is not here: python -m bench data fetch qm9" in bench("list", environment=empty).stdout


@pytest.mark.data
@pytest.mark.parametrize("dataset", ["qm9", "superconductivity"])
def test_real_data_runs(bench: Run, tmp_path: Path, real_data: Path, dataset: str) -> None:
    arguments = ("--datasets", dataset, "--budget", "smoke", "--seeds", "0,1", "--out", "r")
    done = bench("run", "--learners", "raw,pca,rrr,mtlcm,oracle", *arguments)
    assert done.returncode == 0, done.stderr
    made = records(tmp_path / "r")
    assert {made[name, 0]["status"] for name in ("raw", "pca", "rrr", "mtlcm")} == {"ok"}
    assert made["oracle", 0]["reason"] == "needs the true latents, which the data has not"
    data = made["rrr", 0]["data"]
    assert len(data["sha256"]) == 64  # type: ignore[index]
    assert data["rows"] > 1000  # type: ignore[index]
    assert bench("report", "--out", "r", "--to", "board").returncode == 0
    text = (tmp_path / "board" / f"{dataset}.md").read_text()
    assert f"{data['rows']:,}" in text  # type: ignore[index]
    assert "consistency" in text
    # one seed's codes agree with the other's far better than chance for a deterministic linear learner
    pairs = json.loads((tmp_path / "board" / "consistency.json").read_text())
    assert any(values["0-1"]["weak"] > 0.5 for values in pairs.values() if values)


def test_molecules_run_without_any_data(bench: Run, tmp_path: Path) -> None:
    bare = {"BENCH_DATA": "", "BENCH_CACHE": str(tmp_path / "cache")}
    arguments = ("--datasets", "molecules", "--budget", "smoke", "--seeds", "0", "--out", "r")
    done = bench("run", "--learners", "best-linear,pca,mtlcm", *arguments, environment=bare)
    assert done.returncode == 0, done.stderr
    made = records(tmp_path / "r")
    assert {record["status"] for record in made.values()} == {"ok"}


def test_reproduce_prints_and_stores_its_table(bench: Run, tmp_path: Path) -> None:
    """Settings that share their small cells run them once; a quick run judges nothing and says so."""
    done = bench("reproduce", "--learner", "mtlcm", "--quick", "--out", "r", "--to", "board")
    assert done.returncode == 0, done.stderr
    assert "5 cells: 5 to run" in done.stdout
    rows = [line for line in done.stdout.splitlines() if "| mtlcm " in line]
    assert len(rows) == len([one for one in settings() if one.learner == "mtlcm"]) > 1
    assert all("not judged" in row for row in rows)
    assert "Quick run" in done.stdout
    assert bench("reproduce", "--learner", "nobody", "--out", "r").returncode == 2
