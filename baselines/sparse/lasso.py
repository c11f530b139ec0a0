"""Many small Lasso problems at once, and their exact derivative with respect to the data.

Problem t, with Gram matrix G_t = Z_tᵀZ_t/n and correlations c_t = Z_tᵀy_t/n:

    w_t = argmin_w  ½ wᵀ G_t w − c_tᵀ w + λ_t ‖w‖₁,          ½‖y_t − Z_t w‖²/n up to a constant.

``lasso`` finds the minimisers without gradients: accelerated proximal steps (FISTA: Beck and Teboulle 2009, with
the gradient restart of O'Donoghue and Candès 2015) until the support and signs can be guessed, then a linear solve
on that support, accepted when the optimality conditions hold. Proximal steps alone would need hundreds of
iterations for correlated features; the solve is exact once the guess is right.
``differentiable_lasso`` repeats that last linear solve in torch. On the support the minimiser is
w_S = G_SS⁻¹ (c_S − λ s_S), and support S and signs s are locally constant, so differentiating the solve is
implicit differentiation of the Lasso (Bertrand et al. 2020; Lachapelle et al. 2023, appendix).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

JITTER = 1e-9
"""Added to the diagonal of every Gram matrix: a tiny elastic net makes the minimiser unique where features coincide."""


def soft_threshold(v: Float64, threshold: Float64 | float) -> Float64:
    """Proximal operator of ``threshold``·|·|, elementwise: sign(v)·max(|v| − threshold, 0)."""
    return v - np.clip(v, -threshold, threshold)


def lasso(
    gram: Float64,
    correlation: Float64,
    penalty: Float64,
    *,
    max_iterations: int = 5000,
    check_every: int = 10,
    tolerance: float = 1e-9,
) -> Float64:
    """Minimisers of T independent Lasso problems.

    gram          (T, d, d) positive semi-definite, ZᵀZ/n
    correlation   (T, d), Zᵀy/n
    penalty       (T,) non-negative λ
    tolerance     accepted violation of the optimality conditions, relative to max|c_t|

    Returns (T, d) float64. A problem that is not solved to ``tolerance`` within ``max_iterations`` proximal steps
    (numerically singular features) keeps its last proximal iterate, which has the smaller objective.
    """
    gram = np.asarray(gram, dtype=np.float64)
    gram = gram + JITTER * np.eye(gram.shape[-1])
    c = np.asarray(correlation, dtype=np.float64)
    lam = np.asarray(penalty, dtype=np.float64)[:, None]
    scale = tolerance * np.maximum(np.abs(c).max(axis=1, keepdims=True), np.finfo(float).tiny)
    # The largest eigenvalue is at most the largest absolute row sum; the eigenvalue itself gives longer steps.
    step = 1.0 / np.linalg.eigvalsh(gram)[:, -1:]
    solution = np.zeros_like(c)
    open_ = np.arange(len(c))  # problems not yet solved; solved ones leave the batch
    w = np.zeros_like(c)
    v, momentum = w, np.ones((len(c), 1))
    for iteration in range(1, max_iterations + 1):
        new = soft_threshold(v + step * (c - (gram @ v[:, :, None])[:, :, 0]), step * lam)
        # Momentum that points uphill is forgotten, problem by problem.
        uphill = ((v - new) * (new - w)).sum(axis=1, keepdims=True) > 0
        momentum = np.where(uphill, 1.0, momentum)
        following = 0.5 + np.sqrt(0.25 + momentum * momentum)
        v = new + ((momentum - 1.0) / following) * (new - w)
        w, momentum = new, following
        if iteration % check_every and iteration != max_iterations:
            continue
        candidate, solved = _solve_on_support(gram, c, lam, np.sign(w), scale)
        solution[open_] = np.where(solved[:, None], candidate, w)
        if solved.all():
            break
        keep = ~solved
        open_, gram, c, lam, scale, step = open_[keep], gram[keep], c[keep], lam[keep], scale[keep], step[keep]
        w, v, momentum = w[keep], v[keep], momentum[keep]
    return solution


def _solve_on_support(
    gram: Float64, c: Float64, lam: Float64, sign: Float64, scale: Float64
) -> tuple[Float64, NDArray[np.bool_]]:
    """Minimisers given guessed signs (T, d) in {−1, 0, 1}, and which of them satisfy the optimality conditions."""
    on = sign != 0
    system = np.where(on[:, :, None] & on[:, None, :], gram, np.eye(gram.shape[-1]))
    candidate = np.linalg.solve(system, np.where(on, c - lam * sign, 0.0)[:, :, None])[:, :, 0]
    slope = c - (gram @ candidate[:, :, None])[:, :, 0]  # must be λ·sign on the support, within ±λ off it
    consistent = np.where(on, candidate * sign > 0, np.abs(slope) <= lam + scale)
    solved = np.asarray(consistent.all(axis=1) & np.isfinite(candidate).all(axis=1))
    return candidate, solved


def differentiable_lasso(gram: torch.Tensor, correlation: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
    """Minimisers (T, d) of T Lasso problems, differentiable in all three arguments.

    gram (T, d, d), correlation (T, d), penalty (T,): float64 tensors on any device. The search for the support runs
    on the CPU: the problems are tiny, and one transfer costs less than the launches of its many small steps.
    """
    found = lasso(gram.detach().cpu().numpy(), correlation.detach().cpu().numpy(), penalty.detach().cpu().numpy())
    sign = torch.as_tensor(np.sign(found), dtype=gram.dtype, device=gram.device)
    on = sign.abs()
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    mask = on[:, :, None] * on[:, None, :]
    system = mask * gram + torch.diag_embed(1.0 - on) + JITTER * eye
    return torch.linalg.solve(system, on * (correlation - penalty[:, None] * sign))


def ridge(gram: torch.Tensor, correlation: torch.Tensor, penalty: torch.Tensor | float) -> torch.Tensor:
    """Minimisers (T, d) of ½ wᵀGw − cᵀw + ½λ‖w‖², differentiable; arguments as in ``differentiable_lasso``."""
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    lam = torch.as_tensor(penalty, dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve(gram + (lam[..., None, None] + JITTER) * eye, correlation)
