"""Learning from images: tasks that share images, classes drawn for the theorem, reference rows, settings by kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.linear.pca import PCA
from baselines.linear.wide_pca import WidePCA
from baselines.sparse.bilevel import Bilevel
from baselines.supervised.classification import FewClassClassification, SingleTaskClassification
from bench.api import NotApplicable
from bench.metrics.evaluate import ScoreInput, evaluate
from bench.registry import discover
from bench.run.plan import resolve
from bench.toolkit.encoders import encoder
from bench.toolkit.inputs import flat
from bench.toolkit.networks import Streams
from bench.toolkit.rows import prepare
from bench.toolkit.task_batches import cut_into_task_batches
from datasets.images.factors import SHARPNESS, cells, centres
from datasets.images.rendered import load_sprites
from datasets.shift.episodes import how_many, misleading_episode
from datasets.shift.erm import BIASED, misleading_images
from datasets.shift.sprites import load_shift_sprites


def fitted(learner, view):
    return learner.fit(view, seed=0, device="cpu", progress=lambda fraction, message: None)


@pytest.fixture(scope="module")
def sprites():
    return load_sprites(seed=1, n=400, side=16, n_tasks=10)


def test_cells_are_drawn_with_log_odds_linear_in_the_factors():
    rng = np.random.default_rng(0)
    centre = centres(rng, 3, 2)
    assert np.linalg.norm(centre, axis=1) == pytest.approx(np.ones(3))
    z = np.array([0.3, -0.5])
    share = np.bincount(cells(np.tile(z, (40_000, 1)), centre, rng), minlength=3) / 40_000
    odds = np.exp(SHARPNESS * centre @ z)
    assert share == pytest.approx(odds / odds.sum(), abs=0.01)
    assert cells(z[None], centre)[0] == (centre @ z).argmax()


def test_tasks_of_a_block_stay_together_and_an_image_is_encoded_once(sprites):
    learner = Bilevel(samples_per_task=20)
    learner.inputs_ = prepare(sprites.train)
    batches = cut_into_task_batches(sprites.train, size=20, seed=0)
    together = learner._together(batches)
    assert sorted(together.ravel()) == list(range(len(batches)))
    assert together.shape[1] == 5  # the largest divisor of ten tasks that is at most eight
    assert (batches.rows[together] == batches.rows[together[:, :1]]).all()

    learner.x_ = learner.inputs_(sprites.train.x)
    seen = []
    network = encoder(learner.inputs_, 3, Streams([0], "init"))
    learner.encoder_ = lambda rows: seen.append(rows.shape[1]) or network(rows)
    rows = torch.from_numpy(batches.rows[together[0]].reshape(1, -1))
    found = learner._features(rows)
    assert seen == [batches.rows.shape[1]]
    assert torch.allclose(found, network(learner.x_[rows]), atol=1e-5)


def test_vectors_keep_their_batches_apart(sprites):
    view = replace(sprites.train, x=flat(sprites.train.x))
    learner = Bilevel()
    learner.inputs_ = prepare(view)
    assert learner._together(cut_into_task_batches(view, size=20, seed=0)).shape[1] == 1


def test_wide_components_begin_with_those_of_pca_and_all_of_them_are_scored_beside(sprites):
    wide, narrow = fitted(WidePCA(width=16), sprites.train), fitted(PCA(), sprites.train)
    codes = wide.encode(sprites.train.x)
    assert codes.shape == (400, 16)
    assert codes[:, :5] == pytest.approx(narrow.encode(sprites.train.x))
    with pytest.raises(NotApplicable, match="too few"):
        fitted(WidePCA(width=800), sprites.train)


def test_unseen_combinations_are_scored_from_all_codes_beside_the_headline():
    rng = np.random.default_rng(0)
    z, z_test = rng.uniform(-1, 1, (2000, 2)), rng.uniform(0, 1, (2000, 2))
    mixing = rng.standard_normal((2, 6)) + 3 * np.eye(2, 6)[:, ::-1]
    codes, codes_test = (np.tanh(a @ mixing) for a in (z, z_test))
    spread = np.full(2, 1 / np.sqrt(3))
    inputs = ScoreInput(z_train=z, z_test=z_test, codes_train=codes, codes_test=codes_test, spread=spread)
    score = evaluate(inputs)["held_out_r2"]
    design, asked = (np.column_stack([c, np.ones(len(c))]) for c in (codes, codes_test))
    residual = z_test - asked @ np.linalg.lstsq(design, z, rcond=None)[0]
    assert score.extra["all_codes"] == pytest.approx(1 - 3 * np.square(residual).mean(), abs=1e-6)


def test_a_category_that_spans_nothing_is_refused_by_one_learner_and_shown_by_the_other(sprites):
    few = load_sprites(seed=1, n=200, side=16, n_tasks=2, labels="category").train
    with pytest.raises(NotApplicable, match="span"):
        fitted(SingleTaskClassification(steps=2), few)
    assert fitted(FewClassClassification(steps=2, batch_size=32), few).encode(few.x).shape == (200, 5)
    with pytest.raises(NotApplicable, match="single-task-classification"):
        fitted(FewClassClassification(steps=2), sprites.train)


def test_every_class_of_a_support_shows_the_same_share_of_the_other_attribute():
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 1, (2500, 2))
    label, attribute = z[:, 0] > 0, z[:, 1] > 0
    for shots, count in how_many(5).items():
        for _ in range(count):
            episode = misleading_episode(rng, label, attribute, shots)
            same = attribute[episode.support] == (episode.y_support > 0)
            assert same[:shots].sum() == same[shots:].sum() == round(0.9 * shots)
            assert episode.y_support.tolist() == [0] * shots + [1] * shots


def test_what_misleads_is_spread_over_the_folds_of_a_support():
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 1, (2500, 2))
    places = set()
    for _ in range(40):
        episode = misleading_episode(rng, z[:, 0] > 0, z[:, 1] > 0, 10)
        same = (z[episode.support, 1] > 0) == (episode.y_support > 0)
        places.add(int(np.flatnonzero(~same[:10])[0]))
    assert len(places) > 5


def test_erm_is_trained_where_another_factor_follows_the_class():
    label = np.random.default_rng(0).random((20_000, 4)) > 0.5
    used = misleading_images(np.random.default_rng(1), label)
    for k in range(4):
        agree = [(label[used[:, k], k] == label[used[:, k], j]).mean() for j in range(4) if j != k]
        assert sorted(agree)[-1] == pytest.approx(BIASED, abs=0.01)
        assert sorted(agree)[:-1] == pytest.approx([0.5, 0.5], abs=0.03)


def test_erm_features_are_a_row_of_the_data_and_repeat(monkeypatch):
    monkeypatch.setattr("datasets.shift.erm.STEPS", 3)
    data = load_shift_sprites(seed=0, n=3000, side=16, n_tasks=3, episodes=1)
    state = torch.get_rng_state()
    train, test = data.eval.oracles["erm"]()
    assert train.shape == (3000, 64)
    assert len(test) == len(data.eval.x_test)
    assert (data.eval.oracles["erm"]()[1] == test).all()
    assert (torch.get_rng_state() == state).all()


def test_learners_that_train_on_images_have_settings_for_them():
    found = discover()
    trained = [info for info in found.learners.values() if "image" in info.accepts and info.effort]
    lacking = [info.name for info in trained if not info.by_kind.get("image")]
    assert lacking in ([], ["beta-tcvae"])
    for info in trained:
        of_image, of_vector = (resolve(info, "standard", {}, kind) for kind in ("image", "vector"))
        assert (of_image == of_vector) == (info.name in lacking)
