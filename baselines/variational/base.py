"""What the learners of the VAE family share: networks, evidence lower bound and fit.

Model of standardised (or whitened) inputs x and codes z, for a sample with auxiliary variable u::

    z | u ~ prior,   x | z ~ N(g(z), σ² I),   q(z | x, u) = N(m(x, u), L Lᵀ),   L = diag(s(x, u)) (I + N(x, u)),

with N strictly lower triangular (0 for a diagonal posterior). The theory of identifiable VAEs (Khemakhem et al. 2020,
theorem 4) needs a family of q that contains the true posterior. Diagonal Gaussians do not: even as σ → 0 they pay
½ (Σ_j log (JᵀJ)_jj − log det JᵀJ), J the decoder's Jacobian, and so pull it towards orthogonal columns (Rolinek et
al., CVPR 2019) whatever the true mixing is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.variational import fused_bound
from bench.api import Progress, TrainView
from bench.toolkit.auxiliary import Auxiliary
from bench.toolkit.encoders import decoder, encoder
from bench.toolkit.ensemble import EnsembleLearner
from bench.toolkit.networks import MLP, Embedding, Linear, Streams
from bench.toolkit.rows import Prepared, Rows, prepare
from bench.toolkit.training import Batch, TrainingOptions, TrainingResult, train

_LOG_VARIANCE = (-16.0, 8.0)


class Posterior(nn.Module):
    """q(z | x, u): mean (E, B, d), log variance of diag(s) (E, B, d); N is in ``parameters_at`` alone.

    u may reach it as category or as features; it is added to the first hidden layer.
    """

    def __init__(
        self,
        inputs: Prepared,
        hidden: Sequence[int],
        d: int,
        init: Streams,
        *,
        activation: str,
        full_covariance: bool,
        aux: Auxiliary | None,
    ) -> None:
        super().__init__()
        self.d = d
        self.full_covariance = full_covariance
        # Vectors go straight into the perceptron, other kinds through their encoder first.
        vectors = inputs.kind == "vector"
        self.encoder = None if vectors else encoder(inputs, hidden[0], init)
        widths = [inputs.columns if vectors else hidden[0], *hidden]
        self.network = MLP([*widths, 2 * d + full_covariance * d * d], init, activation=activation)
        self.aux: nn.Module | None = None
        if aux is not None and aux.n_categories:
            self.aux = Embedding(aux.n_categories, widths[1], init, scale=0.0)
        elif aux is not None:
            self.aux = Linear(aux.n_features, widths[1], init, bias=False, gain=0.0)

    def forward(self, rows: Any) -> tuple[Tensor, Tensor]:
        out, d = self.parameters_at(rows), self.d
        return out[..., :d], out[..., d : 2 * d].clamp(*_LOG_VARIANCE)

    def parameters_at(self, rows: Any) -> Tensor:
        """Mean, log variance before it is clamped, and all of N, side by side (E, B, 2d or 2d + d²)."""
        x = rows["x"] if self.encoder is None else self.encoder(rows["x"])
        out: Tensor = self.network(x, None if self.aux is None else self.aux(rows["aux"]))
        return out


class StandardPrior(nn.Module):
    """p(z) = N(0, I): a VAE without auxiliary variable."""

    def divergence(self, rows: Any, mean: Tensor, log_s: Tensor, variance: Tensor) -> Tensor:
        """KL(q ‖ p) (E,), averaged over rows; ``log_s`` = log s², ``variance`` the diagonal of L Lᵀ."""
        return fused_bound.divergence(mean, log_s, variance)


class VariationalNetwork(nn.Module):
    """Posterior, decoder, noise variance and prior of one model.

    prior   module with ``divergence`` as in ``StandardPrior``
    dense   batch of rows -> (E, B, columns): what the decoder must reproduce
    """

    def __init__(
        self,
        posterior: Posterior,
        decoder: nn.Module,
        prior: nn.Module,
        dense: Callable[[Any], Tensor],
        *,
        beta: float,
        start_variance: float,
        decoder_variance: float,
        anneal: float,
        learn_variance: bool = False,
    ) -> None:
        super().__init__()
        self.posterior, self.decoder, self.prior, self.dense = posterior, decoder, prior, dense
        self.beta = beta
        members = len(next(posterior.network.parameters()))
        self.noise = nn.Parameter(torch.full((members, 1), math.log(start_variance))) if learn_variance else None
        self.start, self.end, self.anneal = math.log(start_variance), math.log(decoder_variance), anneal

    def log_noise(self, fraction: float) -> Tensor:
        """log σ², (E, 1) or (1, 1): learned from its first value, its final value being the floor; or on a schedule,
        falling linearly from the first to the final value over the part ``anneal`` of the training."""
        if self.noise is not None:
            return self.noise.clamp(min=self.end)
        left = max(0.0, 1 - fraction / self.anneal) if self.anneal > 0 else 0.0
        return torch.full((1, 1), self.end + left * (self.start - self.end))

    def reconstruction(self, x: Tensor, z: Tensor, log_noise: Tensor) -> Tensor:
        """−log p(x | z) (E,), summed over the columns of x (E, B, p), averaged over draws z (E, k B, d): k a row."""
        return fused_bound.reconstruction(self.decoder(z), x, log_noise.to(x.device))

    def sample(self, rows: Any, noise: Streams) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Posterior mean, log s², variance (E, B, d), and draws z (E, 2B, d) in antithetic pairs m ± L ε.

        The pairs cancel the part of the gradient's noise that is odd in ε, all of it where the decoder is linear.
        """
        out = self.posterior.parameters_at(rows)
        return fused_bound.draws(out, noise.normal(out.shape[1], self.posterior.d), _LOG_VARIANCE)

    def loss(self, batch: Batch) -> Tensor:
        """Negative evidence lower bound (E,): mean over samples of Σ_columns −log p(x | z) + β Σ_latents KL."""
        mean, log_s, variance, z = self.sample(batch.rows, batch.noise)
        nll = self.reconstruction(self.dense(batch["x"]), z, self.log_noise(batch.fraction))
        divergence: Tensor = self.prior.divergence(batch.rows, mean, log_s, variance)
        return nll + self.beta * divergence

    def bound(self, batch: Batch) -> Tensor:
        """The loss that judges held-out rows (E,)."""
        return self.loss(batch)


