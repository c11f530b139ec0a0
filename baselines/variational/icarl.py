"""iCaRL's first phase, the identifiable VAE whose conditional prior need not factorise (NF-iVAE)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.variational import fused_bound
from baselines.variational.base import Posterior, VariationalLearner, VariationalNetwork
from bench.api import Progress, TrainView, learner
from bench.toolkit.auxiliary import Auxiliary, dense_targets
from bench.toolkit.networks import MLP, Embedding, Linear, Streams
from bench.toolkit.rows import Rows
from bench.toolkit.training import Batch, TrainingOptions, TrainingResult

_LOG_PRECISION = (-8.0, 10.0)
_NORMALISER_DRAWS = 2**15  # shared by the rows of one estimate
_MIN_DRAWS = 16
_MODE_STEPS = 8


class ExponentialFamily(nn.Module):
    """log p(z | u) = λ(u)ᵀ z − ½ exp(ℓ(u))ᵀ z² + Σ_h c_h softplus(w_hᵀ z + b_h) − ½ ‖A z‖² − log Z(u).

    The statistics (z, z²) vary with u, and each acts on one code; what couples the codes, ‖A z‖² and the one-layer
    network, is the base measure common to all u, or varies too where ``free_coupling``, c_h = c_h(u). The normaliser Z
    is unknown: the parameters are fitted by score matching, which does not need it.
    """

    def __init__(
        self, aux: Auxiliary, d: int, init: Streams, *, units: int, free_coupling: bool, n_targets: int, hidden: int
    ) -> None:
        super().__init__()
        self.d, self.n_targets = d, n_targets
        width = 2 * d + free_coupling * units
        if aux.n_categories:
            self.table: nn.Module = Embedding(aux.n_categories, width, init, scale=0.0)
            self.slope = Embedding(aux.n_categories, d, init, scale=0.0) if n_targets == 1 else None
            self.linear = Linear(n_targets, d, init, bias=False, gain=0.0) if n_targets > 1 else None
        else:
            self.table = MLP([aux.n_features + n_targets, hidden, hidden, width], init, gain=0.1)
            self.slope = self.linear = None
        self.continuous = not aux.n_categories
        self.unit = Linear(d, units, init)
        self.weight = nn.Parameter(init.normal(1, units) * 0.01)
        self.coupling = nn.Parameter(init.normal(d, d) * 0.1)

    def parameters_at(self, rows: Any) -> tuple[Tensor, Tensor, Tensor]:
        """λ(u) (E, B, d), exp ℓ(u) (E, B, d) and c(u) (E, B or 1, units)."""
        u, d = rows["aux"], self.d
        if self.continuous and self.n_targets:
            u = torch.cat([u, rows["y"]], dim=-1)
        out = self.table(u)
        location, log_precision, free = out[..., :d], out[..., d : 2 * d], out[..., 2 * d :]
        if self.slope is not None:
            location = location + self.slope(u) * rows["y"]
        if self.linear is not None:
            location = location + self.linear(rows["y"])
        precision = torch.exp(log_precision.clamp(*_LOG_PRECISION))
        weight = self.weight + free if free.shape[-1] else self.weight
        # λ by way of where the factorised part has its mean: λ itself grows with the precision, and learns slowly
        return precision * location, precision, weight

    def divergence(self, rows: Any, mean: Tensor, log_s: Tensor, variance: Tensor) -> Tensor:
        """KL(q ‖ p) (E,), averaged over rows, of the part that does not join the codes: z_j | u ~ N(λ_j / P_j, 1 / P_j)
        with P = exp ℓ(u)."""
        linear, precision, _ = self.parameters_at(rows)
        return fused_bound.divergence(mean, log_s, variance, linear / precision, -torch.log(precision))

    def log_density(self, rows: Any, z: Tensor, quadratic: float = 1.0, network: float = 1.0) -> Tensor:
        """log p(z | u) + log Z(u), (E, B); ``quadratic`` and ``network`` weigh the two terms that join the codes."""
        linear, precision, weight = self.parameters_at(rows)
        own = (linear * z - 0.5 * precision * z.square()).sum(dim=-1)
        units = (weight * nn.functional.softplus(self.unit(z))).sum(dim=-1)
        return own + network * units - 0.5 * quadratic * torch.bmm(z, self.coupling.mT).square().sum(dim=-1)

    def score_matching(self, rows: Any, z: Tensor, quadratic: float = 1.0, network: float = 1.0) -> Tensor:
        """½ ‖∇ log p‖² + Δ log p at z (E, B): Hyvärinen (JMLR 2005), eq. 4; derivatives written out."""
        linear, precision, weight = self.parameters_at(rows)
        slope = torch.sigmoid(self.unit(z))
        score = linear - precision * z + network * torch.bmm(weight * slope, self.unit.weight.mT)
        score = score - quadratic * torch.bmm(torch.bmm(z, self.coupling.mT), self.coupling)
        bend = self.unit.weight.square().sum(dim=1, keepdim=True)
        laplacian = network * (weight * slope * (1 - slope) * bend).sum(dim=-1) - precision.sum(dim=-1)
        laplacian = laplacian - quadratic * self.coupling.square().sum(dim=(1, 2))[:, None]
        return 0.5 * score.square().sum(dim=-1) + laplacian

    @torch.no_grad()
    def log_normaliser(self, rows: Any) -> Tensor:
        """log Z(u) (E, B), estimated by importance sampling; where u alone decides it, once for each category.

        The proposal is N(m, P⁻¹) with P = diag(exp ℓ) + AᵀA, exact without the network; m = P⁻¹(λ + the network's
        gradient at m), the mode, is approached by damped iteration.
        """
        if not self.continuous and self.slope is None and self.linear is None:
            categories = torch.arange(self.table.weight.shape[1], device=rows["aux"].device)
            each = self._log_normaliser({"aux": categories.expand(len(self.coupling), -1)})
            return each.gather(1, rows["aux"])
        return self._log_normaliser(rows)

    def _log_normaliser(self, rows: Any) -> Tensor:
        linear, precision, weight = (t.double() for t in self.parameters_at(rows))  # precisions may differ by e¹⁸
        assert self.unit.bias is not None
        coupling, unit, bias = (t.double() for t in (self.coupling, self.unit.weight, self.unit.bias))
        joint = torch.diag_embed(precision) + (coupling.mT @ coupling)[:, None]
        factor = torch.linalg.cholesky_ex(joint).L  # nan, not an exception, where training diverged
        mode = torch.cholesky_solve(linear[..., None], factor)[..., 0]
        for _ in range(_MODE_STEPS):
            tilted = linear + torch.bmm(weight * torch.sigmoid(torch.baddbmm(bias, mode, unit)), unit.mT)
            mode = 0.5 * (mode + torch.cholesky_solve(tilted[..., None], factor)[..., 0])
        n_rows = linear.shape[1]
        draws = _normal_points(max(_MIN_DRAWS, _NORMALISER_DRAWS // n_rows), self.d).mT.to(linear.device)
        z = mode[..., None] + torch.linalg.solve_triangular(factor.mT, draws, upper=True)
        own = (linear[..., None] * z).sum(-2) - 0.5 * (z * (joint @ z)).sum(-2)
        units = nn.functional.softplus(torch.baddbmm(bias, z.mT.flatten(1, 2), unit)).unflatten(1, (n_rows, -1))
        log_proposal = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)[..., None] - 0.5 * (
            draws.square().sum(0) + self.d * math.log(2 * math.pi)
        )
        log_ratio = own + (weight[:, :, None] * units).sum(dim=-1) - log_proposal
        return (torch.logsumexp(log_ratio, dim=-1) - math.log(draws.shape[1])).float()


@cache
def _normal_points(n: int, d: int) -> Tensor:
    """(at most n, d) quasi-random points of N(0, I), float64: steadier than draws; always the same."""
    uniform = torch.quasirandom.SobolEngine(d, scramble=True, seed=0).draw(2 ** int(math.log2(n)), dtype=torch.float64)
    return torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))


class NonFactorisedNetwork(VariationalNetwork):
    """``VariationalNetwork`` with a prior known up to its normaliser.

    joined     are the terms of the prior that join the codes in place? Without them it is the Gaussian prior of the
               identifiable VAE, whose bound is exact. Were they there from the start, they would explain the dependence
               of codes that are not yet unmixed, and so preserve it
    releases   parts of the joined training after which they come in, each over the part ``ramp``: ‖A z‖², the network
    """

    joined = False
    releases = (0.0, 0.3)
    ramp = 0.3

    def loss(self, batch: Batch) -> Tensor:
        """Negative evidence lower bound up to log Z(u), plus score matching (E,).

        The bound trains encoder and decoder with the prior held fixed, score matching trains the prior on draws of
        the posterior held fixed (Lu et al. 2022, section 4.1).
        """
        if not self.joined:
            return super().loss(batch)
        weights = [min(max((batch.fraction - release) / self.ramp, 0.0), 1.0) for release in self.releases]
        _, log_s, _, z = self.sample(batch.rows, batch.noise)
        rows = {name: torch.cat([t, t], dim=1) for name, t in batch.rows.items() if name != "x"}
        nll = self.reconstruction(self.dense(batch["x"]), z, self.log_noise(batch.fraction))
        with _frozen(self.prior):
            log_p = self.prior.log_density(rows, z, *weights)
        divergence = -log_p.mean(dim=-1) - 0.5 * log_s.sum(dim=-1).mean(dim=-1)
        matching = self.prior.score_matching(rows, z.detach(), *weights).mean(dim=-1)
        return nll + self.beta * divergence + matching

    def bound(self, batch: Batch) -> Tensor:
        """Negative evidence lower bound (E,), with the estimated normaliser where there is no other."""
        if not self.joined:
            return super().bound(batch)
        _, log_s, _, z = self.sample(batch.rows, batch.noise)
        rows = {name: torch.cat([t, t], dim=1) for name, t in batch.rows.items() if name != "x"}
        nll = self.reconstruction(self.dense(batch["x"]), z, self.log_noise(batch.fraction))
        log_p = self.prior.log_density(rows, z).mean(dim=-1) - self.prior.log_normaliser(batch.rows).mean(dim=-1)
        entropy = 0.5 * (log_s + 1 + math.log(2 * math.pi)).sum(dim=-1).mean(dim=-1)
        return nll - self.beta * (log_p + entropy)


def _one_after_the_other(first: TrainingResult, second: TrainingResult, better: Sequence[bool]) -> TrainingResult:
    """The history of a training in two parts; ``better`` says for each member whether the second part was kept."""
    return TrainingResult(
        steps=first.steps + second.steps,
        best_step=[
            first.steps + b if wins else a for a, b, wins in zip(first.best_step, second.best_step, better, strict=True)
        ],
        validation_loss=[
            b if wins else a for a, b, wins in zip(first.validation_loss, second.validation_loss, better, strict=True)
        ],
        curve=[[*a, *b] for a, b in zip(first.curve, second.curve, strict=True)],
        evaluated_at=[*first.evaluated_at, *(first.steps + step for step in second.evaluated_at)],
        diverged=first.diverged,
    )


class _frozen:
    """Within it, gradients flow through a module and not into its parameters."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = list(module.parameters())

    def __enter__(self) -> None:
        for p in self.parameters:
            p.requires_grad_(False)

    def __exit__(self, *exception: object) -> None:
        for p in self.parameters:
            p.requires_grad_(True)


