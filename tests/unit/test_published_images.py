"""Loaders of published images, on small files in the publishers' layout; and what is not believed of a file."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import registry
from bench.api import BadData, Data, MissingData, NotApplicable
from bench.run.check_data import check_dataset
from datasets import cache, npz, sources
from datasets.images import grid, published
from datasets.images.cars3d import Cars3D
from datasets.images.dsprites import DSprites
from datasets.images.grid import Factor, scored, shrunk
from datasets.images.mpi3d import Mpi3d
from datasets.images.shapes3d import Shapes3D
from datasets.images.smallnorb import SmallNorb
from tests.unit import image_files as files
from tests.unit.image_files import Written

Write = Callable[[Path], Written]
READERS: dict[str, tuple[Write, Callable[[Path], Any]]] = {
    "dsprites": (files.write_dsprites, DSprites),
    "shapes3d": (files.write_shapes3d, Shapes3D),
    "mpi3d-toy": (files.write_mpi3d, Mpi3d),
    "smallnorb": (files.write_smallnorb, SmallNorb),
    "cars3d": (files.write_cars3d, Cars3D),
}
D = {"dsprites": 5, "shapes3d": 8, "mpi3d-toy": 4, "smallnorb": 3, "cars3d": 3}
FOUND = registry.discover().datasets


def load(name: str, **parameters: Any) -> Data:
    data: Data = registry.load(FOUND[name])(**{"n": 60, "n_tasks": 6, "seed": 0} | parameters)
    return data


@pytest.mark.parametrize("name", READERS)
def test_images_and_factors_are_those_of_the_file(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "BLOCK", 7)
    write, reader = READERS[name]
    written = write(folder)
    pictures = reader(written.path)
    np.testing.assert_array_equal(pictures.index, written.index)
    rows = np.array([0, 3, 4, 5, 17, 61, len(written.index) - 1])
    for chosen in (rows, np.arange(len(written.index))):
        got = np.concatenate(list(pictures.blocks(chosen)))
        np.testing.assert_array_equal(got, written.images[chosen])


@pytest.mark.parametrize("name", READERS)
def test_a_cell_gets_what_the_file_says(name: str, folder: Path) -> None:
    written = READERS[name][0](folder)
    data = load(name)
    again = load(name)  # from the cache
    assert (folder.parent / "cache" / "features").is_dir()
    np.testing.assert_array_equal(data.train.x.pixels, again.train.x.pixels)
    assert data.train.x.pixels.shape[2:] == (32, 32)
    assert data.train.n_latents == D[name] == len(data.eval.latent_names)
    n_train = len(data.train.x)
    small = {shrunk(image[None], 32).tobytes(): i for i, image in enumerate(written.images)}
    found = [small[image.tobytes()] for image in (*data.train.x.pixels, *data.eval.x_test.pixels)]
    assert len(set(found)) == len(found), "no image is drawn twice, nor on both sides"
    module = {"mpi3d-toy": "mpi3d"}.get(name, name)
    z, names = scored(getattr(published, module).FACTORS, written.index)
    assert names == data.eval.latent_names
    np.testing.assert_allclose(np.concatenate([data.eval.z_train, data.eval.z_test]), z[found])
    labels = np.concatenate([data.train.labels, data.eval.aux_test])
    column = {"dsprites": 1, "shapes3d": 4, "mpi3d-toy": 1}.get(name, 0)
    np.testing.assert_array_equal(labels, written.index[found, column])
    assert np.bincount(data.train.task).tolist() == [n_train] * 6
    assert data.info["rows"] == len(written.index)
    assert "used" in data.info["title"]


@pytest.mark.parametrize("name", READERS)
def test_the_contract_is_kept(name: str, folder: Path) -> None:
    READERS[name][0](folder)
    findings = list(check_dataset(FOUND[name]))
    assert not [f"{finding.promise}: {finding.detail}" for finding in findings if not finding.kept]
    assert len(findings) == 9, "the check stopped early"


def test_periodic_factors_are_sines_and_cosines_and_categories_are_none() -> None:
    factors = (Factor("kind", 3, "category"), Factor("size", 5), Factor("angle", 9, "periodic", turn=8))
    z, names = scored(factors, np.array([[0, 0, 0], [2, 4, 8], [1, 2, 2]]))
    assert names == ("size", "sin angle", "cos angle")
    np.testing.assert_allclose(z, [[-1, 0, 1], [1, 0, 1], [0, 1, 0]], atol=1e-12)
    assert scored(factors, np.array([[0, 1, 0]]), periodic=False)[1] == ("size",)


def test_pixels_are_means_of_the_area_they_cover() -> None:
    image = np.arange(96 * 96 * 3, dtype=np.uint32).reshape(96, 96, 3) % 251
    small = shrunk(image[None].astype(np.uint8), 32)
    expected = np.array([[image[3 * i : 3 * i + 3, 3 * j : 3 * j + 3, 1].mean() for j in range(32)] for i in range(32)])
    assert np.abs(small[0, 1] - expected).max() <= 0.5
    assert (shrunk(np.full((1, 128, 128, 3), 255, np.uint8), 32) == 255).all()


@pytest.mark.parametrize("labels", ["cells", "category"])
def test_labels_are_cells_or_the_category(labels: str, folder: Path) -> None:
    files.write_dsprites(folder)
    data = load("dsprites", labels=labels, side=16, periodic=False)
    assert data.train.n_latents == 3
    assert set(np.unique(data.train.labels)) <= set(range({"cells": 2, "category": 3}[labels]))
    with pytest.raises(ValueError, match="labels='shape' is not one of 'cells', 'hard-cells', 'category'"):
        load("dsprites", labels="shape")
    with pytest.raises(ValueError, match="side=24 must be at least 8 and divide 64"):
        load("dsprites", side=24)


def test_other_seeds_draw_other_images_and_few_images_are_all_used(folder: Path) -> None:
    files.write_dsprites(folder)
    a, b = load("dsprites", n=40), load("dsprites", n=40, seed=1)
    assert {x.tobytes() for x in a.train.x.pixels} != {x.tobytes() for x in b.train.x.pixels}
    full = load("dsprites", n=5000)
    assert (len(full.train.x), len(full.eval.x_test)) == (96, 24)
    files.write_dsprites(folder, n=30)
    with pytest.raises(NotApplicable, match="only 30 images; at least 40 are needed"):
        load("dsprites")


def test_pickled_members_are_never_loaded(folder: Path) -> None:
    written = files.write_dsprites(folder)  # its metadata would end the process
    load("dsprites")
    files.npz(written.path, {"latents_classes": written.index}, pickled={"imgs": files.Bomb()})
    with pytest.raises(BadData, match=r"imgs: a pickle, which is not loaded"):
        load("dsprites")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_large_member_is_read_by_rows(compressed: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for at a time is as large as a block, however large the member."""
    written = files.write_mpi3d(folder, compressed=compressed)
    monkeypatch.setattr(grid, "BLOCK", 5)
    sizes: list[int] = []
    whole = npz.Member.rows

    def watched(self: npz.Member, chosen: np.ndarray) -> np.ndarray:
        made = whole(self, chosen)
        sizes.append(made.nbytes)
        return made

    monkeypatch.setattr(npz.Member, "rows", watched)
    rows = np.arange(1, files.N, 3)
    got = np.concatenate(list(Mpi3d(written.path).blocks(rows)))
    np.testing.assert_array_equal(got, written.images[rows])
    assert max(sizes) == 5 * 64 * 64 * 3


