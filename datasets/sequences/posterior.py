"""What a sequence of noisy readings says about the factors: likelihood, and exact posterior means.

Readings X_t = x* + noise_t of factors uniform on [−½, ½]. Each kind of noise here leaves a sufficient statistic m a
factor, so that the likelihood of x is a function of m alone:

    Gaussian    exp(−(x − m)² / 2s²), m the best linear unbiased estimate (the mean, for white noise), s its deviation;
    Gumbel      exp(T (x − m)/β − T e^{(x − m)/β}), m the maximum likelihood estimate.

Independent factors under Gaussian noise have a truncated normal posterior, its mean in closed form. In all other
cases x = Φ(g) − ½ makes the prior a standard normal, and the integrals are sums over an even grid of g, which converge
faster than any power of its step for such integrands (Trefethen and Weideman, SIAM Review 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

Array = NDArray[np.float64]

_STEP = 0.6  # of the grid, in units of the narrowest likelihood
_REACH = 7.0  # Φ(−7) = 1e-12
_CHUNK = 4_000_000  # values


@dataclass(frozen=True)
class Likelihood:
    """One likelihood for every sample and factor.

    statistic   (n, d) sufficient statistic m
    scale       (n, d) or (1, d): s of Gaussian noise, β of Gumbel noise
    counts      (n, 1) number of readings T where the noise is Gumbel; None where it is Gaussian
    """

    statistic: Array
    scale: Array
    counts: Array | None = None

    def __getitem__(self, rows: slice) -> Likelihood:
        scale = np.broadcast_to(self.scale, self.statistic.shape)[rows]
        return Likelihood(self.statistic[rows], scale, None if self.counts is None else self.counts[rows])

    @property
    def width(self) -> float:
        """The least width of a likelihood, in units of x."""
        if self.counts is None:
            return float(self.scale.min())
        return float((self.scale / np.sqrt(self.counts)).min())

    def log(self, factor: int, at: Array) -> Array:
        """Log likelihood (n, q) of values ``at`` (q,) of a factor, up to a constant a sample."""
        scale = np.broadcast_to(self.scale, self.statistic.shape)[:, factor, None]
        u = (at - self.statistic[:, factor, None]) / scale
        if self.counts is None:
            return np.asarray(-0.5 * u**2)
        return np.asarray(self.counts * (u - np.exp(u)))


def truncated_normal_mean(m: Array, s: Array) -> Array:
    """Mean of a normal (m, s) confined to [−½, ½], also where m lies far outside; arrays that broadcast."""
    side = np.where(m > 0, 1.0, -1.0)  # by symmetry, the interval is taken to the left of the mean or around it
    m = np.abs(m)
    a, b = (-0.5 - m) / s, (0.5 - m) / s
    log_b = log_ndtr(b)
    log_mass = log_b + np.log1p(-np.exp(log_ndtr(a) - log_b))
    rise = np.exp(-0.5 * a**2 - log_mass) - np.exp(-0.5 * b**2 - log_mass)
    return np.asarray(side * np.clip(m + s * rise / np.sqrt(2 * np.pi), -0.5, 0.5))


def posterior_mean(likelihood: Likelihood, rho: float = 0.0) -> Array:
    """E[x* | readings] (n, d), exact.

    rho   correlation of the two normal variables of which the factors are the (shifted) distribution functions: a
          Gaussian copula. Raises ValueError where it is not 0 and the factors are not two
    """
    n, d = likelihood.statistic.shape
    if rho == 0.0 and likelihood.counts is None:
        return truncated_normal_mean(likelihood.statistic, likelihood.scale)
    if rho != 0.0 and d != 2:
        raise ValueError(f"the posterior mean of correlated factors is an integral over all of them: d=2, not {d}")
    # where the density of g is highest, dx/dg is 0.4
    g = np.linspace(-_REACH, _REACH, max(65, int(2 * _REACH / (_STEP * likelihood.width / 0.4))))
    x = ndtr(g) - 0.5
    mean = np.empty((n, d))
    for start in range(0, n, rows := max(1, _CHUNK // len(g))):
        part = slice(start, start + rows)
        weights = [_normalised(likelihood[part].log(j, x)) for j in range(d)]
        if rho == 0.0:
            prior = np.exp(-0.5 * g**2)
            mean[part] = np.column_stack([(w * prior) @ x / (w @ prior) for w in weights])
            continue
        square = g[:, None] ** 2 - 2 * rho * g[:, None] * g + g**2
        joint = np.exp(-0.5 * square / (1 - rho**2))
        one, other = weights
        inner, moment = one @ joint, (one * x) @ joint
        mass = (inner * other).sum(axis=1)
        mean[part, 0] = (moment * other).sum(axis=1) / mass
        mean[part, 1] = (inner * other) @ x / mass
    return mean


def _normalised(log: Array) -> Array:
    return np.asarray(np.exp(log - log.max(axis=1, keepdims=True)))
