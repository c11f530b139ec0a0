"""Splits of real data and tables: what is held out, targets in long format, numbers from files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.molecular.splits import long_format, pool, real_data
from datasets.molecular.tables import read_table
from tests.unit.molecular_files import (
    csv_bytes,
    write_zip,
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=6), min_size=2, max_size=80), st.integers(1, 80), st.randoms(use_true_random=False))
def test_what_is_held_out_depends_on_the_sample_alone(identities: list[bytes], rows: int, shuffle: Any) -> None:
    def sides(names: list[bytes], size: int | None) -> dict[bytes, bool]:
        chosen = pool(names, size)
        found: dict[bytes, bool] = {}
        for row, held in zip(chosen.rows, chosen.held_out, strict=True):
            assert found.setdefault(names[row], bool(held)) == bool(held)
        return found

    everything = sides(identities, None)
    assert set(everything) == set(identities)
    shuffled = list(identities)
    shuffle.shuffle(shuffled)
    assert sides(shuffled, None) == everything
    assert sides(identities, rows).items() <= everything.items()


def test_a_fifth_is_held_out() -> None:
    held_out = pool([b"%d" % i for i in range(20_000)], None).held_out
    assert 0.19 < held_out.mean() < 0.21  # 3.5 standard errors


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 6), st.integers(1, 5), st.floats(0, 1))
def test_long_format_holds_every_observed_target_once(n: int, n_tasks: int, share: float) -> None:
    rng = np.random.default_rng(n * 10 + n_tasks)
    targets = rng.normal(size=(n, n_tasks))
    observed = rng.random((n, n_tasks)) < share
    for mask in (None, observed):
        sample, task, y = long_format(targets, mask)
        table = np.full((n, n_tasks), np.nan)
        table[sample, task] = y
        expected = targets if mask is None else np.where(mask, targets, np.nan)
        np.testing.assert_array_equal(table, expected)
        assert len(y) == np.isfinite(expected).sum()


def test_a_constant_target_is_centred_and_named() -> None:
    targets = np.column_stack([np.arange(10.0), np.full(10, 7.0)])
    held_out = np.arange(10) >= 8
    data = real_data(np.ones((10, 2)), targets, held_out, seed=0, n_latents=1, info={"title": "t", "rows": 10})
    assert data.info["constant_targets"] == [1]
    assert (data.train.y[data.train.task == 1] == 0).all()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(rows=st.lists(st.tuples(*[st.floats(-1e12, 1e12)] * 2), min_size=1, max_size=12), zipped=st.booleans())
def test_numbers_survive_the_way_through_a_table(
    rows: list[tuple[float, float]], zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    content = csv_bytes(("name", "b", "a"), [[f"r{i}", b, a] for i, (a, b) in enumerate(rows)])
    if zipped:
        write_zip(path, {"folder/t.csv": content})
    else:
        path.write_bytes(content)
    values, text = read_table(path, "t.csv", ("a", "b"), ("name",))
    np.testing.assert_allclose(values, rows, rtol=1e-15)
    assert text["name"] == [f"r{i}" for i in range(len(rows))]
