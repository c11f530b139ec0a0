"""On a Ray cluster of three simulated nodes: the numbers of this machine, the same matrix, and nodes that die."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.run import provenance
from bench.run.executors.confine import landlock_version
from tests.conftest import ROOT, Run
from tests.end_to_end import matrix
from tests.end_to_end.matrix import HOSTILE, TOY, records

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs Ray: pip install '.[ray]'", allow_module_level=True)

SMALL = {"num_cpus": 1, "memory": 4 * 2**30, "object_store_memory": 80 * 2**20}
PEOPLE = 5
"""A zygote and its shield, and a supervisor, a scorer and a learner for the cell it has under way."""


class Nodes:
    """A head that runs nothing and three nodes with a core each; what runs there works below ``scratch``."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.scratch = folder / "t"
        self.scratch.mkdir()
        self._folder = folder
        with self._environment():
            head = {**SMALL, "num_cpus": 0, "include_dashboard": False}
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address
        self.nodes: list[Any] = []
        for _ in range(3):
            self.add()

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        before = dict(os.environ)
        os.environ.update(TMPDIR=str(self.scratch), RAY_TMPDIR=str(self._folder), RAY_USAGE_STATS_ENABLED="0")
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def busy(self) -> list[Any]:
        """Nodes that have a cell under way."""
        return [node for node in self.nodes if len(self._people(node)) >= PEOPLE]

    def people(self) -> list[str]:
        """Command lines of processes of ours, and of learners, on any node."""
        found = []
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if str(self.scratch) in words:
                found.append(words[:2000])
        return found

    def gone(self, within_s: float = 60.0) -> bool:
        deadline = time.monotonic() + within_s
        while self.people():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def kill(self, node: Any) -> None:
        """As when its machine is switched off: without a farewell."""
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)

    def add(self) -> None:
        with self._environment():
            self.nodes.append(self._cluster.add_node(**SMALL))

    def close(self) -> None:
        self._cluster.shutdown()

    def _people(self, node: Any) -> list[psutil.Process]:
        (raylet,) = node.all_processes["raylet"]
        try:
            below = psutil.Process(raylet.process.pid).children(recursive=True)
            return [one for one in below if str(self.scratch) in " ".join(one.cmdline())]
        except psutil.Error:
            return []


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        found = Nodes(Path(folder))
        yield found
        found.close()


@pytest.fixture(autouse=True)
def nothing_is_left(nodes: Nodes) -> Iterator[None]:
    yield
    assert nodes.gone(), nodes.people()
    wait_for(lambda: not list(nodes.scratch.iterdir()))


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.05)


def on(nodes: Nodes) -> list[object]:
    return ["--executor", "ray", "--address", nodes.address]


def start(nodes: Nodes, tmp_path: Path, learners: str, seeds: str = "0") -> subprocess.Popen[str]:
    """A run on the cluster, going."""
    words = ["run", "--learners", learners, "--datasets", "toy", "--budget", "smoke", "--seeds", seeds, "--out", "r"]
    words += ["--plugin", TOY, "--plugin", HOSTILE, "--timeout", 500, "--memory-limit", 1500]
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *map(str, [*words, *on(nodes)])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_numbers_are_those_of_this_machine(bench: Run, tmp_path: Path, nodes: Nodes) -> None:
    """Bit for bit; with a plugin that no node has, several seeds in one pass, codes that come back."""
    command = ["run", "--learners", "raw,ivae,mtlcm,mine", "--datasets", "linear-causal", "--budget", "smoke"]
    command += ["--seeds", "0,1", "--plugin", "mine.py", "--memory-limit", 2000, "--keep-codes"]
    text = TOY.read_text().replace('"toy-copy"', '"mine"')
    (tmp_path / "mine.py").write_text(text)
    here = bench(*command, "--out", "here")
    there = bench(*command, "--out", "there", *on(nodes))
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    files = {out: sorted(path.name for path in (tmp_path / out / "runs").glob("*.json")) for out in ("here", "there")}
    assert files["here"] == files["there"]
    assert len(files["here"]) == 8
    for name in files["here"]:
        one, other = (json.loads((tmp_path / out / "runs" / name).read_text()) for out in ("here", "there"))
        assert one["metrics"] == other["metrics"]
        assert one["n_parameters"] == other["n_parameters"]
        assert other["provenance"]["node"].count("(") == 1
        assert one["provenance"]["plugins"] == other["provenance"]["plugins"]
    assert len(list((tmp_path / "there" / "codes").glob("*.npz"))) == 8
    again = bench(*command, "--out", "there", *on(nodes))
    assert "8 done before" in again.stdout


