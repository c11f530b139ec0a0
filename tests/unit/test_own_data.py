"""A user's file becomes the views: forms of targets, words as categories, a fixed held-out part, errors by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api import BadData, MissingData, NotApplicable
from bench.toolkit.inputs import Images, Sequences
from datasets.own.data import describe, load
from datasets.own.files import read

N = 100


def arrays(**change: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made = {
        "x": rng.standard_normal((N, 4)),
        "y": rng.standard_normal(N),
        "task": np.array([f"assay {i % 3}" for i in range(N)]),
        "z": rng.standard_normal((N, 2)),
    }
    return {name: value for name, value in (made | change).items() if value is not None}


def saved(folder: Path, **change: Any) -> str:
    np.savez(folder / "mine.npz", **arrays(**change))
    return str(folder / "mine.npz")


def test_the_parts_of_the_file_are_the_parts_of_the_views(tmp_path: Path) -> None:
    path, given = saved(tmp_path), arrays()
    data = load(seed=3, path=path)
    assert (len(data.train.x), len(data.eval.x_test)) == (64, 20)  # four fifths of four fifths; a fifth
    assert data.train.n_latents == 2
    row = int(np.flatnonzero((given["x"].astype(np.float32) == data.train.x[5]).all(axis=1))[0])
    at = int(np.flatnonzero(data.train.sample == 5)[0])
    assert data.train.y[at] == given["y"][row]
    assert data.info["tasks"][data.train.task[at]] == given["task"][row]
    assert data.eval.z_train is not None
    assert np.array_equal(data.eval.z_train[5], given["z"][row])
    assert np.array_equal(data.train.aux, data.train.task), "the one task of a sample is a category of it"


def test_held_out_rows_are_the_same_for_every_seed(tmp_path: Path) -> None:
    path = saved(tmp_path, z=None)
    one, other = load(seed=0, path=path, latents=2), load(seed=1, path=path, latents=2)
    assert np.array_equal(one.eval.x_test, other.eval.x_test)
    assert not np.array_equal(one.train.x, other.train.x)


def test_a_column_a_task_leaves_missing_targets_out(tmp_path: Path) -> None:
    y = np.arange(2.0 * N).reshape(N, 2)
    y[0, 1] = y[7, 0] = np.nan
    data = load(seed=0, path=saved(tmp_path, y=y, task=None))
    assert data.train.n_tasks == 2
    assert np.isfinite(data.train.y).all()
    assert describe(saved(tmp_path, y=y, task=None))["provides"] == ("targets",)


def test_what_the_file_has_decides_what_applies(tmp_path: Path) -> None:
    assert describe(saved(tmp_path))["provides"] == ("targets", "aux")
    binary = describe(saved(tmp_path, y=np.arange(N) % 2, labels=np.arange(N) % 4, z=None))
    assert binary["provides"] == ("targets", "binary", "aux", "labels")
    assert not binary["truth"]


def test_kinds_of_input_follow_from_the_array(tmp_path: Path) -> None:
    images = load(seed=0, path=saved(tmp_path, x=np.zeros((N, 3, 4, 4), np.uint8)))
    assert isinstance(images.train.x, Images)
    sequences = load(seed=0, path=saved(tmp_path, x=np.zeros((N, 6, 2))))
    assert isinstance(sequences.train.x, Sequences)


def test_csv_by_usual_names_and_by_a_line_of_columns(tmp_path: Path) -> None:
    given = arrays()
    lines = ["x0,x1,x2,x3,y,task,note"]
    lines += [",".join([*map(str, given["x"][i]), str(given["y"][i]), given["task"][i], "n"]) for i in range(N)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines))
    assert np.allclose(read(path).x, given["x"])
    named = read(path, "x=x1,x3 y=y task=task labels=note")
    assert np.allclose(named.x, given["x"][:, [1, 3]])
    assert list(named.labels[:2]) == ["n", "n"]  # type: ignore[index]


def test_parquet_is_read_where_its_package_is(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"x0": np.arange(N) * 1.0, "y": np.arange(N) * 2.0})
    path = tmp_path / "mine.parquet"
    try:
        table.to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(BadData, match="pip install pyarrow"):
            read(path)
    else:
        assert np.allclose(read(path).y, table["y"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X": np.zeros(3)}, "nobody reads its array 'X'; the names are x, y, task"),
        ({"x": None}, "has no array x, only y, task, z"),
        ({"y": np.zeros(7)}, "y has 7 rows, expected 100 as in x"),
        ({"x": np.full((N, 4), np.nan)}, "x has no number in row 0"),
        ({"z": np.array(["a"] * N)}, "z must be numbers"),
        ({"sample": np.arange(N)[:50]}, "y has 100 rows, expected 50 as in sample"),
        ({"sample": np.arange(N) + 1}, "sample must be rows of x, 0 to 99"),
        ({"y": np.zeros((N, 2))}, "y has a column a task"),
        ({"z": None}, "say how many latent factors to recover with --latents"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadData, match=words):
        load(seed=0, path=saved(tmp_path, **change))


def test_other_files_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("p,q\n1,2\n")
    with pytest.raises(BadData, match="no columns x0, x1, … in it; name them: --columns"):
        read(tmp_path / "a.csv")
    with pytest.raises(BadData, match="no column 'r' for x; there are p, q"):
        read(tmp_path / "a.csv", "x=r")
    with pytest.raises(BadData, match="is not PART=COLUMN"):
        read(tmp_path / "a.csv", "input=p")
    (tmp_path / "b.npz").write_text("nothing")
    with pytest.raises(BadData, match="is no npz file of plain arrays"):
        read(tmp_path / "b.npz")
    with pytest.raises(MissingData, match="does not exist"):
        read(tmp_path / "c.npz")
    with pytest.raises(NotApplicable, match="--data FILE"):
        load(seed=0)
