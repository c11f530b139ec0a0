"""Every learner on every kind of input: it runs, or says in words why not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import registry
from bench.api import NotApplicable
from bench.run.outcome import checked_codes
from bench.run.plan import why_not
from bench.toolkit.encoders import decoder
from bench.toolkit.inputs import content_hash, flat, kind_of
from bench.toolkit.networks import Streams
from bench.toolkit.rows import prepare

ROOT = Path(__file__).resolve().parents[2]
FOUND = registry.discover()
LEARNERS = [name for name, info in FOUND.learners.items() if not {"truth", "pairs"} & set(info.needs)]
TINY = ["tiny-images", "tiny-sequences", "tiny-graphs"]
DECLINED = {"vae", "beta-vae", "ivae", "ivae-blind", "icarl", "beta-tcvae"}
"""Learners with a decoder: graphs have none."""
OF_SEQUENCES = {"rnn", "lstm", "transformer", "flattened"}
OF_IMAGES = {"pca-64", "pca-32", "few-class-classification", "diet-augmented"}


@pytest.mark.parametrize("dataset", TINY)
@pytest.mark.parametrize("name", LEARNERS)
def test_learner_runs_on_the_kind_or_says_why_not(name: str, dataset: str) -> None:
    info, where = FOUND.learners[name], FOUND.datasets[dataset]
    if where.kind not in info.accepts:
        assert why_not(info, where) == f"takes {' or '.join(info.accepts)} inputs, the data is {where.kind}s"
        assert name in DECLINED | OF_SEQUENCES | OF_IMAGES
        return
    data = registry.load(where)(seed=3, n_per_task=30)
    learner = registry.load(info)(**registry.parameters(info) | dict(info.budgets.get("smoke", {})))
    view = (
        replace(data.train, y=(data.train.y > 0) * 1.0, target_type="binary") if "binary" in info.needs else data.train
    )
    if name == "few-class-classification":
        view = replace(view, labels=view.labels % 2)
    learner.fit(view, seed=1, device="cpu", progress=lambda fraction, text="": None)
    x, aux = data.eval.x_test, data.eval.aux_test
    codes = checked_codes(learner.encode(x, aux) if info.aux_at_test else learner.encode(x), len(x), name)
    part = learner.encode(x[:5], aux[:5]) if info.aux_at_test else learner.encode(x[:5])
    assert np.allclose(part, codes[:5], rtol=1e-3, atol=1e-3 * np.abs(codes).max()), "depends on the samples beside it"


def test_the_matrix_has_no_other_gap() -> None:
    general = [name for name in LEARNERS if name not in OF_SEQUENCES | OF_IMAGES]
    gaps = {(name, d) for name in general for d in TINY if why_not(FOUND.learners[name], FOUND.datasets[d])}
    assert {name for name, d in gaps if d == "tiny-graphs" and "binary" not in FOUND.learners[name].needs} == DECLINED
    assert not [gap for gap in gaps if gap[1] != "tiny-graphs" and "binary" not in FOUND.learners[gap[0]].needs]


@pytest.mark.parametrize("dataset", TINY)
def test_rows_flat_view_and_hash(dataset: str) -> None:
    x = registry.load(FOUND.datasets[dataset])(seed=0, n_per_task=5).train.x
    assert kind_of(x) == FOUND.datasets[dataset].kind
    order = np.random.default_rng(0).permutation(len(x))
    taken = x[order]
    assert type(taken) is type(x)
    assert len(taken) == len(x)
    assert np.allclose(flat(taken), flat(x)[order], atol=1e-5)
    assert content_hash(taken[np.argsort(order)]) == content_hash(x)
    assert content_hash(taken) != content_hash(x)


def test_another_kind_at_encode_is_refused() -> None:
    images, trees = (registry.load(FOUND.datasets[d])(seed=0, n_per_task=30) for d in ("tiny-images", "tiny-graphs"))
    info = FOUND.learners["untrained"]
    learner = registry.load(info)().fit(images.train, seed=0, device="cpu", progress=lambda f, t="": None)
    with pytest.raises(ValueError, match="x is of kind graph, training had image"):
        learner.encode(trees.eval.x_test)
    inputs = prepare(trees.train)
    with pytest.raises(NotApplicable, match="no decoder"):
        decoder(inputs, 2, Streams([0], "init"))


def test_the_tiny_data_hold_what_they_say() -> None:
    for name in TINY:
        data = registry.load(FOUND.datasets[name])(seed=0)
        x = np.c_[flat(data.train.x), np.ones(data.train.n_samples)]
        weights = np.linalg.lstsq(x, data.eval.z_train, rcond=None)[0]
        found = np.c_[flat(data.eval.x_test), np.ones(len(data.eval.x_test))] @ weights
        residual = ((found - data.eval.z_test) ** 2).mean(0) / data.eval.z_test.var(0)
        assert (residual < 0.2).all(), (name, residual)


@pytest.mark.parametrize("dataset", [*TINY, "linear-causal"])
def test_the_example_of_the_docs_is_a_learner_for_every_kind(dataset: str) -> None:
    text = (ROOT / "docs" / "toolkit.md").read_text(encoding="utf-8")
    source = (ROOT / "examples" / "any_kind.py").read_text(encoding="utf-8")
    assert source in text, "docs/toolkit.md shows another example than examples/any_kind.py"
    body = source[source.index("@learner") :]
    assert len(body.splitlines()) <= 25
    info = registry.discover([ROOT / "examples" / "any_kind.py"]).learners["target-codes"]
    where = FOUND.datasets[dataset]
    assert not why_not(info, where)
    data = registry.load(where)(seed=0, **where.budgets["smoke"])
    learner = registry.load(info)().fit(data.train, seed=0, device="cpu", progress=lambda f, t="": None)
    assert checked_codes(learner.encode(data.eval.x_test), len(data.eval.x_test), "example").shape[1] > 1
