"""Learners that look for the true latents where they might lie. What each finds, it gives as its codes."""

import contextlib
import ctypes
import gc
import glob
import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np

from bench.api import EvalView, learner


class _Spy:
    """Gives the training inputs and noise, unless it has found something of the right shape."""

    def __init__(self, *, out: str = "", data: str = "", budget: str = "smoke") -> None:
        self.out, self.data, self.budget = out, data, budget
        self.found = {}

    def fit(self, view, *, seed, device, progress):
        self.view, self.seed, self.d = view, seed, view.n_latents
        with contextlib.suppress(Exception):
            self.look_while_fitting()
        return self

    def encode(self, x, aux=None):
        with contextlib.suppress(Exception):
            self.look_while_encoding(x)
        known = self.found.get(len(x))
        return np.random.default_rng(0).standard_normal((len(x), self.d)) if known is None else known

    def look_while_fitting(self):
        pass

    def look_while_encoding(self, x):
        pass

    def keep(self, truth):
        for z in (truth.z_train, truth.z_test, truth.z_independent):
            if z is not None:
                self.found[len(z)] = np.asarray(z, dtype=np.float64)

    def search(self, values):
        for value in values:
            if isinstance(value, EvalView):
                self.keep(value)
            elif isinstance(getattr(value, "eval", None), EvalView):
                self.keep(value.eval)


def frames():
    frame = sys._getframe()
    while frame:
        yield from frame.f_locals.values()
        yield from list(frame.f_globals.values())
        frame = frame.f_back


@learner("peek-frames-fit", guarantee="none", paper="none")
class FramesFit(_Spy):
    """Walks up the stack while fitting."""

    def look_while_fitting(self):
        self.search(frames())


@learner("peek-frames-encode", guarantee="none", paper="none")
class FramesEncode(_Spy):
    """Walks up the stack while encoding."""

    def look_while_encoding(self, x):
        self.search(frames())


@learner("peek-objects", guarantee="none", paper="none")
class Objects(_Spy):
    """Asks the garbage collector for everything there is."""

    def look_while_encoding(self, x):
        self.search(gc.get_objects())


@learner("peek-evaluate", guarantee="none", paper="none")
class ReplacesEvaluate(_Spy):
    """Replaces the function that scores by one that finds everything perfect."""

    def look_while_fitting(self):
        import bench.metrics.evaluate as module
        from bench.metrics.base import Score

        module.evaluate = lambda *args, **kwargs: {"mcc": Score(1.0)}


@learner("peek-numpy", guarantee="none", paper="none")
class ReplacesNumpy(_Spy):
    """Replaces what scores are computed with."""

    def look_while_fitting(self):
        import bench.metrics.correlation as correlation

        np.corrcoef = lambda *args, **kwargs: np.ones((2, 2))
        correlation.mcc_per_factor = lambda pairs: np.ones(3)


def derived(*parts):
    return int.from_bytes(hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).digest()[:4], "big")


class _Reseeds(_Spy):
    name = ""

    def try_seed(self, seed):
        from datasets.synthetic import causal

        data = causal.linear_causal(seed=seed, **json.loads(self.data))
        if np.array_equal(data.train.x, self.view.x):
            self.keep(data.eval)
            return True
        return False


@learner("peek-reseeds", guarantee="none", paper="none")
class Reseeds(_Reseeds):
    """Finds its repetition by the model seed, derives the data seed, makes the data again."""

    def look_while_fitting(self):
        for repetition in range(100):
            if derived("model", "peek-reseeds", "linear-causal", repetition) == self.seed:
                self.try_seed(derived("data", "linear-causal", repetition))


@learner("peek-records", guarantee="none", paper="none")
class ReadsRecords(_Reseeds):
    """Reads seeds, salt and codes from the results folder."""

    def look_while_fitting(self):
        for path in (*glob.glob(f"{self.out}/plan/*.json"), *glob.glob(f"{self.out}/runs/*.json")):
            with contextlib.suppress(OSError):
                text = Path(path).read_text()
                for part in text.split('"data_seed":')[1:]:
                    self.try_seed(int(part.split(",")[0]))
        with contextlib.suppress(OSError, ValueError, KeyError):
            salt = json.loads(Path(f"{self.out}/store.json").read_text())["salt"]
            for repetition in range(5):
                digest = hashlib.sha256(json.dumps(["data", "linear-causal", str(repetition), salt]).encode())
                self.try_seed(int.from_bytes(digest.digest()[:16], "big"))


def processes():
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                if b"python" in Path(f"/proc/{name}/cmdline").read_bytes():
                    yield int(name)


@learner("peek-memory", guarantee="none", paper="none")
class ReadsMemory(_Reseeds):
    """Reads the memory of every other process of this user."""

    read = 0

    def look_while_encoding(self, x):
        for pid in processes():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                    first, last = (int(part, 16) for part in line.split()[0].split("-"))
                    if " rw-p" in line and "[heap]" in line:
                        with open(f"/proc/{pid}/mem", "rb") as memory:
                            memory.seek(first)
                            self.read += len(memory.read(last - first))
        if self.read:
            self.found[len(x)] = np.full((len(x), self.d), np.nan)  # caught: it could read


@learner("peek-traces", guarantee="none", paper="none")
class Traces(_Spy):
    """Attaches to every other process of this user as a debugger does."""

    def look_while_encoding(self, x):
        libc = ctypes.CDLL(None)
        for pid in processes():
            if libc.ptrace(16906, pid, 0, 0) == 0:  # PTRACE_SEIZE
                self.found[len(x)] = np.full((len(x), self.d), np.nan)


@learner("peek-descriptors", guarantee="none", paper="none")
class Descriptors(_Spy):
    """Opens what its ancestors have open."""

    def look_while_encoding(self, x):
        for pid in processes():
            with contextlib.suppress(OSError):
                for number in os.listdir(f"/proc/{pid}/fd"):
                    os.readlink(f"/proc/{pid}/fd/{number}")
                    self.found[len(x)] = np.full((len(x), self.d), np.nan)


@learner("peek-inherited", guarantee="none", paper="none")
class Inherited(_Spy):
    """Searches its own memory for what was there before it was forked: seeds, datasets, salt."""

    def look_while_fitting(self):
        from bench.run.spec import RunSpec

        for thing in gc.get_objects():
            if isinstance(thing, RunSpec) or (isinstance(thing, dict) and isinstance(thing.get("data_seed"), int)):
                self.found[len(self.view.x)] = np.full((len(self.view.x), self.d), np.nan)


@learner("peek-datasets", guarantee="none", paper="none")
class DatasetCaches(_Spy):
    """Looks into every module of the datasets, and the folders of their files and caches."""

    def look_while_encoding(self, x):
        for name, module in list(sys.modules.items()):
            if name.startswith("datasets"):
                self.search(vars(module).values())
                for value in vars(module).values():
                    if hasattr(value, "cache_info") and value.cache_info().currsize:
                        self.found[len(x)] = np.full((len(x), self.d), np.nan)
        for folder in (os.environ.get("BENCH_DATA"), os.environ.get("BENCH_CACHE")):
            for root, _, files in os.walk(folder or "/nowhere"):
                for file in files:
                    with contextlib.suppress(OSError):
                        Path(root, file).read_bytes()
                        self.found[len(x)] = np.full((len(x), self.d), np.nan)
