"""Meters measure what they say."""

import subprocess
import sys
import time

import pytest

from bench.run.meter import Meter
from tests.conftest import ROOT


def test_phases_add_up_and_tell_waiting_from_working() -> None:
    meter = Meter()
    for _ in range(2):
        with meter.phase("wait"):
            time.sleep(0.05)
    assert meter.phases["wait"]["wall_s"] >= 0.1
    assert meter.phases["wait"]["cpu_s"] < 0.05


def test_a_phase_that_raises_is_timed_all_the_same() -> None:
    meter = Meter()
    with pytest.raises(RuntimeError), meter.phase("fit"):
        raise RuntimeError
    assert "fit" in meter.phases


PEAKS = """
import numpy as np
from bench.run.meter import Meter
from tests.conftest import ROOT
meter = Meter()
with meter.peak_memory("first"):
    np.ones(8 * 2**20).sum()  # 64 MiB, gone when the block ends
with meter.peak_memory("second"):
    pass
print(meter.memory["first"], meter.memory["second"], meter.peak_so_far())
"""


def test_peak_memory_sees_what_was_freed_again() -> None:
    """In a process of its own: one that has run hundreds of tests holds memory that it can use again unseen."""
    done = subprocess.run([sys.executable, "-c", PEAKS], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second, peak = map(float, done.stdout.split())
    assert 60 < first < 90
    assert second < 10
    assert peak >= first
