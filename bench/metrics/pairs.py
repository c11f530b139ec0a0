"""Train and test pairs of latent factors and codes, validated once, with the statistics every metric shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bench.metrics.base import OutOfDomain
from bench.metrics.linear import LinearMap, LinearScore, fit_map, score_map
from bench.metrics.matching import Matching, match
from bench.metrics.moments import Floats, IntArray, Matrix, Moments, as_matrix, constant_columns, moments, tame
from bench.metrics.width import MAX_WIDTH, check_width, principal_variables

MIN_SAMPLES = 10
# Up to this many codes their correlations with each other are taken in the same pass, whether needed or not.
NARROW = 128
# Smallest eigenvalue of the latents' correlation matrix below which factors count as functions of each other.
COLLINEAR = 1e-10


@dataclass(frozen=True)
class Pairs:
    """Validated factors and codes of the training and the held-out samples; statistics are computed on demand."""

    z_train: Floats
    codes_train: Floats
    z_test: Floats
    codes_test: Floats

    @cached_property
    def train(self) -> Moments:
        among = self.width <= NARROW or self.d_z < self.width <= MAX_WIDTH
        return moments(self.z_train, self.codes_train, among_codes=among)

    @cached_property
    def test(self) -> Moments:
        return moments(self.z_test, self.codes_test)

    @cached_property
    def matching(self) -> Matching:
        return match(self.train.zc)

    @cached_property
    def map(self) -> LinearMap:
        return fit_map(self.z_train, self.codes_train, self.train)

    @cached_property
    def linear(self) -> LinearScore:
        return score_map(self.map, self.z_test, self.codes_test)

    @cached_property
    def ranks(self) -> Pairs:
        """The same with every column of every set replaced by its ranks (average ranks for ties)."""
        return Pairs(*(average_ranks(a) for a in (self.z_train, self.codes_train, self.z_test, self.codes_test)))

    @cached_property
    def kept(self) -> IntArray:
        """Columns of the codes that are scored where at most d_z may be: all, or the principal variables of more."""
        if self.width <= self.d_z:
            return np.arange(self.width)
        check_width(self.width)
        assert self.train.cc is not None
        return principal_variables(self.train.cc, self.d_z)

    @cached_property
    def narrow(self) -> Pairs:
        """The same factors with at most d_z codes; these very pairs where the codes are no more."""
        if self.width <= self.d_z:
            return self
        return Pairs(self.z_train, self.codes_train[:, self.kept], self.z_test, self.codes_test[:, self.kept])

    @property
    def code_of_factor(self) -> IntArray:
        """(d_z,) the column of the code that ``narrow`` matches to each factor, −1 where there is none."""
        code = self.narrow.matching.code_of(self.d_z)
        return np.where(code >= 0, self.kept[code], -1)

    @property
    def d_z(self) -> int:
        return self.z_train.shape[1]

    @property
    def width(self) -> int:
        return self.codes_train.shape[1]


def pairs(z_train: Any, codes_train: Any, z_test: Any, codes_test: Any) -> Pairs:
    """Validate shapes and finiteness; OutOfDomain with the reason where no metric could answer.

    All are (n, ·) arrays of real numbers. Rejected: unequal numbers of samples or columns, fewer than 10 samples or
    fewer training samples than factors, values that are not finite, factors that are constant.
    """
    named = {"z_train": z_train, "codes_train": codes_train, "z_test": z_test, "codes_test": codes_test}
    arrays = {name: as_matrix(name, value) for name, value in named.items()}
    for part in ("train", "test"):
        n, m = len(arrays[f"z_{part}"]), len(arrays[f"codes_{part}"])
        if n != m:
            raise OutOfDomain(f"z_{part} has {n} samples and codes_{part} has {m}")
        if n < MIN_SAMPLES:
            raise OutOfDomain(f"{n} {part} samples are too few, {MIN_SAMPLES} needed")
    for kind in ("z", "codes"):
        d, e = arrays[f"{kind}_train"].shape[1], arrays[f"{kind}_test"].shape[1]
        if d != e:
            raise OutOfDomain(f"{kind}_train has {d} columns and {kind}_test has {e}")
    if len(arrays["z_train"]) < arrays["z_train"].shape[1]:
        raise OutOfDomain(
            f"{len(arrays['z_train'])} training samples are fewer than {arrays['z_train'].shape[1]} factors"
        )
    z, codes = tame(arrays["z_train"], arrays["z_test"]), tame(arrays["codes_train"], arrays["codes_test"])
    checked = Pairs(z[0], codes[0], z[1], codes[1])
    for part, factors in (("training", checked.z_train), ("held-out", checked.z_test)):
        constant = constant_columns(factors)
        if len(constant):
            raise OutOfDomain(f"latent factor {constant[0]} is constant on the {part} samples")
    return checked


def average_ranks(x: Floats) -> Matrix:
    """Ranks 1 … n in each column of x (n, d); equal values share the mean of their ranks."""
    ranks = np.empty(x.shape)
    for column, out in zip(x.T, ranks.T, strict=True):
        order = np.argsort(column)
        ordered = column[order]
        group = np.cumsum(np.r_[True, ordered[1:] != ordered[:-1]]) - 1
        # Ranks end + 1 … end of the next: end[g] values lie before group g.
        end = np.r_[0, np.cumsum(np.bincount(group))]
        out[order] = (end[group] + end[group + 1] + 1) / 2
    return ranks


def decoy(zz: Matrix, n: int) -> float:
    """What codes that never look at the factor they stand for can reach.

    The mean multiple correlation of each factor with all others, adjusted for the number of samples: 0 for
    uncorrelated factors, 1 for linearly dependent ones. zz (d_z, d_z) are the factors' correlations in n samples.
    Raises OutOfDomain for n ≤ d_z + 1, where every factor is a function of the others.
    """
    d_z = len(zz)
    if n <= d_z + 1:
        raise OutOfDomain(f"{n} training samples are too few to tell {d_z} factors apart, {d_z + 2} needed")
    values, vectors = np.linalg.eigh(zz)
    if values[0] <= COLLINEAR:
        return 1.0
    # The variance that the others leave of factor i is 1 / (R⁻¹)_ii, with n − d_z degrees of freedom.
    left = 1.0 / ((vectors**2) @ (1.0 / values)) * (n - 1) / (n - d_z)
    return float(np.sqrt(np.maximum(1.0 - left, 0.0)).mean())
