"""Stage 2 of MTLCM: from a linearly identified representation h to the latent factors themselves.

Chen, Horwood, Heo and Hernández-Lobato, "Leveraging Task Structures for Improved Identifiability in Neural Network
Representations", TMLR 2024 (arXiv 2306.14861), section 4. Within a task every factor is either causal (its variance
given the target is the same in every task) or spurious (it follows the target, with little variance of its own);
because which is which changes from task to task, h = A z is identified up to permutation and scaling.

Fitted here by joint diagonalisation and maximum likelihood on per-task moments (``diagonalisation``, ``likelihood``),
with a variance D and a slope m for every task and factor, so that data standardised within its tasks, as the paper's
own, agrees with the model; ``variances="relaxed"`` is the paper's parametrisation with σ_s = 0.1. Given a binary label
instead of the target, factors still vary with the target: ``binary_targets`` has the likelihood for that.

The code of h is the posterior mean E[z | h] pooled over tasks, A⁻¹ (C − Σ_noise) C⁻¹ h with C the covariance of h: at
encoding time neither task nor target are known, and A⁻¹ h would amplify the observation noise of weak directions.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.api import Diverged, NotApplicable
from mtlcm.binary_targets import LabelFit, maximise_label_likelihood
from mtlcm.diagonalisation import joint_diagonaliser, transform
from mtlcm.likelihood import CovarianceFit, maximise_likelihood
from mtlcm.moments import TaskMoments

Float = NDArray[np.float64]

MIN_DOF = 2
"""A task needs this many residual degrees of freedom (samples minus 2) to say anything on a covariance."""

CONDITION_LIMIT = 300.0
"""From this condition number of A on the likelihood may have several maxima, and is climbed from another start too."""

SMALL_EFFECT = 0.1
"""Standardised regression coefficient below which a code is not said to drive a target."""

LABEL_STEPS = 5
"""Binary labels are given so many times the steps of the likelihood of continuous targets: they take 2 or 3 times."""

RANK_TOLERANCE = 1e-10
"""Directions of h whose pooled variance is below this share of the largest carry float32 rounding, not factors."""


class LinearCausalModel:
    """The linear causal model of h, y and task.

    Parameters
    ----------
    variances        "free": D and m free per task and factor; "relaxed": D = c + σ_s² (1 − c), the paper's model
    noise            model the observation noise σ² I of h; without it the joint diagonaliser is the answer
    tolerance        of the gradient: stop when a step would gain fewer nats a sample
    max_iterations   of the likelihood's optimiser; five times as many where targets are binary

    Attributes after ``fit`` (r is the rank of h, d if it has full rank)
    ----------------------------------------------------------------------
    mixing_       (d, r) A, h ≈ mean + A z with factors of unit pooled variance
    unmixing_     (r, d) W and mean_ (d,): codes = (h − mean) Wᵀ, the posterior mean
    variances_    (T, r) D: variance of the factors given target and task; nan for tasks not used
    slopes_       (T, r) m: slope of the factors on the target; nan for tasks not used
    causal_       (T, r) bool: inferred causal indicators; False for tasks not used
    spurious_     (T, r) inferred spurious coefficients γ, 0 where causal or not used
    noise_        σ: in the units of h, or of its standardised columns (``history_["noise_equal_in"]``)
    history_      what happened, as JSON values
    """

    def __init__(
        self,
        *,
        variances: Literal["free", "relaxed"] = "free",
        noise: bool = True,
        tolerance: float = 1e-6,
        max_iterations: int = 1000,
    ) -> None:
        self.variances = variances
        self.noise = noise
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def fit(self, moments: TaskMoments, *, shared_samples: bool = False, binary: bool = False) -> Self:
        """Fit to the moments of every task.

        binary   are the targets labels, with two values? Then the spread of the unobserved target given its label is
                 modelled too (:mod:`mtlcm.binary_targets`), if variances are free, noise is modelled and tasks have
                 samples of their own; elsewhere labels are taken for numbers.

        shared_samples   do the tasks observe the same samples? Then the covariance S of h is one and the same and
                         residual covariances S − s_t s_tᵀ / v_t differ by one direction each. So σ² is not
                         identified and left at 0, and no factor can be spurious in the paper's sense. For whitened h
                         the criterion is Σ_tj log(1 − ρ_tj²) / 2, ρ_t the correlations of target and factors: to
                         second order, quartimax on the loadings ρ, a search for uncorrelated factors of which every
                         target needs few. It identifies the factors where that is true of them, and a rotation
                         that depends on chance where loadings are dense. ``causal_`` then says which factors a
                         target depends on.

        Raises NotApplicable for fewer usable tasks than latent factors or a representation without variance,
        Diverged where the fit leaves the finite numbers.
        """
        if self.variances not in ("free", "relaxed"):
            raise ValueError(f'variances={self.variances!r}: choose "free" or "relaxed"')
        usable = _usable_tasks(moments)
        used = moments.select(usable)
        d = moments.width
        if used.n_tasks < d:
            raise NotApplicable(
                f"{used.n_tasks} of {moments.n_tasks} tasks have a target that varies and {MIN_DOF + 2} samples; "
                f"{d} latent factors need at least {d}: lower n_latents or add tasks"
            )
        self.mean_ = np.asarray(used.n @ used.mean_h / used.n.sum())
        units = _units(used)
        slopes_h, residual, dof = regress_on_target(used)
        slopes_h, residual = slopes_h / units, residual / (units[:, None] * units)
        basis = _span(np.einsum("t,tij->ij", dof / dof.sum(), residual))
        rank = basis.shape[1]
        local = transform(basis.T, residual)
        local, padded = _pad_small_tasks(local, dof)
        warnings = []
        if rank < d:
            warnings.append(f"stage 2: h varies in {rank} of {d} directions given task and target: {rank} factors")
        self.history_: dict[str, Any] = {
            "n_tasks_used": int(used.n_tasks),
            "n_tasks_dropped": int(moments.n_tasks - used.n_tasks),
            "n_tasks_padded": padded,
            "shared_samples": bool(shared_samples),
            "rank": rank,
        }
        slopes_h = slopes_h @ basis
        shapes = _noise_shapes(units, basis)
        noise_shape, noise = np.eye(rank), 0.0
        spread = used.s_yy  # of the target, which factors follow with slopes m
        fit: CovarianceFit | LabelFit | None = None
        if binary and self.variances == "free" and self.noise and not shared_samples:
            deviation = np.sqrt(used.s_yy / used.n)[:, None]
            best, fit = self._likeliest_of_labels(local, dof, slopes_h * deviation, shapes)
            slopes, spread = fit.slopes / deviation, used.s_yy * (1 + fit.excess)
            self.history_["label_excess"] = float(np.median(fit.excess))
        else:
            start = joint_diagonaliser(local, dof, tolerance=1e-4)
            if not start.converged:
                warnings.append("stage 2: the joint diagonaliser did not converge")
            self.history_ |= {
                "diagonalisation_iterations": len(start.criterion) - 1,
                "diagonalisation_converged": start.converged,
            }
            mixing = np.linalg.inv(start.unmixing)
            variances = np.diagonal(transform(start.unmixing, local), axis1=1, axis2=2)
            if self.noise and not shared_samples:
                slopes_local = slopes_h * np.sqrt(used.s_yy)[:, None]
                best, fit = self._likeliest(local, dof, slopes_local, start.unmixing, shapes)
                mixing = fit.mixing
            slopes = np.linalg.solve(mixing, slopes_h.T).T
        if fit is not None:
            mixing, variances, noise = fit.mixing, fit.variances[: used.n_tasks], fit.noise
            noise_shape = shapes[best[0]]
            if not fit.converged:
                warnings.append(f"stage 2: the likelihood had not converged after {len(fit.trace) - 1} iterations")
            self.history_ |= {
                "noise_equal_in": best[0],
                "start": best[1],
                "likelihood_iterations": len(fit.trace) - 1,
                "likelihood_converged": fit.converged,
                "likelihood_gain_nats": float((fit.trace[0] - fit.trace[-1]) * dof.sum()),
                "negative_log_likelihood": fit.trace[-1],
            }
        within = np.diag(dof @ variances / dof.sum()) + np.einsum("t,ti,tj->ij", spread / used.n.sum(), slopes, slopes)
        offset = np.linalg.solve(mixing, ((used.mean_h - self.mean_) / units @ basis).T).T
        prior = within + np.einsum("t,ti,tj->ij", used.n / used.n.sum(), offset, offset)
        # Unit pooled variance, and signs such that the largest entry of each column of A is positive.
        scale = np.sqrt(np.diagonal(prior))
        ambient = units[:, None] * (basis @ mixing)
        scale = scale * np.sign(ambient[np.abs(ambient).argmax(0), np.arange(rank)])
        self.mixing_ = ambient * scale
        mixing = mixing * scale
        variances, slopes = variances / scale**2, slopes / scale
        total = basis.T @ (_pooled_covariance(used) / (units[:, None] * units)) @ basis
        shrink = np.eye(rank) - noise * np.linalg.solve(total, noise_shape).T  # (total − noise) / total
        self.unmixing_ = np.linalg.solve(mixing, shrink) @ (basis.T / units)
        self.noise_ = float(np.sqrt(noise))
        if not (np.isfinite(self.unmixing_).all() and np.isfinite(variances).all()):
            raise Diverged("stage 2: the linear causal model left the finite numbers")
        self.history_ |= {"noise": self.noise_, "warnings": warnings}
        if shared_samples:
            causal = _drives_target(used, self.unmixing_)
            spurious = np.zeros_like(slopes)
        else:
            causal = infer_causal(variances, slopes, spread / dof)
            spurious = np.where(causal, 0.0, slopes)
        self.variances_ = _spread(variances, usable, np.nan)
        self.slopes_ = _spread(slopes, usable, np.nan)
        self.causal_ = _spread(causal, usable, False)
        self.spurious_ = _spread(spurious, usable, 0.0)
        explained = spread @ slopes**2
        self._explained = explained / (explained + dof @ variances)
        return self

    def keep(self, n_factors: int) -> Self:
        """Drop all but the n_factors of whose variance the targets explain the largest share.

        Directions of h can be dropped well only here, where they are factors: those that a representation of too few
        dimensions leaves out are mixtures, and every factor loses a part.
        """
        kept = np.sort(np.argsort(-self._explained, kind="stable")[:n_factors])
        self.history_["factors_dropped"] = len(self._explained) - len(kept)
        self.mixing_, self.unmixing_ = self.mixing_[:, kept], self.unmixing_[kept]
        self.variances_, self.slopes_ = self.variances_[:, kept], self.slopes_[:, kept]
        self.causal_, self.spurious_ = self.causal_[:, kept], self.spurious_[:, kept]
        self._explained = self._explained[kept]
        return self

    def _likeliest(
        self, residual: Float, dof: Float, slopes: Float, unmixing: Float, shapes: dict[str, Float]
    ) -> tuple[tuple[str, str], CovarianceFit]:
        """The likeliest of several fits, with the names of its noise and start.

        slopes (T, r) are those of h on the target divided by their errors' scale, so that each has covariance
        A (D_t + M) Aᵀ + Σ_noise, with M the spread of the factors' own slopes between tasks. Where those are not
        correlated, M is diagonal and the slopes are one more task of T - 1 degrees of freedom; it says how the factors
        lie in directions that the noise hides within tasks. The paper's own parametrisation has no place for it.
        """
        starts = {"residuals": unmixing}
        if self.variances == "free" and len(slopes) - 1 > slopes.shape[1]:
            between = np.cov(slopes, rowvar=False).reshape(residual.shape[1:])
            residual, dof = np.concatenate([residual, between[None]]), np.append(dof, len(slopes) - 1.0)

        def fit(start: str, shape: Float) -> CovarianceFit:
            return maximise_likelihood(
                residual,
                dof,
                starts[start],
                noise_shape=shape,
                variances=self.variances,
                tolerance=self.tolerance,
                max_iterations=self.max_iterations,
            )

        fits = {(name, "residuals"): fit("residuals", shape) for name, shape in shapes.items()}
        best = min(fits, key=lambda key: fits[key].trace[-1])
        if np.linalg.cond(fits[best].mixing) > CONDITION_LIMIT:
            starts["residuals and slopes"] = joint_diagonaliser(residual, dof, tolerance=1e-4).unmixing
            fits[best[0], "residuals and slopes"] = fit("residuals and slopes", shapes[best[0]])
            best = min(fits, key=lambda key: fits[key].trace[-1])
        return best, fits[best]

    def _likeliest_of_labels(
        self, residual: Float, dof: Float, slopes: Float, shapes: dict[str, Float]
    ) -> tuple[tuple[str, str], LabelFit]:
        """As above, where targets are labels and slopes (T, r) those of h on labels of variance 1."""
        steps = LABEL_STEPS * self.max_iterations
        fits = {
            name: maximise_label_likelihood(
                residual, slopes, dof, noise_shape=shape, tolerance=self.tolerance, max_iterations=steps
            )
            for name, shape in shapes.items()
        }
        best = min(fits, key=lambda name: fits[name].trace[-1])
        return (best, "residuals but for the slope"), fits[best]

    def encode(self, h: ArrayLike) -> Float:
        """Codes (n, r) of h (n, d): the posterior mean of the factors."""
        return (np.asarray(h, dtype=np.float64) - self.mean_) @ self.unmixing_.T


def _usable_tasks(moments: TaskMoments) -> NDArray[np.bool_]:
    """Tasks with enough samples, finite moments, and a target that varies by more than rounding of its mean."""
    n = np.maximum(moments.n, 1)
    deviation = np.sqrt(np.maximum(moments.s_yy, 0) / n)
    finite = np.isfinite(moments.s_hh).all((1, 2)) & np.isfinite(moments.s_hy).all(1) & np.isfinite(moments.s_yy)
    return (moments.n >= MIN_DOF + 2) & finite & (deviation > 1e-7 * np.abs(moments.mean_y)) & (deviation > 0)


def regress_on_target(moments: TaskMoments) -> tuple[Float, Float, Float]:
    """Slopes of h on y (T, d), unbiased residual covariances (T, d, d) and degrees of freedom (T,) of every task.

    A share of 1e-9 of the pooled covariance of h is added: a target that h explains to the last digit leaves no
    residual in one direction, and the likelihood would have no maximum.
    """
    slopes = moments.s_hy / moments.s_yy[:, None]
    dof = moments.n - 2
    residual = moments.s_hh - slopes[:, :, None] * moments.s_hy[:, None, :]
    pooled = moments.s_hh.sum(0) / moments.n.sum()
    return slopes, residual / dof[:, None, None] + 1e-9 * pooled, dof


def _units(moments: TaskMoments) -> Float:
    """Standard deviation within tasks of every column of h (d,), 1 where it is 0: nothing below depends on units."""
    deviation = np.sqrt(np.diagonal(moments.s_hh.sum(0)) / moments.n.sum())
    return np.where(deviation > 0, deviation, 1.0)


def _noise_shapes(units: Float, basis: Float) -> dict[str, Float]:
    """Candidates for the noise's covariance up to σ², (r, r) in the basis: equal in h, or in its standardised columns.

    Where units are as measured, the first is the paper's model. Where columns have units of their own it would be a
    different assumption for every choice of units. The likelihood chooses.
    """
    equal = np.eye(basis.shape[1])
    shapes = {"h": (basis.T / units**2) @ basis}
    if units.max() > 3 * units.min():
        shapes["standardised columns"] = equal
    return shapes


def _pooled_covariance(moments: TaskMoments) -> Float:
    """Covariance (d, d) of h over all samples, whatever their task."""
    share = moments.n / moments.n.sum()
    offset = moments.mean_h - share @ moments.mean_h
    return np.asarray(moments.s_hh.sum(0) / moments.n.sum() + np.einsum("t,ti,tj->ij", share, offset, offset))


def _span(pooled: Float) -> Float:
    """Orthonormal basis (d, r) of the directions in which h varies given task and target."""
    eigenvalues, vectors = np.linalg.eigh(pooled)
    if not eigenvalues[-1] > 0:
        raise NotApplicable("the representation does not vary within tasks: nothing to unmix")
    return vectors[:, eigenvalues > RANK_TOLERANCE * eigenvalues[-1]]


def _pad_small_tasks(residual: Float, dof: Float) -> tuple[Float, int]:
    """Add prior samples of the pooled covariance to tasks with fewer degrees of freedom than factors.

    Such a task's covariance is singular, and some B would give a factor zero variance in it: the likelihood
    would have no maximum.
    """
    missing = np.maximum(residual.shape[1] + 1 - dof, 0.0)
    if not missing.any():
        return residual, 0
    pooled = np.einsum("t,tij->ij", dof / dof.sum(), residual)
    share = (missing / (missing + dof))[:, None, None]
    return (1 - share) * residual + share * pooled, int((missing > 0).sum())


def infer_causal(variances: Float, slopes: Float, target_variance: Float) -> NDArray[np.bool_]:
    """Which factors are causal in which task: (T, r) bool, from what is left of each factor given the target.

    In the paper's model a factor's variance given the target is 1 where it is causal and σ_s² where it is spurious,
    and c > ½ means that it lies above the middle of the two. Here both levels are estimated for every factor by
    two-means over the tasks (Otsu's threshold), as the unit of a factor is its own. Where a factor shows no two levels
    (they are within a factor of two), it is causal in all tasks or in none: causal if the target explains less than
    half of its variance.

    variances, slopes   (T, r) D and m;  target_variance   (T,)
    """
    causal = np.empty(variances.shape, dtype=bool)
    explained = slopes**2 * target_variance[:, None]
    for j in range(variances.shape[1]):
        low, high = _two_means(variances[:, j])
        if high > 2 * low:
            causal[:, j] = variances[:, j] > 0.5 * (low + high)
        else:
            causal[:, j] = explained[:, j].sum() < variances[:, j].sum()
    return causal


def _two_means(values: Float) -> tuple[float, float]:
    """Means of the two groups of least within-group variance (Otsu 1979), exactly, by sorting."""
    ordered = np.sort(values)
    n = len(ordered)
    if n < 2:
        return float(ordered[0]), float(ordered[0])
    size = np.arange(1, n)
    total = np.cumsum(ordered)
    low, high = total[:-1] / size, (total[-1] - total[:-1]) / (n - size)
    best = int(np.argmax(size * (n - size) * (high - low) ** 2))
    return float(low[best]), float(high[best])


def _drives_target(moments: TaskMoments, unmixing: Float) -> NDArray[np.bool_]:
    """Factors with a share in the regression of the target on all codes: (T, r) bool.

    A coefficient counts where dropping it would raise the Bayesian information criterion (t² > log n) and its
    standardised value is at least 0.1, a "small effect" (Cohen 1988): codes are never exactly the factors, and with
    many samples every trace of another factor in a code is significant.
    """
    s_zz = unmixing @ moments.s_hh @ unmixing.T
    s_zy = moments.s_hy @ unmixing.T
    inverse = np.linalg.pinv(s_zz, rcond=1e-10, hermitian=True)
    coefficients = np.einsum("tij,tj->ti", inverse, s_zy)
    dof = np.maximum(moments.n - 1 - unmixing.shape[0], 1.0)
    left = np.maximum(moments.s_yy - np.einsum("ti,ti->t", coefficients, s_zy), 1e-12 * moments.s_yy) / dof
    t_squared = coefficients**2 / (np.maximum(np.diagonal(inverse, axis1=1, axis2=2), 1e-300) * left[:, None])
    standardised = np.abs(coefficients) * np.sqrt(np.diagonal(s_zz, axis1=1, axis2=2) / moments.s_yy[:, None])
    return (t_squared > np.log(moments.n)[:, None]) & (standardised >= SMALL_EFFECT)


def _spread(values: NDArray[Any], usable: NDArray[np.bool_], missing: float | bool) -> NDArray[Any]:
    """Rows of the used tasks back to their places among all tasks."""
    out = np.full((len(usable), values.shape[1]), missing, dtype=values.dtype)
    out[usable] = values
    return out
