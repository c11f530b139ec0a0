"""β-TCVAE: the part of the divergence that measures dependence between codes is weighted by β (Chen et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from baselines.variational import fused_bound
from baselines.variational.base import Posterior, VariationalLearner, VariationalNetwork
from bench.api import learner
from bench.toolkit.training import Batch, TrainingOptions


class _TotalCorrelationNetwork(VariationalNetwork):
    """Adds (β − 1) TC(z) to the negative bound of a VAE whose own weight of the divergence is 1."""

    def __init__(self, *args: object, weight: float, n_samples: int, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.weight, self.n_samples = weight, n_samples

    def loss(self, batch: Batch) -> Tensor:
        mean, log_s, variance, z = self.sample(batch.rows, batch.noise)
        nll = self.reconstruction(self.dense(batch["x"]), z, self.log_noise(batch.fraction))
        divergence: Tensor = self.prior.divergence(batch.rows, mean, log_s, variance)
        dependence = fused_bound.total_correlation(z[:, : mean.shape[1]], mean, log_s, self.n_samples)
        return nll + divergence + self.weight * dependence


@learner(
    "beta-tcvae",
    summary="VAE with the total correlation of its codes weighted by beta = 6",
    paper="Chen, Li, Grosse, Duvenaud 2018, NeurIPS",
    guarantee="none",
    version=2,
    effort=("steps",),
    defaults={"full_covariance": False},
    budgets={"smoke": {"steps": 120}, "paper": {"steps": 12000, "batch_size": 256}},
    accepts=("vector", "image", "sequence"),
    by_kind={"image": {"steps": 500, "batch_size": 64, "learning_rate": 2e-3}},
)
@dataclass(kw_only=True, eq=False)
class BetaTCVAE(VariationalLearner):
    """Minimises the negative evidence lower bound plus (β − 1) KL(q(z) ‖ Π_j q(z_j)); the posterior is diagonal.

    Of the three parts of the mean divergence, information about the sample and the divergence of each code keep the
    weight 1. Other parameters as in the base class. Raises ValueError for a full covariance, whose marginals the
    estimate does not know.
    """

    beta: float = 6.0

    def options(self) -> TrainingOptions:
        """The estimate depends on the size of the batch: it is judged on batches of the size it is trained on."""
        return replace(super().options(), evaluation_rows=self.batch_size)

    def network(self, posterior: Posterior, decoder: nn.Module, prior: nn.Module) -> VariationalNetwork:
        if self.full_covariance:
            raise ValueError("beta-tcvae has a diagonal posterior: full_covariance must be false")
        return _TotalCorrelationNetwork(
            posterior,
            decoder,
            prior,
            self.inputs_.dense,
            beta=1.0,
            start_variance=self.start_variance,
            decoder_variance=self.decoder_variance,
            anneal=self.anneal,
            learn_variance=self._learns_variance,
            weight=self.beta - 1,
            n_samples=self.n_samples_,
        )

    def prior(self, view, init):  # type: ignore[no-untyped-def]
        self.n_samples_ = view.n_samples
        return super().prior(view, init)
