"""Mean correlation coefficient, plain and after a linear map; both global, held out and signed."""

from __future__ import annotations

from typing import Any, Literal

from bench.metrics.base import metric
from bench.metrics.matching import matched
from bench.metrics.pairs import Pairs, pairs

Correlation = Literal["pearson", "spearman"]


@metric(
    "mcc",
    tests="permutation+scaling",
    range="[-1, 1]",
    paper="Hyvärinen & Morioka 2016; Khemakhem et al. 2020",
    summary="mean Pearson correlation, one permutation and signs fitted on train, scored on test",
    assumptions="factors not strongly correlated; codes linear in their factor",
    version=2,
)
@metric(
    "mcc_spearman",
    tests="permutation+scaling",
    range="[-1, 1]",
    paper="Khemakhem et al. 2020",
    summary="mean rank correlation: as mcc, but 1 for any monotone function of each factor",
    assumptions="factors not strongly correlated",
    version=2,
)
@metric(
    "mcc_independent",
    tests="permutation+scaling",
    range="[-1, 1]",
    paper="Joshi et al. 2026 (correlated factors mislead)",
    summary="mcc on a set whose factors are independent: halves of it as train and test, both ways",
    assumptions="synthetic data: factors can be drawn independently and pushed through the same mixing",
    needs=("truth", "independent"),
    version=2,
)
def mcc(z_train: Any, codes_train: Any, z_test: Any, codes_test: Any, correlation: Correlation = "pearson") -> float:
    """Mean correlation coefficient of the best one-to-one matching of codes to latent factors.

    The permutation and the signs are those that maximise the summed absolute correlation on the training samples;
    the score is the mean over all d_z factors of the *signed* correlation on the held-out samples, so a sign that
    flips costs. It is pooled over tasks.

    Parameters: z_* (n, d_z) and codes_* (n, d), any d; correlation "pearson" or "spearman".
    Range −1 … 1, higher is better, 1 exactly for permutation + scaling (monotone functions for "spearman").
    Chance is exactly 0: a matching that knows nothing of the held-out samples has either sign equally often.
    Factors without a code (d < d_z) and constant codes count as 0; of d > d_z codes those d_z are used that explain
    most of all codes on train (``width.principal_variables``): if the factors chose among them, width alone would be
    worth 0.978 to a rotated code. Raises OutOfDomain for codes that are not finite, constant factors, more than 3000
    codes and shapes that do not agree.
    Reference: Hyvärinen & Morioka, NeurIPS 2016; Khemakhem et al., AISTATS 2020 (both in-sample and unsigned).
    """
    found = pairs(z_train, codes_train, z_test, codes_test).narrow
    return float(mcc_per_factor(found.ranks if correlation == "spearman" else found).mean())


def mcc_per_factor(found: Pairs) -> Any:
    """(d_z,) held-out signed correlation of each factor with its code."""
    return matched(found.test.zc, found.matching)


@metric(
    "weak_mcc",
    tests="linear",
    range="[-1, 1]",
    paper="Khemakhem et al. 2020 (ICE-BeeM); Roeder et al. 2021",
    summary="mean correlation after an affine map fitted on train",
    assumptions="as linear_r2",
    version=2,
)
def weak_mcc(z_train: Any, codes_train: Any, z_test: Any, codes_test: Any) -> float:
    """Mean held-out correlation of each factor with its least-squares prediction from the codes.

    The affine map is fitted on the training samples; prediction i stands for factor i, and its signed correlation
    with the factor on the held-out samples is averaged over all d_z factors. More than d_z codes are reduced as for
    ``mcc``.

    Range −1 … 1, higher is better, 1 exactly for codes that are an injective affine function of the factors.
    Chance is exactly 0. Raises OutOfDomain as ``mcc``, and for fewer than 2 (rank + 1) training samples.
    Reference: Khemakhem et al., NeurIPS 2020 (there by CCA, in-sample).
    """
    return float(pairs(z_train, codes_train, z_test, codes_test).narrow.linear.corr.mean())