@dataclass(kw_only=True, eq=False)
class VariationalLearner(EnsembleLearner):
    """Base of the VAE learners: one constructor's worth of settings, one fit.

    hidden, layers                  width of the hidden layers and number of linear layers, encoder and decoder alike
    activation, decoder_activation  see ``bench.toolkit.networks.ACTIVATIONS``
    full_covariance                 Gaussian posterior with full covariance rather than a diagonal one
    whiten                          whiten x; None: where it has as many columns as latents. Vectors only
    decoder_variance                σ² of x given z, in units of the standardised (whitened) columns
    learn_variance                  learn σ², with ``decoder_variance`` as its floor; None: where x has more columns
                                    than latents, and may hold noise
    start_variance, anneal          σ² falls from ``start_variance`` over the part ``anneal`` of the training
    steps, batch_size, learning_rate, validation_fraction   see ``bench.toolkit.training``
    beta                            weight of the divergence
    """

    hidden: int = 100
    layers: int = 4
    activation: str = "silu"
    decoder_activation: str = "xtanh"
    full_covariance: bool = True
    whiten: bool | None = None
    decoder_variance: float = 0.003
    start_variance: float = 0.3
    learn_variance: bool | None = None
    anneal: float = 0.5
    steps: int = 3000
    batch_size: int = 128
    learning_rate: float = 1e-2
    validation_fraction: float = 0.1
    beta: float = 1.0

    uses_aux: ClassVar[bool] = False

    def prior(self, view: TrainView, init: Streams) -> tuple[nn.Module, dict[str, Tensor]]:
        """The prior of the codes, and the rows (n, …) that it needs beside x and aux."""
        return StandardPrior(), {}

    def network(self, posterior: Posterior, decoder: nn.Module, prior: nn.Module) -> VariationalNetwork:
        """The model to train."""
        return VariationalNetwork(
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

    def options(self) -> TrainingOptions:
        """How it trains. No state may be chosen before σ² has its final value."""
        return TrainingOptions(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            validation_fraction=self.validation_fraction,
            choose_after=self.anneal,
            clip_norm=100.0,
        )

    def _train(
        self, view: TrainView, seeds: Sequence[int], device: str, progress: Progress
    ) -> tuple[nn.Module, TrainingResult]:
        self.inputs_ = prepare(view, whiten=self.whiten)
        self.aux_ = Auxiliary.fit(view) if self.uses_aux else None
        init = Streams(seeds, "init")
        columns, hidden, d = self.inputs_.columns, [self.hidden] * (self.layers - 1), view.n_latents
        self._learns_variance = columns > d if self.learn_variance is None else self.learn_variance
        posterior = Posterior(
            self.inputs_,
            hidden,
            d,
            init,
            activation=self.activation,
            full_covariance=self.full_covariance,
            aux=self.aux_ if self._aux_in_encoder() else None,
        )
        reproduce = decoder(
            self.inputs_,
            d,
            init,
            vector=lambda columns: MLP([d, *hidden, columns], init, activation=self.decoder_activation),
        )
        prior, extra = self.prior(view, init)
        model = self.network(posterior, reproduce, prior)
        rows: dict[str, Rows] = {**extra, "x": self.inputs_(view.x)}
        if self.aux_ is not None:
            rows["aux"] = self.aux_.tensor(view.aux)
        return model, self._optimise(model, rows, seeds, device, progress)

    def _optimise(
        self,
        model: VariationalNetwork,
        rows: Mapping[str, Rows],
        seeds: Sequence[int],
        device: str,
        progress: Progress,
        options: TrainingOptions | None = None,
    ) -> TrainingResult:
        """Train the model in place."""
        return train(
            model,
            model.loss,
            rows,
            seeds=seeds,
            options=options or self.options(),
            progress=progress,
            device=device,
            validation_loss=model.bound,
        )

    def _aux_in_encoder(self) -> bool:
        return False

    def _inputs(self, x: Any, aux: Any) -> dict[str, Rows]:
        rows: dict[str, Rows] = {"x": self.inputs_(x)}
        if self._aux_in_encoder() and self.aux_ is not None:
            if aux is None:
                raise ValueError("the encoder takes the auxiliary variable: call encode(x, aux), or use ivae-blind")
            rows["aux"] = self.aux_.tensor(aux)
        return rows

    def _codes(self, rows: dict[str, Any]) -> Tensor:
        return self.network_.posterior(rows)[0]
