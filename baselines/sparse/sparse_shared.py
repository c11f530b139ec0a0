"""Sparse and shared features for binary tasks (Fumero et al., NeurIPS 2023, arXiv 2304.07939).

Written from the paper's objective; no released program was found. With features Z_t of task t, cut into a support
and a query set, and one linear logistic head φ_t a task:

    outer:   min over θ of   mean over tasks of CE(φ*_t; query set),
    inner:   φ* = argmin   (1/T) Σ_t [ CE(φ_t; support set) + α ‖φ_t‖₁ ] + β H(φ̃),   φ̃_m = Σ_t |φ_tm| / Σ_tm |φ_tm|.

α asks each task to use few features (sufficiency), the entropy H asks the tasks to use the same ones (sharing). H is
taken over the tasks of a step, and tells rotations apart only where the factors are used unevenly: of factors that all
tasks use alike, the shares have the largest entropy there is. The intercepts are not penalised. A small ridge penalty,
the same in every variant, keeps the heads finite where a task is linearly separable and α = 0. Features are normalised
to mean 0 and deviation 1, so that the penalties cannot be evaded by scaling.

The inner problem is solved without gradients by proximal steps, the entropy linearised anew between rounds. Then one
Newton step on the support, written as a function of the features, makes the minimiser differentiable:
φ_S − (∂F/∂φ_S)⁻¹ F(φ_S, Z), F the stationarity condition, has the value of the minimiser and, by the implicit
function theorem, its derivative.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines.sparse.lasso import soft_threshold
from baselines.sparse.task_learner import TaskLearner, require_tasks
from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.preprocess import Float64
from bench.toolkit.rows import prepare
from bench.toolkit.task_batches import cut_into_task_batches

ROUNDS = 4
ITERATIONS = 25
SHARE_FLOOR = 1e-3
"""δ of the smoothed entropy −Σ φ̃ log(φ̃ + δ), whose slope is finite at φ̃ = 0: a feature may come back into use."""


def entropy_slope(magnitude: Float64) -> tuple[Float64, Float64]:
    """Slope (G, d) and Hessian (G, d, d) of the smoothed entropy of the shares s/Σs at s = Σ_t |φ_t| (G, d)."""
    total = magnitude.sum(axis=1)[:, None] + 1e-12
    p = magnitude / total
    g = -np.log(p + SHARE_FLOOR) - p / (p + SHARE_FLOOR)
    g_prime = -1.0 / (p + SHARE_FLOOR) - SHARE_FLOOR / (p + SHARE_FLOOR) ** 2
    slope = (g - (p * g).sum(axis=1)[:, None]) / total
    d_share = (np.eye(magnitude.shape[1]) - p[:, :, None]) / total[:, :, None]
    d_mean = ((g + p * g_prime)[:, None, :] @ d_share)[:, 0]
    hessian = (g_prime[:, :, None] * d_share - d_mean[:, None, :] - slope[:, :, None]) / total[:, :, None]
    return slope, hessian


def solve_heads(
    z: Float64, y: Float64, weight: Float64, *, alpha: float, beta: float, ridge: float, iterations: int = ITERATIONS
) -> NDArray[np.float64]:
    """Heads (G, T, d + 1) of the inner problem, the last column the intercept, for G independent groups of T tasks.

    z (G, T, n, d) features, y (G, T, n) in {0, 1}, weight (G, T, n) 1 for samples that count, 0 for others.
    """
    groups, tasks, n, d = z.shape
    design = np.concatenate([z, np.ones((groups, tasks, n, 1))], axis=3)
    weight = weight / np.maximum(weight.sum(axis=2, keepdims=True), 1.0)
    scaled = np.ascontiguousarray((design * weight[..., None]).swapaxes(2, 3))
    # The logistic loss curves at most by a quarter.
    step = 1.0 / (0.25 * np.linalg.eigvalsh(scaled @ design)[..., -1:] + ridge)
    phi = np.zeros((groups, tasks, d + 1))
    threshold, push = np.zeros_like(phi), np.zeros_like(phi)
    for round_ in range(ROUNDS):
        penalty = np.full((groups, 1, d), alpha)
        if round_ > 0 and beta > 0:
            penalty += beta * tasks * entropy_slope(np.abs(phi[..., :d]).sum(axis=1))[0][:, None]
        threshold[..., :d] = step * np.maximum(penalty, 0.0)
        # A large share lowers the entropy by growing: there the penalty pushes away from zero.
        push[..., :d] = np.minimum(penalty, 0.0) * np.sign(phi[..., :d])
        v, momentum = phi, 1.0
        for _ in range(iterations):
            probability = 1.0 / (1.0 + np.exp(-(design @ v[..., None])[..., 0]))
            gradient = (scaled @ (probability - y)[..., None])[..., 0] + ridge * v + push
            new = soft_threshold(v - step * gradient, threshold)
            following = 0.5 + np.sqrt(0.25 + momentum * momentum)
            v = new + ((momentum - 1.0) / following) * (new - phi)
            phi, momentum = new, following
    return phi


def differentiable_heads(z: Tensor, y: Tensor, weight: Tensor, *, alpha: float, beta: float, ridge: float) -> Tensor:
    """The heads of ``solve_heads`` after one Newton step on their support, differentiable in z; float64 tensors."""
    phi = solve_heads(
        z.detach().cpu().numpy(), y.cpu().numpy(), weight.cpu().numpy(), alpha=alpha, beta=beta, ridge=ridge
    )
    return newton_step(z, y, weight, phi, alpha=alpha, beta=beta, ridge=ridge)


def newton_step(
    z: Tensor, y: Tensor, weight: Tensor, phi: Float64, *, alpha: float, beta: float, ridge: float
) -> Tensor:
    """φ_S − (∂F/∂φ_S)⁻¹ F(φ_S, z) at the heads phi (G, T, d + 1), with F the slope of the inner objective times T."""
    groups, tasks, _, d = z.shape
    sign = np.sign(phi)
    sign[..., d] = 0.0
    on = (phi != 0).astype(np.float64)
    on[..., d] = 1.0
    penalty, coupling = np.full((groups, d), alpha), np.zeros((groups, d, d))
    if beta > 0:
        slope, hessian = entropy_slope(np.abs(phi[..., :d]).sum(axis=1))
        penalty, coupling = penalty + beta * tasks * slope, beta * tasks * hessian
    shrink = sign * np.pad(penalty, ((0, 0), (0, 1)))[:, None]

    def constant(array: Float64) -> Tensor:
        return torch.as_tensor(array, dtype=z.dtype, device=z.device)

    head, support = constant(phi), constant(on)
    design = torch.cat([z, torch.ones_like(z[..., :1])], dim=3)
    share = weight / weight.sum(dim=2, keepdim=True).clamp(min=1.0)
    probability = torch.sigmoid((design @ head[..., None])[..., 0])
    condition = ((share * (probability - y))[..., None, :] @ design)[..., 0, :] + ridge * head + constant(shrink)
    with torch.no_grad():
        curvature = share * probability * (1.0 - probability)
        blocks = (design * curvature[..., None]).mT @ design
        blocks = blocks + ridge * torch.eye(d + 1, dtype=z.dtype, device=z.device)
        blocks = support[..., :, None] * blocks * support[..., None, :] + torch.diag_embed(1.0 - support)
        system = torch.zeros(groups, tasks, d + 1, tasks, d + 1, dtype=z.dtype, device=z.device)
        every = torch.arange(tasks)
        system[:, every, :, every, :] = blocks.transpose(0, 1)
        plain = system.reshape(groups, tasks * (d + 1), -1)
        if beta > 0:
            s = constant(sign[..., :d])
            system[:, :, :d, :, :d] += torch.einsum("gti,gij,guj->gtiuj", s, constant(coupling), s)
            full = system.view(groups, tasks * (d + 1), -1)
            # Where the entropy's negative curvature wins, the point is no minimum; take the linearised problem's step.
            indefinite = torch.linalg.cholesky_ex(full).info != 0
            full = torch.where(indefinite[:, None, None], plain, full)
        else:
            full = plain
    # one system at a time: on several threads torch factorises a batch of them wrongly
    move = torch.stack(
        [torch.linalg.solve(*one) for one in zip(full, (support * condition).reshape(groups, -1), strict=True)]
    )
    move = move.view(groups, tasks, d + 1)
    return head - move


@learner(
    "sparse-shared",
    assumes=("injective-mixing", "grouped-tasks"),
    summary="features that logistic heads use sparsely and share between tasks; from the paper's objective",
    paper="Fumero et al. 2023, NeurIPS, arXiv 2304.07939 (from the paper's objective; no released program)",
    guarantee="block",
    assumptions="every task needs few factors, and groups of factors are shared by tasks",
    needs=("binary",),
    version=2,
    effort=("steps",),
    budgets={"smoke": {"steps": 40}, "paper": {"steps": 3000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={"image": {"steps": 300, "learning_rate": 3e-3}},
)
@learner(
    "sparse-shared-no-l1",
    summary="ablation of sparse-shared: sharing without sparsity (alpha = 0)",
    paper="Fumero et al. 2023, NeurIPS, arXiv 2304.07939 (ablation)",
    guarantee="none",
    needs=("binary",),
    version=2,
    defaults={"alpha": 0.0},
    effort=("steps",),
    budgets={"smoke": {"steps": 40}, "paper": {"steps": 3000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={"image": {"steps": 300, "learning_rate": 3e-3}},
)
@learner(
    "sparse-shared-no-entropy",
    summary="ablation of sparse-shared: sparsity without sharing (beta = 0)",
    paper="Fumero et al. 2023, NeurIPS, arXiv 2304.07939 (ablation)",
    guarantee="none",
    needs=("binary",),
    version=2,
    defaults={"beta": 0.0},
    effort=("steps",),
    budgets={"smoke": {"steps": 40}, "paper": {"steps": 3000}},
    accepts=("vector", "image", "sequence", "graph"),
    by_kind={"image": {"steps": 300, "learning_rate": 3e-3}},
)
class SparseShared(TaskLearner):
    """Encoder under sparse logistic heads that share features.

    alpha, beta, ridge   weights of the L1 norm, of the entropy of the shares, and of the stabilising ridge penalty
    steps            minibatches of ``tasks_per_step`` task batches with at most ``samples_per_task`` samples each;
                     each half of a batch is the support set of the other
    hidden, blocks   width and number of residual blocks of the encoder of vectors (``bench.toolkit.encoders``)
    learning_rate, weight_decay   of AdamW, one cycle

    The state with the lowest outer loss on held-out batches is kept. Codes (n, n_latents) are the features,
    normalised on the training samples. Continuous targets are not taken: the objective is a classification loss.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.02,
        beta: float = 0.03,
        ridge: float = 1e-3,
        steps: int = 400,
        tasks_per_step: int = 32,
        samples_per_task: int = 50,
        hidden: int = 64,
        blocks: int = 3,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.01,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.ridge = ridge
        self.steps = steps
        self.tasks_per_step = tasks_per_step
        self.samples_per_task = samples_per_task
        self.hidden = hidden
        self.blocks = blocks
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        self.inputs_ = prepare(view)
        if view.target_type != "binary":
            raise NotApplicable("needs binary targets; the outer and inner losses are cross-entropies")
        require_tasks(view)
        d = view.n_latents
        batches = cut_into_task_batches(
            view, size=max(self.samples_per_task, 8 * d), seed=seed, min_tasks=max(2, d), scale="none"
        )
        self._train_encoder(view, batches, d, seed=seed, device=device, progress=progress)
        return self

    def _outer_loss(self, z: Tensor, y: Tensor, weight: Tensor, fraction: float) -> Tensor:
        """Mean cross-entropy (E,) of every sample under the heads fitted to the other half of its batch.

        Held-out batches are judged in the groups in which training shares features.
        """
        parts = zip(*(t.split(self.tasks_per_step, dim=1) for t in (z, y, weight)), strict=True)
        total = torch.stack([self._cross_fitted_loss(*part) for part in parts]).sum(dim=0)
        return total / weight.sum(dim=(1, 2))

    def _cross_fitted_loss(self, z: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Summed cross-entropy (E,)."""
        members, tasks, m, _ = z.shape
        half = torch.arange(m, device=z.device) % 2
        folds = torch.stack([half == 0, half == 1]).to(z.dtype)[:, None, None, :] * weight  # (2, E, T, m)
        heads = differentiable_heads(
            z.repeat(2, 1, 1, 1),
            y.repeat(2, 1, 1),
            folds.flatten(0, 1),
            alpha=self.alpha,
            beta=self.beta,
            ridge=self.ridge,
        ).view(2, members, tasks, -1)
        logits = (z @ heads[..., :-1, None])[..., 0] + heads[..., -1:]
        losses = nn.functional.binary_cross_entropy_with_logits(
            logits, y.expand_as(logits), weight=folds.flip(0), reduction="none"
        )
        return losses.sum(dim=(0, 2, 3))
