"""Maximum likelihood of the linear causal model where targets are binary labels.

A label b says on which side of a threshold a target lies. Given the target the factors of a task are uncorrelated;
given the label alone the target still varies, and all factors that follow it vary along with it. So, for a sample of
task t with a label scaled to variance 1,

    h | b, t ~ N( μ_t + A m_t b,  A (D_t + s_t m_t m_tᵀ) Aᵀ + σ² Q ),   D_t diagonal, s_t ≥ 0,

Chen et al. (2024, section 4) with one rank more in every task: s is the variance of the target given its label in
units of the variance that the label explains, π/2 − 1 for a Gaussian split at its mean, 0 for a target that was binary
from the start. Nothing else is assumed of the threshold, as s is free in every task. The factors given the label are
taken for Gaussian, though a halved Gaussian is not.

Residual covariances R_t and slopes β_t of h on the label are sufficient, and now neither is profiled out, as both speak
of m_t. Up to a constant, with n_t samples and ν_t = n_t − 2 degrees of freedom,

    L = ½ Σ_t w_t [ log det Σ_t + tr(Σ_t⁻¹ S_t) ],   S_t = (ν_t R_t + n_t e_t e_tᵀ) / (ν_t + 1),   e_t = β_t − A m_t,

with w_t = (ν_t + 1) / Σ (ν + 1), plus the prior of log D of ``mtlcm.likelihood``. A joint diagonaliser of R_t without
its variance along β_t is the start. It is far from the end, and the curvature changes on the way; so the coordinates in
which L-BFGS moves, whose expected Hessian is nearly the identity at their origin, are renewed every ``ROUND`` steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtlcm.descent import descend
from mtlcm.diagonalisation import joint_diagonaliser, transform
from mtlcm.likelihood import FreeVariances, variance_prior

Float = NDArray[np.float64]

ROUND = 30
"""Iterations after which the coordinates are taken anew where the fit is."""

SPLIT_GAUSSIAN = float(np.pi / 2 - 1)
"""s of a Gaussian target split at its mean: variance 1 − 2/π given the label, 2/π explained by it."""

ALONG_SLOPE = (0.9, 0.99, 0.999)
"""Shares of the largest variance along β_t, within R_t, that starts take for the target's: the likeliest end counts.
One start of a hundred ends in a lesser maximum, at 0.94 where the others have 0.9998, and thousands of nats below."""

LEAST_SHARE = 0.05
"""The start leaves every factor this share of its variance given the label, in every task."""

MAX_LOG_CHANGE = 20.0
"""Bound on what a round may add to log s: towards s = 0 the likelihood is flat."""


@dataclass(frozen=True)
class LabelParameters:
    """mixing      (d, d) A
    variances   (T, d) diagonals of D_t, positive
    slopes      (T, d) m of the factors on the label, the label scaled to variance 1 within its task
    excess      (T,) s, positive
    noise       σ²

    Also holds the derivatives of the likelihood with respect to each of them.
    """

    mixing: Float
    variances: Float
    slopes: Float
    excess: Float
    noise: float


@dataclass(frozen=True)
class LabelFit(LabelParameters):
    """The parameters at the end, A and σ² in the units of h, and

    trace       L, with the prior, after every accepted step, never increasing
    converged   did the gradient fall below the tolerance within the permitted steps?
    """

    trace: tuple[float, ...]
    converged: bool


def label_likelihood(
    residual: Float, slopes: Float, dof: Float, noise_shape: Float, at: LabelParameters
) -> tuple[float, LabelParameters | None]:
    """L (up to a constant, in nats per degree of freedom) and its gradient; inf and None where a Σ_t is not positive.

    residual      (T, d, d) residual covariances R_t given the label
    slopes        (T, d) β_t, of h on the label scaled to variance 1
    dof           (T,) ν_t
    noise_shape   (d, d) Q
    """
    n_tasks, d, _ = residual.shape
    weights = (dof + 1) / (dof + 1).sum()
    within, between = dof / (dof + 1), (dof + 2) / (dof + 1)
    given_label = at.excess[:, None, None] * at.slopes[:, :, None] * at.slopes[:, None, :]
    given_label[:, range(d), range(d)] += at.variances
    left = (at.mixing @ given_label).reshape(n_tasks, d, d)
    sigma = (left.reshape(-1, d) @ at.mixing.T).reshape(residual.shape) + at.noise * noise_shape
    try:
        factor = np.linalg.cholesky(sigma)
    except np.linalg.LinAlgError:
        return np.inf, None
    precision = np.asarray(np.linalg.inv(sigma), dtype=np.float64)
    error = slopes - at.slopes @ at.mixing.T
    moment = within[:, None, None] * residual + (between[:, None] * error)[:, :, None] * error[:, None, :]
    product = precision @ moment
    logdet = 2.0 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
    value = 0.5 * float(weights @ (logdet + np.trace(product, axis1=1, axis2=2)))
    score = precision - product @ precision  # dL = ½ Σ_t w_t tr(score_t dΣ_t) − Σ_t pull_tᵀ d(A m_t)
    pull = (weights * between)[:, None] * np.einsum("tij,tj->ti", precision, error)
    scored = transform(at.mixing.T, score)
    along = np.einsum("tij,tj->ti", scored, at.slopes)
    gradient = LabelParameters(
        np.tensordot(weights[:, None, None] * score, left, ((0, 2), (0, 1))) - pull.T @ at.slopes,
        0.5 * weights[:, None] * np.diagonal(scored, axis1=1, axis2=2),
        (weights * at.excess)[:, None] * along - pull @ at.mixing,
        0.5 * weights * np.einsum("ti,ti->t", at.slopes, along),
        0.5 * float(np.sum(np.tensordot(weights, score, 1) * noise_shape)),
    )
    return value, gradient


def maximise_label_likelihood(
    residual: Float,
    slopes: Float,
    dof: Float,
    *,
    noise_shape: Float | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 5000,
) -> LabelFit:
    """Maximum-likelihood A, D, m, s and σ of the model above, the likeliest of several starts.

    residual      (T, d, d) residual covariances R_t of h given the label, positive definite
    slopes        (T, d) slopes of h on the label scaled to variance 1 within its task
    dof           (T,) degrees of freedom of R_t, samples minus 2
    noise_shape   (d, d) Q, covariance of the noise but for the factor σ²; default: the identity
    tolerance     stop when a Newton step would gain less than this many nats per degree of freedom, ½ |g|² for the
                  gradient g in coordinates in which the Hessian at the start of the round is nearly the identity
    """
    shape = np.eye(residual.shape[1]) if noise_shape is None else noise_shape
    fits = [
        _climb(residual, slopes, dof, shape, _start(residual, slopes, dof, shape, share), tolerance, max_iterations)
        for share in ALONG_SLOPE
    ]
    return min(fits, key=lambda fit: fit.trace[-1])


def _climb(
    residual: Float,
    slopes: Float,
    dof: Float,
    noise_shape: Float,
    at: LabelParameters,
    tolerance: float,
    max_iterations: int,
) -> LabelFit:
    """Rounds from one start until the gradient is small or steps are used up."""
    trace: list[float] = []
    converged = False
    while not converged:
        steps = min(ROUND, max_iterations - len(trace) + 1)
        if steps <= 0:
            break
        at, values, converged = _round(residual, slopes, dof, noise_shape, at, tolerance, steps)
        trace += values[1:] if trace else values
        if len(values) == 1:  # no step left within rounding
            break
    return LabelFit(at.mixing, at.variances, at.slopes, at.excess, at.noise, tuple(trace), converged)


def _start(residual: Float, slopes: Float, dof: Float, noise_shape: Float, share: float) -> LabelParameters:
    """A joint diagonaliser of what is left of R_t when its variance along β_t is taken out.

    R − c β βᵀ is positive for c below 1 / (βᵀ R⁻¹ β), which under the model is s plus what D leaves: close to s
    where one factor at least follows the target closely.
    """
    most = 1 / np.einsum("ti,ti->t", slopes, np.linalg.solve(residual, slopes[:, :, None])[:, :, 0])
    outer = slopes[:, :, None] * slopes[:, None, :]
    pooled = np.einsum("t,tij->ij", dof / dof.sum(), residual)
    without = residual - share * most[:, None, None] * outer + 1e-6 * pooled
    unmixing = joint_diagonaliser(without, dof, tolerance=1e-4).unmixing
    local_slopes = slopes @ unmixing.T
    diagonal = np.diagonal(transform(unmixing, residual), axis1=1, axis2=2)
    variances = np.maximum(diagonal - SPLIT_GAUSSIAN * local_slopes**2, LEAST_SHARE * diagonal)
    own = np.diagonal(unmixing @ noise_shape @ unmixing.T)
    noise = 0.5 * float(np.min(np.quantile(variances, 0.05, axis=0) / own))
    variances = np.maximum(variances - noise * own, LEAST_SHARE * variances)
    return LabelParameters(
        np.asarray(np.linalg.inv(unmixing)), variances, local_slopes, np.full(len(slopes), SPLIT_GAUSSIAN), noise
    )


def _round(
    residual: Float,
    slopes: Float,
    dof: Float,
    noise_shape: Float,
    start: LabelParameters,
    tolerance: float,
    steps: int,
) -> tuple[LabelParameters, list[float], bool]:
    """L-BFGS from ``start`` in coordinates made there: where it ends, L before and after every step, converged?

    All is computed in the coordinates of the start's factors, where A is the identity.
    """
    unmixing = np.asarray(np.linalg.inv(start.mixing), dtype=np.float64)
    local = transform(unmixing, residual)
    local_slopes = slopes @ unmixing.T
    local_shape = unmixing @ noise_shape @ unmixing.T
    coordinates = _Coordinates(start, local_shape, dof)
    offset = float(np.linalg.slogdet(start.mixing)[1])  # L in the units of h

    def objective(u: Float) -> tuple[float, Float]:
        at = coordinates.unpack(u)
        value, gradient = label_likelihood(local, local_slopes, dof, local_shape, at)
        if gradient is None:
            return np.inf, np.zeros_like(u)
        penalty, in_variances = variance_prior(at.variances, dof)
        return value + penalty, coordinates.pull_back(u, at, gradient, in_variances)

    found = descend(objective, coordinates.size, tolerance=tolerance, steps=steps)
    at = coordinates.unpack(found.u)
    there = LabelParameters(start.mixing @ at.mixing, at.variances, at.slopes, at.excess, at.noise)
    return there, [value + offset for value in found.values], found.converged


class _Coordinates:
    """Linear coordinates u of (F, link of D, m, log s, log σ²), zero at the start, with a Hessian near the identity.

    Of the expected Hessian at the start the blocks of F_ij with F_ji are kept, and the diagonal of all else. The
    diagonal of F stays 1: the scale of the factors is in D and m.
    """

    def __init__(self, start: LabelParameters, noise_shape: Float, dof: Float) -> None:
        self.start = start
        self.link = FreeVariances(start.variances)
        n_tasks, d = start.variances.shape
        weights = (dof + 1) / (dof + 1).sum()
        self.pairs = np.triu_indices(d, 1)
        explained = start.slopes**2
        total = start.variances + start.noise * np.diagonal(noise_shape)
        excess = start.excess[:, None]
        # Diagonal of Σ_t⁻¹ by the formula of Sherman and Morrison, noise between factors left out.
        ratio = start.slopes / total
        precision = 1 / total - excess * ratio**2 / (1 + excess * (start.slopes * ratio).sum(1, keepdims=True))
        moment = start.variances + (1 + excess) * explained
        square = np.einsum("t,ti,tj->ij", weights, precision, moment)
        i, j = self.pairs
        ij, ji = square[i, j], square[j, i]
        cross = np.minimum(1.0, 0.999 * np.sqrt(ij * ji))
        # Cholesky factor of every 2 × 2 block [[ij, cross], [cross, ji]].
        self.l11 = np.sqrt(ij)
        self.l21 = cross / self.l11
        self.l22 = np.sqrt(ji - self.l21**2)
        self.scale = np.concatenate(
            [
                np.broadcast_to(np.sqrt(0.5 * weights)[:, None], (n_tasks, d)).ravel(),
                np.sqrt(weights[:, None] * (1 + excess) * precision).ravel(),
                np.sqrt(0.5 * weights) * start.excess / (1e-3 + start.excess),
                [1.0],
            ]
        )
        self.size = 2 * len(i) + len(self.scale)

    def _split(self, u: Float) -> tuple[Float, Float, Float, Float, Float]:
        """The coordinates of F_ij, of F_ji, and, scaled back, of the link, m, and (log s, log σ²)."""
        n = len(self.l11)
        size = self.start.variances.size
        rest = u[2 * n :] / self.scale
        shape = self.start.variances.shape
        return u[:n], u[n : 2 * n], rest[:size].reshape(shape), rest[size : 2 * size].reshape(shape), rest[2 * size :]

    def unpack(self, u: Float) -> LabelParameters:
        """The parameters at u, the mixing relative to the start's."""
        first, second, link, slopes, logs = self._split(u)
        i, j = self.pairs
        mixing = np.eye(self.start.variances.shape[1])
        mixing[j, i] = second / self.l22
        mixing[i, j] = (first - self.l21 * mixing[j, i]) / self.l11
        logs = np.clip(logs, -MAX_LOG_CHANGE, MAX_LOG_CHANGE)
        return LabelParameters(
            mixing,
            self.link.variances(self.link.start + link),
            self.start.slopes + slopes,
            self.start.excess * np.exp(logs[:-1]),
            self.start.noise * float(np.exp(logs[-1])),
        )

    def pull_back(self, u: Float, at: LabelParameters, gradient: LabelParameters, in_variances: Float) -> Float:
        """Gradient in u, at whose parameters ``at`` the gradient was taken; ``in_variances`` is added to that of D."""
        link = self._split(u)[2]
        i, j = self.pairs
        first = gradient.mixing[i, j] / self.l11
        second = (gradient.mixing[j, i] - self.l21 * first) / self.l22
        variances = (gradient.variances + in_variances) * self.link.slope(self.link.start + link)
        logs = np.append(gradient.excess * at.excess, gradient.noise * at.noise)
        rest = np.concatenate([variances.ravel(), gradient.slopes.ravel(), logs])
        return np.concatenate([first, second, rest / self.scale])
