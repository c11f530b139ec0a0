"""Claims: one holder a cell, and none for ever."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from bench.run.claims import Claims


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    first, second = Claims(tmp_path / "c"), Claims(tmp_path / "c")
    assert first.take(["a", "b"])
    assert not second.take(["c", "b"])
    assert not (tmp_path / "c" / "c.claim").exists(), "what was claimed with it is given back"
    first.release(["b"])
    assert second.take(["c", "b"])
    first.release_all()
    second.release_all()
    assert not (tmp_path / "c").exists()


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "c")
    assert claims.take(["a"])
    path = tmp_path / "c" / "a.claim"
    holder = json.loads(path.read_text())
    for change in ({"pid": 2**22 + 1}, {"started": holder["started"] - 100}):
        path.write_text(json.dumps({**holder, **change}))
        assert Claims(tmp_path / "c").take(["a"])


def test_another_machine_is_believed_for_its_lease(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "c")
    assert claims.take(["a"])
    path = tmp_path / "c" / "a.claim"
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "elsewhere", "lease_s": 30}))
    assert not Claims(tmp_path / "c").take(["a"])
    os.utime(path, (time.time() - 31, time.time() - 31))
    assert Claims(tmp_path / "c").take(["a"])


def test_a_damaged_claim_ends_with_its_lease(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    path = tmp_path / "c" / "a.claim"
    path.write_text("")
    assert not Claims(tmp_path / "c", lease_s=60).take(["a"])
    os.utime(path, (time.time() - 61, time.time() - 61))
    assert Claims(tmp_path / "c", lease_s=60).take(["a"])
