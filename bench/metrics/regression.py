"""Linear R²: how well an affine function of the codes predicts the latent factors on held-out samples."""

from __future__ import annotations

from typing import Any

from bench.metrics.base import metric
from bench.metrics.pairs import pairs


@metric(
    "linear_r2",
    tests="linear",
    range="(-inf, 1]",
    paper="Roeder et al. 2021",
    summary="held-out R² of the factors given an affine map of the codes, mean over factors, unclipped",
    assumptions="more training samples than twice the codes' rank; read beside the raw-input row",
    version=2,
)
@metric(
    "r2_independent",
    tests="linear",
    range="(-inf, 1]",
    paper="Joshi et al. 2026 (correlated factors mislead)",
    summary="linear_r2 on a set whose factors are independent: halves of it as train and test, both ways",
    assumptions="as mcc_independent",
    needs=("truth", "independent"),
    version=2,
)
def linear_r2(z_train: Any, codes_train: Any, z_test: Any, codes_test: Any) -> float:
    """Mean held-out coefficient of determination of an affine map from codes to factors.

    Ordinary least squares with intercept on columns standardised on train, by a rank-revealing decomposition where
    the codes are badly conditioned (directions below 1e-10 of the largest are dropped). Per factor
    R² = 1 − Σ(z − ẑ)² / Σ(z − mean of held-out z)², not clipped at 0, averaged over factors.

    Range (−∞, 1], higher is better, 1 exactly for codes that are an injective affine function of the factors;
    invariant under every invertible affine map of the codes. Chance is slightly negative and known in closed form.
    Of more than d_z codes only those count that explain most of all codes, as for ``mcc``: with enough of them the
    factors are nearly linear in anything (random features of the input). Constant and duplicate codes do no harm.
    Raises OutOfDomain for codes that are not finite, constant factors, and
    fewer than 2 (rank + 1) training samples.
    Reference: Roeder, Metz & Kingma, ICML 2021; as scikit-learn's LinearRegression and r2_score.
    """
    return float(pairs(z_train, codes_train, z_test, codes_test).narrow.linear.r2.mean())
