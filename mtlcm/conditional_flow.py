"""Stage 2's likelihood with a nonlinear representation: what a linear map of the codes leaves bent, a flow straightens.

The linear causal model says that the factors of a task are Gaussian given its target, z_j | y, t ~ N(a + m_tj y, D_tj),
independent of each other (Chen et al. 2024, section 4). Stage 1 uses one number of that per sample, how well y is
predicted; this model says something of all d factors. If z = f(u) for codes u of stage 1 and an invertible f, then

    -log p(u | y, t) = Σ_j ½ log D_tj + ½ (f_j(u) - a_tj - m_tj y)² / D_tj - log |det ∂f/∂u|,

a normalising flow (Rezende and Mohamed, ICML 2015) whose base density is that model. Means, slopes and variances of
every task have closed forms and are profiled out: Σ_j ½ log D_tj remains, the criterion of joint diagonalisation, which
is the case of a linear f and where f starts. So nothing is learned but f:

    f(u) = M (f_K ∘ … ∘ f_1)(B u),   f_k(h) = h + W₂ gelu(W₁ h + b),

B the joint diagonaliser, every W₂ zero at the start. The activation is smooth because the kinks of a piecewise linear
one have no gradient in the log determinant. Determinants are exact, d × d, and as their mean varies little, taken on a
share of each batch. f is not forced to be invertible: log |det| is a barrier that it does not cross.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.api import NotApplicable, Progress
from bench.toolkit.schedule import one_cycle
from bench.toolkit.task_batches import Targets
from mtlcm.causal_model import LinearCausalModel
from mtlcm.moments import task_moments

VARIANCE_FLOOR = 1e-8
_ROWS = 1 << 14


class Flow(nn.Module):
    """z = f(u), (n, d) -> (n, d), float32.

    start     (d, d) B, with shift (d,): u enters as (u - shift) B'
    hidden    width of each of the K residual blocks
    """

    start: Tensor
    shift: Tensor

    def __init__(
        self, start: NDArray[Any], shift: NDArray[Any], hidden: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        d = len(start)
        self.register_buffer("start", torch.from_numpy(np.asarray(start, dtype=np.float32)))
        self.register_buffer("shift", torch.from_numpy(np.asarray(shift, dtype=np.float32)))
        self.inner = nn.ParameterList(nn.Parameter(torch.randn(d, w, generator=generator) / d**0.5) for w in hidden)
        self.bias = nn.ParameterList(nn.Parameter(torch.randn(w, generator=generator)) for w in hidden)
        self.outer = nn.ParameterList(nn.Parameter(torch.zeros(w, d)) for w in hidden)
        self.last = nn.Parameter(torch.eye(d))

    def forward(self, u: Tensor) -> Tensor:
        """Factors z (n, d) of codes u (n, d)."""
        h = (u - self.shift) @ self.start.mT
        for inner, bias, outer in zip(self.inner, self.bias, self.outer, strict=True):
            h = torch.addmm(h, nn.functional.gelu(torch.addmm(bias, h, inner)), outer)
        return h @ self.last

    def log_determinant(self, u: Tensor) -> Tensor:
        """log |det ∂f/∂u| (n,), up to the constant log |det B|."""
        h = (u - self.shift) @ self.start.mT
        identity = torch.eye(h.shape[1], device=h.device)
        total = torch.linalg.slogdet(self.last)[1].expand(len(h))
        for inner, bias, outer in zip(self.inner, self.bias, self.outer, strict=True):
            a = torch.addmm(bias, h, inner)
            share = 0.5 * (1 + torch.erf(a * math.sqrt(0.5)))
            slope = share + a * torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
            total = total + torch.linalg.slogdet(identity + (slope[:, None, :] * inner) @ outer)[1]
            h = torch.addmm(h, a * share, outer)
        return total


def profiled_variances(z: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum likelihood of z_j | y, t: variances D, means at y = 0 and slopes, each (G, d), differentiable in z.

    z (G, n, d): factors of the samples of G tasks, y, mask (G, n).
    """
    n = mask.sum(1).clamp_min(1)[:, None]
    mean_y = (y * mask).sum(1, keepdim=True) / n
    mean_z = (z * mask[:, :, None]).sum(1) / n
    yc = (y - mean_y) * mask
    zc = (z - mean_z[:, None]) * mask[:, :, None]
    slope = (zc * yc[:, :, None]).sum(1) / yc.square().sum(1, keepdim=True).clamp_min(1e-12)
    residual = zc - slope[:, None] * yc[:, :, None]
    variance = residual.square().sum(1) / (n - 2).clamp_min(1)
    return variance + VARIANCE_FLOOR, mean_z - slope * mean_y, slope


