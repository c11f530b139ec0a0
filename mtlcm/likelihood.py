"""Maximum likelihood of the linear causal model with observation noise, on sufficient statistics.

Model (Chen et al. 2024, section 4, with the noise of the observations kept): for a sample of task t,

    h | y, t ~ N( μ_t + A m_t y,  A D_t Aᵀ + σ² I ),   D_t diagonal.

The slopes m_t = (1 − c_t)∘γ_t are free per task and A is invertible, so A m_t can be any vector: its
maximum-likelihood value is the least-squares slope of h on y whatever the covariance (regressions that share their
regressor). Profiling it and μ_t out leaves the Wishart likelihood of the residual covariances R_t,

    L(A, D, σ) = ½ Σ_t w_t [ log det Σ_t + tr(Σ_t⁻¹ R_t) ],   Σ_t = A D_t Aᵀ + σ² I,   w_t = ν_t / Σ ν,

with ν_t = n_t − 2 degrees of freedom. At σ = 0 its minimum over D is Pham's joint diagonalisation criterion, so a
joint diagonaliser is the start. A wide normal prior on log D_tj about its mean over tasks is added to L.

All is computed in the start's coordinates, where A = A₀ F, F starts as the identity and the noise becomes σ² Q. The
unknowns are F, one link parameter for each of the D, and log σ²; L-BFGS with analytic gradients moves them in
coordinates in which the expected Hessian at the start is nearly the identity. An evaluation costs one inverse and four
products of T d × d matrices; nothing grows with the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from mtlcm.descent import descend
from mtlcm.diagonalisation import transform

Float = NDArray[np.float64]

SPURIOUS_DEVIATION = 0.1
"""σ_s of the paper: standard deviation of a spurious factor given the target."""

LOG_VARIANCE_SPREAD = 4.0
"""Standard deviation of the prior of log D about the mean of its factor. Variances of causal and spurious factors
lie 2 or 3 apart, so it weighs little where data speak; a factor that the noise hides in some tasks would take a
variance of exactly 0 there, and a mixing that fits the noise (gains of thousands of nats at condition 10³ and more)."""


@dataclass(frozen=True)
class Gradient:
    """Derivatives of the likelihood with respect to the mixing (d, d), the variances (T, d) and σ² (a number)."""

    mixing: Float
    variances: Float
    noise: float


def negative_log_likelihood(
    residual: Float, weights: Float, noise_shape: Float, mixing: Float, variances: Float, noise: float
) -> tuple[float, Gradient]:
    """L (up to a constant, in nats per degree of freedom) and its gradient.

    residual      (T, d, d) residual covariances R_t
    weights       (T,) w_t
    noise_shape   (d, d) Q, the identity in the units of h
    mixing        (d, d) A
    variances     (T, d) diagonals of D_t, positive
    noise         σ², not negative

    Returns inf and a zero gradient where a Σ_t is not positive definite.
    """
    shape = residual.shape
    width = shape[1]
    sigma = ((mixing * variances[:, None, :]).reshape(-1, width) @ mixing.T).reshape(shape)
    sigma += noise * noise_shape
    try:
        factor = np.linalg.cholesky(sigma)
    except np.linalg.LinAlgError:
        return np.inf, Gradient(np.zeros_like(mixing), np.zeros_like(variances), 0.0)
    precision = np.linalg.inv(sigma)
    logdet = 2.0 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
    product = precision @ residual
    value = 0.5 * float(weights @ (logdet + np.trace(product, axis1=1, axis2=2)))
    score = precision - product @ precision  # dL = ½ Σ_t w_t tr(score_t dΣ_t)
    score_mixing = (score.reshape(-1, width) @ mixing).reshape(shape)
    in_mixing = np.einsum("tij,tj->ij", score_mixing, weights[:, None] * variances)
    in_variances = 0.5 * weights[:, None] * np.einsum("ij,tij->tj", mixing, score_mixing)
    in_noise = 0.5 * float(np.sum(np.tensordot(weights, score, 1) * noise_shape))
    return value, Gradient(in_mixing, in_variances, in_noise)


def variance_prior(variances: Float, dof: Float) -> tuple[float, Float]:
    """Negative log density of D (T, d) under the prior, in nats per degree of freedom, and its gradient (T, d)."""
    deviation = np.log(variances)
    deviation -= deviation.mean(0)
    weight = 1 / (LOG_VARIANCE_SPREAD**2 * dof.sum())
    return 0.5 * weight * float(np.sum(deviation**2)), weight * deviation / variances


class Link(Protocol):
    """Variances D (T, d) as a smooth function of unconstrained parameters of the same shape."""

    scale_is_free: bool
    """Does D fix the scale of the factors? If not, the columns of A keep their scale instead."""

    start: Float
    """Parameters at the start."""

    def variances(self, parameters: Float) -> Float: ...

    def slope(self, parameters: Float) -> Float:
        """Derivative of the variances."""
        ...


class FreeVariances:
    """D = D₀ log(1 + (e − 1) exp(a)): any positive variance for every task and factor.

    Grows linearly and shrinks exponentially: a Newton step upwards, where a variance is far below its estimate,
    overshoots by orders of magnitude under a plain exponential.
    """

    scale_is_free = False

    def __init__(self, variances: Float) -> None:
        self.origin = variances
        self.start = np.zeros_like(variances)

    def variances(self, parameters: Float) -> Float:
        return self.origin * np.maximum(np.logaddexp(0.0, parameters + _SOFTPLUS_ONE), 1e-30)

    def slope(self, parameters: Float) -> Float:
        return self.origin * expit(parameters + _SOFTPLUS_ONE)


_SOFTPLUS_ONE = np.log(np.e - 1.0)


class RelaxedIndicators:
    """D = c + σ_s² (1 − c), c = sigmoid(a): the paper's relaxed causal indicators, unit variance of causal factors.

    As γ is free, the slopes (1 − c)∘γ profile out as above for every c < 1: this is the paper's own model.
    """

    scale_is_free = True

    def __init__(self, variances: Float) -> None:
        self.start = logit(np.clip(relaxed_indicator(variances), 0.02, 0.98))

    def variances(self, parameters: Float) -> Float:
        return _FLOOR + (1 - _FLOOR) * expit(parameters)

    def slope(self, parameters: Float) -> Float:
        c = expit(parameters)
        return (1 - _FLOOR) * c * (1 - c)


_FLOOR = SPURIOUS_DEVIATION**2


def relaxed_indicator(variances: Float) -> Float:
    """The c at which a factor of unit causal variance has this variance given the target: D = c + σ_s² (1 − c)."""
    return np.clip((variances - _FLOOR) / (1 - _FLOOR), 0.0, 1.0)


@dataclass(frozen=True)
class CovarianceFit:
    """mixing      (d, d) A, in the units of h
    variances   (T, d) diagonals of D_t
    noise       σ², in the squared units of h
    trace       L, with the prior, after every accepted step, never increasing
    converged   did the gradient fall below the tolerance within the permitted steps?
    """

    mixing: Float
    variances: Float
    noise: float
    trace: tuple[float, ...]
    converged: bool


def maximise_likelihood(
    residual: Float,
    dof: Float,
    unmixing: Float,
    *,
    noise_shape: Float | None = None,
    variances: Literal["free", "relaxed"] = "free",
    tolerance: float = 1e-5,
    max_iterations: int = 1000,
) -> CovarianceFit:
    """Refine a joint diagonaliser to the maximum-likelihood A, D and σ.

    residual      (T, d, d) residual covariances R_t in the units of h
    dof           (T,) their degrees of freedom
    unmixing      (d, d) the start, e.g. from :func:`mtlcm.diagonalisation.joint_diagonaliser`
    noise_shape   (d, d) covariance of the noise but for the factor σ²; default: the identity
    variances     "free", or "relaxed" for the paper's D = c + σ_s² (1 − c)
    tolerance     stop when a Newton step would gain less than this many nats per degree of freedom, ½ |g|² for the
                  gradient g in coordinates in which the Hessian at the start is nearly the identity
    """
    weights = dof / dof.sum()
    shape = np.eye(residual.shape[1]) if noise_shape is None else noise_shape
    local = transform(unmixing, residual)
    diagonal = np.diagonal(local, axis1=1, axis2=2)
    if variances == "relaxed":  # D is at most 1: so is nearly every diagonal at the start
        top = np.quantile(diagonal, 0.95, axis=0)
        unmixing, local = unmixing / np.sqrt(top)[:, None], local / np.sqrt(top[:, None] * top)
        diagonal = np.diagonal(local, axis1=1, axis2=2)
    local_shape = unmixing @ shape @ unmixing.T
    own = np.diagonal(local_shape)
    noise = 0.5 * float(np.min(np.quantile(diagonal, 0.05, axis=0) / own))
    start = np.maximum(diagonal - noise * own, 0.05 * diagonal)
    link: Link = FreeVariances(start) if variances == "free" else RelaxedIndicators(start)
    coordinates = _Coordinates(weights, local_shape, noise, link)

    def objective(u: Float) -> tuple[float, Float]:
        move, parameters, log_noise = coordinates.unpack(u)
        d, sigma2 = link.variances(parameters), np.exp(log_noise)
        value, gradient = negative_log_likelihood(local, weights, local_shape, move, d, sigma2)
        in_variances = gradient.variances
        if variances == "free":
            penalty, slope = variance_prior(d, dof)
            value, in_variances = value + penalty, in_variances + slope
        in_links = in_variances * link.slope(parameters)
        return value, coordinates.pull_back(gradient.mixing, in_links, gradient.noise * sigma2)

    found = descend(objective, coordinates.size, tolerance=tolerance, steps=max_iterations, at_least_one=True)
    move, parameters, log_noise = coordinates.unpack(found.u)
    offset = -float(np.linalg.slogdet(unmixing)[1])  # L in the units of h
    return CovarianceFit(
        np.asarray(np.linalg.solve(unmixing, move), dtype=np.float64),
        link.variances(parameters),
        float(np.exp(log_noise)),
        tuple(value + offset for value in found.values),
        found.converged,
    )


class _Coordinates:
    """Linear coordinates u of (F − I, link parameters, log σ²), zero at the start, with a Hessian near the identity.

    With Σ_t ≈ V_t = diag(v_t), v = D + σ² Q_jj, the expected Hessian of L is ½ Σ_t w_t tr(V⁻¹ dΣ V⁻¹ dΣ). It couples
    F_ij with F_ji only, each D_tj with nothing, and all of them with σ: a block diagonal matrix K with one border
    column b. So u ↦ (x, τ): τ = u_σ / s, x = K^{-½} u − K⁻¹ b τ, s² = h_σσ − bᵀ K⁻¹ b, makes it the identity.
    """

    def __init__(self, weights: Float, noise_shape: Float, noise: float, link: Link) -> None:
        self.shape = link.start.shape
        d = self.shape[1]
        self.pairs = np.triu_indices(d, 1)
        self.diagonal = np.arange(d) if link.scale_is_free else np.arange(0)
        self.link_start = link.start
        self.log_noise = np.log(noise)
        variances, slope = link.variances(link.start), link.slope(link.start)
        i, j = self.pairs
        n_pairs, n_diagonal = len(i), len(self.diagonal)
        self.size = 2 * n_pairs + n_diagonal + variances.size + 1

        extra = noise * noise_shape
        total = variances + np.diagonal(extra)
        ratio = variances / total
        inverse = 1 / total
        square = np.einsum("t,ti,tj->ij", weights, inverse, variances * ratio, optimize=True)  # of F_ij
        cross = np.einsum("t,ti,tj->ij", weights, ratio, ratio, optimize=True)[i, j]
        ij, ji = square[i, j], square[j, i]
        cross = np.minimum(cross, 0.999 * np.sqrt(ij * ji))
        # Cholesky factor of every 2 × 2 block [[ij, cross], [cross, ji]].
        self.l11 = np.sqrt(ij)
        self.l21 = cross / self.l11
        self.l22 = np.sqrt(ji - self.l21**2)
        self.l_diagonal = np.sqrt(2 * np.einsum("t,ti->i", weights, ratio**2)[self.diagonal])
        self.l_link = np.sqrt(0.5 * weights[:, None] * np.maximum((slope / total) ** 2, 1e-3))

        # A link parameter that would have to move by more than 1 along with log σ² is past its linear range.
        link_response = np.clip(0.5 * weights[:, None] * slope * np.diagonal(extra) / total**2 / self.l_link**2, 0, 1)
        mean_inverse = np.einsum("t,ti,tj->ij", weights, inverse, ratio, optimize=True)
        border = np.concatenate(
            [
                extra[i, j] * mean_inverse[i, j],
                extra[i, j] * mean_inverse[j, i],
                (np.diagonal(extra) * np.einsum("t,ti->i", weights, ratio / total))[self.diagonal],
                (link_response * self.l_link**2).ravel(),
            ]
        )
        corner = 0.5 * float(np.sum(np.einsum("t,ti,tj->ij", weights, inverse, inverse, optimize=True) * extra**2))
        whitened = self._solve_factor(border)
        self.response = self._solve_factor_transposed(whitened)
        self.l_noise = np.sqrt(max(corner - float(whitened @ whitened), 1e-3 * corner))

    def unpack(self, u: Float) -> tuple[Float, Float, float]:
        """F (d, d), link parameters (T, d), log σ²."""
        tau = float(u[-1]) / self.l_noise
        x = self._solve_factor_transposed(u[:-1]) - self.response * tau
        n_pairs, n_diagonal = len(self.l11), len(self.diagonal)
        i, j = self.pairs
        mixing = np.eye(self.shape[1])
        mixing[i, j] = x[:n_pairs]
        mixing[j, i] = x[n_pairs : 2 * n_pairs]
        mixing[self.diagonal, self.diagonal] += x[2 * n_pairs : 2 * n_pairs + n_diagonal]
        return mixing, self.link_start + x[2 * n_pairs + n_diagonal :].reshape(self.shape), self.log_noise + tau

    def pull_back(self, mixing: Float, parameters: Float, log_noise: float) -> Float:
        """Gradient in u from the gradients in F, the link parameters and log σ²."""
        i, j = self.pairs
        diagonal = mixing[self.diagonal, self.diagonal]
        x = np.concatenate([mixing[i, j], mixing[j, i], diagonal, parameters.ravel()])
        return np.append(self._solve_factor(x), (log_noise - self.response @ x) / self.l_noise)

    def _parts(self, x: Float) -> tuple[Float, Float, Float]:
        n = len(self.l11)
        scale = np.concatenate([self.l_diagonal, self.l_link.ravel()])
        return x[:n], x[n : 2 * n], x[2 * n :] / scale

    def _solve_factor(self, x: Float) -> Float:
        """K^{-½} x with K^{½} the lower Cholesky factor."""
        first, second, rest = self._parts(x)
        first = first / self.l11
        return np.concatenate([first, (second - self.l21 * first) / self.l22, rest])

    def _solve_factor_transposed(self, x: Float) -> Float:
        first, second, rest = self._parts(x)
        second = second / self.l22
        return np.concatenate([(first - self.l21 * second) / self.l11, second, rest])
