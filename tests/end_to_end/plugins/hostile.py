"""Learners that are clumsy or mean; each does one thing that once hung, crashed or falsified a run."""

import contextlib
import enum
import glob
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from bench.api import learner

MARK = "left-behind-by-a-learner"


class _Copy:
    def __init__(self, *, out: str = "") -> None:
        self.out = out

    def fit(self, view, *, seed, device, progress):
        self.misbehave(view, progress)
        return self

    def misbehave(self, view, progress):
        pass

    def encode(self, x, aux=None):
        return np.asarray(x, dtype=np.float64)


def sockets():
    """Descriptors of this process that are sockets: the way to the harness."""
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if number > 2 and os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                yield number


@learner("bad-thread", guarantee="none", paper="none")
class LeavesThread(_Copy):
    """Leaves a thread that never ends."""

    def misbehave(self, view, progress):
        threading.Thread(target=time.sleep, args=(3600,)).start()


@learner("bad-half-message", guarantee="none", paper="none")
class HalfMessage(_Copy):
    """Sends the beginning of a message, then nothing."""

    def misbehave(self, view, progress):
        for number in sockets():
            os.write(number, (500).to_bytes(8, "little") + b'{"type"')
        time.sleep(3600)


@learner("bad-garbage", guarantee="none", paper="none")
class Garbage(_Copy):
    """Sends what is no message."""

    def misbehave(self, view, progress):
        for number in sockets():
            os.write(number, b"\x80\x04\x95 a pickle, perhaps")
        time.sleep(3600)


@learner("bad-huge", guarantee="none", paper="none")
class Huge(_Copy):
    """Announces codes of an exabyte."""

    def misbehave(self, view, progress):
        header = b'{"type": "done", "values": {}, "arrays": [["train", "<f8", [1073741824, 1073741824], "C"]]}'
        for number in sockets():
            os.write(number, len(header).to_bytes(8, "little") + header)
        time.sleep(3600)


@learner("bad-forged", guarantee="none", paper="none")
class Forged(_Copy):
    """Sends a finished record of its own making."""

    def misbehave(self, view, progress):
        header = b'{"type": "record", "values": {"record": {"status": "ok", "metrics": {}}}, "arrays": []}'
        for number in sockets():
            os.write(number, len(header).to_bytes(8, "little") + header)


@learner("bad-closes", guarantee="none", paper="none")
class Closes(_Copy):
    """Closes its way to the harness and goes on."""

    def misbehave(self, view, progress):
        for number in sockets():
            os.close(number)
        time.sleep(3600)


@learner("bad-fork-returns", guarantee="none", paper="none")
class ForkReturns(_Copy):
    """Forks a child that runs on as if it were the learner."""

    def misbehave(self, view, progress):
        os.fork()


@learner("bad-signal", guarantee="none", paper="none")
class RealTimeSignal(_Copy):
    """Dies of a signal that has no name."""

    def misbehave(self, view, progress):
        os.kill(os.getpid(), signal.SIGRTMIN + 6)


@learner("bad-exits", guarantee="none", paper="none")
class Exits(_Copy):
    """Leaves the interpreter."""

    def misbehave(self, view, progress):
        sys.exit(3)


@learner("bad-stops", guarantee="none", paper="none")
class Stops(_Copy):
    """Stops itself, as Ctrl-Z does."""

    def misbehave(self, view, progress):
        os.kill(os.getpid(), signal.SIGSTOP)


@learner("bad-numpy-count", guarantee="none", paper="none")
class NumpyCount(_Copy):
    """Counts its parameters in numpy."""

    n_parameters_ = np.int64(7)


@learner("bad-nan-count", guarantee="none", paper="none")
class NanCount(_Copy):
    """Does not know how many parameters it has."""

    n_parameters_ = float("nan")


