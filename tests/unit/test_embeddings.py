"""Embeddings of benchmarks of shift: the layout that is read, what is refused, and the script that makes the file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.api import BadData, Data, MissingData, NotApplicable
from bench.metrics.few_shot import few_shot_scores
from bench.run.check_data import check_dataset
from datasets import sources
from datasets.shift import embed
from tests.unit.image_files import Bomb, npz

FOUND = registry.discover().datasets
NAMES = ("waterbirds", "camelyon17", "civilcomments", "pacs", "vlcs", "officehome")
MOVED = ("camelyon17", "pacs", "vlcs", "officehome")
WIDTH = 12


def arrays(n: int = 3000, n_classes: int = 2, n_environments: int = 2, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Embeddings whose first columns follow the class, the next the environment; the last environment is split 2."""
    rng = np.random.default_rng(seed)
    label, environment = rng.integers(n_classes, size=n), rng.integers(n_environments, size=n)
    x = rng.standard_normal((n, WIDTH))
    x[:, :n_classes] += 3.0 * (label[:, None] == np.arange(n_classes))
    x[:, n_classes : n_classes + n_environments] += 3.0 * (environment[:, None] == np.arange(n_environments))
    split = np.where(environment == n_environments - 1, 2, rng.random(n) < 0.4).astype(int)
    return {"embedding": x.astype(np.float32), "label": label, "environment": environment, "split": split}


def spurious_arrays(n: int = 3000) -> dict[str, np.ndarray]:
    """Both environments in all splits, as in Waterbirds."""
    return arrays(n) | {"split": np.random.default_rng(5).integers(3, size=n)}


def write(folder: Path, name: str, contents: dict[str, Any]) -> Path:
    return npz(folder / "embeddings" / f"{name}.npz", contents, compressed=False)


def load(name: str, **parameters: Any) -> Data:
    info = FOUND[name]
    data: Data = registry.load(info)(**{"seed": 0, "episodes": 4} | dict(info.defaults) | parameters)
    return data


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_is_kept(name: str, folder: Path) -> None:
    write(folder, name, arrays(n_classes=3, n_environments=4) if name in MOVED else spurious_arrays())
    info = FOUND[name]
    findings = list(check_dataset(info))
    assert not [f"{finding.promise}: {finding.detail}" for finding in findings if not finding.kept]
    assert len(findings) == 9, "the check stopped early"
    assert sources.verify(name).startswith(f"$BENCH_DATA/embeddings/{name}.npz: 3,000 of ")


def test_learners_get_split_0_and_its_tasks(folder: Path) -> None:
    contents = arrays(n_classes=3, n_environments=4)
    write(folder, "pacs", contents)
    data = load("pacs")
    where = {row.tobytes(): i for i, row in enumerate(contents["embedding"])}
    train = np.array([where[row.tobytes()] for row in data.train.x])
    test = np.array([where[row.tobytes()] for row in data.eval.x_test])
    assert set(contents["split"][train]) == {0}
    assert set(contents["split"][test]) == {1, 2}
    np.testing.assert_array_equal(data.train.labels, contents["label"][train])
    np.testing.assert_array_equal(data.train.aux, contents["environment"][train])
    assert data.eval.target_names == tuple(f"{word} {k}" for word in ("class", "environment") for k in range(3))
    table = np.zeros((len(train), 6))
    table[data.train.sample, data.train.task] = data.train.y
    np.testing.assert_array_equal(table[:, 1], contents["label"][train] == 1)
    np.testing.assert_array_equal(table[:, 5], contents["environment"][train] == 2)
    assert data.info["title"] == "Embeddings of PACS, 3,000 of 9,991 samples"
    for episode in data.eval.episodes:
        assert set(contents["split"][test[episode.support]]) == {1}
        assert set(contents["split"][test[episode.query]]) == {2}
        first, second = (contents["label"][test[episode.support]][episode.y_support == y] for y in (0, 1))
        assert len(set(first)) == len(set(second)) == 1
        assert len(first) == len(second) == episode.shots


