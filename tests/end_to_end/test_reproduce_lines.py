"""Every line under "How to reproduce each row" is run as it stands, and gives the row's numbers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, Run

TOY = ROOT / "tests" / "end_to_end" / "plugins" / "toy.py"
RUNS: tuple[tuple[str, ...], ...] = (
    ("--learners", "pca,rrr,raw", "--datasets", "linear-causal", "--seeds", "0,2"),
    # numbers, a list and words in --set, of learner and of dataset
    ("--learners", "rrr", "--datasets", "linear-causal", "--seeds", "0", "--set", "rrr.ridges=[0.001, 1.0]"),
    (
        *("--learners", "pca", "--datasets", "linear-causal", "--seeds", "0,1"),
        *("--set", "linear-causal.d=4", "--set", "linear-causal.noise=0.5", "--set", "linear-causal.standardise=false"),
    ),
    # fixed data, and a training length
    ("--learners", "pca", "--datasets", "linear-causal", "--seeds", "0,1", "--data-seed", "7"),
    ("--learners", "vae", "--datasets", "linear-causal", "--seeds", "0", "--effort", "1/2,1"),
    ("--learners", "toy-copy", "--datasets", "toy", "--seeds", "0", "--plugin", str(TOY)),
)


def cells(folder: Path) -> dict[str, Any]:
    """{spec: scores} of a results folder."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (folder / "runs").glob("*.json")]
    return {json.dumps(record["spec"], sort_keys=True): record["metrics"] for record in records}


def lines(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    blocks = [part.split("```")[1] for part in text.split("How to reproduce each row")[1:]]
    return [line for block in blocks for line in block.strip().splitlines()]


def test_every_line_gives_the_numbers_of_its_row(bench: Run, tmp_path: Path) -> None:
    for arguments in RUNS:
        done = bench("run", *arguments, "--budget", "smoke", "--device", "cpu", "--jobs", "1", "--out", "first")
        assert done.returncode == 0, done.stderr
    made = cells(tmp_path / "first")
    assert len(made) == 6 + 1 + 2 + 2 + 2 + 1
    report = bench("report", "--out", "first", "--to", "board", "--plugin", TOY)
    assert report.returncode == 0, report.stderr
    pages = [tmp_path / "board" / name for name in ("linear-causal.md", "toy.md")]
    commands = [line for page in pages for line in lines(page)]
    assert len(commands) == len(set(commands))
    (tmp_path / "toy.py").write_text(TOY.read_text(encoding="utf-8"), encoding="utf-8")
    for line in commands:
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "bench"]
        done = bench(*words[3:], "--jobs", "1", "--out", "again")
        assert done.returncode == 0, (line, done.stderr)
    assert cells(tmp_path / "again") == made
