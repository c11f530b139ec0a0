"""Runs jobs on the nodes of a Ray cluster; records and codes come back to this process, which alone writes them.

A job is a Ray task that asks for the CPUs, the GPU and the memory of its cells. On its node it is run as on any machine
(``ray_node``). Ray itself is told to try nothing twice: a job whose node is lost is sent again by us, without the cells
that have come back, and given up after the second loss.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.api import Info
from bench.errors import UsageError
from bench.run import provenance
from bench.run.cell import Job, Outcome
from bench.run.executors import ray_code, ray_node
from bench.run.executors.local import Pool
from bench.run.executors.supervisor import Limits
from bench.run.outcome import one_line
from bench.run.spec import RunSpec

TRIES = 2
LONGEST_CAUSE = 400
LOOK_AT_NODES_S, NO_NODE_S = 5.0, 60.0
CONNECT_S = 10.0  # for the cluster's head to answer
OBJECT_STORE_MIB = 128
"""Of a Ray that is started here: records and codes pass through it, one job's at a time."""
LONGEST_PLACE = 24  # a socket's path has at most 107 characters, of which Ray takes 65 and we 18


@dataclass(eq=False)
class Sent:
    """A job that has been sent to the cluster, see ``jobs.Running``."""

    job: Job
    limits: Limits
    codes: Mapping[str, Any] | None
    nodes: Nodes
    started: float = field(default_factory=time.monotonic)
    fraction: float = 0.0
    message: str = "waiting for a node"
    finished: int = 0
    over: bool = False
    node: str = ""
    hopeless: bool = False
    told_all: bool = False
    losses: list[str] = field(default_factory=list)
    no_node_since: float | None = None

    def __post_init__(self) -> None:
        self.stream = self.nodes.send(self)

    @property
    def specs(self) -> Sequence[RunSpec]:
        return self.job.specs

    def notice(self, some_node_has_room: bool) -> None:
        """Told now and then whether any node is large enough: a job that waits for one that is gone waits for ever."""
        if self.node or some_node_has_room:
            self.no_node_since = None
        else:
            self.no_node_since = self.no_node_since or time.monotonic()
            self.hopeless = time.monotonic() - self.no_node_since > NO_NODE_S

    def heard(self) -> list[Outcome]:
        import ray

        if self.hopeless:
            needs = _in_words(_needs(self.job, self.limits))
            return self.give_up("; ".join([*self.losses, f"no node is left that has {needs}"]))
        try:
            told = ray.get(next(self.stream))
        except StopIteration:
            return self._lost("ended without a record")
        except ray.exceptions.RayTaskError as error:
            return self._lost(f"failed with {one_line(error.cause)[:LONGEST_CAUSE]}", "failed")
        except ray.exceptions.NodeDiedError:
            return self._lost("was lost")
        except ray.exceptions.RayError as error:
            return self._lost(f"lost the job: {type(error).__name__}")
        if "record" in told:
            outcome = Outcome(self.specs[self.finished], told["record"], told["codes"])
            self.finished += 1
            self.told_all = self.finished == len(self.specs)
            return [outcome]
        if "node" in told:
            self.node, self.message, self.started = told["node"], "starting", time.monotonic()
        else:
            self.fraction, self.message = told["fraction"], told["message"]
        return []

    def give_up(self, reason: str, status: str = "killed") -> list[Outcome]:
        """Records that say so, for all cells that have none."""
        left = list(self.specs[self.finished :])
        self.finished, self.over = len(self.specs), True
        phases = {"total": {"wall_s": time.monotonic() - self.started, "cpu_s": 0.0}}
        record = {"status": status, "reason": reason, "phases": phases, "memory": {}}
        stamp = provenance.finished(self.job.stamp)
        return [Outcome(spec, {"spec": asdict(spec), **record, "provenance": stamp}) for spec in left]

    def _lost(self, what: str, status: str = "killed") -> list[Outcome]:
        self.told_all = True  # by this stream
        self.losses.append(f"node {self.node or 'unknown'} {what}")
        if len(self.losses) >= TRIES:
            return self.give_up(f"{'; '.join(self.losses)}; tried {TRIES} times", status)
        self.node, self.fraction, self.message = "", 0.0, f"sent again: {self.losses[-1]}"
        self.told_all, self.stream = False, self.nodes.send(self)
        return []


