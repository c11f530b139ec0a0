"""Embeddings of a folder of images by a pretrained network, as ``datasets.shift.embedded`` reads them.

    python -m datasets.shift.embed waterbirds FOLDER --metadata metadata.csv \\
        --columns path=img_filename,label=y,environment=place,split=split
    python -m datasets.shift.embed pacs FOLDER --shifted sketch

With ``--metadata`` a table names the images; words as labels and environments are numbered in alphabetical order,
splits are 0, 1 and 2. Without, FOLDER holds ENVIRONMENT/CLASS/image files; environments named by ``--shifted`` are
split 2, of the others a fifth is split 1, by a hash of the path. Needs torchvision (``--backbone resnet50``) or timm
(``--backbone timm:vit_base_patch16_224``), which fetch the weights themselves, and pillow.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.api import BadData, MissingData
from datasets.shift.embedded import HELD_OUT, LEARN, SHIFTED, check_file

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
COLUMNS = ("path", "label", "environment", "split")
HELD_OUT_SHARE = 5  # one in five
BATCH = 64
Backbone = Callable[[list[Path]], NDArray[Any]]
"""Embeddings (b, k) of b image files."""


@dataclass(frozen=True)
class Listed:
    """Image files and their label, environment and split, as numbers."""

    paths: tuple[Path, ...]
    label: NDArray[np.int64]
    environment: NDArray[np.int64]
    split: NDArray[np.int64]


def listed_in_folder(folder: Path, shifted: Sequence[str]) -> Listed:
    """ENVIRONMENT/CLASS/image. Raises MissingData for a folder without images, BadData for an unknown environment."""
    found = sorted(path for path in folder.glob("*/*/*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise MissingData(f"'{folder}' holds no ENVIRONMENT/CLASS/image; name a table with --metadata, or its folder")
    environments = [path.parent.parent.name for path in found]
    if unknown := sorted(set(shifted) - set(environments)):
        raise BadData(f"no environment '{unknown[0]}' in '{folder}', there are {', '.join(sorted(set(environments)))}")
    split = [
        SHIFTED if environment in shifted else _part(path.relative_to(folder).as_posix())
        for path, environment in zip(found, environments, strict=True)
    ]
    return Listed(tuple(found), _numbers([p.parent.name for p in found]), _numbers(environments), np.array(split))


def listed_in_table(folder: Path, table: Path, columns: dict[str, str]) -> Listed:
    """A csv file with a header; ``columns`` says what its columns for path, label, environment and split are called.

    Raises BadData, naming column or row.
    """
    try:
        with table.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"'{table}': cannot be read as a table ({error})") from error
    names = {part: columns.get(part, part) for part in COLUMNS}
    for part, name in names.items():
        if not rows or name not in rows[0]:
            header = ", ".join(map(str, rows[0])) if rows else "no rows"
            raise BadData(f"'{table}': no column '{name}' for {part} ({header}); name it: --columns {part}=NAME")
    for number, row in enumerate(rows, 1):
        if row[names["split"]] not in ("0", "1", "2"):
            raise BadData(f"'{table}': row {number}: split is '{row[names['split']]!s:.20}', not 0, 1 or 2")
    return Listed(
        tuple(folder / row[names["path"]] for row in rows),
        _numbers([row[names["label"]] for row in rows]),
        _numbers([row[names["environment"]] for row in rows]),
        np.array([int(row[names["split"]]) for row in rows]),
    )


def write(to: Path, listed: Listed, backbone: Backbone, *, batch: int = BATCH) -> int:
    """Embed the images and write the npz, whole or not at all; returns how many there are.

    Raises MissingData for an image that is not there and BadData for embeddings that are none.
    """
    missing = next((path for path in listed.paths if not path.is_file()), None)
    if missing is not None:
        raise MissingData(f"'{missing}' does not exist; is the folder right?")
    pieces = []
    for paths in _batches(listed.paths, batch):
        piece = np.asarray(backbone(paths), dtype=np.float32)
        if piece.ndim != 2 or len(piece) != len(paths):
            raise BadData(f"the backbone gave an array of shape {piece.shape} for {len(paths)} images")
        pieces.append(piece)
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(to.name + ".part")
    with part.open("wb") as stream:
        np.savez(
            stream,
            embedding=np.concatenate(pieces),
            label=listed.label,
            environment=listed.environment,
            split=listed.split,
        )
    n = check_file(part, to.name)
    part.replace(to)
    return n


def pretrained(name: str, device: str = "cpu", *, weights: bool = True) -> Backbone:
    """A network of torchvision, or with "timm:NAME" of timm, without its last layer.

    weights   False: untrained, for a trial. Raises MissingData where the package or the network is not here.
    """
    try:
        import torch
        from PIL import Image

        if name.startswith("timm:"):
            import timm

            network = timm.create_model(name.removeprefix("timm:"), pretrained=weights, num_classes=0)
            prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
        else:
            import torchvision

            known = torchvision.models.get_model_weights(name).DEFAULT
            network = torchvision.models.get_model(name, weights=known if weights else None)
            prepare = known.transforms()
            last = [child for child, _ in network.named_children()][-1]  # fc, classifier, heads or head
            setattr(network, last, torch.nn.Identity())
    except ImportError as error:
        raise MissingData(f"embedding images needs the package {error.name}: pip install {error.name}") from error
    except (ValueError, RuntimeError, KeyError) as error:
        raise MissingData(f"network '{name}' cannot be made here ({' '.join(str(error).split())[:120]})") from error
    network.eval().to(device)

    def embed(paths: list[Path]) -> NDArray[Any]:
        images = [prepare(Image.open(path).convert("RGB")) for path in paths]
        with torch.inference_mode():
            found: NDArray[Any] = network(torch.stack(images).to(device)).flatten(1).cpu().numpy()
        return found

    return embed


def main(arguments: Sequence[str] | None = None, backbone: Backbone | None = None) -> int:
    """The command line; ``backbone`` in the place of the one that it names."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m datasets.shift.embed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", help="name of the dataset, and of the file")
    parser.add_argument("folder", type=Path, help="of the images")
    parser.add_argument("--metadata", type=Path, help="csv file that names images, labels, environments and splits")
    parser.add_argument("--columns", default="", help="names of its columns: path=…,label=…,environment=…,split=…")
    parser.add_argument("--shifted", default="", help="without --metadata: environments of split 2, between commas")
    parser.add_argument("--backbone", default="resnet50", help="network of torchvision, or timm:NAME (resnet50)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--to", type=Path, help="folder to write to (embeddings); copy it into $BENCH_DATA")
    options = parser.parse_args(arguments)
    try:
        if options.metadata:
            pairs = [pair.partition("=") for pair in options.columns.split(",") if pair]
            listed = listed_in_table(options.folder, options.metadata, {part: name for part, _, name in pairs})
        else:
            listed = listed_in_folder(options.folder, [name for name in options.shifted.split(",") if name])
        to = (options.to or Path("embeddings")) / f"{options.benchmark}.npz"
        n = write(to, listed, backbone or pretrained(options.backbone, options.device))
    except (BadData, MissingData, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    counts = ", ".join(f"{int((listed.split == s).sum())} in split {s}" for s in (LEARN, HELD_OUT, SHIFTED))
    print(f"{to}: {n} embeddings ({counts})")
    return 0


def _numbers(words: Sequence[str]) -> NDArray[np.int64]:
    """Whole numbers as they are, words numbered in alphabetical order."""
    if all(word.isdecimal() for word in words):
        return np.array([int(word) for word in words], dtype=np.int64)
    return np.unique(np.array(words), return_inverse=True)[1].astype(np.int64)


def _part(path: str) -> int:
    digest = hashlib.blake2b(path.encode(), digest_size=4).digest()
    return HELD_OUT if int.from_bytes(digest, "big") % HELD_OUT_SHARE == 0 else LEARN


def _batches(paths: Sequence[Path], size: int) -> Iterator[list[Path]]:
    for start in range(0, len(paths), size):
        yield list(paths[start : start + size])


if __name__ == "__main__":
    sys.exit(main())