def test_a_part_of_mpi3d_must_say_which_part(folder: Path) -> None:
    written = files.write_mpi3d(folder)
    files.npz(written.path, {"images": written.images})
    with pytest.raises(BadData, match="120 images, not 1,036,800; a part says which in an array 'rows'"):
        load("mpi3d-toy")
    files.write_mpi3d(folder, rows=np.arange(120) + 1_036_790)
    with pytest.raises(BadData, match="rows must be from 0 to 1036799; found 1036790 to 1036909"):
        load("mpi3d-toy")


def _bad_arrays(folder: Path) -> Iterator[tuple[str, str]]:
    """(dataset, what its error says), a wrong file after the other being there."""
    good = files.write_dsprites(folder)
    path, images, index = good.path, good.images[..., 0], good.index
    for arrays, message in (
        ({"latents_classes": index}, r"no array 'imgs' in it, it holds: latents_classes"),
        ({"imgs": images}, r"no array 'latents_classes' in it"),
        (
            {"imgs": images[:-1], "latents_classes": index},
            r"imgs: uint8 of shape \(119, 64, 64\), expected uint8 \(120,",
        ),
        ({"imgs": images[:, :32], "latents_classes": index}, r"imgs: uint8 of shape \(120, 32, 64\)"),
        ({"imgs": images.astype(float), "latents_classes": index}, r"imgs: float64 of shape"),
        ({"imgs": images, "latents_classes": index[:, :5]}, r"latents_classes: int64 of shape \(120, 5\)"),
        ({"imgs": images, "latents_classes": index + 1}, r"latents_classes: row 0: colour has the value 1, not 0 to 0"),
        ({"imgs": images, "latents_classes": -index}, r"row 0: \w+ has the value -\d+, not 0 to"),
    ):
        files.npz(path, arrays)
        yield "dsprites", message
    files.write_shapes3d(folder, change=lambda file: file.__delitem__("labels"))
    yield "shapes3d", "no dataset 'labels' in it, it holds: images"
    files.write_shapes3d(folder, change=lambda file: file["labels"].__setitem__((3, 0), 0.55))
    yield "shapes3d", "labels, row 3: 0.55 is no floor hue of 3D Shapes"
    files.write_shapes3d(folder, change=lambda file: file["labels"].__setitem__((3, 4), 4.0))
    yield "shapes3d", "labels: row 3: shape has the value 4.0, not 0 to 3"
    files.write_shapes3d(folder, change=lambda file: file["labels"].__setitem__((5, 2), np.nan))
    yield "shapes3d", "labels, row 5: nan is no object hue"

    def elsewhere(file: Any) -> None:
        import h5py

        del file["images"]
        file["images"] = h5py.ExternalLink("/etc/hosts", "/images")

    files.write_shapes3d(folder, change=elsewhere)
    yield "shapes3d", "no dataset 'images' in it"

    def virtual(file: Any) -> None:
        import h5py

        del file["images"]
        layout = h5py.VirtualLayout((120, 64, 64, 3), np.uint8)
        layout[:] = h5py.VirtualSource("/tmp/other.h5", "images", (120, 64, 64, 3))
        file.create_virtual_dataset("images", layout)

    files.write_shapes3d(folder, change=virtual)
    yield "shapes3d", "no dataset 'images' in it"

    def flat(file: Any) -> None:
        del file["images"]
        file["images"] = np.zeros((120, 64, 64), np.uint8)

    files.write_shapes3d(folder, change=flat)
    yield "shapes3d", r"images: uint8 of shape \(120, 64, 64\), expected \(n, 64, 64, 3\)"

    norb = files.write_smallnorb(folder).path
    beside = partial(norb.with_name)
    info = beside(norb.name.replace("-dat", "-info"))
    files.norb_matrix(info, np.ones((60, 4), dtype=np.int64))
    yield "smallnorb", r"training-info.mat.gz: row 0: the azimuth must be even"
    files.norb_matrix(info, np.full((60, 4), 40, dtype=np.int64))
    yield "smallnorb", r"row 0: instance has the value 40, not 0 to 9"
    files.norb_matrix(info, np.zeros((59, 4), dtype=np.int64))
    yield "smallnorb", r"60 images, 60 categories and 59 rows of info"
    files.norb_matrix(info, np.zeros((60, 5), dtype=np.int64))
    yield "smallnorb", r"shape \(60, 5\), expected \(n, 4\)"
    files.norb_matrix(info, np.zeros((60, 4), dtype=np.uint8))
    yield "smallnorb", r"begins with 0x1e3d4c55 and 2 dimensions: not this matrix of NORB"
    files.norb_matrix(info, np.zeros((60, 4), dtype=np.int64), magic=0x1E3D4C54 + 99)
    yield "smallnorb", r"not this matrix of NORB"
    beside(norb.name.replace("training-dat", "training-info")).write_bytes(b"<html>not found</html>")
    yield "smallnorb", r"training-info.mat.gz: damaged, truncated or no gzip file"

    files.write_cars3d(folder, **{"cars/list.txt": b"car_001_mesh\ncar_055_mesh\n"})
    yield "cars3d", "no cars/car_055_mesh.mat, which cars/list.txt names"
    files.write_cars3d(folder, **{"cars/list.txt": b"car_001_mesh\ncar_001_mesh\n"})
    yield "cars3d", "names 2 cars, expected at most 183, each once"
    files.write_cars3d(folder, **{"cars/list.txt": b""})
    yield "cars3d", "no cars/list.txt in the archive, or nothing in it"
    files.write_cars3d(folder, **{"cars/car_001_mesh.mat": b"no matrix" * 50})
    yield "cars3d", "car_001_mesh.mat: no MATLAB file that can be read"
    import io

    import scipy.io

    content = io.BytesIO()
    scipy.io.savemat(content, {"im": np.zeros((128, 128, 3, 24), np.uint8)})
    files.write_cars3d(folder, **{"cars/car_001_mesh.mat": content.getvalue()})
    yield "cars3d", r"'im' is \(\(128, 128, 3, 24\), 'uint8'\), expected uint8"


