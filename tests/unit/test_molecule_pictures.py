"""Pictures of factors: which molecules are chosen, and SVG that holds together."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from bench.api import BadData
from bench.report.molecules import correlations, extreme_rows, extremes, indicators


def test_the_ends_of_a_factor_are_shown_by_molecules_ordinary_otherwise() -> None:
    codes = np.random.default_rng(0).normal(size=(500, 3))
    codes[7] = [9.0, 9.0, 0.0]  # far out on the first factor, but on the second as well
    codes[8] = [5.0, 0.0, 0.0]
    low, high = extreme_rows(codes, 0, 4)
    assert high[0] == 8
    assert 7 not in high
    assert (codes[low, 0] < -1).all()
    assert np.abs(codes[[*low, *high], 1:]).max() < 1.3
    assert not set(low) & set(high)


def test_pictures_are_complete_svg_with_every_label() -> None:
    smiles = ["C" * (1 + i % 8) + "O" * (i % 2) for i in range(40)]
    codes = np.random.default_rng(1).normal(size=(40, 2))
    grid = ElementTree.fromstring(extremes(smiles, codes, 1, n=3))
    assert grid.tag.endswith("svg")
    names = ["MolWt <with, sign>", "a rather long name of a descriptor"]
    heat = correlations(codes, np.column_stack([codes[:, 0], -codes[:, 1]]), names)
    texts = [element.text for element in ElementTree.fromstring(heat).iter() if element.tag.endswith("text")]
    assert {*names, "factor 1", "factor 2", "+1.0", "-1.0"} <= set(texts)
    shown = indicators(np.array([[1.0, 0.0], [0.2, 0.9]]), ["homo", "gap"])
    assert {"homo", "gap", "0.9"} <= {element.text for element in ElementTree.fromstring(shown).iter()}


def test_a_molecule_that_cannot_be_read_is_named_in_its_place() -> None:
    codes = np.random.default_rng(2).normal(size=(4, 1))
    picture = extremes(["C1CC"] * 4, codes, 0, n=2)
    assert ElementTree.fromstring(picture).tag.endswith("svg")


def test_what_does_not_fit_is_refused() -> None:
    codes = np.zeros((5, 2))
    with pytest.raises(BadData, match=r"no factor 2"):
        extreme_rows(codes, 2, 1)
    with pytest.raises(BadData, match=r"at least 6 finite ones"):
        extreme_rows(codes, 0, 3)
    with pytest.raises(BadData, match=r"3 molecules and 5 rows"):
        extremes(["C"] * 3, codes, 0, n=1)
    with pytest.raises(BadData, match=r"1 names do not fit"):
        correlations(codes, np.zeros((5, 2)), ["a"])
    with pytest.raises(BadData, match=r"for 1 targets"):
        indicators(np.zeros((2, 2)), ["a"])
