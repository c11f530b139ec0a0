"""Meters measure what they say."""

import time

import numpy as np
import pytest

from bench.run.meter import Meter


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


def test_peak_memory_sees_what_was_freed_again() -> None:
    meter = Meter()
    with meter.peak_memory("first"):
        np.ones(8 * 2**20).sum()  # 64 MiB, gone when the block ends
    with meter.peak_memory("second"):
        pass
    assert 60 < meter.memory["first"] < 90
    assert meter.memory["second"] < 10
    assert meter.peak_so_far() >= meter.memory["first"]
