"""What only importing a plugin tells: its parameters, and whether it fits many seeds at once.

Asked in a process of its own behind the fence, so that a plugin that crashes, hangs or changes what it finds at its
import does so alone.
"""

from __future__ import annotations

import socket
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import registry
from bench.api import DatasetInfo, Info, LearnerInfo
from bench.errors import UsageError
from bench.run.executors.confine import Fence
from bench.run.executors.supervisor import ANY_SIZE, enclose
from bench.run.outcome import json_values, one_line
from bench.run.wire import Channel


def question(info: Info) -> dict[str, Any]:
    """What to ask about a plugin."""
    kind = "dataset" if isinstance(info, DatasetInfo) else "learner"
    return {"kind": kind, "info": json_values(asdict(info), "the plugin's metadata")}


def describe(connection: socket.socket, fence: Fence, scratch: Path) -> None:
    """Body of the process: answer questions until the other end closes."""
    enclose(fence, Path(tempfile.mkdtemp(prefix="d", dir=scratch)))
    channel = Channel(connection, ANY_SIZE)
    asked = channel.receive().values
    info = (DatasetInfo if asked["kind"] == "dataset" else LearnerInfo)(**asked["info"])
    try:
        found = registry.parameters(info)
        values = {"parameters": json_values(found, f"the parameters of {info.name}")}
        channel.send("done", {**values, "fit_many": registry.fits_many(info)})
    except UsageError as error:
        channel.send("failed", {"reason": str(error)})
    except Exception as error:  # noqa: BLE001 -- a plugin may raise anything when it is imported
        channel.send("failed", {"reason": f"{info.origin} cannot be imported: {one_line(error)}"})
