"""Pictures of molecules on a dataset's page, from stored codes, without a display."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.cli import main
from bench.registry import discover
from bench.report.chemistry import DESCRIPTORS, described, galleries
from bench.report.rows import boards
from bench.run.spec import RunSpec
from bench.run.store import Store, read_records

SET = ["--set", "molecules.n_tasks=45", "--set", "mtlcm.steps=2"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two learners on a small library, all their codes stored."""
    folder = tmp_path_factory.mktemp("molecules")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder / "cache"))
        arguments = ["run", "--learners", "mtlcm,pca,oracle", "--datasets", "molecules", "--budget", "smoke"]
        arguments += ["--seeds", "1", "--keep-codes", *SET, "--out", str(folder / "results")]
        assert main(arguments) == 0
        assert main(["report", "--out", str(folder / "results")]) == 0
    return folder / "results"


def test_the_page_shows_every_factor_the_heat_map_and_the_indicators(results: Path) -> None:
    page = (results / "report" / "molecules.md").read_text("utf-8")
    assert "Codes of mtlcm, seed 1, on held-out molecules." in page
    shown = [name for name in re.findall(r"\]\((figures/[^)]*)\)", page) if "factor" in name or "causal" in name]
    assert len(shown) == 6 + 1
    heat = next(name for name in re.findall(r"\]\((figures/[^)]*)\)", page) if "descriptors" in name)
    for name in (*shown, heat):
        assert ElementTree.fromstring((results / "report" / name).read_text("utf-8")).tag.endswith("svg")
    words = (results / "report" / heat).read_text("utf-8")
    assert "true: MolLogP" in words
    assert all(name in words for name in DESCRIPTORS)
    assert "target 45" in (results / "report" / next(n for n in shown if "causal" in n)).read_text("utf-8")


def test_no_label_of_the_pictures_drawn_here_leaves_its_canvas(results: Path) -> None:
    files = [*results.glob("report/figures/*-descriptors.svg"), *results.glob("report/figures/*-causal.svg")]
    assert len(files) == 2
    for file in files:
        root = ElementTree.fromstring(file.read_text("utf-8"))
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for label in root.iter("{http://www.w3.org/2000/svg}text"):
            x, y, long = float(label.attrib["x"]), float(label.attrib["y"]), 7.4 * len(label.text or "")
            if "transform" in label.attrib:  # upwards from its foot
                assert y - long >= 0
                assert y <= height
            elif label.attrib["text-anchor"] == "end":
                assert x - long >= 0
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_stored_codes_that_no_longer_fit_are_named_on_the_page(results: Path) -> None:
    found, store = discover(), Store(results)
    made = boards(read_records(results), found, {})
    (record,) = [r for r in read_records(results) if r["spec"]["learner"] == "mtlcm"]
    key = RunSpec.from_dict(record["spec"]).key
    kept = store.codes(key)
    try:
        store.put_codes(key, {**kept, "test": kept["test"][:-1]})
        (gallery,) = galleries(made, store, found).values()
    finally:
        store.put_codes(key, kept)
    assert not gallery.drawings
    assert "stored codes for" in gallery.about
    assert "run the cell again" in gallery.about


def test_unreadable_molecules_have_no_descriptors() -> None:
    values, readable = described(["CCO", "C1CC", "c1ccccc1"])
    assert readable.tolist() == [True, False, True]
    assert values.shape == (2, len(DESCRIPTORS))
    assert values[:, DESCRIPTORS.index("NumAromaticRings")].tolist() == [0, 1]
    assert np.isfinite(values).all()
