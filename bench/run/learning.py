"""One learner at work: built, fitted, asked for codes. It sees the TrainView and inputs to encode, nothing else.

``Learning`` does it in this process (tests, profiling). In a run it lives in a process of its own, which ``serve``s a
socket and has never held the truth; the process that holds it talks to a ``RemoteLearning``.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bench import registry
from bench.api import Diverged, LearnerInfo, TrainView
from bench.run.handover import put_together, take_apart, view_apart, view_together
from bench.run.outcome import BadCodes, checked_codes, count_of, failure, json_values
from bench.run.wire import Channel, Closed, Malformed

if TYPE_CHECKING:
    from bench.run.outcome import Codes

PROGRESS_S = 0.1
Progress = Callable[[float, str], None]


def silent(fraction: float, message: str = "") -> None:
    """Progress that nobody is told."""


@dataclass(frozen=True)
class Work:
    """What a learner is told to do: who it is, with which parameters, for which model seeds (a fitted learner each)."""

    info: LearnerInfo
    params: Mapping[str, Any]
    seeds: Sequence[int]
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True)
class Inputs:
    """Inputs to encode, beside the training inputs; ``independent`` is None where there are none."""

    x_test: Any
    aux_test: Any = None
    x_independent: Any = None
    aux_independent: Any = None


@dataclass(frozen=True)
class Encoded:
    """What is left of a fitted learner when it has encoded everything: codes, and what it says of itself."""

    train: Codes
    test: Codes
    independent: Codes | None = None
    n_parameters: int | None = None
    causal: Any = None
    history: Mapping[str, Any] = field(default_factory=dict)


class LearningFailed(Exception):
    """The learner's process reported a failure; ``record`` is its status, reason and traceback."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        super().__init__(record.get("reason", ""))
        self.record = dict(record)


class Learns(Protocol):
    """A learner at work, wherever it is; ``pid`` is where its time and memory are measured (None: here)."""

    pid: int | None

    def prepare(self, work: Work, view: TrainView) -> Mapping[str, Any]: ...
    def fit(self) -> Mapping[str, Any]: ...
    def take(self, inputs: Inputs) -> None: ...
    def encode(self, index: int) -> Encoded: ...


class Learning:
    """A learner in this process. Raises what the learner raises, BadCodes and Diverged for what it returns."""

    pid: int | None = None

    def __init__(self, progress: Progress = silent) -> None:
        self._progress = progress

    def prepare(self, work: Work, view: TrainView) -> Mapping[str, Any]:
        """Import and build the learner; returns what the machine says of itself."""
        self._work, self._view = work, view
        self._learner = registry.load(work.info)(**work.params)
        return _machine(work.device)

    def fit(self) -> Mapping[str, Any]:
        """Fit all seeds; returns the peak of the device's memory, where there is one."""
        work, (first, *others) = self._work, self._work.seeds
        torch = sys.modules.get("torch") if work.device == "cuda" else None
        if torch:
            torch.cuda.reset_peak_memory_stats()
        if others:
            fitted = self._learner.fit_many(
                self._view, seeds=list(work.seeds), device=work.device, progress=self._progress
            )
            self._fitted = list(fitted)
        else:
            self._learner.fit(self._view, seed=first, device=work.device, progress=self._progress)
            self._fitted = [self._learner]
        if len(self._fitted) != len(work.seeds):
            raise BadCodes(f"{work.info.name}.fit_many gave {len(self._fitted)} learners for {len(work.seeds)} seeds")
        if torch:
            torch.cuda.synchronize()
            return {"device_peak_mib": torch.cuda.max_memory_allocated() / 2**20}
        return {}

    def take(self, inputs: Inputs) -> None:
        """Inputs that ``encode`` will be asked about."""
        self._inputs = inputs

    def encode(self, index: int) -> Encoded:
        """Codes of training, held-out and independent inputs by the learner of one seed, every one checked."""
        info, learner, inputs = self._work.info, self._fitted[index], self._inputs
        history = json_values(dict(getattr(learner, "history_", None) or {}), f"{info.name}.history_")
        if history.get("diverged") is True:
            raise Diverged("training left the finite numbers")

        def codes_of(x: Any, aux: Any) -> Codes:
            codes = learner.encode(x, aux) if info.aux_at_test else learner.encode(x)
            return checked_codes(codes, len(x), info.name)

        train = codes_of(self._view.x, self._view.aux)
        test = codes_of(inputs.x_test, inputs.aux_test)
        independent = None
        if inputs.x_independent is not None:
            independent = codes_of(inputs.x_independent, inputs.aux_independent)
        if train.shape[1] != test.shape[1]:
            raise BadCodes(f"{info.name}.encode gave {train.shape[1]} codes a sample, then {test.shape[1]}")
        return Encoded(
            train,
            test,
            independent,
            n_parameters=count_of(getattr(learner, "n_parameters_", None), f"{info.name}.n_parameters_"),
            causal=getattr(learner, "causal_", None),
            history=history,
        )


def serve(channel: Channel) -> None:
    """Body of a learner's process: do what the messages say until the other end closes."""
    last = 0.0

    def progress(fraction: float, message: str = "") -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_S:
            last = time.monotonic()
            values = {"fraction": min(1.0, max(0.0, float(fraction))), "message": str(message)[:200]}
            channel.send("progress", json_values(values, "progress"))

    learning = Learning(progress)
    while True:
        try:
            message = channel.receive()
        except Closed:
            return
        try:
            values, arrays = _answer(learning, message.type, message.values, message.arrays)
        except Closed:
            return
        except Exception as error:  # noqa: BLE001 -- a learner may raise anything; its cells record it
            channel.send("failed", failure(error))
        else:
            channel.send("done", values, arrays)


