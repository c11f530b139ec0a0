"""Superconductors from small files in the publisher's layout: what is read, how it is split, what refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.api import BadData
from datasets import sources
from datasets.molecular.superconductivity import superconductivity
from tests.unit.molecular_files import (
    N,
    Superconductors,
    targets_of,
    write_zip,
)


def test_superconductors_have_element_amounts_in_and_standardised_targets_out(folder: Path) -> None:
    files = Superconductors(folder)
    data = superconductivity(seed=3, n_latents=4, inputs="amounts")
    view = data.train
    assert view.x.dtype == np.float32
    assert (view.x.shape[1], view.n_tasks, view.n_latents) == (86, 82, 4)
    train, test = targets_of(data)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-12)
    # every row is one of the file's, with the file's targets up to the standardisation of the training rows
    rows = [int(np.flatnonzero((files.amounts == x).all(1))[0]) for x in view.x]
    mean, scale = files.targets[rows].mean(0), files.targets[rows].std(0)
    np.testing.assert_allclose(train, (files.targets[rows] - mean) / scale, atol=1e-9)
    held = [int(np.flatnonzero((files.amounts == x).all(1))[0]) for x in data.eval.x_test]
    np.testing.assert_allclose(test, (files.targets[held] - mean) / scale, atol=1e-9)
    assert not set(rows) & set(held)
    assert data.eval.z_train is None
    assert data.eval.causal is None


def test_fractions_are_the_amounts_by_the_number_of_atoms(folder: Path) -> None:
    Superconductors(folder)
    amounts, fractions = (superconductivity(seed=0, inputs=inputs).train for inputs in ("amounts", "fractions"))
    np.testing.assert_allclose(fractions.x, amounts.x / amounts.x.sum(1, keepdims=True), rtol=1e-6)
    np.testing.assert_array_equal(fractions.y, amounts.y)
    with pytest.raises(ValueError, match="inputs='logs' is not one of 'amounts', 'fractions'"):
        superconductivity(seed=0, inputs="logs")  # type: ignore[arg-type]


def test_the_leak_is_off_unless_asked_for_and_is_said(folder: Path) -> None:
    files = Superconductors(folder)
    plain, leaky = superconductivity(seed=0), superconductivity(seed=0, leak_tc=True)
    assert plain.train.x.shape[1] == 86
    np.testing.assert_array_equal(leaky.train.x[:, :86], plain.train.x)
    assert set(leaky.train.x[:, 86]) <= set(files.targets[:, -1].astype(np.float32))
    train, _ = targets_of(leaky)
    assert np.corrcoef(leaky.train.x[:, 86], train[:, -1])[0, 1] > 1 - 1e-6
    assert (plain.info["leak_tc"], leaky.info["leak_tc"]) == (False, True)
    assert "leaked" in leaky.info["title"]
    assert "leaked" not in plain.info["title"]


def test_the_record_says_what_was_loaded(folder: Path) -> None:
    files = Superconductors(folder)
    info = superconductivity(seed=0).info
    assert info["title"] == "Superconductivity, 60 of 21,263 superconductors"
    assert (info["rows"], info["rows_full"], info["rows_used"]) == (N, 21_263, N)
    assert info["sha256"] == sources.file_digest(files.path)
    assert superconductivity(seed=0, rows=40).info["title"].endswith("60 of 21,263 superconductors, 40 used")


def test_the_seed_moves_the_training_set_and_leaves_the_held_out_set(folder: Path) -> None:
    Superconductors(folder)
    a, again, b = (superconductivity(seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.train.x, again.train.x)
    np.testing.assert_array_equal(a.train.y, again.train.y)
    np.testing.assert_array_equal(a.eval.x_test, b.eval.x_test)
    assert {row.tobytes() for row in a.train.x} != {row.tobytes() for row in b.train.x}


def test_one_composition_is_never_on_both_sides(folder: Path) -> None:
    files = Superconductors(folder)
    for i in range(0, N, 2):
        files.unique[i][:86] = files.unique[i + 1][:86]
    files.write()
    for seed in range(5):
        data = superconductivity(seed=seed)
        assert not {row.tobytes() for row in data.train.x} & {row.tobytes() for row in data.eval.x_test}


def test_superconductor_files_that_do_not_fit_are_refused(folder: Path) -> None:
    files = Superconductors(folder)
    files.train.pop()
    files.write()
    with pytest.raises(BadData, match=r"unique_m.csv has 60 rows and train.csv 59"):
        superconductivity(seed=0)

    files = Superconductors(folder)
    files.train[4], files.train[9] = files.train[9], files.train[4]
    files.write()
    with pytest.raises(BadData, match=r"row 5, column 'critical_temp': .* not in the same order"):
        superconductivity(seed=0)

    files = Superconductors(folder)
    files.features = ("number_of_elements", "something_else", *files.features[2:])
    files.write()
    with pytest.raises(BadData, match=r"superconductivty\+data.zip: train.csv: no column 'mean_atomic_mass'"):
        superconductivity(seed=0)

    files = Superconductors(folder)
    files.unique[5][:86] = [0] * 86
    files.write()
    with pytest.raises(BadData, match=r"unique_m.csv: row 6: no element in it"):
        superconductivity(seed=0)

    files = Superconductors(folder)
    files.train[7][2] = "n.a."
    files.write()
    with pytest.raises(
        BadData, match=r"train.csv: row 8, column 'wtd_mean_atomic_mass': 'n.a.' is not a finite number"
    ):
        superconductivity(seed=0)


def test_a_truncated_or_damaged_archive_is_named(folder: Path) -> None:
    files = Superconductors(folder)
    whole = files.path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"<html>", whole[:200] + b"\0" * 400 + whole[600:]):
        files.path.write_bytes(damaged)
        with pytest.raises(BadData, match=r"\$BENCH_DATA/superconductivity/superconductivty\+data.zip: "):
            superconductivity(seed=0)
    write_zip(files.path, {"readme.txt": b"nothing"})
    with pytest.raises(BadData, match=r"no member 'unique_m.csv' in the archive, it holds: readme.txt"):
        superconductivity(seed=0)


def test_a_recorded_checksum_beside_a_given_file_is_honoured(folder: Path) -> None:
    files = Superconductors(folder)
    files.path.with_name(files.path.name + ".sha256").write_text("0" * 64 + "  it\n")
    with pytest.raises(BadData, match=f"sha256 expected {'0' * 64}, found {sources.file_digest(files.path)}"):
        superconductivity(seed=0)
    files.path.with_name(files.path.name + ".sha256").write_text("rubbish")
    with pytest.raises(BadData, match="not a sha256 record"):
        superconductivity(seed=0)
