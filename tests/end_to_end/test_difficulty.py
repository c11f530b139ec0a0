"""From ``run --sweep`` to the page of difficulty, and on from where a sweep stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.cli import main


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_sweep_resumes_and_becomes_a_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "results"
    run = ("run", "--learners", "rrr,best-linear,pca", "--budget", "smoke", "--jobs", 1, "--out", out)
    assert "3 cells: 3 to run" in said(capsys, *run, "--sweep", "linear-causal.noise=0.01")
    text = said(capsys, *run, "--sweep", "linear-causal.noise=0.01,3", "--sweep", "linear-causal.d=4,5", "--dry-run")
    assert "9 cells: 6 to run" in text, "the usual value of each parameter is one board, and done"
    assert "linear-causal (d=5, noise=3.0)" in text
    assert "9 cells: 6 to run, 3 done before" in said(
        capsys, *run, "--sweep", "linear-causal.noise=0.01,3", "--sweep", "linear-causal.d=4,5"
    )

    said(capsys, "report", "--out", out)
    page = (out / "report" / "difficulty.md").read_text()
    assert "## linear-causal: noise, `smoke` budget" in page
    assert "## linear-causal: d, `smoke` budget" in page
    svg = (out / "report" / "figures" / "difficulty-linear-causal-noise-smoke.svg").read_text()
    assert all(name in svg for name in ("rrr", "best-linear", "pca", "ceiling", "chance"))
    section = page[page.index("## linear-causal: noise") :]
    row = next(line for line in section.splitlines() if line.startswith("| *best-linear*"))
    easy, hard = (float(cell) for cell in row.split("|")[3:5])
    assert easy > 0.99 > 0.9 > hard, "what noise of three deviations hides, no linear map brings back"
    assert "[difficulty.md](difficulty.md)" in (out / "report" / "README.md").read_text()

    # published apart: a sweep's records beside the board's, so that its boards do not weigh in the ranks
    shutil.copy(out / "report" / "records.jsonl", tmp_path / "difficulty.jsonl")
    lines = (out / "report" / "records.jsonl").read_text().splitlines(keepends=True)
    usual = [line for line in lines if '"noise": 0.01' in line and '"d": 5' in line]
    (tmp_path / "records.jsonl").write_text("".join(usual))
    said(capsys, "report", "--out", tmp_path / "records.jsonl", "--to", tmp_path / "page")
    assert (tmp_path / "page" / "difficulty.md").read_text() == page
    assert "noise=3" not in (tmp_path / "page" / "linear-causal.md").read_text()


def test_a_sweep_names_its_datasets_itself(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "run", "--sweep", "tcl-segments", "--datasets", "linear-causal", code=2)
    assert "leave out --all, --datasets and --data" in text


def test_reproduce_takes_seeds_that_exist(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = said(capsys, "reproduce", "--learner", "pca", "--seeds", "0-5", "--out", tmp_path, code=2)
    assert "error:" in text
