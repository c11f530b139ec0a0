"""What runs on a node of a Ray cluster: a job in processes of its own there, as ``local`` runs it, told as it goes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.api import Info
from bench.run import provenance
from bench.run.cell import Job
from bench.run.executors.local import Pool
from bench.run.executors.supervisor import Limits
from bench.run.sources import private_folders

LISTEN_S, TELL_S = 0.5, 1.0


def parcel(
    job: Job, limits: Limits, codes: Mapping[str, Any] | None, preload: list[str], closed: list[str]
) -> dict[str, Any]:
    """All that a node needs for a job, its plugin files included; raises OSError where one cannot be read.

    closed   files and folders that learners may not read, should the node have them
    """
    origins = {info.origin for info in _infos(job) if info.origin.endswith(".py")}
    return {
        "job": job.as_json(),
        "limits": asdict(limits),
        "codes": dict(codes or {}),
        "preload": preload,
        "closed": closed,
        "files": {origin: Path(origin).read_bytes() for origin in sorted(origins)},
    }


def run_job(order: Mapping[str, Any], node: str) -> Iterator[dict[str, Any]]:
    """Run a job on this node: yields {"record", "codes"} for each cell, and {"fraction", "message"} meanwhile.

    Raises RuntimeError where the code of this process is not the code of the run.
    """
    job = Job.from_json(order["job"])
    theirs, ours = job.stamp["code_sha256"], provenance.software()["code_sha256"]
    if theirs != ours:
        raise RuntimeError(f"the code is {ours[:12]}, not that of the run, {theirs[:12]}: it was edited meanwhile")
    pool = _pool(job.threads, [*order["closed"], *map(str, private_folders()), *_of_ray()])
    pool.preload(order["preload"])
    folder = Path(tempfile.mkdtemp(prefix="p", dir=pool.scratch))
    running = pool.start(
        _placed(replace(job, stamp=_stamp(job, node)), order["files"], folder),
        Limits(**order["limits"]),
        order["codes"],
    )
    told, tell_at = 0.0, 0.0
    try:
        while not running.over and running.finished < len(running.specs):
            for item in pool.ready([running], LISTEN_S):
                for outcome in item.heard():
                    yield {"record": outcome.record, "codes": dict(outcome.codes)}
            if running.fraction != told and time.monotonic() > tell_at:
                told, tell_at = running.fraction, time.monotonic() + TELL_S
                yield {"fraction": running.fraction, "message": running.message}
    finally:
        pool.forget(running)
        shutil.rmtree(folder, ignore_errors=True)


_pools: dict[tuple[Any, ...], Pool] = {}
"""The pool of this worker's process, which Ray keeps for the next job: what is imported is imported once."""


def _pool(threads: int, closed: list[str]) -> Pool:
    # which GPU a job has is decided by the environment in which its processes are started
    key = (threads, os.environ.get("CUDA_VISIBLE_DEVICES"), *closed)
    if key not in _pools:
        for other in list(_pools):
            _pools.pop(other).close()
        _pools[key] = Pool(threads=threads, closed=[Path(path) for path in closed], on_node=True)
    _pools[key].begin()
    return _pools[key]


def _infos(job: Job) -> list[Info]:
    return [job.learner, job.dataset, *job.metrics]


def _placed(job: Job, files: Mapping[str, bytes], folder: Path) -> Job:
    """The job with its plugin files in this folder, which learners may read and not change."""
    places = {}
    for number, (origin, content) in enumerate(files.items()):
        place = folder / str(number) / Path(origin).name
        place.parent.mkdir()
        place.write_bytes(content)
        places[origin] = str(place)

    def moved(info: Any) -> Any:
        return replace(info, origin=places.get(info.origin, info.origin))

    return replace(job, learner=moved(job.learner), dataset=moved(job.dataset), metrics=[*map(moved, job.metrics)])


def _stamp(job: Job, node: str) -> dict[str, Any]:
    """The run's provenance with the machine and the packages of this node."""
    here = provenance.stamp(job.stamp["device"], job.threads)
    own = {name: here[name] for name in ("python", "packages", "hardware", "isolation")}
    return {**job.stamp, **own, "node": node}


def _of_ray() -> list[str]:
    """Where Ray has its logs and sockets on this node."""
    from ray._private import worker

    session: str = worker.global_worker.node.get_session_dir_path()
    return [os.path.join(session, name) for name in ("logs", "sockets")]