@learner(
    "icarl",
    assumes=("injective-mixing", "exponential-given-u"),
    summary="iVAE whose conditional prior is a general exponential family fitted by score matching",
    paper="Lu, Wu, Hernández-Lobato & Schölkopf, ICLR 2022",
    guarantee="permutation+scaling",
    assumptions="p(z | u) is an exponential family in (z_j, z_j²) over any base measure, varying enough with u; "
    "injective mixing; known d; global optimum",
    needs=("aux",),
    aux_at_test=True,
    version=3,
    effort=("steps",),
    budgets={"smoke": {"steps": 100}, "paper": {"steps": 12000, "batch_size": 256, "decoder_variance": 0.003}},
    accepts=("vector", "image", "sequence"),
    by_kind={"image": {"steps": 280, "batch_size": 64, "learning_rate": 2e-3}},
)
@dataclass(kw_only=True, eq=False)
class ICARL(VariationalLearner):
    """NF-iVAE; codes are posterior means. The causal phases 2 and 3 of iCaRL are not part of it.

    aux_in_encoder   does u reach the encoder, in training and at test time?
    use_targets      let the prior's linear statistic depend on the targets y too, where the data have any
    units            hidden units of the base measure's network; 0: its coupling is Gaussian, ‖A z‖² alone
    free_coupling    let that network's output weights vary with u: more general, and less identifiable
    joined_steps     part of the steps that train the whole prior, after its Gaussian part is trained as in ivae
    joined_rate      their learning rate, as a part of the other steps'
    further          see ``VariationalLearner``

    Training never needs the normaliser. The validation loss does, as the bound is otherwise known up to a term that
    moves during training only: there it is estimated by importance sampling, which makes the loss comparable to
    ivae's, and no state is chosen before the whole prior is in place.
    """

    aux_in_encoder: bool = True
    use_targets: bool = True
    units: int = 8
    free_coupling: bool = False
    joined_steps: float = 0.3
    joined_rate: float = 0.3

    uses_aux: ClassVar[bool] = True

    def _aux_in_encoder(self) -> bool:
        return self.aux_in_encoder

    def _optimise(
        self,
        model: VariationalNetwork,
        rows: Mapping[str, Rows],
        seeds: Sequence[int],
        device: str,
        progress: Progress,
        options: TrainingOptions | None = None,
    ) -> TrainingResult:
        """The Gaussian part first, by its exact bound; then the whole prior, at a lower rate.

        A member whose whole prior has no better bound keeps the Gaussian one, which the family contains.
        """
        assert isinstance(model, NonFactorisedNetwork)
        options = options or self.options()
        last = max(1, round(self.joined_steps * options.steps))
        first = replace(options, steps=max(1, options.steps - last))
        share = first.steps / options.steps
        gaussian = super()._optimise(model, rows, seeds, device, lambda f, m: progress(share * f, m), first)
        kept = [tensor.detach().clone() for tensor in model.parameters()]
        model.joined, model.anneal = True, 0.0
        whole = NonFactorisedNetwork.releases[-1] + NonFactorisedNetwork.ramp
        second = replace(
            options, steps=last, learning_rate=self.joined_rate * options.learning_rate, choose_after=whole
        )
        joined = super()._optimise(
            model, rows, seeds, device, lambda f, m: progress(share + (1 - share) * f, m), second
        )
        better = [
            not failed and after < before
            for failed, after, before in zip(
                joined.diverged, joined.validation_loss, gaussian.validation_loss, strict=True
            )
        ]
        with torch.no_grad():
            for parameter, before in zip(model.parameters(), kept, strict=True):
                for member in (i for i, wins in enumerate(better) if not wins):
                    parameter[member] = before[member]
        return _one_after_the_other(gaussian, joined, better)

    def _finish(self, view: TrainView, seed: int) -> None:
        history, first = self.history_, self.steps - max(1, round(self.joined_steps * self.steps))
        history["joined_prior"] = history["best_step"] > first
        if not history["joined_prior"]:  # what is kept was trained so long, and is to be judged by that
            n = sum(step <= first for step in history["evaluated_at"])
            history |= {"steps": first, "discarded_steps": self.steps - first}
            history |= {name: history[name][:n] for name in ("evaluated_at", "validation_curve")}

    def prior(self, view: TrainView, init: Streams) -> tuple[nn.Module, dict[str, Tensor]]:
        assert self.aux_ is not None
        y = dense_targets(view) if self.use_targets else None
        prior = ExponentialFamily(
            self.aux_,
            view.n_latents,
            init,
            units=self.units,
            free_coupling=self.free_coupling,
            n_targets=0 if y is None else y.shape[1],
            hidden=self.hidden,
        )
        return prior, {} if y is None else {"y": torch.from_numpy(y).float()}

    def network(self, posterior: Posterior, decoder: nn.Module, prior: nn.Module) -> VariationalNetwork:
        return NonFactorisedNetwork(
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
