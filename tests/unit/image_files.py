"""Small files of published images in their publishers' layout, with random pixels, and what must come out of them."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from datasets.images import cars3d, dsprites, mpi3d, shapes3d, smallnorb
from datasets.images.grid import Factor, unravelled

N = 120


@dataclass(frozen=True)
class Written:
    """path, the images (n, h, w, c) in it and their factors (n, F), in the order in which rows are counted."""

    path: Path
    images: np.ndarray
    index: np.ndarray


def some_rows(factors: tuple[Factor, ...], n: int = N, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n ascending places in the full order of combinations, and their factors."""
    full = int(np.prod([factor.size for factor in factors]))
    rows = np.sort(np.random.default_rng(seed).choice(full, n, replace=False))
    return rows, unravelled(rows, factors)


def pixels(*shape: int, high: int = 256) -> np.ndarray:
    """Random noise that compresses well: nine of ten pixels are 0."""
    rng = np.random.default_rng(1)
    return np.where(rng.random(shape, dtype=np.float32) < 0.1, rng.integers(high, size=shape, dtype=np.uint8), 0)


def npz(
    path: Path, arrays: Mapping[str, Any], *, compressed: bool = True, pickled: Mapping[str, Any] | None = None
) -> Path:
    """An npz as numpy writes it; ``pickled`` members are pickles, as in dSprites' metadata."""
    pickled = pickled or {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, value in {**arrays, **pickled}.items():
            content = io.BytesIO()
            np.save(content, np.asarray(value, dtype=object if name in pickled else None), allow_pickle=name in pickled)
            archive.writestr(f"{name}.npy", content.getvalue())
    return path


class Bomb:
    """A pickle that raises, were it ever loaded."""

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return exec, ("raise SystemExit('unpickled')",)


def write_dsprites(folder: Path, n: int = N) -> Written:
    _, index = some_rows(dsprites.FACTORS, n)
    images = pixels(n, 64, 64, high=2)
    path = folder / "dsprites" / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    npz(path, {"imgs": images, "latents_classes": index}, pickled={"metadata": Bomb()})
    return Written(path, images[..., None] * np.uint8(255), index)


def write_mpi3d(folder: Path, kind: str = "toy", n: int = N, *, compressed: bool = False, **arrays: Any) -> Written:
    rows, index = some_rows(mpi3d.FACTORS, n)
    images = pixels(n, 64, 64, 3)
    contents = {"images": images, "rows": rows} | arrays
    path = npz(folder / "mpi3d" / f"mpi3d_{kind}.npz", contents, compressed=compressed)
    return Written(path, images, index)


def write_shapes3d(folder: Path, n: int = N, chunk: int = 32, change: Callable[[Any], None] | None = None) -> Written:
    import h5py

    _, index = some_rows(shapes3d.FACTORS, n)
    images = pixels(n, 64, 64, 3)
    path = folder / "shapes3d" / "3dshapes.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, chunks=(min(chunk, n), 64, 64, 3), compression="gzip")
        file["labels"] = shapes3d.FIRST + shapes3d.STEP * index
        if change is not None:
            change(file)
    return Written(path, images, index)


def norb_matrix(path: Path, array: np.ndarray, magic: int | None = None) -> None:
    """A matrix in NORB's format, at least three lengths whatever its dimensions."""
    kind = {"u": 0x1E3D4C55, "i": 0x1E3D4C54}[array.dtype.kind] if magic is None else magic
    lengths = [*array.shape, *[1] * (3 - array.ndim)]
    header = np.array([kind, array.ndim, *lengths], dtype="<i4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.astype("<i4" if kind == 0x1E3D4C54 else "u1").tobytes(), 1))


def write_smallnorb(folder: Path, n: int = N) -> Written:
    """The six files, half of the rows in each part. Info has instance, elevation, azimuth in tens of degrees, light."""
    _, index = some_rows(smallnorb.FACTORS, n)
    index = np.random.default_rng(3).permutation(index)
    pairs = pixels(n, 2, 96, 96)
    for part, rows in zip(smallnorb.PARTS, (slice(None, n // 2), slice(n // 2, None)), strict=True):
        info = index[rows, 1:].copy()
        info[:, 2] *= 2
        for kind, array in (("dat", pairs[rows]), ("cat", index[rows, 0]), ("info", info)):
            norb_matrix(folder / "smallnorb" / f"{part}-{kind}.mat.gz", array)
    return Written(folder / "smallnorb" / f"{smallnorb.PARTS[0]}-dat.mat.gz", pairs[:, 0][..., None], index)


def write_cars3d(folder: Path, cars: tuple[str, ...] = ("car_007_mesh", "car_001_mesh"), **members: bytes) -> Written:
    """An archive of these cars, in another order than the list's, and of one more that the list does not name.

    members   further ones, or other contents: {"cars/list.txt": …}
    """
    images = pixels(len(cars), *cars3d.SHAPE)
    contents: dict[str, bytes] = {}
    for name, im in zip((*cars[::-1], "car_100_mesh"), (*images[::-1], images[0]), strict=True):
        content = io.BytesIO()
        scipy.io.savemat(content, {"im": im, "mask": np.zeros((2, 2))})
        contents[f"cars/{name}.mat"] = content.getvalue()
    contents["cars/list.txt"] = "\n".join(cars).encode() + b"\n"
    path = folder / "cars3d" / "nips2015-analogy-data.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in {**contents, **members}.items():
            entry = tarfile.TarInfo(f"data/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    index = unravelled(np.arange(len(cars) * 96), cars3d.FACTORS)
    index[:, 0] = len(cars) - 1 - index[:, 0]
    return Written(path, images[::-1].transpose(0, 4, 5, 1, 2, 3).reshape(-1, 128, 128, 3), index)
