"""The paper's stage 2 as it reads: Adam on the likelihood of every sample. What ``mtlcm`` is measured against.

Chen et al. 2024 (TMLR, arXiv 2306.14861), section 4: for a sample of task t,

    h | y, t ~ N( A ((1 − c_t)∘γ_t) y,  A D_t Aᵀ + σ_obs² I ),   D_t = diag(c_t + σ_s² (1 − c_t)),   c_t = sigmoid(·),

with σ_s = 0.1, maximised over A, c and γ by Adam (0.1, halved on plateaus) for 1000 epochs; codes are A⁻¹ h. What the
paper leaves open is chosen in the reference's favour: σ_obs is given its true value; batches of 1024 take 16 steps an
epoch, where one step on all samples does not arrive in 1000; and besides the covariance of every sample
(``per="sample"``, how such a likelihood is written with torch.distributions) there is a fit that factorises each
task's covariance only once a step (``per="task"``), and one whose gradient by the covariances is written out instead of
taken through the factorisation (``per="closed"``): the same numbers in less time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SPURIOUS_DEVIATION = 0.1

Per = Literal["sample", "task", "closed"]


@dataclass(frozen=True)
class AdamFit:
    """mixing (d, d) A; cpu_seconds of the fit; epochs that it ran; loss: mean negative log likelihood at the end."""

    mixing: NDArray[np.float64]
    cpu_seconds: float
    epochs: int
    loss: float

    def encode(self, h: NDArray[Any]) -> NDArray[np.float64]:
        """A⁻¹ h, (n, d)."""
        return np.asarray(np.linalg.solve(self.mixing, np.asarray(h, dtype=np.float64).T).T)


def log_density(residual: Tensor, covariance: Tensor, task: Tensor, per: Per) -> Tensor:
    """log N(residual; 0, covariance[task]) of every sample, (n,), or (1,) their mean where ``per`` is "closed".

    residual (n, d), covariance (T, d, d)
    """
    constant = -0.5 * residual.shape[1] * math.log(2 * math.pi)
    if per == "closed":
        n = torch.bincount(task, minlength=len(covariance))
        order = torch.argsort(task)
        number = torch.arange(len(task)) - (n.cumsum(0) - n)[task[order]]
        shape = (len(covariance), int(n.max()), residual.shape[1])
        by_task = torch.zeros(shape, dtype=residual.dtype).index_put((task[order], number), residual[order])
        return constant - _NegativeLogDensity.apply(by_task, covariance, n.to(residual.dtype))[None] / len(task)
    if per == "sample":
        factor = torch.linalg.cholesky(covariance[task])
        logdet = factor.diagonal(dim1=1, dim2=2).log().sum(1)
    else:
        factor = torch.linalg.cholesky(covariance)
        logdet = factor.diagonal(dim1=1, dim2=2).log().sum(1)[task]
        factor = torch.linalg.inv(factor)
        white = (factor[task] @ residual[:, :, None])[:, :, 0]
        return constant - logdet - 0.5 * white.square().sum(1)
    white = torch.linalg.solve_triangular(factor, residual[:, :, None], upper=False)[:, :, 0]
    return constant - logdet - 0.5 * white.square().sum(1)


class _NegativeLogDensity(torch.autograd.Function):
    """Σ_t ½ (n_t log det C_t + Σ_i r_tiᵀ C_t⁻¹ r_ti): r (T, most, d), 0 beyond the n_t (T,) of a task; C (T, d, d)."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, covariance: Tensor, n: Tensor) -> Tensor:
        factor = torch.linalg.cholesky(covariance)
        eye = torch.eye(factor.shape[1], dtype=factor.dtype).expand_as(factor)
        inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        precision = inverse.mT @ inverse
        weighted = residual @ precision
        ctx.save_for_backward(precision, weighted, n)
        logdet = factor.diagonal(dim1=1, dim2=2).log().sum(1)
        return (n * logdet).sum() + 0.5 * (residual * weighted).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        precision, weighted, n = ctx.saved_tensors
        by_covariance = torch.baddbmm(n[:, None, None] * precision, weighted.mT, weighted, alpha=-1)
        return gradient * weighted, 0.5 * gradient * by_covariance, None


def fit_adam(
    h: NDArray[Any],
    task: NDArray[Any],
    y: NDArray[Any],
    n_tasks: int,
    *,
    noise: float = 0.01,
    epochs: int = 1000,
    batch: int = 1024,
    learning_rate: float = 0.1,
    patience: int = 10,
    per: Per = "sample",
    seed: int = 0,
    look: Callable[[AdamFit], None] | None = None,
) -> AdamFit:
    """Fit h (n, d), task (n,) and y (n,) from a random start.

    look   is shown the state after every epoch; its own time is not counted
    """
    start = time.process_time()
    d = h.shape[1]
    generator = torch.Generator().manual_seed(seed)
    x = torch.as_tensor(np.asarray(h, dtype=np.float64) - h.mean(0))
    target = torch.as_tensor(np.asarray(y, dtype=np.float64))
    of = torch.as_tensor(np.asarray(task, dtype=np.int64))
    draw = {"generator": generator, "dtype": torch.float64}
    mixing = torch.randn(d, d, **draw).requires_grad_()
    indicator = torch.randn(n_tasks, d, **draw).requires_grad_()
    coefficient = torch.randn(n_tasks, d, **draw).requires_grad_()
    optimiser = torch.optim.Adam([mixing, indicator, coefficient], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=patience)
    eye = noise**2 * torch.eye(d, dtype=torch.float64)
    fit = AdamFit(mixing.detach().numpy().copy(), time.process_time() - start, 0, math.nan)
    for epoch in range(1, epochs + 1):
        start = time.process_time()
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimiser.zero_grad()
            c = torch.sigmoid(indicator)
            variance = c + SPURIOUS_DEVIATION**2 * (1 - c)
            covariance = (mixing * variance[:, None, :]) @ mixing.T + eye
            mean = (((1 - c) * coefficient)[of[rows]] * target[rows, None]) @ mixing.T
            objective = -log_density(x[rows] - mean, covariance, of[rows], per).mean()
            objective.backward()
            optimiser.step()
            total += float(objective.detach()) * len(rows)
        schedule.step(total / len(x))
        spent = fit.cpu_seconds + time.process_time() - start
        fit = AdamFit(mixing.detach().numpy().copy(), spent, epoch, total / len(x))
        if look is not None:
            look(fit)
    return fit