def test_wrong_contents_are_one_line(folder: Path) -> None:
    checked = 0
    for name, message in _bad_arrays(folder):
        with pytest.raises(BadData, match=message) as caught:
            load(name)
        assert "\n" not in str(caught.value)
        checked += 1
    assert checked == 27


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_one_line(name: str, folder: Path) -> None:
    path = READERS[name][0](folder).path
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    flipped = bytearray(whole)
    for at in rng.integers(len(whole), size=40):
        flipped[at] ^= 0xFF
    check = importlib.import_module(READERS[name][1].__module__).check_file
    for content in (b"", b"<html>", whole[: len(whole) // 2], whole[: len(whole) - 30], b"\0" * 4 + whole[4:]):
        path.write_bytes(content)
        with pytest.raises(BadData) as caught:
            check(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value) or "smallnorb" in str(caught.value)
    path.write_bytes(flipped)
    with contextlib.suppress(BadData):  # a flipped pixel is nothing to see; what else is raised fails the test
        check(path)


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(folder: Path) -> None:
    path = files.write_dsprites(folder).path
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999, 6), }"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("latents_classes.npy", member)
    with pytest.raises(BadData, match="at most 737,280 rows"):
        load("dsprites")
    for broken in (
        b"{'descr': '<i8'",
        b"(" * 5000,
        b"{'descr': 'x', 'fortran_order': False, 'shape': (1, 6)}",
        b"\0" * 40,
    ):
        content = b"\x93NUMPY\x01\x00" + len(broken).to_bytes(2, "little") + broken
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("latents_classes.npy", content)
        with pytest.raises(BadData) as caught:
            load("dsprites")
        assert "\n" not in str(caught.value)


