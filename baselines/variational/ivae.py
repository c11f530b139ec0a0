"""The identifiable VAE: a conditional prior p(z | u) that factorises over the codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.variational import fused_bound
from baselines.variational.base import VariationalLearner
from bench.api import Progress, TrainView, learner
from bench.toolkit.auxiliary import Auxiliary, dense_targets
from bench.toolkit.networks import MLP, Embedding, Linear, Streams
from bench.toolkit.training import TrainingResult

_LOG_VARIANCE = (-10.0, 8.0)


class ConditionalPrior(nn.Module):
    """p(z | u, y) = Π_j N(z_j; μ_j(u, y), v_j(u)).

    For a category u, μ and log v are tables: what any network on one-hot u could express. With one target y a sample,
    μ_j = a_uj + b_uj y. For continuous u, both come from a network on (u, y).

    n_targets    columns of y; 0 keeps y out
    learn_mean   False: μ = 0, as in the released iVAE program
    """

    def __init__(
        self, aux: Auxiliary, d: int, init: Streams, *, n_targets: int, learn_mean: bool, hidden: int, activation: str
    ) -> None:
        super().__init__()
        self.learn_mean = learn_mean
        n_targets = n_targets if learn_mean else 0
        self.table = self.slope = self.network = self.linear = None
        if aux.n_categories:
            self.table = Embedding(aux.n_categories, 2 * d, init, scale=0.0)
            if n_targets == 1:
                self.slope = Embedding(aux.n_categories, d, init, scale=0.0)
            elif n_targets:
                self.linear = Linear(n_targets, d, init, bias=False, gain=0.0)
        else:
            sizes = [aux.n_features + n_targets, hidden, hidden, 2 * d]
            self.network = MLP(sizes, init, activation=activation, gain=0.1)
        self.n_targets = n_targets

    def moments(self, rows: Any) -> tuple[Tensor, Tensor]:
        """Mean and log variance (E, B, d)."""
        u = rows["aux"]
        if self.network is not None:
            both = self.network(torch.cat([u, rows["y"]], dim=-1) if self.n_targets else u)
        else:
            assert self.table is not None
            both = self.table(u)
        mean, log_v = both.chunk(2, dim=-1)
        if self.slope is not None:
            mean = mean + self.slope(u) * rows["y"]
        if self.linear is not None:
            mean = mean + self.linear(rows["y"])
        return mean if self.learn_mean else torch.zeros_like(mean), log_v.clamp(*_LOG_VARIANCE)

    def divergence(self, rows: Any, mean: Tensor, log_s: Tensor, variance: Tensor) -> Tensor:
        """KL(q ‖ p) (E,), averaged over rows; ``log_s`` = log s², ``variance`` the diagonal of L Lᵀ."""
        return fused_bound.divergence(mean, log_s, variance, *self.moments(rows))


@learner(
    "ivae",
    assumes=("injective-mixing", "factorised-given-u"),
    summary="identifiable VAE, prior mean and variance learned from u; u reaches the encoder at test time",
    paper="Khemakhem et al., AISTATS 2020",
    guarantee="permutation+scaling",
    assumptions="p(z | u) factorises and varies enough with u; injective mixing; known d; global optimum",
    needs=("aux",),
    version=3,
    aux_at_test=True,
    effort=("steps",),
    budgets={"smoke": {"steps": 120}, "paper": {"steps": 12000, "batch_size": 256, "decoder_variance": 0.003}},
    accepts=("vector", "image", "sequence"),
    by_kind={"image": {"steps": 500, "batch_size": 64, "learning_rate": 2e-3}},
)
@learner(
    "ivae-blind",
    assumes=("injective-mixing", "factorised-given-u"),
    summary="ivae whose encoder sees x alone; where the data have targets and no u, the targets are u",
    paper="Khemakhem et al., AISTATS 2020",
    guarantee="permutation+scaling",
    assumptions="p(z | u) factorises and varies enough with u; injective mixing; known d; global optimum",
    needs=("aux|targets",),
    version=3,
    defaults={"aux_in_encoder": False},
    effort=("steps",),
    budgets={"smoke": {"steps": 120}, "paper": {"steps": 12000, "batch_size": 256, "decoder_variance": 0.003}},
    accepts=("vector", "image", "sequence"),
    by_kind={"image": {"steps": 500, "batch_size": 64, "learning_rate": 2e-3}},
)
@dataclass(kw_only=True, eq=False)
class IVAE(VariationalLearner):
    """Evidence lower bound with a conditional prior; codes are posterior means.

    aux_in_encoder   does u reach the encoder, in training and at test time? Without, data that have targets and no u
                     serve as well: u is then the vector of a sample's targets, standardised, missing ones 0
    learn_mean       learn the prior's mean, not its variance alone: data that are not centred in each segment need it
    use_targets      let the prior's mean depend on the targets y too, where the data have any; they never
                     reach the encoder
    further          see ``VariationalLearner``

    Beside the released program: plain evidence lower bound, σ² annealed, posterior of full covariance, whitened x where
    it has as many columns as latents, antithetic draws.
    """

    aux_in_encoder: bool = True
    learn_mean: bool = True
    use_targets: bool = True

    uses_aux: ClassVar[bool] = True

    def _aux_in_encoder(self) -> bool:
        return self.aux_in_encoder

    def _train(
        self, view: TrainView, seeds: Sequence[int], device: str, progress: Progress
    ) -> tuple[nn.Module, TrainingResult]:
        self.targets_as_aux_ = view.aux is None and not self.aux_in_encoder and len(view.y) > 0
        if self.targets_as_aux_:
            view = replace(view, aux=dense_targets(view))
        return super()._train(view, seeds, device, progress)

    def prior(self, view: TrainView, init: Streams) -> tuple[nn.Module, dict[str, Tensor]]:
        assert self.aux_ is not None
        y = dense_targets(view) if self.use_targets and not self.targets_as_aux_ else None
        prior = ConditionalPrior(
            self.aux_,
            view.n_latents,
            init,
            n_targets=0 if y is None else y.shape[1],
            learn_mean=self.learn_mean,
            hidden=self.hidden,
            activation=self.activation,
        )
        return prior, {} if y is None else {"y": torch.from_numpy(y).float()}
