"""Several runs, several folders, several machines: every cell once, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, Run

PLUGINS = ROOT / "tests" / "end_to_end" / "plugins"
TOY = PLUGINS / "toy.py"
CELLS = ("--datasets", "toy,linear-causal", "--learners", "toy-copy,toy-slow,raw,pca", "--budget", "smoke")
COUNTING = '''
import os
from pathlib import Path
import numpy as np
from bench.api import learner

@learner("counts", guarantee="none", paper="none")
class Counts:
    """Leaves its seed in the log of its process: here, in the record's history."""
    def __init__(self, *, seconds: float = 0.3): self.seconds = seconds
    def fit(self, view, *, seed, device, progress):
        import time
        time.sleep(self.seconds)
        self.history_ = {"at": time.time_ns()}
        return self
    def encode(self, x, aux=None): return np.asarray(x, dtype=float)
'''


def records(out: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (out / "runs").glob("*.json")]
    return {(r["spec"]["dataset"], r["spec"]["learner"], r["spec"]["repetition"]): r for r in found}


def start(tmp_path: Path, *words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_runs_share_the_work_and_one_takes_over_from_the_other(tmp_path: Path) -> None:
    """Every cell is fitted once; when one run is killed the other does the rest, its cell included."""
    (tmp_path / "counting.py").write_text(COUNTING)
    command = ("run", "--learners", "counts", "--datasets", "toy", "--budget", "smoke", "--seeds", "0-19")
    command += ("--plugin", str(TOY), "--plugin", "counting.py", "--jobs", "1", "--out", "r")
    first, second = start(tmp_path, *command), start(tmp_path, *command)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "r").glob("runs/*.json"))) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    stdout, stderr = second.communicate(timeout=120)
    assert second.returncode == 0, stderr
    assert "20 ok" in stdout
    assert len(records(tmp_path / "r")) == 20
    assert not (tmp_path / "r" / "claims").exists()


def test_nothing_is_fitted_twice(tmp_path: Path) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    command = ("run", "--learners", "counts", "--datasets", "toy", "--budget", "smoke", "--seeds", "0-11")
    command += ("--plugin", str(TOY), "--plugin", "counting.py", "--jobs", "1", "--out", "r")
    both = [start(tmp_path, *command) for _ in range(2)]
    said = [run.communicate(timeout=120) for run in both]
    assert [run.returncode for run in both] == [0, 0], said
    # a record is written once: its line in the index is there once
    lines = [json.loads(line) for line in (tmp_path / "r" / "index.jsonl").read_text().splitlines() if line]
    assert len(lines) == len({line[0] for line in lines}) == 12
    assert len(json.loads(next((tmp_path / "r" / "plan").glob("*.json")).read_text())) == 12


def test_shards_merge_to_what_one_run_gives(bench: Run, tmp_path: Path) -> None:
    command = ("run", *CELLS, "--seeds", "0,1", "--plugin", TOY)
    assert bench(*command, "--out", "whole").returncode == 0
    for index in range(3):
        assert bench(*command, "--out", f"part{index}", "--shard", f"{index}/3").returncode == 0
    sizes = [len(records(tmp_path / f"part{index}")) for index in range(3)]
    whole = records(tmp_path / "whole")
    assert sum(sizes) == len(whole) == 16
    merged = bench("merge", "part0", "part1", "part2", "--out", "all")
    assert merged.returncode == 0, merged.stderr
    assert "16 records copied" in merged.stdout
    made = records(tmp_path / "all")
    assert {cell: record["metrics"] for cell, record in made.items()} == {
        cell: record["metrics"] for cell, record in whole.items()
    }
    assert "16 done before" in bench(*command, "--out", "all").stdout
    assert "16 cells planned in all" in bench("status", "--out", "all").stdout

    # two folders that say different things of one cell are refused, and the difference is shown
    path = next((tmp_path / "part0" / "runs").glob("*.json"))
    record = json.loads(path.read_text())
    record["metrics"]["mcc"]["value"] = 0.123
    path.write_text(json.dumps(record))
    refused = bench("merge", "whole", "part0", "--out", "both")
    assert refused.returncode == 1
    assert "mcc" in refused.stderr
    assert "0.123" in refused.stderr
    assert "1 cells differ; nothing was merged" in refused.stderr
    assert not (tmp_path / "both").exists()


def test_export_writes_a_table(bench: Run, tmp_path: Path) -> None:
    command = ("run", "--learners", "raw", "--datasets", "linear-causal", "--budget", "smoke", "--seeds", "0,1")
    assert bench(*command, "--out", "r").returncode == 0
    assert bench("export", "--out", "r", "--to", "table.csv").returncode == 0
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(tmp_path / "table.csv")
    assert len(table) == 2
    assert {"mcc", "mcc.chance", "learner", "data_seed", "fit_cpu_s", "provenance.git_revision"} <= set(table.columns)
    assert bench("export", "--out", "r", "--to", "table.xls").returncode == 2


def test_damaged_codes_are_made_again(bench: Run, tmp_path: Path) -> None:
    command = ("run", "--learners", "raw", "--datasets", "linear-causal", "--budget", "smoke", "--seeds", "0")
    assert bench(*command, "--out", "r", "--keep-codes").returncode == 0
    (path,) = (tmp_path / "r" / "codes").glob("*.npz")
    good = path.read_bytes()
    for content in (b"", good[: len(good) // 2], good[:300] + bytes([good[300] ^ 1]) + good[301:]):
        path.write_bytes(content)
        again = bench(*command, "--out", "r", "--keep-codes")
        assert again.returncode == 0
        assert "is damaged or gone; the cell is run again" in again.stderr
        assert "1 to run" in again.stdout
        with np.load(path) as codes:
            assert set(codes.files) == {"train", "test", "independent"}


def test_a_metric_that_comes_later_is_computed_from_stored_codes(bench: Run, tmp_path: Path) -> None:
    """No new fit: the old record stays as it is, the new score joins it."""
    (tmp_path / "later.py").write_text(
        "import numpy as np\nfrom bench.metrics.base import metric\n"
        "@metric('first-code', tests='none', range='[0, inf)', paper='none')\n"
        "def first(z_train, codes_train, z_test, codes_test):\n"
        "    '''Spread of the first code.'''\n"
        "    return float(codes_test[:, 0].std())\n"
    )
    command = ("run", "--learners", "raw,pca", "--datasets", "linear-causal", "--budget", "smoke", "--seeds", "0")
    assert bench(*command, "--out", "kept", "--keep-codes").returncode == 0
    assert bench(*command, "--out", "not").returncode == 0
    before = records(tmp_path / "kept")
    later = bench(*command, "--out", "kept", "--plugin", "later.py")
    assert "2 of those to run are only scored" in later.stdout
    after = records(tmp_path / "kept")
    for cell, record in after.items():
        old = before[cell]
        assert record["metrics"]["first-code"]["value"] > 0
        assert {name: record["metrics"][name] for name in old["metrics"]} == old["metrics"]
        assert record["phases"] == old["phases"]
        assert record["provenance"]["scored_again"]["finished_utc"]
    assert "2 done before" in bench(*command, "--out", "kept", "--plugin", "later.py").stdout
    without = bench(*command, "--out", "not", "--plugin", "later.py")
    assert "2 to run" in without.stdout, "without stored codes the cells are run again"