# How the files come


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which this machine serves it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    root = tmp_path / "served"
    root.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("BENCH_DATA", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield root, f"http://127.0.0.1:{http.server_address[1]}"
        finally:
            http.shutdown()
            thread.join()


def _published(name: str, path: Path, address: str, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """The source as if published at the address, with the checksums of the files that lie there."""

    def md5(file: str) -> str:
        return "md5:" + hashlib.md5(path.with_name(file).read_bytes()).hexdigest()

    source = sources.SOURCES[name]
    url = f"{address}/{source.folder}"
    companions = tuple(replace(part, url=f"{url}/{part.file}", checksum=md5(part.file)) for part in source.companions)
    told = {"url": f"{url}/{path.name}", "checksum": md5(path.name), "companions": companions} | changes
    monkeypatch.setitem(sources.SOURCES, name, replace(source, **told))


@pytest.mark.parametrize("name", ["dsprites", "shapes3d", "mpi3d-toy", "smallnorb"])
def test_files_are_fetched_checked_and_read(
    name: str, folder: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = READERS[name][0](served[0])
    _published(name, written.path, served[1], monkeypatch)
    with pytest.raises(MissingData, match=f"python -m bench data fetch {name}$"):
        load(name)
    path = sources.fetch(name, progress=lambda fraction, message: None)
    assert path.parent == folder.parent / "cache" / "data" / sources.SOURCES[name].folder
    assert len(load(name).train.x) == 60
    said = sources.verify(name)
    assert f"{len(written.index):,} of {sources.SOURCES[name].rows_full:,}" in said
    assert "md5 as published" in said


def test_all_files_of_a_source_are_needed_and_checked(
    folder: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = files.write_smallnorb(served[0])
    _published("smallnorb", written.path, served[1], monkeypatch)
    path = sources.fetch("smallnorb", progress=lambda fraction, message: None)
    before = sources.locate("smallnorb").sha256
    beside = path.with_name(sources.SOURCES["smallnorb"].companions[2].file)
    content = beside.read_bytes()
    beside.unlink()
    with pytest.raises(MissingData, match=r"no smallnorb-\S+-testing-dat.mat.gz beside .* data fetch smallnorb$"):
        sources.locate("smallnorb")
    sources.fetch("smallnorb", progress=lambda fraction, message: None)
    assert beside.read_bytes() == content
    assert sources.locate("smallnorb").sha256 == before
    beside.write_bytes(content[:-1] + b"x")
    with pytest.raises(BadData, match=r"cache/smallnorb/smallnorb-\S+-testing-dat.mat.gz: sha256 expected"):
        sources.verify("smallnorb")
    beside.with_name(beside.name + ".sha256").unlink()
    with pytest.raises(BadData, match=r"damaged, truncated|md5 expected"):
        sources.verify("smallnorb")


def test_a_checksum_of_an_earlier_address_is_told_and_not_demanded(
    folder: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = files.write_mpi3d(served[0])
    _published("mpi3d-toy", written.path, served[1], monkeypatch, checksum="md5:" + "0" * 32)
    sources.fetch("mpi3d-toy", progress=lambda fraction, message: None)
    assert "as recorded; md5 other than published (disent, for the file at its first address)" in sources.verify(
        "mpi3d-toy"
    )


def test_what_is_published_over_http_is_not_fetched(folder: Path) -> None:
    with pytest.raises(MissingData, match=r"over http alone.*download http://\S+ into \$BENCH_DATA/cars3d, then"):
        sources.fetch("cars3d", progress=lambda fraction, message: None)
    files.write_cars3d(folder)
    assert sources.verify("cars3d").startswith("$BENCH_DATA/cars3d/nips2015-analogy-data.tar.gz: 192 of 17,568 images")


def test_checksums_of_large_files_are_remembered_until_the_file_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files.write_dsprites(folder).path
    monkeypatch.setattr(cache, "LARGE", 1)
    reads: list[Path] = []
    digest = sources.file_digest

    def counted(path: Path, algorithm: str = "sha256") -> str:
        reads.append(path)
        return digest(path, algorithm)

    monkeypatch.setattr(sources, "file_digest", counted)
    first = sources.locate("dsprites").sha256
    assert sources.locate("dsprites").sha256 == first
    assert len(reads) == 1
    path.write_bytes(path.read_bytes() + b"more")
    assert sources.locate("dsprites").sha256 != first
    reads.clear()
    path.write_bytes(path.read_bytes()[:-4])
    sources.verify("dsprites")
    assert reads, "verify reads every byte"
