"""The code of a run, which travels with it: a node of a cluster needs the packages we stand on, and nothing of ours."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.run import provenance


def packed() -> bytes:
    """All source files of ours, as a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in provenance.sources():
            archive.write(path, path.relative_to(provenance.ROOT))
    return buffer.getvalue()


def carrier() -> Callable[[bytes, str, Mapping[str, Any]], Iterator[dict[str, Any]]]:
    """Body of a Ray task: makes the code importable on the node, then ``ray_node.run_job``.

    It is made here, within a function, so that Ray sends it whole: a node could not import it by its name.
    """

    def run(code: bytes, name: str, order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        import io
        import os
        import shutil
        import sys
        import tempfile
        import zipfile

        import ray
        from ray._private import worker

        # address and the beginning of its identity, as Ray lists them: two nodes may be on one machine
        node = f"{ray.util.get_node_ip_address()} ({ray.get_runtime_context().get_node_id()[:8]})"
        yield {"node": node}
        session = worker.global_worker.node.get_session_dir_path()
        folder = os.path.join(session, f"bench-{name}")
        if not os.path.isdir(folder):
            # another worker of this node may be about to do the same: the first name stays
            part = tempfile.mkdtemp(dir=session)
            with zipfile.ZipFile(io.BytesIO(code)) as archive:
                archive.extractall(part)
            try:
                os.rename(part, folder)
            except OSError:
                shutil.rmtree(part, ignore_errors=True)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        from bench.run.executors.ray_node import run_job

        yield from run_job(order, node)

    return run
