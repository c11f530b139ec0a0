"""bench audit: which cells are drawn, when one has moved, and the command on records of its own and on spoilt ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UsageError
from bench.registry import discover
from bench.report import audit
from tests.conftest import Run
from tests.unit.test_report import record

FOUND = discover([])


def cell(learner: str, seed: int, **more: Any) -> dict[str, Any]:
    """A record of the learner's and the dataset's present versions."""
    made = record(learner, seed, **more)
    made["spec"]["learner_version"] = FOUND.learners[learner].version
    made["spec"]["dataset_version"] = FOUND.datasets["linear-causal"].version
    made["spec"]["threads"] = 1
    return made


def pair(before: dict[str, Any], now: dict[str, Any] | None, **more: Any) -> audit.Pair:
    return audit.compared(before, now, FOUND, **{"tolerance": 0.02, "spreads": {}, **more})


def test_only_finished_cells_of_present_learners_are_drawn() -> None:
    old, failed, reference, long = (cell(name, 0) for name in ("vae", "vae", "pca", "vae"))
    old["spec"]["learner_version"] -= 1
    failed["status"] = "failed"
    long["phases"]["fit"]["cpu_s"] = 50.0
    good = cell("vae", 1)
    assert audit.auditable([old, failed, reference, long, good], FOUND, most_cpu_s=10.0) == [good]
    assert audit.auditable([long, good, cell("ivae", 0)], FOUND, learners=["v*"]) == [long, good]
    there = cell("vae", 2)
    there["spec"]["data_sha256"] = "abc"
    assert audit.auditable([good, there], FOUND, files={"linear-causal": ""}) == [good]  # the file is not here
    assert audit.auditable([good, there], FOUND, files={"linear-causal": "abc"}) == [there]
    with pytest.raises(UsageError, match="no published cell to audit"):
        audit.auditable([good], FOUND, datasets=["sprites"])


def test_a_seed_draws_the_same_cells_in_whatever_order_they_come() -> None:
    cells = [cell("vae", seed) for seed in range(30)]
    first = audit.drawn(cells, 5, 1)
    assert audit.drawn(cells[::-1], 5, 1) == first
    assert audit.drawn(cells, 5, 2) != first
    assert len(audit.drawn(cells, 100, 1)) == 30


def test_a_cell_has_moved_where_its_score_or_its_end_differs() -> None:
    before = cell("vae", 0, mcc=0.70)
    assert not pair(before, cell("vae", 0, mcc=0.715)).moved
    assert pair(before, cell("vae", 0, mcc=0.73)).moved
    assert not pair(before, cell("vae", 0, mcc=0.73), spreads={"vae": {"spread": 0.1}}).moved
    assert pair(before, None).moved
    assert pair(before, cell("vae", 0, status="failed")).moved
    lost = cell("vae", 0, mcc=0.7)
    lost["metrics"]["mcc"]["value"] = None
    assert pair(before, lost).moved
    assert pair(before, cell("vae", 0, mcc=float("nan"))).moved


def test_a_learner_is_compared_by_what_it_promises() -> None:
    found = pair(cell("mtrn", 0, mcc=0.3, r2=0.95), cell("mtrn", 0, mcc=0.6, r2=0.95))
    assert (found.metric, found.difference, found.moved) == ("linear_r2", 0.0, False)


def test_the_table_says_what_a_sample_says_of_all() -> None:
    same = [pair(cell("vae", seed), cell("vae", seed)) for seed in range(10)]
    text = audit.markdown(same, of=600, tolerance=0.02, seed=0)
    assert "10 of 600 published cells" in text
    assert "**10 came out as published**, 0 did not" in text
    assert "fewer than 30% of all have moved" in text
    broken = cell("vae", 11, status="failed")
    broken["reason"] = "a | b <script>"
    worse = audit.markdown([*same, pair(cell("vae", 11), broken)], of=600, tolerance=0.02, seed=0)
    assert "**10 came out as published**, 1 did not" in worse
    assert "fewer than" not in worse
    row = next(line for line in worse.splitlines() if line.startswith("| `vae`"))  # what moved comes first
    assert "**moved**" in row
    assert "<script>" not in row


def test_the_command_finds_the_record_that_was_changed(bench: Run, tmp_path: Path) -> None:
    cells = ("--learners", "fastica,rrr,single-task-regression", "--datasets", "linear-causal", "--seeds", "0,1")
    done = bench("run", *cells, "--budget", "smoke", "--device", "cpu", "--jobs", "1", "--out", "first")
    assert done.returncode == 0, done.stderr
    options = ("--records", "first", "--out", "again", "--jobs", "1", "--device", "cpu", "--to", "page")
    audited = bench("audit", *options)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    # the reference rows are none of them
    assert "**2 came out as published**, 0 did not. 2 have the same score to 10⁻⁶" in audited.stdout
    for path in (tmp_path / "first" / "runs").glob("*.json"):
        changed = json.loads(path.read_text(encoding="utf-8"))
        if changed["spec"]["learner"] == "single-task-regression" and changed["spec"]["repetition"] == 1:
            for score in changed["metrics"].values():
                score["value"] = score["value"] and score["value"] - 0.05
            path.write_text(json.dumps(changed), encoding="utf-8")
    audited = bench("audit", *options)
    assert audited.returncode == 1
    assert "**1 came out as published**, 1 did not" in audited.stdout
    page = (tmp_path / "page" / "audit.md").read_text(encoding="utf-8")
    assert audited.stdout.split("\n", 1)[1].strip() in page
    assert "code at `" in page
    nothing = bench("audit", "--records", "first", "--out", "again", "--learners", "sprites")
    assert nothing.returncode == 2
    assert nothing.stderr.count("\n") == 1
