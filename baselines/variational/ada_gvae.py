"""Ada-GVAE: pairs of samples that share some factors, which ones is inferred (Locatello et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.supervised.single_task import integer_aux
from baselines.variational.base import Posterior, VariationalLearner, VariationalNetwork
from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.rows import Rows
from bench.toolkit.training import Batch, TrainingResult


def pairs_of(view: TrainView) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows (n_pairs, 2) of the pairs that the auxiliary variable names. Raises NotApplicable where it names none."""
    aux = integer_aux(view)
    order = np.argsort(aux, kind="stable")
    names, first, counts = np.unique(aux[order], return_index=True, return_counts=True)
    if len(names) < 2 or not (counts == 2).all():
        raise NotApplicable("needs pairs: an auxiliary variable of which every value has two samples")
    return np.stack([order[first], order[first + 1]], axis=1).astype(np.int64)


class _PairNetwork(VariationalNetwork):
    """Rows are pairs: "x" the first, "partner" the second sample."""

    def loss(self, batch: Batch) -> Tensor:
        both = [self.posterior({"x": batch[name]}) for name in ("x", "partner")]
        (mean_a, log_a), (mean_b, log_b) = both
        mean, log_s = shared_average(mean_a, log_a, mean_b, log_b)
        losses = []
        for name, m, s in zip(("x", "partner"), mean, log_s, strict=True):
            variance = torch.exp(s)
            z = m + torch.exp(0.5 * s) * batch.noise.normal(*m.shape[1:])
            nll = self.reconstruction(self.dense(batch[name]), z, self.log_noise(batch.fraction))
            divergence = self.prior.divergence(batch.rows, m, s, variance)
            losses.append(nll + self.beta * divergence)
        return 0.5 * (losses[0] + losses[1])


def shared_average(
    mean_a: Tensor, log_a: Tensor, mean_b: Tensor, log_b: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Posteriors (means, log variances) of a pair, their mean in the codes that count as shared.

    A code is shared where the divergence of its two posteriors is below the middle between the smallest and the
    largest over the codes of the pair. All tensors (E, B, d).
    """
    with torch.no_grad():
        ratio = torch.exp(log_a - log_b)
        divergence = 0.5 * (ratio + (mean_a - mean_b).square() * torch.exp(-log_b) - 1 - log_a + log_b)
        low, high = divergence.amin(dim=-1, keepdim=True), divergence.amax(dim=-1, keepdim=True)
        shared = divergence < 0.5 * (low + high)
    mean = 0.5 * (mean_a + mean_b)
    log_s = torch.logaddexp(log_a, log_b) - np.log(2)
    means = (torch.where(shared, mean, mean_a), torch.where(shared, mean, mean_b))
    return means, (torch.where(shared, log_s, log_a), torch.where(shared, log_s, log_b))


@learner(
    "ada-gvae",
    summary="VAE on pairs that share factors: the posteriors of codes that differ little are averaged",
    paper="Locatello et al. 2020, ICML, Weakly-supervised disentanglement without compromises",
    guarantee="none",
    assumptions="pairs differ in few factors, how many is the same for all pairs or known; every factor differs alone"
    " in some (the theorem's case; the adaptive estimate itself has no proof)",
    needs=("pairs",),
    effort=("steps",),
    defaults={"full_covariance": False},
    budgets={"smoke": {"steps": 120}, "paper": {"steps": 12000, "batch_size": 256}},
    accepts=("vector", "image", "sequence"),
    by_kind={"image": {"steps": 500, "batch_size": 32, "learning_rate": 2e-3}},
)
@dataclass(kw_only=True, eq=False)
class AdaGVAE(VariationalLearner):
    """Maximises the mean evidence lower bound of both samples of a pair, with posteriors as ``shared_average`` gives.

    ``batch_size`` counts pairs. The variant with averaged means and variances (Ada-GVAE); the posterior is diagonal.
    Other parameters as in the base class. Raises NotApplicable where the auxiliary variable names no pairs and
    ValueError for a full covariance.
    """

    batch_size: int = 64

    def network(self, posterior: Posterior, decoder: nn.Module, prior: nn.Module) -> VariationalNetwork:
        if self.full_covariance:
            raise ValueError("ada-gvae has a diagonal posterior: full_covariance must be false")
        return _PairNetwork(
            posterior,
            decoder,
            prior,
            self.inputs_.dense,
            beta=self.beta,
            start_variance=self.start_variance,
            decoder_variance=self.decoder_variance,
            anneal=self.anneal,
            learn_variance=self._learns_variance,
        )

    def _train(
        self, view: TrainView, seeds: Sequence[int], device: str, progress: Progress
    ) -> tuple[nn.Module, TrainingResult]:
        self.pairs_ = torch.from_numpy(pairs_of(view))
        return super()._train(view, seeds, device, progress)

    def _optimise(self, model, rows, seeds, device, progress, options=None):  # type: ignore[no-untyped-def]
        x: Rows = rows["x"]
        paired = {"x": x[self.pairs_[:, 0]], "partner": x[self.pairs_[:, 1]]}
        return super()._optimise(model, paired, seeds, device, progress, options)