@learner("bad-progress", guarantee="none", paper="none")
class ProgressFromThreads(_Copy):
    """Tells of its progress from many threads at once."""

    def misbehave(self, view, progress):
        def tell():
            for step in range(200):
                progress(step / 200, f"step {step} " + "x" * 5000)
                time.sleep(0.001)

        threads = [threading.Thread(target=tell) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Colour(enum.StrEnum):
    RED = "red"


@learner("bad-words", guarantee="none", paper="none")
class Words(_Copy):
    """Has a history of strange strings: half a surrogate pair, a class of its own."""

    def misbehave(self, view, progress):
        self.history_ = {"half": "\ud800", "colour": Colour.RED, "\udfff": 1}


@learner("bad-endless", guarantee="none", paper="none")
class Endless(_Copy):
    """Has a history that contains itself."""

    def misbehave(self, view, progress):
        self.history_ = {}
        self.history_["me"] = self.history_


@learner("bad-message", guarantee="none", paper="none")
class BrokenMessage(_Copy):
    """Raises an error whose message cannot be read."""

    def misbehave(self, view, progress):
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError("no words")

        raise Odd


@learner("bad-children", guarantee="none", paper="none")
class LeavesChildren(_Copy):
    """Leaves children that want to live on: in sessions of their own, their parents gone."""

    def misbehave(self, view, progress):
        code = f"import time; time.sleep(3600)  # {MARK} {os.environ['TMPDIR']}"
        for environment in (None, None, {}):
            subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env=environment)
        if os.fork() == 0:
            os.setsid()
            subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
            os._exit(0)


@learner("bad-family-eats", guarantee="none", paper="none")
class FamilyEats(_Copy):
    """Takes little memory itself; its children take much."""

    def misbehave(self, view, progress):
        for _ in range(4):
            if os.fork() == 0:
                kept = np.ones(2**26)  # 512 MiB
                time.sleep(3600)
                os._exit(int(kept[0]))
        time.sleep(3600)


@learner("bad-gulp", guarantee="none", paper="none")
class Gulp(_Copy):
    """Wants much memory at once."""

    def misbehave(self, view, progress):
        for _ in range(3):
            np.ones(5 * 2**28).sum()  # 10 GiB


@learner("bad-shouts", guarantee="none", paper="none")
class Shouts(_Copy):
    """Prints 100 MB in one line, then fails."""

    def misbehave(self, view, progress):
        for _ in range(100):
            sys.stdout.write("x" * 10**6)
        raise ValueError("hoarse")


@learner("bad-pool", guarantee="none", paper="none")
class Pool(_Copy):
    """Uses processes of its own, as a learner may."""

    def misbehave(self, view, progress):
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        loader = DataLoader(TensorDataset(torch.as_tensor(view.x)), batch_size=16, num_workers=1)
        self.history_ = {"rows": sum(len(batch) for (batch,) in loader)}


@learner("bad-vandal", guarantee="none", paper="none")
class Vandal(_Copy):
    """Writes into its neighbours' records and deletes the folder's marker."""

    def misbehave(self, view, progress):
        for path in glob.glob(f"{self.out}/runs/*.json"):
            with contextlib.suppress(OSError):
                Path(path).write_text("0.123")
        for path in (f"{self.out}/store.json", f"{self.out}/index.jsonl"):
            with contextlib.suppress(OSError):
                os.remove(path)


@learner("bad-killer", guarantee="none", paper="none")
class Killer(_Copy):
    """Ends the process above it, and the one above that."""

    def misbehave(self, view, progress):
        above = os.getppid()
        higher = int(Path(f"/proc/{above}/stat").read_text().rpartition(")")[2].split()[1])
        for pid in (above, higher):
            os.kill(pid, signal.SIGKILL)


@learner("bad-caller", guarantee="none", paper="none")
class Caller(_Copy):
    """Calls the service whose address it is given, such as that of the cluster it runs on."""

    def misbehave(self, view, progress):
        host, _, port = self.out.partition(":")
        self.history_ = {}
        if port:
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
                self.history_ = {"answer": "connected"}
            except OSError as error:
                self.history_ = {"answer": type(error).__name__}


@learner("bad-wanders", guarantee="none", paper="none")
class Wanders(_Copy):
    """Changes the working folder and closes standard output."""

    def misbehave(self, view, progress):
        os.chdir("/")
        os.close(1)


@learner("bad-dice", guarantee="none", paper="none")
class Dice(_Copy):
    """Draws from the generators everybody shares."""

    def misbehave(self, view, progress):
        self.history_ = {"numpy": float(np.random.rand()), "python": random.random()}  # noqa: NPY002


@learner("bad-masked", guarantee="none", paper="none")
class Masked(_Copy):
    """Gives codes with holes."""

    def encode(self, x, aux=None):
        return np.ma.masked_greater(np.asarray(x, dtype=np.float64), 0.5)


@learner("bad-long", guarantee="none", paper="none")
class Long(_Copy):
    """Gives codes of more digits than most machines have."""

    def encode(self, x, aux=None):
        return np.asarray(x, dtype=np.longdouble)
