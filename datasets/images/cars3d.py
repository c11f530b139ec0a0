"""Cars3D's file: a tar archive with one MATLAB file a car, and a list of the cars that count."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.api import BadData
from datasets.images.grid import Factor, Int64, UInt8, check_all, in_blocks, unravelled
from datasets.sources import BROKEN

SIDE = 128
FACTORS = (Factor("car", 183, "category"), Factor("azimuth", 24, "periodic"), Factor("elevation", 4))
OF_CAR = 24 * 4
SHAPE = (SIDE, SIDE, 3, 24, 4)
LARGEST = 64_000_000  # bytes of a car's file; its images are 4.7 MB, and there are masks


class Cars3D:
    """The archive, all 183 cars or some. It is read from its start, so that rows are in the archive's order."""

    side = SIDE

    def __init__(self, path: Path, label: str = "") -> None:
        self.path, self.label = path, label or path.name
        listed: list[str] = []
        held: list[str] = []
        with _members(path, self.label) as archive:
            for member in archive:
                if member.name.endswith("cars/list.txt"):
                    listed = _read(archive, member, self.label).decode("ascii", "replace").split()
                elif _car(member):
                    held.append(_car(member))
        if not listed:
            raise BadData(f"{self.label}: no cars/list.txt in the archive, or nothing in it")
        if len(listed) > FACTORS[0].size or len(set(listed)) < len(listed):
            raise BadData(f"{self.label}: cars/list.txt names {len(listed)} cars, expected at most 183, each once")
        if missing := sorted(set(listed) - set(held)):
            raise BadData(f"{self.label}: no cars/{missing[0][:60]}.mat, which cars/list.txt names")
        self.cars = [car for car in dict.fromkeys(held) if car in set(listed)]
        places = np.array([listed.index(car) for car in self.cars])
        index = unravelled(np.arange(len(self.cars) * OF_CAR), FACTORS)
        index[:, 0] = places[index[:, 0]]
        self.index: Int64 = index

    def blocks(self, rows: Int64) -> Iterator[UInt8]:
        """As of ``Pictures``."""
        wanted = {self.cars[car]: rows[rows // OF_CAR == car] % OF_CAR for car in np.unique(rows // OF_CAR)}
        with _members(self.path, self.label) as archive:
            for member in archive:
                if len(chosen := wanted.pop(_car(member), ())):
                    images = _images(_read(archive, member, self.label), f"{self.label}: {_car(member)}.mat")
                    for some in in_blocks(np.asarray(chosen)):
                        yield images[some]
                if not wanted:
                    return


def check_file(path: Path, label: str = "") -> int:
    """Read all of a file with every check; returns its number of images. Raises BadData."""
    n = check_all(Cars3D(path, label), path)
    try:
        with gzip.open(path) as whole:  # to its end, where its checksum is; archives are read to their last member
            while whole.read(1 << 20):
                pass
    except BROKEN as error:
        raise BadData(f"{label or path.name}: damaged or truncated ({str(error)[:100]})") from error
    return n


@contextmanager
def _members(path: Path, label: str) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r|gz") as archive:
            yield archive
    except BadData:
        raise
    except BROKEN as error:
        raise BadData(f"{label}: damaged, truncated or no tar.gz archive ({str(error)[:100]})") from error


def _car(member: tarfile.TarInfo) -> str:
    """Name of the car whose file this is; "" for other members."""
    folder, _, name = member.name.rpartition("/")
    inside = folder == "cars" or folder.endswith("/cars")
    return name.removesuffix(".mat") if inside and name.endswith(".mat") and member.isfile() else ""


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, label: str) -> bytes:
    stream = archive.extractfile(member)
    if stream is None or member.size > LARGEST:
        raise BadData(f"{label}: '{member.name[:60]}' is no file of at most {LARGEST // 10**6} MB")
    return stream.read()


def _images(content: bytes, where: str) -> UInt8:
    """Images (96, 128, 128, 3) of a car, azimuths first. Raises BadData for anything but the array that is expected."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        found = {name: (shape, kind) for name, shape, kind in whosmat(io.BytesIO(content))}
        if found.get("im") != (SHAPE, "uint8"):  # before anything is unpacked
            raise BadData(f"{where}: 'im' is {found.get('im', 'missing')}, expected uint8 {SHAPE}")
        images = loadmat(io.BytesIO(content), variable_names=["im"])["im"]
    except (*BROKEN, TypeError, AttributeError, MatReadError, MemoryError) as error:
        raise BadData(f"{where}: no MATLAB file that can be read ({type(error).__name__})") from error
    return np.ascontiguousarray(images.transpose(3, 4, 0, 1, 2).reshape(OF_CAR, SIDE, SIDE, 3))
