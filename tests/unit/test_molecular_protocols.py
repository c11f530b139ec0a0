"""The tables on real molecules: what they compare is what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.errors import UsageError
from tests.benchmarks import consistency_protocol as protocol
from tests.benchmarks import scaffold_shift as shift
from tests.unit.molecular_files import write_qm9


def test_whitened_codes_have_unit_covariance_and_stay_near_the_codes() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(500, 3)) @ np.array([[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 3.0]])
    white = (codes - codes.mean(0)) @ protocol.whitener(codes)
    assert np.allclose(np.cov(white, rowvar=False, bias=True), np.eye(3), atol=1e-9)
    for j in range(3):
        assert np.corrcoef(codes[:, j], white[:, j])[0, 1] > 0.9
    flat = protocol.whitener(codes * [1.0, 1.0, 0.0])
    assert np.isfinite(flat).all()


def test_scores_in_sample_flatter_codes_that_have_nothing_in_common() -> None:
    """Codes of independent noise: the released program's scores are far above 0, the held-out ones near it."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 100, 6))
    inside, outside = protocol.as_released(a, b), protocol.held_out(a, b)
    assert inside["weak"] > 0.15
    assert inside["strong"] > 0.1
    assert max(map(abs, outside.values())) < 0.05
    same = protocol.as_released(a, -2 * a[:, ::-1])
    assert same == pytest.approx({"weak": 1.0, "strong": 1.0})


def test_a_row_has_means_and_ranges_over_pairs_of_seeds() -> None:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(100, 2))
    made = [protocol.Fit(scale * codes, codes, r2, 3.0) for scale, r2 in ((1.0, 0.4), (2.0, 0.5), (-1.0, 0.6))]
    one = "1.000 (1.000–1.000)"
    assert protocol.row("rrr", 2, made) == ["rrr", "2", "0.500", one, one, one, one, "3"]


def test_the_effective_rank_counts_the_components_of_the_targets(folder: Path) -> None:
    write_qm9(folder)
    data = registry.load(registry.discover().dataset("qm9-graph"))(seed=0, inputs="graph")
    share = protocol.variance_held(data)
    assert len(share) == 12
    assert (np.diff(share) >= 0).all()
    assert share[-1] == pytest.approx(1.0)


def test_datasets_whose_held_out_samples_follow_the_seed_are_refused() -> None:
    with pytest.raises(UsageError, match="molecules"):
        list(protocol.section("molecules", ["pca"], [2], 2, []))


def test_ridge_predictions_are_those_of_the_normal_equations() -> None:
    rng = np.random.default_rng(0)
    x, test, w = rng.normal(size=(200, 4)), rng.normal(size=(50, 4)), rng.normal(size=(4, 2))
    predicted = shift.ridge_predictions(x, x @ w + 3.0, test, 1e-9)
    assert np.allclose(predicted, test @ w + 3.0)


def test_every_split_has_a_row_with_errors_in_both_units(folder: Path) -> None:
    write_qm9(folder)
    load = registry.load(registry.discover().dataset("qm9-graph"))
    made = list(shift.rows(shift.counts, 2, {"rows": None, "inputs": "graph"}, load))
    assert [cells[0] for cells in made] == [
        "random",
        "scaffold, in distribution",
        "scaffold, out of it",
        "rarest-scaffold, in distribution",
        "rarest-scaffold, out of it",
    ]
    assert all(len(cells) == 6 for cells in made)
