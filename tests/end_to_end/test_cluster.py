"""The scripts of docs/cluster.md do what the page says, with local processes in place of a scheduler's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run

PAGE = (ROOT / "docs" / "cluster.md").read_text()
PARTS = 3
SELECTION = "--learners raw,pca --datasets linear-causal,clusters --budget smoke --seeds 0,1"


def script(title: str) -> str:
    """The script under a heading, as it stands on the page but for its size and what it runs."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    found = re.search(r"```(?:bash|yaml)\n(.*?)```", section, re.DOTALL)
    assert found
    text = found.group(1)
    if title == "Kubernetes":
        line = re.search(r"args:\n\s+- (.*)\n", text)
        assert line
        text = line.group(1)
    return text.replace("--all", SELECTION).replace('/8"', f'/{PARTS}"')


@pytest.mark.parametrize("title", ["Slurm", "PBS", "Kubernetes"])
def test_an_array_of_jobs_does_the_whole_plan(bench: Run, tmp_path: Path, title: str) -> None:
    for index in range(PARTS):
        words = {
            "SLURM_ARRAY_TASK_ID": str(index),
            "SLURM_ARRAY_TASK_COUNT": str(PARTS),
            "PBS_ARRAY_INDEX": str(index),
            "PBS_O_WORKDIR": str(tmp_path),
            "JOB_COMPLETION_INDEX": str(index),
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", "-c", script(title)],
            cwd=tmp_path,
            env={**os.environ, **words},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    merged = bench("merge", *sorted((tmp_path / "parts").iterdir()), "--out", "results")
    assert merged.returncode == 0, merged.stderr
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "runs").glob("*.json")]
    assert len(records) == 8
    assert {record["status"] for record in records} == {"ok"}
