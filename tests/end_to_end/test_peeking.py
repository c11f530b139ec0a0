"""No learner finds the truth, however it looks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.registry import discover
from bench.run.executors.confine import landlock_version
from tests.conftest import ROOT, Run

PEEKING = ROOT / "tests" / "end_to_end" / "plugins" / "peeking.py"
SPIES = [info.name for info in discover([PEEKING]).learners.values() if info.origin == str(PEEKING)]
fenced = pytest.mark.skipif(landlock_version() < 1, reason="needs a kernel that closes files to learners (Landlock)")


def records(out: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (out / "runs").glob("*.json")]
    return {record["spec"]["learner"]: record for record in found}


def run_spies(bench: Run, tmp_path: Path, learners: str, *more: str) -> dict[str, dict[str, Any]]:
    command = ("run", "--learners", learners, "--datasets", "linear-causal", "--budget", "smoke", "--seeds", "0")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "held-out.csv").write_text("the truth, perhaps")
    settings = []
    if "peek-reseeds" in learners or "*" in learners:
        # an attacker knows the public parameters of the dataset
        plain = bench("run", "--learners", "raw", *command[3:], "--out", "plain")
        assert plain.returncode == 0, plain.stderr
        params = json.dumps(records(tmp_path / "plain")["raw"]["spec"]["dataset_params"])
        settings = ["--set", f"peek-reseeds.data={params}", "--set", f"peek-records.data={params}"]
        settings += ["--set", f"peek-records.out={tmp_path / 'r'}"]
        settings = settings if "*" in learners else settings[:2]
    done = bench(
        *(*command, "--plugin", PEEKING, "--out", "r", *settings, *more),
        environment={"BENCH_DATA": str(tmp_path / "data"), "BENCH_CACHE": str(tmp_path / "cache")},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return records(tmp_path / "r")


@fenced
def test_no_attack_succeeds_in_a_judged_run(bench: Run, tmp_path: Path) -> None:
    found = run_spies(bench, tmp_path, "peek-*,oracle", "--judge")
    assert len(SPIES) == 12
    assert set(found) == {*SPIES, "oracle"}
    assert {name: record["reason"] for name, record in found.items() if record["status"] != "ok"} == {}
    scores = {name: record["metrics"]["mcc"]["value"] for name, record in found.items()}
    assert scores.pop("oracle") == pytest.approx(1.0)
    assert max(scores.values()) < 0.5, scores


@fenced
def test_the_attack_by_seeds_would_succeed_without_a_salt(bench: Run, tmp_path: Path) -> None:
    """What the salt is for: the test above would notice if it were not there."""
    found = run_spies(bench, tmp_path, "peek-reseeds")
    assert found["peek-reseeds"]["metrics"]["mcc"]["value"] == pytest.approx(1.0)


@fenced
def test_a_judged_run_is_resumed_and_repeated_with_its_salt(bench: Run, tmp_path: Path) -> None:
    command = ("run", "--learners", "raw,pca", "--datasets", "linear-causal", "--budget", "smoke", "--seeds", "0")
    assert bench(*command, "--judge", "--out", "a").returncode == 0
    assert "2 done before" in bench(*command, "--judge", "--out", "a").stdout
    assert "2 done before" in bench(*command, "--out", "a").stdout
    first = records(tmp_path / "a")
    salt = first["raw"]["provenance"]["salt"]
    assert len(salt) == 32
    assert first["raw"]["spec"]["data_seed"] > 2**64
    assert bench(*command, "--judge", salt, "--out", "b").returncode == 0
    again = records(tmp_path / "b")
    assert {name: record["metrics"] for name, record in first.items()} == {
        name: record["metrics"] for name, record in again.items()
    }
    assert bench(*command, "--judge", "--out", "c").returncode == 0
    assert records(tmp_path / "c")["raw"]["metrics"] != first["raw"]["metrics"]
    refused = bench(*command, "--judge", "0" * 32, "--out", "a")
    assert refused.returncode == 2
    assert f"were made with the salt {salt}; give a judged run another --out" in refused.stderr
