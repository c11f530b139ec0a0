"""Pictures of molecules between reports: drawn from codes once, they stay beside the records as files.

A records.jsonl has no codes to draw from. What a report drew lies in ``figures``; ``galleries.json`` says what it
shows. A folder may come from anywhere and its pictures go into a page, so that only plain shapes are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench.report.chemistry import Drawing, Gallery
from bench.report.pictures import gallery_file
from bench.report.rows import Board

NAME = "galleries.json"
MOST_BYTES = 2**20
_SHAPES = {"svg", "g", "path", "rect", "text", "tspan", "title"}
_SHAPES |= {"circle", "ellipse", "line", "polygon", "polyline"}
_STEM = re.compile(r"[a-z0-9-]{1,40}")
_REFUSED = re.compile(r"<!(doctype|entity)|url\s*\(|javascript:|@import|expression\s*\(", re.IGNORECASE)


def described(galleries: Mapping[str, Gallery]) -> dict[str, Any]:
    """JSON values that say what the pictures of ``figures`` show."""
    return {
        slug: {"about": gallery.about, "drawings": [{"stem": d.stem, "title": d.title} for d in gallery.drawings]}
        for slug, gallery in galleries.items()
    }


def stored(folder: Path, boards: Sequence[Board]) -> dict[str, Gallery]:
    """{board slug: pictures} that an earlier report left in the folder; without those that are damaged or no plain
    shapes, and empty where there is no list of them."""
    try:
        text = (folder / NAME).read_text(encoding="utf-8")
        told = json.loads(text) if len(text) <= MOST_BYTES else {}
    except (OSError, ValueError):
        return {}
    found = {}
    for slug in dict.fromkeys(board.slug for board in boards):
        entry = told.get(slug) if isinstance(told, dict) else None
        if not isinstance(entry, dict) or not isinstance(entry.get("drawings"), list):
            continue
        drawings = [made for item in entry["drawings"] if (made := _read(folder, slug, item))]
        if drawings:
            found[slug] = Gallery(str(entry.get("about", ""))[:500], drawings)
    return found


def _read(folder: Path, slug: str, item: Any) -> Drawing | None:
    if not isinstance(item, dict) or not _STEM.fullmatch(str(item.get("stem"))):
        return None
    path = folder / gallery_file(slug, item["stem"])
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        svg = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return Drawing(item["stem"], str(item.get("title", ""))[:200], svg) if plain(svg) else None


def plain(svg: str) -> bool:
    """Does the picture hold shapes and text alone: nothing that runs, loads or refers to anything?"""
    if _REFUSED.search(svg):
        return False
    try:
        root = ElementTree.fromstring(svg)
    except (ElementTree.ParseError, RecursionError):
        return False
    for element in root.iter():
        if not isinstance(element.tag, str) or element.tag.rsplit("}")[-1] not in _SHAPES:
            return False
        names = [name.rsplit("}")[-1].lower() for name in element.attrib]
        if any(name.startswith("on") or name in ("href", "src") for name in names):
            return False
    return root.tag.rsplit("}")[-1] == "svg"
