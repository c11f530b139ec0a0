"""Task heads in closed form, and the loss that is left once heads and noise variances are profiled out.

Given codes h, the best head of a task is a ridge regression of its target on h, and the best variance of its noise is
the mean squared residual. Putting both back leaves ½ log of each task's residual variance as the negative log
likelihood of the encoder alone: variable projection (Golub and Pereyra, SIAM J. Numer. Anal. 1973). At the minimising
head the residual does not depend on the head to first order, so the head is a constant in the backward pass and the
gradient is exact nevertheless. The solves run in float64: within a task the codes can be nearly collinear.

Two layouts of targets: ``own``, codes (G, n, d) and targets (G, n) of G tasks with samples of their own, and
``shared``, codes (b, d) and targets (b, T) of samples that have many tasks. Both carry a mask of what was observed.
"""

from __future__ import annotations

import torch
from torch import Tensor

VARIANCE_FLOOR = 1e-8
"""Residual variance below which a task, of a target with variance 1, counts as fitted: a bound for its logarithm."""


def solve_heads(gram: Tensor, cross: Tensor, penalty: Tensor) -> Tensor:
    """Heads (T, d) minimising w' gram w - 2 w' cross + penalty |w|^2; gram (T, d, d) or (1, d, d), cross (T, d)."""
    d = gram.shape[-1]
    # relative to the largest variance, so that singular Gram matrices have a finite, small solution at penalty 0
    jitter = 1e-10 * gram.diagonal(dim1=-2, dim2=-1).amax(-1)[:, None, None] + 1e-30
    regular = gram + (penalty + jitter) * torch.eye(d, dtype=gram.dtype, device=gram.device)
    if len(regular) == 1:
        return torch.linalg.solve(regular[0], cross.mT).mT
    return torch.linalg.solve(regular, cross[:, :, None])[:, :, 0]


def own_heads(h: Tensor, y: Tensor, mask: Tensor, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """Heads (G, d) and intercepts (G,), float64, of codes h (G, n, d) for targets y (G, n) where mask (G, n) is 1.

    penalty   a number: weight of |w|^2 against the mean squared residual
    """
    with torch.no_grad():
        h, y, mask = h.double(), y.double(), mask.double()
        n = mask.sum(1).clamp_min(1)
        mean_h, mean_y = (h * mask[:, :, None]).sum(1) / n[:, None], (y * mask).sum(1) / n
        hc, yc = (h - mean_h[:, None]) * mask[:, :, None], (y - mean_y[:, None]) * mask
        gram = hc.mT @ hc / n[:, None, None]
        cross = (hc.mT @ yc[:, :, None])[:, :, 0] / n[:, None]
        heads = solve_heads(gram, cross, penalty.double())
        return heads, mean_y - (mean_h * heads).sum(1)


def shared_heads(h: Tensor, y: Tensor, mask: Tensor | None, penalty: Tensor) -> tuple[Tensor, Tensor]:
    """As ``own_heads`` for codes h (b, d), targets y (b, T), mask (b, T) or None where nothing is missing."""
    with torch.no_grad():
        h, y = h.double(), y.double()
        if mask is None:
            mean_h, mean_y = h.mean(0), y.mean(0)
            hc = h - mean_h
            gram, cross = (hc.mT @ hc / len(h))[None], (y - mean_y).mT @ hc / len(h)
            heads = solve_heads(gram, cross, penalty.double())
            return heads, mean_y - heads @ mean_h
        d, m = h.shape[1], mask.double()
        centre = h.mean(0)
        h = h - centre  # the moments below are differences: centre first, lest digits be lost
        n = m.sum(0).clamp_min(1)
        mean_h, mean_y = m.mT @ h / n[:, None], (y * m).sum(0) / n
        products = (h[:, :, None] * h[:, None, :]).reshape(len(h), d * d)
        gram = (m.mT @ products / n[:, None]).reshape(-1, d, d) - mean_h[:, :, None] * mean_h[:, None, :]
        cross = (y * m).mT @ h / n[:, None] - mean_y[:, None] * mean_h
        heads = solve_heads(gram, cross, penalty.double())
        return heads, mean_y - ((mean_h + centre) * heads).sum(1)


def own_residuals(h: Tensor, y: Tensor, mask: Tensor, heads: Tensor) -> Tensor:
    """Mean squared residual (G,) of given heads (G, d), each task's intercept at its optimum; differentiable in h."""
    n = mask.sum(1).clamp_min(1)
    residual = y - (h * heads.to(h.dtype)[:, None]).sum(-1)
    residual = (residual - (residual * mask).sum(1, keepdim=True) / n[:, None]) * mask
    return residual.square().sum(1) / n


def shared_residuals(h: Tensor, y: Tensor, mask: Tensor | None, heads: Tensor) -> Tensor:
    """As ``own_residuals``, (T,), in the shared layout."""
    residual = y - h @ heads.to(h.dtype).mT
    if mask is None:
        return (residual - residual.mean(0)).square().mean(0)
    n = mask.sum(0).clamp_min(1)
    residual = (residual - (residual * mask).sum(0) / n) * mask
    return residual.square().sum(0) / n


def code_variance(h: Tensor, mask: Tensor | None) -> Tensor:
    """Mean variance of the codes: within tasks in the own layout h (G, n, d), over all samples in the shared (b, d)."""
    if h.ndim == 2:
        return (h - h.mean(0)).square().mean()
    assert mask is not None
    n = mask.sum(1).clamp_min(1)[:, None]
    centred = (h - ((h * mask[:, :, None]).sum(1) / n)[:, None]) * mask[:, :, None]
    return (centred.square().sum(1) / n).mean()


def profiled_loss(h: Tensor, y: Tensor, mask: Tensor | None, ridge: float, *, log: bool = True) -> Tensor:
    """½ log residual variance, averaged over all observed targets; a number, differentiable in h.

    h       (G, n, d) with y, mask (G, n): the own layout; or (b, d) with y, mask (b, T), mask None for no gaps: shared
    ridge   penalty on |w|^2 as a multiple of the codes' mean variance

    The penalty belongs to the objective that the heads minimise, so it is added to the residual variance: large heads
    on small codes are not free. With ``log=False`` ½ of the residual variance itself: the tasks' noise is taken to be
    alike, and where codes are too few for all targets they are spent on the variance that there is to explain rather
    than on the targets that can be told to the last digit.
    """
    penalty = ridge * code_variance(h, mask)
    if h.ndim == 3:
        assert mask is not None
        heads, _ = own_heads(h, y, mask, penalty.detach())
        residual, n = own_residuals(h, y, mask, heads), mask.sum(1)
    else:
        heads, _ = shared_heads(h, y, mask, penalty.detach())
        residual = shared_residuals(h, y, mask, heads)
        n = torch.full_like(residual, len(y)) if mask is None else mask.sum(0)
    penalised = residual + penalty * heads.to(h.dtype).square().sum(1)
    return 0.5 * (n * (torch.log(penalised + VARIANCE_FLOOR) if log else penalised)).sum() / n.sum()