def test_the_matrix_holds(bench: Run, tmp_path: Path, nodes: Nodes) -> None:
    """And no learner calls the services of the cluster, which would run whatever it sends."""
    done = bench(*matrix.command(tmp_path / "r"), *on(nodes), "--set", f"bad-caller.out={nodes.address}")
    assert "Traceback" not in done.stderr + done.stdout
    assert len(matrix.EXPECTED) >= 25
    assert matrix.deviations(tmp_path / "r") == {}
    assert done.returncode == 1
    if landlock_version() >= 4:
        assert records(tmp_path / "r")["bad-caller"]["history"] == {"answer": "PermissionError"}


def test_a_run_that_is_killed_leaves_nothing(tmp_path: Path, nodes: Nodes) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = start(nodes, tmp_path, "bad-family-eats,toy-hangs")
        wait_for(lambda: len(nodes.busy()) == 2)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
        assert nodes.gone(), nodes.people()
        assert "Traceback" not in stdout + stderr
        if number == signal.SIGTERM:
            assert process.returncode == 130
            assert "the same command resumes where it stopped" in stderr


def test_what_a_cluster_cannot_do_is_said_in_a_line(bench: Run, nodes: Nodes) -> None:
    small = ("run", "--learners", "raw", "--datasets", "linear-causal", "--budget", "smoke")
    large = bench(*small, *on(nodes), "--memory-limit", 10**6)
    assert large.returncode == 2
    assert large.stderr.endswith(
        "error: no node of the cluster has 1 CPUs, 1000000 MiB; see --memory-limit and --threads\n"
    )
    judged = bench(*small, *on(nodes), "--judge", "--out", "j")
    assert judged.returncode == 2
    assert "use --executor local with --shard on several machines" in judged.stderr
    alone = bench(*small, "--address", nodes.address)
    assert alone.returncode == 2
    assert "give --executor ray as well" in alone.stderr


def test_a_node_that_dies_costs_nothing(tmp_path: Path, nodes: Nodes) -> None:
    """Its cell is run by another node; every record is there, and as if nothing had happened."""
    process = start(nodes, tmp_path, "toy-slow,toy-copy", "0-5")
    wait_for(lambda: len(nodes.busy()) == 3)
    nodes.kill(nodes.busy()[0])
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stdout + stderr
    found = [json.loads(path.read_text()) for path in (tmp_path / "r" / "runs").glob("*.json")]
    assert len(found) == 12
    assert {record["status"] for record in found} == {"ok"}
    assert len({record["provenance"]["node"] for record in found}) >= 2
    nodes.add()


def test_a_cell_whose_nodes_die_is_given_up_and_they_are_named(tmp_path: Path, nodes: Nodes) -> None:
    process = start(nodes, tmp_path, "toy-hangs")
    lost = []
    for _ in range(2):
        wait_for(nodes.busy)
        (node,) = nodes.busy()
        lost.append(node.node_id[:8])
        nodes.kill(node)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, stdout + stderr
    record = records(tmp_path / "r")["toy-hangs"]
    assert record["status"] == "killed"
    assert [word for word in lost if f"({word}) was lost; " in record["reason"]] == lost
    assert record["reason"].endswith("; tried 2 times")
    assert record["provenance"]["code_sha256"] == provenance.software()["code_sha256"]
    for _ in range(2):
        nodes.add()


def test_a_node_with_other_code_runs_nothing() -> None:
    from bench.registry import discover
    from bench.run.cell import job_of
    from bench.run.executors import ray_node
    from bench.run.executors.supervisor import Limits
    from bench.run.plan import Selection, plan

    found = discover()
    cells = plan(Selection(["raw"], ["linear-causal"], [0], "smoke"), found)
    order = ray_node.parcel(job_of([cells[0].spec], found), Limits(10, 1000), None, [], [])
    order["job"]["stamp"]["code_sha256"] = "0" * 64
    with pytest.raises(RuntimeError, match="not that of the run"):
        next(ray_node.run_job(order, "here"))


def test_a_job_for_which_no_node_is_left_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.registry import discover
    from bench.run.cell import job_of
    from bench.run.executors import on_ray
    from bench.run.executors.supervisor import Limits
    from bench.run.plan import Selection, plan

    class Cluster:
        def send(self, sent: on_ray.Sent) -> None: ...

    found = discover()
    cells = plan(Selection(["raw"], ["linear-causal"], [0, 1], "smoke"), found)
    job = job_of([cell.spec for cell in cells], found)
    sent = on_ray.Sent(job, Limits(10, 1000), None, Cluster())  # type: ignore[arg-type]
    sent.notice(False)
    assert not sent.hopeless
    monkeypatch.setattr(on_ray, "NO_NODE_S", -1.0)
    sent.notice(True)
    assert not sent.hopeless
    sent.notice(False)
    assert sent.hopeless
    outcomes = sent.heard()
    assert [outcome.record["status"] for outcome in outcomes] == ["killed", "killed"]
    assert outcomes[0].record["reason"] == "no node is left that has 1 CPUs, 1000 MiB"
    assert sent.over