def test_a_support_misleads_and_heads_are_scored(folder: Path) -> None:
    contents = spurious_arrays(6000)
    write(folder, "waterbirds", contents)
    data = load("waterbirds")
    assert data.train.n_tasks == 2, "two classes are one task, two environments another"
    assert {episode.shots for episode in data.eval.episodes} == {10, 25, 100}
    for episode in data.eval.episodes:
        assert len(set(np.bincount(episode.group_query))) == 1, "queries are balanced over the groups"
    everything = few_shot_scores(data.train.x, data.eval.x_test, data.eval.episodes)
    only_class = few_shot_scores(data.train.x[:, :2], data.eval.x_test[:, :2], data.eval.episodes)
    assert only_class["few_shot_worst"].value > everything["few_shot_worst"].value
    assert only_class["few_shot_worst"].value > 0.8


def test_rows_are_limited_and_the_held_out_ones_stay(folder: Path) -> None:
    write(folder, "waterbirds", spurious_arrays())
    a, b = load("waterbirds", rows=240), load("waterbirds", rows=240, seed=1)
    assert (len(a.train.x), len(a.eval.x_test)) == (240, 240)
    np.testing.assert_array_equal(a.eval.x_test, b.eval.x_test)
    assert {row.tobytes() for row in a.train.x} != {row.tobytes() for row in b.train.x}
    assert a.info["shots"] == [10, 25]
    write(folder, "waterbirds", spurious_arrays(60))
    with pytest.raises(NotApplicable, match="too few"):
        load("waterbirds")


def test_half_precision_is_read(folder: Path) -> None:
    contents = spurious_arrays()
    write(folder, "waterbirds", contents | {"embedding": contents["embedding"].astype(np.float16)})
    assert load("waterbirds").train.x.dtype == np.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding": None}, "no array 'embedding' in it, it holds: label, environment, split"),
        ({"split": None}, "no array 'split' in it"),
        ({"embedding": lambda a: a[:, 0]}, r"embedding: float32 of shape \(300,\), expected floats \(n, k\)"),
        ({"embedding": lambda a: a.astype(int)}, "embedding: int64 of shape"),
        ({"label": lambda a: a[:-1]}, r"label: int64 of shape \(299,\), expected whole numbers \(300\)"),
        ({"label": lambda a: a.astype(float)}, "label: float64 of shape"),
        ({"label": lambda a: a - 1}, r"label: row \d+ has -1, not 0 to 999"),
        ({"environment": lambda a: a + 5000}, "environment: row 0 has 500[01], not 0 to 999"),
        ({"split": lambda a: a + 1}, r"split: row \d+ has 3, not 0 to 2"),
        ({"embedding": lambda a: np.where(np.arange(300)[:, None] == 7, np.nan, a)}, "embedding: row 7 is not finite"),
        ({"embedding": lambda a: a.astype(float) * 1e300}, "embedding: row 0 is not finite"),
    ],
)
def test_wrong_files_are_one_line(change: dict[str, Any], message: str, folder: Path) -> None:
    contents = spurious_arrays(300)
    for name, how in change.items():
        value = contents.pop(name)
        contents |= {} if how is None else {name: how(value)}
    write(folder, "waterbirds", contents)
    with pytest.raises(BadData, match=message) as caught:
        sources.verify("waterbirds")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("$BENCH_DATA/embeddings/waterbirds.npz: ")