class Nodes:
    """The nodes of a cluster, as a place for jobs. Plugins are asked for their parameters on this machine.

    address   of a cluster; None: that in $RAY_ADDRESS, else one of this machine alone, which ends with the run

    Raises UsageError where Ray is not installed or the cluster does not answer.
    """

    def __init__(self, *, threads: int, closed: Sequence[Path], address: str | None = None) -> None:
        if importlib.util.find_spec("ray") is None:
            raise UsageError("--executor ray needs Ray: pip install '.[ray]'")
        import ray

        self.threads = threads
        self._closed = [str(path.resolve()) for path in closed]
        self._preload: dict[str, None] = {}
        self._folder = _connect(address)
        self._here = Pool(threads=threads, closed=closed)
        self._task: Any = ray.remote(max_retries=0, num_returns="streaming")(ray_code.carrier())
        self._code = ray.put(ray_code.packed())
        self._look_at = 0.0

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def preload(self, modules: Sequence[str]) -> None:
        self._preload |= dict.fromkeys(modules)
        self._here.preload(modules)

    def describe(self, info: Info) -> Mapping[str, Any]:
        return self._here.describe(info)

    def at_once(self, device: str) -> int:
        import ray

        there = ray.cluster_resources()
        return max(1, int(there.get("GPU", 0) if device == "cuda" else there.get("CPU", 0) // self.threads))

    def start(self, job: Job, limits: Limits, codes: Mapping[str, Any] | None = None) -> Sent:
        """Send a job; raises UsageError where no node is large enough for it."""
        needs = _needs(job, limits)
        if not _some_node_has(needs):
            raise UsageError(f"no node of the cluster has {_in_words(needs)}; see --memory-limit and --threads")
        return Sent(job, limits, codes, self)

    def send(self, sent: Sent) -> Any:
        """Send what is not finished of a job; returns the stream of what it tells."""
        job = replace(sent.job, specs=sent.specs[sent.finished :])
        order = ray_node.parcel(job, sent.limits, sent.codes, [*self._preload], self._closed)
        return self._task.options(**_needs(job, sent.limits), name=job.specs[0].key).remote(
            self._code, job.stamp["code_sha256"][:16], order
        )

    def ready(self, running: Sequence[Sent], seconds: float) -> list[Sent]:
        if not running:
            time.sleep(seconds)
            return []
        import ray

        streams = [sent.stream for sent in running]
        found, _ = ray.wait(streams, num_returns=1, timeout=seconds, fetch_local=False)
        if found:  # and whoever else has something: the first of a list is not to be heard alone
            found, _ = ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        if time.monotonic() > self._look_at:
            self._look_at = time.monotonic() + LOOK_AT_NODES_S
            for sent in running:
                sent.notice(_some_node_has(_needs(sent.job, sent.limits)))
        return [sent for sent in running if sent.stream in found or sent.hopeless]

    def forget(self, running: Sent) -> None:
        import ray

        if not running.told_all:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(running.stream, force=False)

    def close(self) -> None:
        import ray

        ray.shutdown()
        self._here.close()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


def cluster_has_gpu() -> bool:
    """Has any node of the cluster this process is connected to a GPU?"""
    import ray

    return float(ray.cluster_resources().get("GPU", 0)) >= 1


def _connect(address: str | None) -> str:
    """Connect to a cluster, or start one here and return its temporary folder."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quietly: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _require_reachable(address)
            ray.init(address=address, **quietly)
            return ""
        folder = _short_folder()
        ray.init(
            address="local",
            num_cpus=provenance.usable_cores(),
            object_store_memory=OBJECT_STORE_MIB * 2**20,
            include_dashboard=False,
            _temp_dir=folder,
            **quietly,
        )
        return folder
    except (RuntimeError, ValueError, OSError) as error:
        where = f"the Ray cluster '{address}' cannot be reached" if address else "Ray cannot be started here"
        raise UsageError(f"{where}: {one_line(error)}") from None


def _require_reachable(address: str) -> None:
    """Raises OSError where nothing listens at ``HOST:PORT``: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            pass


def _short_folder() -> str:
    """A temporary folder whose name leaves room for the names of Ray's sockets in it."""
    usual = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="bench-ray-", dir=usual if len(usual) <= LONGEST_PLACE else "/tmp")


def _needs(job: Job, limits: Limits) -> dict[str, float]:
    """What Ray sets aside for a job."""
    gpus = 1 if job.specs[0].device == "cuda" else 0
    return {"num_cpus": job.threads, "num_gpus": gpus, "memory": int(limits.memory_mib * 2**20)}


def _in_words(needs: Mapping[str, float]) -> str:
    gpu = " a GPU," if needs["num_gpus"] else ""
    return f"{needs['num_cpus']:g} CPUs,{gpu} {needs['memory'] / 2**20:.0f} MiB"


def _some_node_has(needs: Mapping[str, float]) -> bool:
    import ray

    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return any(all(node.get(names[name], 0) >= amount for name, amount in needs.items()) for node in alive)