def _answer(learning: Learning, kind: str, values: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    import numpy as np

    if kind == "prepare":
        info = LearnerInfo(**values["info"])
        work = Work(info, values["params"], values["seeds"], values["device"], values["threads"])
        _own_random_state(work.seeds[0])
        limit_threads(work.threads)
        found = learning.prepare(work, view_together(values, arrays))
        limit_threads(work.threads)  # torch, where the learner was the first to import it
        return found, {}
    if kind == "fit":
        return learning.fit(), {}
    if kind == "take":
        parts = ("x_test", "aux_test", "x_independent", "aux_independent")
        learning.take(Inputs(**{part: put_together(part, values, arrays) for part in parts}))
        return {}, {}
    encoded = learning.encode(int(values["index"]))
    codes = {"train": encoded.train, "test": encoded.test, "independent": encoded.independent}
    if encoded.causal is not None:
        codes["causal"] = np.asarray(encoded.causal)
    told = {"n_parameters": encoded.n_parameters, "history": encoded.history}
    return told, {name: array for name, array in codes.items() if array is not None}


class RemoteLearning:
    """A learner in another process, as the process that holds the truth sees it. Nothing it says is believed unread.

    Raises LearningFailed for what it reports, Malformed for an answer that is none, Closed when it is gone.
    """

    def __init__(self, channel: Channel, pid: int, progress: Progress) -> None:
        self._channel, self._progress = channel, progress
        self.pid: int | None = pid

    def prepare(self, work: Work, view: TrainView) -> Mapping[str, Any]:
        self._work, self._n_train = work, view.n_samples
        values, arrays = view_apart(view)
        told = {
            "info": json_values(asdict(work.info), "the learner's metadata"),
            "params": dict(work.params),
            "seeds": list(work.seeds),
            "device": work.device,
            "threads": work.threads,
        }
        return self._ask("prepare", values | told, arrays)[0]

    def fit(self) -> Mapping[str, Any]:
        return self._ask("fit", {}, {})[0]

    def take(self, inputs: Inputs) -> None:
        values: dict[str, Any] = {}
        arrays: dict[str, Any] = {}
        for part in ("x_test", "aux_test", "x_independent", "aux_independent"):
            more_values, more_arrays = take_apart(part, getattr(inputs, part))
            values, arrays = values | more_values, arrays | more_arrays
        self._n_test = len(inputs.x_test)
        self._n_independent = 0 if inputs.x_independent is None else len(inputs.x_independent)
        self._ask("take", values, arrays)

    def encode(self, index: int) -> Encoded:
        values, arrays = self._ask("encode", {"index": index}, {})
        sizes = {"train": self._n_train, "test": self._n_test, "independent": self._n_independent}
        wanted = {name: n for name, n in sizes.items() if name != "independent" or n}
        if not set(wanted) <= set(arrays) <= {*wanted, "causal"}:
            raise Malformed(f"codes called {', '.join(sorted(arrays)) or 'nothing'}")
        codes = {name: checked_codes(arrays[name], n, self._work.info.name) for name, n in wanted.items()}
        if len({array.shape[1] for array in codes.values()}) > 1:
            raise BadCodes(f"{self._work.info.name}.encode gave codes of several widths")
        history = values.get("history")
        return Encoded(
            **codes,
            n_parameters=count_of(values.get("n_parameters"), f"{self._work.info.name}.n_parameters_"),
            causal=arrays.get("causal"),
            history=history if isinstance(history, dict) else {},
        )

    def _ask(self, kind: str, values: Mapping[str, Any], arrays: Mapping[str, Any]) -> tuple[Any, Any]:
        self._channel.send(kind, values, arrays)
        while True:
            answer = self._channel.receive()
            if answer.type == "progress":
                fraction = answer.values.get("fraction")
                if isinstance(fraction, int | float):
                    self._progress(float(fraction), str(answer.values.get("message", "")))
            elif answer.type == "failed":
                raise LearningFailed(_believable(answer.values))
            elif answer.type == "done":
                return answer.values, answer.arrays
            else:
                raise Malformed(f"a message of the type '{answer.type[:40]}'")


def limit_threads(threads: int) -> None:
    """Threads of the numerical libraries that are loaded in this process."""
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _believable(values: Mapping[str, Any]) -> dict[str, Any]:
    """A reported failure with a status a learner may have and text of a bounded length."""
    status = values.get("status")
    if status not in ("skipped", "failed", "diverged", "oom"):
        raise Malformed(f"a failure with the status {str(status)[:40]!r}")
    record: dict[str, Any] = {"status": status, "reason": str(values.get("reason", ""))[:4000]}
    if status == "skipped":
        record["missing_data"] = values.get("missing_data") is True
    else:
        record["traceback"] = str(values.get("traceback", ""))[-(2**16) :]
    return record


def _own_random_state(seed: int) -> None:
    """Learners draw from generators of their own; one that does not shall still differ from its neighbour."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 -- the state of a process of its own
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _machine(device: str) -> dict[str, Any]:
    if device != "cuda":
        return {}
    import torch

    return {"gpu": torch.cuda.get_device_name(0)}
