"""The parts of a Gaussian evidence lower bound beside its networks, each as one operation with its own gradient.

These are a hundred small operations on a few thousand numbers a step: called one by one, with autograd's record of
each, they cost more time than the networks' arithmetic. First derivatives only.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

LOG_2PI = math.log(2 * math.pi)
_NEGLIGIBLE = -60.0  # log of a share that changes no sum, and whose products are numbers that processors are quick with


def draws(out: Tensor, epsilon: Tensor, bounds: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, log s², variance (E, B, d) of N(m, L Lᵀ), L = diag(s) (I + N), and z (E, 2B, d) = m ± L ε in pairs.

    out       (E, B, 2d) holds m and log s²; (E, B, 2d + d²) holds N too, of which the part below the diagonal counts
    epsilon   (E, B, d) standard normal
    bounds    of log s²
    The variance is the diagonal of L Lᵀ.
    """
    return _Draws.apply(out, epsilon, bounds)


class _Draws(Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, epsilon: Tensor, bounds: tuple[float, float]) -> tuple[Tensor, ...]:
        d = epsilon.shape[-1]
        ctx.set_materialize_grads(False)
        mean, raw = out[..., :d].contiguous(), out[..., d : 2 * d]
        log_s = raw.clamp(*bounds)
        s = torch.exp(0.5 * log_s)
        lower, t, variance = None, epsilon, s * s
        if out.shape[-1] > 2 * d:
            lower = out[..., 2 * d :].unflatten(-1, (d, d)) * _below_diagonal(d, out)
            t = (lower * epsilon[..., None, :]).sum(dim=-1).add_(epsilon)
            variance = variance * lower.square().sum(dim=-1).add_(1)
        offset = s * t
        ctx.bounds = bounds
        ctx.save_for_backward(raw, epsilon, s, variance, offset, *([] if lower is None else [lower]))
        return mean, log_s, variance, torch.cat([mean + offset, mean - offset], dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        by_mean, by_log_s, by_variance, by_z = gradients
        raw, epsilon, s, variance, offset, *rest = ctx.saved_tensors
        rows, d = epsilon.shape[1:]
        found = raw.new_zeros(*epsilon.shape[:2], 2 * d + (d * d if rest else 0))
        to_mean, to_log_s = found[..., :d], found[..., d : 2 * d]
        if by_mean is not None:
            to_mean += by_mean
        if by_log_s is not None:
            to_log_s += by_log_s
        if by_variance is not None:
            to_log_s.addcmul_(by_variance, variance)
        by_t = None
        if by_z is not None:
            plus, minus = by_z[:, :rows], by_z[:, rows:]
            to_mean += plus
            to_mean += minus
            by_offset = plus - minus
            to_log_s.addcmul_(by_offset, offset, value=0.5)
            by_t = by_offset * s
        low, high = ctx.bounds
        to_log_s *= (raw >= low) & (raw <= high)
        if rest:
            (lower,) = rest
            to_lower = found[..., 2 * d :].view(*lower.shape)
            if by_t is not None:
                torch.mul(by_t[..., None], epsilon[..., None, :], out=to_lower)
            if by_variance is not None:
                to_lower.addcmul_((by_variance * s * s)[..., None], lower, value=2.0)
            to_lower *= _below_diagonal(d, found)
        return found, None, None


def _below_diagonal(d: int, like: Tensor) -> Tensor:
    """(d, d) ones below the diagonal, zeros elsewhere."""
    return torch.ones(d, d, dtype=like.dtype, device=like.device).tril_(-1)


def reconstruction(mean: Tensor, x: Tensor, log_noise: Tensor) -> Tensor:
    """−log N(x; mean, σ² I) (E,), summed over columns, averaged over rows.

    mean        (E, k B, p), k stacked batches of the same rows
    x           (E, B, p)
    log_noise   log σ², (E, 1) or (1, 1)
    """
    return _Reconstruction.apply(mean, x, log_noise)


class _Reconstruction(Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, x: Tensor, log_noise: Tensor) -> Tensor:
        members, rows, columns = mean.shape
        difference = mean.view(members, -1, *x.shape[1:]) - x[:, None]
        squared = torch.linalg.vector_norm(difference.view(members, -1), dim=1).square_()
        log_noise = log_noise.view(-1)
        weight = torch.exp(-log_noise) / rows
        ctx.save_for_backward(difference, squared, weight)
        ctx.columns = columns
        return 0.5 * (squared * weight + columns * (log_noise + LOG_2PI))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        difference, squared, weight = ctx.saved_tensors
        by_mean = (difference * (g * weight)[:, None, None, None]).flatten(1, 2)
        by_noise = None
        if ctx.needs_input_grad[2]:
            by_noise = (0.5 * g * (ctx.columns - squared * weight))[:, None]
        return by_mean, None, by_noise


def divergence(
    mean: Tensor, log_s: Tensor, variance: Tensor, prior_mean: Tensor | None = None, log_v: Tensor | None = None
) -> Tensor:
    """KL(N(m, L Lᵀ) ‖ Π_j N(μ_j, v_j)) (E,), averaged over rows; all (E, B, d).

    log_s, variance     as ``draws`` gives them
    prior_mean, log_v   μ and log v, both or neither: 0
    """
    return _Divergence.apply(mean, log_s, variance, prior_mean, log_v)


class _Divergence(Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, log_s: Tensor, variance: Tensor, *prior: Tensor | None) -> Tensor:
        prior_mean, log_v = prior
        difference = mean if prior_mean is None else mean - prior_mean
        scaled = torch.addcmul(variance, difference, difference)
        precision = None
        terms = scaled - log_s
        if log_v is not None:
            precision = torch.exp(-log_v)
            scaled *= precision
            terms = (scaled - log_s).add_(log_v)
        ctx.save_for_backward(difference, scaled, precision)
        rows, d = mean.shape[1:]
        return 0.5 * (terms.sum(dim=(1, 2)) / rows - d)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        difference, scaled, precision = ctx.saved_tensors
        g = (g / difference.shape[1])[:, None, None]
        half = (0.5 * g).expand_as(difference)
        if precision is None:
            return difference * g, -half, half, None, None
        by_mean = difference * precision * g
        return by_mean, -half, precision * half, -by_mean, (1 - scaled) * half


def total_correlation(z: Tensor, mean: Tensor, log_s: Tensor, n_samples: int) -> Tensor:
    """KL(q(z) ‖ Π_j q(z_j)) (E,), q(z) estimated from a minibatch with its importance weights.

    z, mean, log_s (E, B, d): draw i, and mean and log variance of the posteriors of which it is one.
    The weights are those of minibatch stratified sampling (Chen et al. 2018): z_i's own posterior 1 / n, the others
    (n − 1) / n (B − 1).
    """
    return _TotalCorrelation.apply(z, mean, log_s, n_samples)


class _TotalCorrelation(Function):
    """Densities of all codes i under all posteriors j, code by code: (E, d, i, j)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, mean: Tensor, log_s: Tensor, n_samples: int) -> Tensor:
        rows = z.shape[1]
        log_weight = z.new_full((rows, rows), math.log((n_samples - 1) / (n_samples * max(rows - 1, 1))))
        log_weight.fill_diagonal_(-math.log(n_samples))
        z, mean, log_s = (t.mT.contiguous() for t in (z, mean, log_s))
        difference = z[..., None] - mean[:, :, None]
        precision = torch.exp(-log_s)[:, :, None]  # (E, d, 1, j)
        log_density = difference.square().mul_(-0.5 * precision).add_(-0.5 * (log_s + LOG_2PI)[:, :, None])
        joint, joint_weight = _log_mean(log_density.sum(dim=1).add_(log_weight))
        marginals, weight = _log_mean(log_density.add_(log_weight))
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(difference, precision, joint_weight, weight)
        return (joint - marginals.sum(dim=1)).mean(dim=1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        difference, precision, joint_weight, weight = ctx.saved_tensors
        g = (g / difference.shape[2])[:, None, None, None]
        by_density = (joint_weight[:, None] - weight).mul_(g)
        by_log_s = by_density.sum(dim=2).mul_(-0.5)
        slope = by_density.mul_(difference)
        by_mean = slope.sum(dim=2).mul_(precision[:, :, 0])
        by_z = -(slope @ precision.mT)[..., 0]
        squared = slope.mul_(difference).sum(dim=2)
        by_log_s.addcmul_(squared, precision[:, :, 0], value=0.5)
        return by_z.mT, by_mean.mT, by_log_s.mT, None


def _log_mean(log_terms: Tensor) -> tuple[Tensor, Tensor]:
    """log Σ_j exp of the last dimension, and the share of each term; the memory of ``log_terms`` is used for it."""
    top = log_terms.amax(dim=-1, keepdim=True)
    terms = log_terms.sub_(top).clamp_(min=_NEGLIGIBLE).exp_()
    total = terms.sum(dim=-1, keepdim=True)
    return (top + total.log())[..., 0], terms.div_(total)
