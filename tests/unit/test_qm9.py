"""QM9 from small files in both publishers' layouts: what is read, counted, cached and refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api import BadData, MissingData, NotApplicable
from bench.toolkit.inputs import content_hash
from datasets import sources
from datasets.molecular import qm9 as qm9_module
from datasets.molecular.qm9 import qm9
from datasets.molecular.superconductivity import superconductivity
from tests.unit.molecular_files import (
    N,
    sdf_members,
    small_molecules,
    targets_of,
    write_qm9,
    write_zip,
)


def test_qm9_reads_smiles_into_descriptors_or_fingerprints(folder: Path) -> None:
    write_qm9(folder)
    data = qm9(seed=0)
    assert data.train.x.shape[1] == len(qm9_module.features.DESCRIPTORS)
    assert (data.train.n_tasks, data.train.n_latents) == (12, 6)
    assert data.info["title"] == "QM9, 60 of 133,885 molecules"
    assert data.info["unreadable"] == 0
    train, _ = targets_of(data)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-12)
    counts = qm9(seed=0, inputs="fingerprint").train.x
    assert counts.shape[1] == 512
    assert (counts >= 0).all()
    assert (counts == counts.round()).all()


def test_both_layouts_of_qm9_give_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    write_qm9(folder)
    archive = write_zip(folder / "qm9" / "gdb9.zip", sdf_members())
    from_csv, from_sdf = qm9(seed=5), qm9(seed=5, layout="sdf")
    np.testing.assert_allclose(from_sdf.train.x, from_csv.train.x, atol=1e-4)
    np.testing.assert_allclose(from_sdf.eval.x_test, from_csv.eval.x_test, atol=1e-4)
    np.testing.assert_array_equal(from_sdf.train.y, from_csv.train.y)
    assert (from_csv.info["file"], from_sdf.info["file"]) == ("qm9/qm9.csv", "qm9/gdb9.zip")
    # the publisher's own archive is a compressed tar
    archive.unlink()
    with tarfile.open(folder / "qm9" / "gdb9.tar.gz", "w:gz") as tar:
        for name, content in sdf_members().items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    np.testing.assert_array_equal(qm9(seed=5, layout="sdf").train.x, from_sdf.train.x)
    assert sources.verify("qm9-sdf").startswith("$BENCH_DATA/qm9/gdb9.tar.gz: 60 of 133,885 molecules")


def test_molecules_that_cannot_be_read_are_left_out_and_counted(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def spoil(rows: list[list[Any]]) -> None:
        rows[3][1], rows[20][1] = "C1CC", "C(C)(C)(C)(C)C"

    write_qm9(folder, spoil)
    data = qm9(seed=0)
    assert data.info["unreadable"] == 2
    assert data.info["rows_used"] == N - 2
    assert data.info["rows"] == N
    assert capfd.readouterr().err == "", "RDKit's complaints are for the record, not for the screen"


def test_qm9_rows_do_not_depend_on_the_seed_and_small_is_within_large(folder: Path) -> None:
    write_qm9(folder)

    def rows(x: np.ndarray) -> set[bytes]:
        return {row.tobytes() for row in x}

    small, large = qm9(seed=1, rows=30), qm9(seed=2)
    assert small.info["rows_used"] == 30
    assert rows(small.eval.x_test) <= rows(large.eval.x_test)
    assert not rows(small.train.x) & rows(large.eval.x_test)
    np.testing.assert_array_equal(large.eval.x_test, qm9(seed=9).eval.x_test)


def test_features_are_cached_and_the_cache_only_saves_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_qm9(folder)
    fresh = qm9(seed=0)
    stored = list((folder.parent / "cache").rglob("qm9-*.npz"))
    assert len(stored) == 1

    def refuse(*args: object) -> None:
        raise AssertionError("featurised although the cache has it")

    with monkeypatch.context() as patch:
        patch.setattr(qm9_module.features, "featurise", refuse)
        np.testing.assert_array_equal(qm9(seed=0).train.x, fresh.train.x)
        with pytest.raises(AssertionError):
            qm9(seed=0, inputs="fingerprint")
    stored[0].write_bytes(stored[0].read_bytes()[:100])
    np.testing.assert_array_equal(qm9(seed=0).train.x, fresh.train.x)
    monkeypatch.setenv("BENCH_CACHE", str(folder / "qm9" / "qm9.csv"))  # a file, so no folder can be made in it
    np.testing.assert_array_equal(qm9(seed=0).train.x, fresh.train.x)


def test_another_file_is_not_served_from_the_cache(folder: Path) -> None:
    write_qm9(folder)
    before = qm9(seed=0).train.x

    def swap(rows: list[list[Any]]) -> None:
        rows[0][1], rows[1][1] = rows[1][1], rows[0][1]

    write_qm9(folder, swap)
    assert {row.tobytes() for row in qm9(seed=0).train.x} != {row.tobytes() for row in before}


def test_graphs_are_cached_and_their_counts_are_the_view_as_vectors(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_qm9(folder)
    fresh = qm9(seed=0, inputs="graph")
    monkeypatch.setattr(qm9_module.graphs, "read", lambda *a, **k: pytest.fail("read although the cache has it"))
    assert content_hash(qm9(seed=0, inputs="graph").train.x) == content_hash(fresh.train.x)
    np.testing.assert_array_equal(qm9(seed=0, inputs="counts").train.x, fresh.train.x.flat())


def test_doubtful_molecules_are_dropped_where_their_list_is_given(folder: Path) -> None:
    path = write_qm9(folder)
    with pytest.raises(MissingData, match=r"uncharacterized.txt is not beside qm9.csv"):
        qm9(seed=0, uncharacterized=False)
    listed = path.with_name("uncharacterized.txt")
    listed.write_text("=====\n Index  SMILES from coordinates\n=====\n    8  CC  C\n   15  CCO CC\n  99999  C C\n")
    data = qm9(seed=0, uncharacterized=False)
    assert (data.info["uncharacterized_dropped"], data.info["rows_used"], data.info["rows"]) == (2, N - 2, N)
    listed.write_text("nothing\n")
    with pytest.raises(BadData, match=r"uncharacterized.txt: no line begins with a molecule's number"):
        qm9(seed=0, uncharacterized=False)


def test_scaffold_splits_keep_a_scaffold_on_one_side_and_train_on_the_same_rows(folder: Path) -> None:
    write_qm9(folder)
    for split in ("scaffold", "rarest-scaffold"):
        out, inside = (qm9(seed=0, inputs="graph", split=split, evaluate=where) for where in ("out", "in"))
        assert content_hash(out.train.x) == content_hash(inside.train.x)
        assert content_hash(out.eval.x_test) != content_hash(inside.eval.x_test)
        assert "out of distribution" in out.info["title"]
        assert out.info["scaffolds_held_out"] >= 1


def test_qm9_files_that_do_not_fit_are_refused(folder: Path) -> None:
    path = write_qm9(folder)
    text = path.read_text()
    cases = {
        r"qm9.csv: no column 'gap'": text.replace(",gap,", ",gab,", 1),
        r"qm9.csv: row 60, column 'g298': empty": text.rsplit(",", 2)[0],
        r"qm9.csv: a header but no rows": text.split("\n")[0] + "\n",
        r"qm9.csv: row 3: 16 fields, but the header has 15": text.replace("gdb_15,", "gdb_15,extra,", 1),
        r"qm9.csv: row 2, column 'mu': 'inf' is not a finite number": _with_cell(text, 2, 3, "inf"),
        r"qm9.csv: row 2, column 'mu': 'nan' is not a finite number": _with_cell(text, 2, 3, "nan"),
        r"qm9.csv: row 2, column 'smiles': empty": _with_cell(text, 2, 1, ""),
        r"qm9.csv: 1 rows with a mol_id that an earlier row has: gdb_1;": _with_cell(text, 2, 0, "gdb_1"),
    }
    for message, content in cases.items():
        path.write_text(content)
        with pytest.raises(BadData, match=message):
            qm9(seed=0)


def _with_cell(text: str, row: int, column: int, cell: str) -> str:
    lines = text.split("\n")
    fields = lines[row].split(",")
    fields[column] = cell
    lines[row] = ",".join(fields)
    return "\n".join(lines)


def test_geometries_are_joined_to_the_table_by_name(folder: Path) -> None:
    path = folder / "qm9" / "gdb9.zip"
    members = sdf_members()
    write_zip(path, members)
    whole = qm9(seed=0, inputs="graph")
    records = members["gdb9.sdf"].split(b"$$$$\n")[:-1]
    write_zip(path, members | {"gdb9.sdf": b"$$$$\n".join([*records[::-1], b""])})
    turned = qm9(seed=0, inputs="graph")
    assert content_hash(turned.train.x) == content_hash(whole.train.x)
    np.testing.assert_array_equal(turned.train.y, whole.train.y)
    names = small_molecules()[0]
    write_zip(path, sdf_members([names[0], "gdb_999", *names[2:]]))
    fewer = qm9(seed=0, inputs="graph")
    assert fewer.info["left_out"] == {"no record": {"number": 1, "first": ["gdb_8"]}}
    assert fewer.info["rows_used"] == N - 1
    with pytest.raises(BadData, match=r"60 records and gdb9.sdf.csv 60 rows; not in both: gdb_8, gdb_999"):
        sources.verify("qm9-sdf")
    write_zip(path, sdf_members([f"x{name}" for name in names]))
    with pytest.raises(BadData, match=r"none of 60 molecules has features; .*no record"):
        qm9(seed=0, inputs="graph")


def test_without_the_files_both_say_how_to_get_them(folder: Path) -> None:
    with pytest.raises(MissingData, match=r"python -m bench data fetch superconductivity$"):
        superconductivity(seed=0)
    with pytest.raises(MissingData, match=r"python -m bench data fetch qm9$"):
        qm9(seed=0)
    with pytest.raises(MissingData, match=r"python -m bench data fetch qm9-sdf$"):
        qm9(seed=0, layout="sdf")


def test_parameters_out_of_range_are_named(folder: Path) -> None:
    write_qm9(folder)
    with pytest.raises(ValueError, match="layout='xyz' is not one of 'auto', 'csv', 'sdf'"):
        qm9(seed=0, layout="xyz")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs='images' is not one of"):
        qm9(seed=0, inputs="images")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows=0 must be at least 1"):
        qm9(seed=0, rows=0)
    with pytest.raises(NotApplicable, match="raise 'rows'"):
        qm9(seed=0, rows=2)
