"""Rendered images: what a factor changes, what learners are told, and few-shot tasks under shift."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.variational.ada_gvae import pairs_of, shared_average
from baselines.variational.fused_bound import total_correlation
from bench.api import NotApplicable
from bench.metrics.few_shot import few_shot_scores
from bench.metrics.held_out import held_out_r2
from bench.toolkit.inputs import Images
from datasets.images.factors import draw_combinations, draw_factors, draw_pairs
from datasets.images.rendered import load_room, load_sprite_pairs, load_sprites
from datasets.images.room import render_room
from datasets.images.sprites import render_sprites
from datasets.shift.episodes import misleading_episode
from datasets.shift.sprites import load_shift_sprites


@pytest.mark.parametrize("render", [render_sprites, render_room])
@pytest.mark.parametrize("shape", range(4))
def test_every_factor_moves_the_image_and_a_small_step_moves_it_little(render, shape):
    z = np.zeros((1, 5))
    kind = np.array([shape])
    base = render(z, kind).astype(float)
    for factor in range(5):
        near, far = z.copy(), z.copy()
        near[0, factor], far[0, factor] = 0.02, 0.8
        small = np.abs(render(near, kind) - base).mean()
        large = np.abs(render(far, kind) - base).mean()
        assert large > 0.5
        assert 0 < small < large


def test_sprites_cover_the_area_of_their_shape_and_stay_inside():
    z = np.array([[1.0, x, y, -1.0, 1.0] for x in (-1, 1) for y in (-1, 1)])
    pixels = render_sprites(z, np.zeros(4, dtype=int), side=64)
    red = pixels[:, 0].astype(float)
    cover = ((red - red.min()) / (red.max() - red.min())).sum(axis=(1, 2)) / 64**2
    # a square of half side 0.85 radii, the radius a fifth of the image
    assert cover == pytest.approx(np.full(4, (2 * 0.85 * 0.2) ** 2), rel=0.01)
    assert (pixels[:, :, [0, -1]] == pixels[:, :, :1, :1]).all()
    assert (pixels[:, :, :, [0, -1]] == pixels[:, :, :1, :1]).all()


def test_angle_turns_the_shape_about_its_centre():
    z, kind = np.zeros((2, 5)), np.zeros(2, dtype=int)
    upright, turned = render_sprites(z, kind, angle=np.array([0.0, np.pi / 2]))
    assert np.abs(upright.astype(int) - turned).max() <= 1


def test_factors_are_uniform_and_correlated_as_asked():
    z = draw_factors(np.random.default_rng(0), 20000, 3, 0.6)
    assert np.quantile(z, [0.25, 0.5, 0.75], axis=0) == pytest.approx(np.array([[-0.5, 0, 0.5]] * 3).T, abs=0.03)
    expected = 6 / np.pi * np.arcsin(0.6 / 2)  # rank correlation under a Gaussian copula
    assert np.corrcoef(z.T)[0, 1] == pytest.approx(expected, abs=0.03)
    with pytest.raises(ValueError, match="rho"):
        draw_factors(np.random.default_rng(0), 10, 3, -0.6)


def test_held_out_combinations_are_those_and_no_others():
    rng = np.random.default_rng(0)
    seen = draw_combinations(rng, 500, 5, 0.0, (1, 3), held_out=False)
    unseen = draw_combinations(rng, 500, 5, 0.0, (1, 3), held_out=True)
    assert not ((seen[:, 1] > 0) & (seen[:, 3] > 0)).any()
    assert ((unseen[:, 1] > 0) & (unseen[:, 3] > 0)).all()


def test_pairs_differ_in_as_many_factors_as_asked():
    z = draw_pairs(np.random.default_rng(0), 200, 5, 0.0, 2).reshape(200, 2, 5)
    assert ((z[:, 0] != z[:, 1]).sum(axis=1) == 2).all()


@pytest.mark.parametrize("load", [load_sprites, load_room])
def test_data_hold_together(load):
    data = load(seed=3, n=200, side=16, n_tasks=6, held_out=True)
    again = load(seed=3, n=200, side=16, n_tasks=6, held_out=True)
    assert isinstance(data.train.x, Images)
    assert (data.train.x.pixels == again.train.x.pixels).all()
    assert data.train.x.pixels.shape == (200, 3, 16, 16)
    assert np.bincount(data.train.task).tolist() == [200] * 6
    assert set(np.unique(data.train.y)) == {0.0, 1.0}
    assert len(np.unique(data.train.labels)) <= 8
    assert data.eval.causal.any(axis=1).all()
    assert data.eval.z_independent.shape[1] == 5


def test_pairs_are_named_by_the_auxiliary_variable():
    train = load_sprite_pairs(seed=0, n=20, side=16).train
    assert pairs_of(train).tolist() == [[2 * i, 2 * i + 1] for i in range(10)]
    with pytest.raises(NotApplicable, match="pairs"):
        pairs_of(load_sprites(seed=0, n=100, side=16, n_tasks=2).train)


def test_codes_that_differ_little_are_averaged():
    mean_a, mean_b = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[4.0, 1.2]]])
    log = torch.zeros(1, 1, 2)
    (first, second), _ = shared_average(mean_a, log, mean_b, log)
    assert first[0, 0].tolist() == pytest.approx([0.0, 1.1])
    assert second[0, 0].tolist() == pytest.approx([4.0, 1.1])


def test_total_correlation_of_gaussian_codes():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    n, log_s = 2000, torch.full((1, 2000, 2), -4.0)

    def estimate(matrix):
        mean = torch.randn(1, n, 2, generator=generator) @ matrix.T
        z = mean + torch.exp(0.5 * log_s) * torch.randn(1, n, 2, generator=generator)
        return float(total_correlation(z, mean, log_s, n))

    expected = -0.5 * np.log(1 - (0.8 / (1 + np.exp(-4.0))) ** 2)
    assert estimate(mixing) == pytest.approx(expected, abs=0.1)
    assert estimate(torch.eye(2)) == pytest.approx(0.0, abs=0.1)


def test_held_out_r2_divides_by_the_spread_of_all_combinations():
    rng = np.random.default_rng(0)
    z, z_test = rng.uniform(-1, 1, (4000, 2)), rng.uniform(0, 1, (4000, 2))
    noise = 0.1
    codes, codes_test = (a + noise * rng.standard_normal(a.shape) for a in (z, z_test))
    spread = np.full(2, 1 / np.sqrt(3))
    assert held_out_r2(z, codes, z_test, codes_test, spread) == pytest.approx(1 - 3 * noise**2, abs=0.01)


def test_supports_mislead_and_queries_are_balanced():
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 1, (4000, 2))
    label, attribute = z[:, 0] > 0, z[:, 1] > 0
    episode = misleading_episode(rng, label, attribute, 100)
    agree = (attribute[episode.support] == (episode.y_support > 0)).mean()
    assert 0.82 < agree < 0.97
    assert np.bincount(episode.y_support).tolist() == [100, 100]
    assert len(set(np.bincount(episode.group_query))) == 1
    assert not set(episode.support) & set(episode.query)
    lacking = misleading_episode(rng, label, attribute, 100, missing=True)
    assert not (attribute[lacking.support] & (lacking.y_support == 0)).any()


def test_axes_gain_and_rotations_do_not():
    rng = np.random.default_rng(0)
    z, z_test = rng.standard_normal((4000, 8)), rng.standard_normal((6000, 8))
    episodes = [misleading_episode(rng, z_test[:, i] > 0, z_test[:, (i + 1) % 8] > 0, 10) for i in range(8)]
    episodes *= 2
    turn = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    straight = few_shot_scores(3 * z, 3 * z_test, episodes)
    turned = few_shot_scores(z @ turn, z_test @ turn, episodes)
    assert straight["basis_gain"].value > 0.1
    assert abs(turned["basis_gain"].value) < 0.1
    assert straight["few_shot_worst"].value > turned["few_shot_worst"].value + 0.1


@pytest.mark.parametrize("shift", ["spurious", "combination", "stain"])
def test_shift_sprites_tell_learners_of_tasks_alone(shift):
    data = load_shift_sprites(seed=0, n=3000, side=16, n_tasks=3, shift=shift, episodes=1)
    assert data.train.labels is None
    assert data.train.aux is None
    assert {episode.shots for episode in data.eval.episodes} == {10, 25, 100}
