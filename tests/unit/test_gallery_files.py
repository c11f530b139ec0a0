"""Pictures of molecules survive a report from records alone; a folder from elsewhere brings shapes and nothing else."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.report.chemistry import Drawing, Gallery
from bench.report.gallery_files import NAME, described, plain, stored

SVG = (
    '<?xml version="1.0"?><!-- head --><svg xmlns="http://www.w3.org/2000/svg"><path d="M 0 0" style="fill:red"/></svg>'
)
BOARDS: Any = [SimpleNamespace(slug="qm9-standard")]


def folder_with(tmp_path: Path, svg: str) -> Path:
    gallery = Gallery("Codes of pca", [Drawing("factor-1", "Factor 1", svg)])
    (tmp_path / NAME).write_text(json.dumps(described({"qm9-standard": gallery})))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "qm9-standard-factor-1.svg").write_text(svg)
    return tmp_path


def test_what_was_drawn_is_read_again(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, SVG)
    assert stored(folder, BOARDS) == {"qm9-standard": Gallery("Codes of pca", [Drawing("factor-1", "Factor 1", SVG)])}
    assert stored(folder, []) == {}
    (folder / "figures" / "qm9-standard-factor-1.svg").unlink()
    assert stored(folder, BOARDS) == {}


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        '<path onload="alert(1)"/>',
        '<a href="http://x"><path/></a>',
        '<image href="http://x"/>',
        '<path style="fill:url(http://x)"/>',
        "<foreignObject/>",
        "<style>@import 'x';</style>",
        "<path>",
    ],
)
def test_pictures_that_do_anything_are_left_out(inner: str, tmp_path: Path) -> None:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg">{inner}</svg>'
    assert not plain(svg)
    assert stored(folder_with(tmp_path, svg), BOARDS) == {}


def test_entities_are_refused_before_they_are_expanded() -> None:
    assert not plain(
        '<!DOCTYPE svg [<!ENTITY a "aaaa">]><svg xmlns="http://www.w3.org/2000/svg"><text>&a;</text></svg>'
    )


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"qm9-standard": 1}', '{"qm9-standard": {"drawings": [1, {}]}}'])
def test_a_damaged_list_is_no_list(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text)
    assert stored(tmp_path, BOARDS) == {}


def test_names_stay_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps({"qm9-standard": {"drawings": [{"stem": "../../x", "title": "t"}]}}))
    (tmp_path / "x.svg").write_text(SVG)
    assert stored(tmp_path, BOARDS) == {}
