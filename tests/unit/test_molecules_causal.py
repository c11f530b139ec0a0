"""molecules-causal: whose rows are whose, that the stated law holds, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.api import Data, NotApplicable
from bench.toolkit.inputs import Graphs, content_hash
from datasets.molecular import causal_library
from datasets.molecular.causal_library import load_library, whitened
from datasets.molecular.causal_selection import draw_law, sides
from datasets.molecular.molecules import LATENTS
from datasets.molecular.molecules_causal import molecules_causal

SMALL: dict[str, Any] = {
    "library_size": 3000, "n_latents": 3, "k": 1, "sigma_s": 0.5, "n_tasks": 12, "n_per_task": 20
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def data(own_cache: Path) -> Data:
    return molecules_causal(seed=0, **SMALL)


def test_every_row_is_a_pair_of_task_and_molecule(data: Data) -> None:
    view, held = data.train, data.eval
    assert isinstance(view.x, Graphs)
    assert (len(view.x), len(held.x_test)) == (12 * 16, 12 * 4)
    np.testing.assert_array_equal(view.sample, np.arange(192))
    np.testing.assert_array_equal(view.task, np.repeat(np.arange(12), 16))
    np.testing.assert_array_equal(view.aux, view.task)
    assert held.causal is not None
    assert (held.causal.sum(1) == 1).all()
    for task in range(12):
        rows = np.flatnonzero(view.task == task)
        assert len({content_hash(view.x[[row]]) for row in rows}) == len(rows) == 16


def test_factors_are_those_of_the_molecules_and_near_their_descriptors(data: Data) -> None:
    library = load_library("enumerated", 3000, 0)
    z = whitened(library.descriptors[:, :3], by_ranks=False)
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(3), atol=1e-9)
    assert min(data.info["latent_descriptor_correlation"]) > 0.9
    # molecules of one size have one number of nodes; the factor that is their weight nearly follows it
    size = np.diff(data.train.x.node_offsets)
    assert np.corrcoef(size, data.eval.z_train[:, 0])[0, 1] > 0.8  # type: ignore[index]
    assert data.eval.latent_names == tuple(f"{name}, whitened" for name in LATENTS[:3])


def test_held_out_molecules_are_of_no_training_row() -> None:
    library = load_library("enumerated", 3000, 0)
    for split in ("molecule", "rarest-scaffold"):
        train, test = sides(library.smiles, library.scaffolds, split)  # type: ignore[arg-type]
        assert not set(train) & set(test)
        assert 0.15 < len(test) / 3000 < 0.25
        made = molecules_causal(seed=1, split=split, **SMALL)

        def keys(z: Any) -> set[bytes]:
            return {row.tobytes() for row in z}

        z = whitened(library.descriptors[:, :3], by_ranks=False)
        assert keys(made.eval.z_train) <= keys(z[train])
        assert keys(made.eval.z_test) <= keys(z[test])


def test_counts_are_the_graphs_as_vectors_and_the_cache_changes_nothing(
    data: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    again = molecules_causal(seed=0, **SMALL)
    assert content_hash(again.train.x) == content_hash(data.train.x)
    counts = molecules_causal(seed=0, inputs="counts", **SMALL)
    np.testing.assert_array_equal(counts.train.x, data.train.x.flat())
    np.testing.assert_array_equal(counts.train.y, data.train.y)
    other = molecules_causal(seed=5, **SMALL)
    assert not np.array_equal(other.train.y, data.train.y)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    fresh = molecules_causal(seed=0, **SMALL)
    assert content_hash(fresh.train.x) == content_hash(data.train.x)
    np.testing.assert_array_equal(fresh.train.y, data.train.y)
    assert fresh.info == data.info


@pytest.mark.parametrize("target", ["causal", "model"])
def test_the_law_of_a_task_is_a_gaussian_with_the_stated_parts(target: Any) -> None:
    law = draw_law(np.random.default_rng(7), 5, 2, 0.25, target)
    joint = np.block([[law.covariance, law.cross[:, None]], [law.cross[None], np.ones((1, 1))]])
    assert np.linalg.eigvalsh(joint)[0] > 0
    given_y = law.covariance - np.outer(law.cross, law.cross)
    spurious = ~law.causal
    np.testing.assert_allclose(given_y[np.ix_(spurious, spurious)], 0.0625 * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(given_y[np.ix_(law.causal, spurious)], 0.0, atol=1e-12)
    np.testing.assert_allclose(np.diag(law.covariance)[law.causal], 0.85**2)
    assert (np.abs(law.cross[law.causal]) > 0).all() == (target == "causal")
    z = np.random.default_rng(8).multivariate_normal(np.zeros(5), law.covariance, 200_000)
    y = law.targets(z, np.random.default_rng(9))
    np.testing.assert_allclose(y @ z / len(z), law.cross, atol=0.01)
    assert y.var() == pytest.approx(1.0, abs=0.015)


def test_a_selection_that_cannot_be_is_refused_with_task_and_effective_sample_size() -> None:
    with pytest.raises(NotApplicable, match=r"task 0: no selection after 200 draws, at last an effective sample size"):
        molecules_causal(seed=0, **SMALL | {"n_per_task": 1000})
    with pytest.raises(ValueError, match="k=4 must be between 1 and 3"):
        molecules_causal(seed=0, **SMALL | {"k": 4})
    with pytest.raises(ValueError, match="split='half' is not one of"):
        molecules_causal(seed=0, **SMALL | {"split": "half"})


def test_ranks_make_each_descriptor_normal() -> None:
    values = np.random.default_rng(0).gamma(1.0, size=(2000, 1))
    z = whitened(values, by_ranks=True)[:, 0]
    assert abs((z**3).mean()) < 0.01
    assert (z**4).mean() == pytest.approx(3.0, abs=0.1)
    with pytest.raises(NotApplicable, match="MolWt is the same in all molecules"):
        whitened(np.ones((5, 1)), by_ranks=False)


def test_qm9_serves_as_a_library(folder: Path) -> None:
    from tests.unit.molecular_files import write_qm9

    write_qm9(folder, lambda rows: rows[3].__setitem__(1, "C1CC"))
    library = causal_library.load_library("qm9", 0, 0)
    assert len(library) == 59
    assert library.info["title"].startswith("QM9, 60 of")