def test_damaged_and_pickled_files_are_one_line(folder: Path) -> None:
    contents = spurious_arrays(300)
    path = write(folder, "waterbirds", contents)
    whole = path.read_bytes()
    for damaged in (b"", b"<html>", whole[: len(whole) // 2], whole[:500] + b"\1" * 50 + whole[550:]):
        path.write_bytes(damaged)
        with pytest.raises(BadData, match="damaged, truncated or no npz") as caught:
            sources.verify("waterbirds")
        assert "\n" not in str(caught.value)
    npz(path, contents, pickled={"label": [Bomb()]})
    with pytest.raises(BadData, match="label: a pickle, which is not loaded"):
        load("waterbirds")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("embedding.npy", b"\x93NUMPY\x09\x00rubbish")
    with pytest.raises(BadData, match=r"version \(9, 0\)|no npz"):
        load("waterbirds")


def test_a_missing_file_says_how_to_make_it(folder: Path) -> None:
    with pytest.raises(MissingData, match=r"no embeddings/vlcs.npz .* python -m datasets.shift.embed vlcs --help$"):
        load("vlcs")
    with pytest.raises(MissingData, match=r"datasets\.shift\.embed vlcs"):
        sources.fetch("vlcs", progress=lambda fraction, message: None)


# The script


def colours(paths: list[Path]) -> np.ndarray:
    """A backbone: the mean colour."""
    return np.stack([np.asarray(Image.open(path).convert("RGB"), dtype=np.float32).mean(axis=(0, 1)) for path in paths])


def images(root: Path, n: int = 12) -> Path:
    """ENVIRONMENT/CLASS/image: the class is red or green, the environment a shade of blue."""
    rng = np.random.default_rng(0)
    for e, environment in enumerate(("art", "photo", "sketch")):
        for c, kind in enumerate(("cat", "dog")):
            (root / environment / kind).mkdir(parents=True)
            for i in range(n):
                colour = (200 * c + int(rng.integers(30)), 200 - 200 * c, 60 * e)
                Image.new("RGB", (8, 8), colour).save(root / environment / kind / f"{i}.png")
    return root


def test_a_folder_becomes_a_dataset(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = images(tmp_path / "pacs", n=40)
    to = folder / "embeddings"
    assert embed.main(["pacs", str(root), "--shifted", "sketch", "--to", str(to)], colours) == 0
    said = capsys.readouterr().out
    assert f"{to / 'pacs.npz'}: 240 embeddings" in said
    assert "80 in split 2" in said
    data = load("pacs", n_latents=2)
    assert data.train.x.shape[1] == 3
    assert set(data.train.aux) == {0, 1}, "nothing is learnt from sketches"
    white_noise = np.random.default_rng(0).standard_normal
    found = few_shot_scores(data.train.x, data.eval.x_test, data.eval.episodes)
    blind = few_shot_scores(white_noise(data.train.x.shape), white_noise(data.eval.x_test.shape), data.eval.episodes)
    assert found["few_shot_acc"].value > 0.95
    assert blind["few_shot_acc"].value < 0.7
    assert list(to.iterdir()) == [to / "pacs.npz"]


def test_a_table_names_images_labels_and_splits(tmp_path: Path) -> None:
    root = images(tmp_path / "birds", n=2)
    table = tmp_path / "metadata.csv"
    rows = [("art/cat/0.png", 1, "land", 0), ("photo/dog/1.png", 0, "water", 2), ("sketch/dog/0.png", 0, "land", 1)]
    table.write_text("\n".join(["img_filename,y,place,split", *(",".join(map(str, row)) for row in rows)]))
    command = ["waterbirds", str(root), "--metadata", str(table), "--to", str(tmp_path)]
    named = "path=img_filename,label=y,environment=place"
    assert embed.main([*command, "--columns", named], colours) == 0
    with np.load(tmp_path / "waterbirds.npz", allow_pickle=False) as made:
        assert made["label"].tolist() == [1, 0, 0]
        assert made["environment"].tolist() == [0, 1, 0]
        assert made["split"].tolist() == [0, 2, 1]
        np.testing.assert_array_equal(made["embedding"], colours([root / row[0] for row in rows]))


def test_what_is_wrong_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = images(tmp_path / "pacs", n=1)
    table = tmp_path / "metadata.csv"
    table.write_text("path,label,environment,split\nart/cat/0.png,0,0,0\nart/cat/7.png,0,0,test\n")

    def said(*command: str, backbone: Any = colours) -> str:
        assert embed.main([*command, "--to", str(tmp_path / "to")], backbone) == 1
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        return line

    assert "holds no ENVIRONMENT/CLASS/image" in said("pacs", str(tmp_path / "nowhere"))
    assert "no environment 'oil'" in said("pacs", str(root), "--shifted", "oil")
    assert "row 2: split is 'test', not 0, 1 or 2" in said("pacs", str(root), "--metadata", str(table))
    assert "no column 'y' for label" in said("pacs", str(root), "--metadata", str(table), "--columns", "label=y")
    table.write_text(table.read_text().replace("test", "1"))
    assert "7.png' does not exist" in said("pacs", str(root), "--metadata", str(table))
    assert "shape (1,)" in said("pacs", str(root), backbone=lambda paths: np.zeros(1))
    assert "row 0 is not finite" in said("pacs", str(root), backbone=lambda paths: np.full((len(paths), 2), np.nan))
    assert not (tmp_path / "to" / "pacs.npz").exists()


def test_a_network_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for package, network in (("torchvision", "resnet50"), ("timm", "timm:resnet50")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingData, match=f"needs the package {package}: pip install {package}"):
            embed.pretrained(network)