@dataclass(frozen=True)
class FlowFit:
    """A fitted flow, and what held-out samples say of it.

    gain          mean difference of held-out log likelihoods, flow minus linear start, nats per sample
    gain_error    its standard error
    best_step     the checkpoint that was kept
    diverged_at   step at which the likelihood was not finite, which ended the training; None if it always was
    """

    flow: Flow
    gain: float
    gain_error: float
    best_step: int
    diverged_at: int | None

    @property
    def helps(self) -> bool:
        """Is the gain beyond chance (three standard errors)?"""
        return self.gain > 3 * self.gain_error


def fit_flow(
    codes: NDArray[np.float64],
    targets: Targets,
    *,
    hidden: Sequence[int],
    steps: int,
    learning_rate: float,
    weight_decay: float,
    stride: int,
    checkpoints: int,
    generator: torch.Generator,
    progress: Progress,
) -> FlowFit:
    """Maximum conditional likelihood of codes (n, d), for targets in the own layout.

    hidden    widths of the residual blocks
    stride    determinants are taken on every ``stride``-th sample of a batch

    Of the linear start and all checkpoints the one with the best held-out likelihood is kept. Should
    the likelihood leave the finite numbers, training ends and what was best before is kept. Raises NotApplicable where
    there is no linear start of full rank or nothing is held out.
    """
    device = targets.count.device
    start, shift = _linear_start(codes, targets)
    flow = Flow(start, shift, hidden, generator).to(device)
    u = torch.from_numpy(codes.astype(np.float32)).to(device)
    matrices = [*flow.inner, *flow.outer]
    optimiser = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": [*flow.bias, flow.last], "weight_decay": 0.0},
        ],
        lr=learning_rate,
        betas=(0.9, 0.99),
    )
    linear = held_out_likelihood(flow, u, targets)
    best, best_step, state = linear, 0, copy.deepcopy(flow.state_dict())
    look_every = max(1, steps // max(1, checkpoints))
    step, diverged_at = 0, None
    while step < steps:
        for batch in targets.epoch(generator):
            step += 1
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * one_cycle(step / steps)
            assert batch.mask is not None
            inputs = u[batch.rows.reshape(-1)]
            variance, _, _ = profiled_variances(flow(inputs).view(*batch.rows.shape, -1), batch.y, batch.mask)
            n = batch.mask.sum(1)
            some = inputs[batch.mask.reshape(-1) > 0]
            offset = int(torch.randint(min(stride, len(some)), (1,), generator=generator))
            loss = (0.5 * torch.log(variance).sum(1) * n).sum() / n.sum()
            loss = loss - flow.log_determinant(some[offset::stride]).mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            optimiser.step()
            if step % look_every == 0 or step == steps:
                now = held_out_likelihood(flow, u, targets)
                if not bool(torch.isfinite(now).all()):
                    diverged_at, step = step, steps
                    break
                progress(step / steps, f"held-out log likelihood {float(now.mean()):.3f}")
                if now.mean() > best.mean():
                    best, best_step, state = now, step, copy.deepcopy(flow.state_dict())
            if step == steps:
                break
    flow.load_state_dict(state)
    difference = best - linear
    error = float(difference.std() / max(len(difference), 1) ** 0.5) if len(difference) > 1 else math.inf
    return FlowFit(flow, float(difference.mean()), error, best_step, diverged_at)


@torch.no_grad()
def held_out_likelihood(flow: Flow, u: Tensor, targets: Targets) -> Tensor:
    """log p(u | y, t) of every held-out target, (m,) up to a constant; task parameters from the training targets."""
    parts = []
    for tasks in torch.arange(targets.n_tasks, device=u.device).split(max(1, _ROWS // targets.width)):
        batch = targets.whole_tasks(tasks)
        assert batch.mask is not None
        z = flow(u[batch.rows.reshape(-1)]).view(*batch.rows.shape, -1)
        parts.append(profiled_variances(z, batch.y, batch.mask))
    variance, mean, slope = (torch.cat([p[i] for p in parts]) for i in range(3))
    rows, task, y = targets.held
    out = []
    for at in torch.arange(len(rows), device=u.device).split(_ROWS):
        inputs, t = u[rows[at]], task[at]
        squares = (flow(inputs) - mean[t] - slope[t] * y[at, None]).square() / variance[t]
        out.append(flow.log_determinant(inputs) - 0.5 * (squares + torch.log(variance[t])).sum(1))
    return torch.cat(out).double() if out else torch.zeros(0, dtype=torch.float64)


def _linear_start(codes: NDArray[np.float64], targets: Targets) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Joint diagonaliser (d, d) of the tasks' residual covariances, factors of unit variance; mean of the codes."""
    rows, task, y = (part.cpu().numpy() for part in targets.train)
    if len(targets.held[0]) == 0:
        raise NotApplicable("a flow needs held-out targets to say whether it helps: too few samples")
    moments = task_moments(codes, rows, task, y, targets.n_tasks)
    linear = LinearCausalModel(noise=False).fit(moments)
    if len(linear.unmixing_) < codes.shape[1]:
        raise NotApplicable(f"the codes vary in {len(linear.unmixing_)} of {codes.shape[1]} directions within tasks")
    return linear.unmixing_, linear.mean_
