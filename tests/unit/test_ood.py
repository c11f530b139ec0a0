"""Out-of-orthant R² on codes with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from bench.metrics import OutOfDomain, linear_r2, ood_r2
from bench.metrics.base import ScoreInput
from bench.metrics.evaluate import evaluate
from bench.metrics.ood import RANDOM_ORTHANTS, orthant_scores
from bench.metrics.pairs import pairs


def uniform(d: int, n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, (n, d)), rng.uniform(-0.5, 0.5, (n, d))


@pytest.mark.parametrize("d", [1, 2, 4, 6])
def test_a_linear_code_holds_everywhere(d: int) -> None:
    z, z_test = uniform(d)
    mixing = np.random.default_rng(1).standard_normal((d, d + 2))
    mixing /= np.linalg.svd(mixing, compute_uv=False)[-1]
    assert ood_r2(z, z @ mixing + 3, z_test, z_test @ mixing + 3) >= 0.99
    scores, _ = orthant_scores(pairs(z, z, z_test, z_test))
    assert len(scores) == min(2**d, RANDOM_ORTHANTS)


def test_a_curved_code_is_found_out() -> None:
    z, z_test = uniform(2)
    codes, codes_test = np.exp(4 * z), np.exp(4 * z_test)
    inside, outside = linear_r2(z, codes, z_test, codes_test), ood_r2(z, codes, z_test, codes_test)
    print(f"R² {inside:.3f}, out of orthant {outside:.3f}")
    assert inside >= 0.8
    assert outside <= inside - 0.1


def test_independent_codes_score_what_the_mean_outside_does() -> None:
    z, z_test = uniform(2, 20_000)
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((20_000, 3)), rng.standard_normal((20_000, 3))
    score = evaluate(
        ScoreInput(z_train=z, codes_train=noise[0], z_test=z_test, codes_test=noise[1], centre=np.zeros(2))
    )["ood_r2"]
    # three quadrants have mean 1/12 in each factor, the fourth lies around ±1/4: 1 − (1/48 + (1/4 + 1/12)²) · 12
    assert score.chance == pytest.approx(1 - (1 / 48 + 1 / 9) * 12, abs=0.02)
    assert score.value == pytest.approx(score.chance, abs=0.01)
    assert score.ceiling == 1.0


def test_the_ceiling_is_that_of_the_best_estimate() -> None:
    z, z_test = uniform(2)
    rng = np.random.default_rng(0)
    best, best_test = z + 0.05 * rng.standard_normal(z.shape), z_test + 0.05 * rng.standard_normal(z.shape)
    score = evaluate(
        ScoreInput(
            z_train=z,
            codes_train=z,
            z_test=z_test,
            codes_test=z_test,
            ceiling_train=best,
            ceiling_test=best_test,
            centre=np.zeros(2),
        )
    )["ood_r2"]
    assert score.ceiling == pytest.approx(ood_r2(z, best, z_test, best_test))
    assert score.ceiling == pytest.approx(0.97, abs=0.02)
    assert len(score.extra["per_orthant"]) == 4


def test_it_is_absent_where_no_centre_is_known() -> None:
    z, z_test = uniform(2, 200)
    assert "ood_r2" not in evaluate(ScoreInput(z_train=z, codes_train=z, z_test=z_test, codes_test=z_test))


def test_scale_shift_and_duplicates_change_nothing() -> None:
    z, z_test = uniform(2)
    codes, codes_test = np.tanh(2 * z) + z[:, ::-1], np.tanh(2 * z_test) + z_test[:, ::-1]
    plain = ood_r2(z, codes, z_test, codes_test)
    scale = np.array([1e-3, 50.0])
    assert ood_r2(z, codes * scale + 7, z_test, codes_test * scale + 7) == pytest.approx(plain, abs=1e-6)
    twice, twice_test = np.hstack([codes, codes]), np.hstack([codes_test, codes_test])
    assert ood_r2(z, twice, z_test, twice_test) == pytest.approx(plain, abs=1e-9)


def test_few_samples_and_wrong_centres_are_refused() -> None:
    z, z_test = uniform(6, 200)
    with pytest.raises(OutOfDomain, match="too few for 64 orthants"):
        ood_r2(z, z, z_test, z_test)
    z, z_test = uniform(2, 200)
    with pytest.raises(OutOfDomain, match="centre has shape"):
        ood_r2(z, z, z_test, z_test, np.zeros(3))
