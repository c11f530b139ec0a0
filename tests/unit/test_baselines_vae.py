"""The VAE family and its relatives: shapes, determinism, and losses checked against their definitions."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.contrastive.tcl import TCL
from baselines.supervised.mtrn_ica import MTRNICA
from baselines.variational.base import Posterior, StandardPrior, VariationalNetwork
from baselines.variational.icarl import ICARL, ExponentialFamily, NonFactorisedNetwork
from baselines.variational.ivae import IVAE, ConditionalPrior
from baselines.variational.vae import VAE
from bench.api import Diverged, NotApplicable, TrainView
from bench.toolkit.auxiliary import Auxiliary, as_category, dense_targets
from bench.toolkit.networks import MLP, Streams
from bench.toolkit.preprocess import AffineInput
from bench.toolkit.training import Batch

QUICK: dict[str, Any] = {"steps": 12, "hidden": 16, "batch_size": 32}
TORCH: list[tuple[Any, dict[str, Any]]] = [
    (VAE, {}),
    (VAE, {"beta": 4.0, "full_covariance": False}),
    (IVAE, {}),
    (IVAE, {"aux_in_encoder": False, "learn_mean": False}),
    (ICARL, {}),
    (ICARL, {"free_coupling": True}),
    (TCL, {}),
]
IDS = ["vae", "beta-vae", "ivae", "ivae-blind", "icarl", "icarl-free", "tcl"]


def silent(fraction: float, message: str) -> None:
    return None


def segments_view(n: int = 200, d: int = 3, targets: int = 0, aux: str = "category") -> TrainView:
    """Four segments; ``targets`` a sample: 0, 1 (that of its segment) or 4."""
    rng = np.random.default_rng(0)
    segment = np.arange(n) % 4
    z = rng.normal(size=(n, d)) * rng.uniform(0.5, 3, size=(4, d))[segment]
    x = np.tanh(z @ rng.normal(size=(d, d))) + 0.1 * z
    sample = np.repeat(np.arange(n), targets)
    task = segment.copy() if targets == 1 else np.tile(np.arange(4), n)[: len(sample)]
    u: Any = {"category": segment, "one-hot": np.eye(4)[segment], "continuous": np.c_[z[:, 0], segment]}[aux]
    y = z[sample].sum(1) + task if targets else np.empty(0)
    return TrainView(
        x=x.astype(np.float32), sample=sample, task=task[: len(sample)], y=y, n_tasks=4, n_latents=d, aux=u
    )


def fit(learner: Any, view: TrainView, seed: int = 0) -> Any:
    return learner.fit(view, seed=seed, device="cpu", progress=silent)


def needs_aux(learner: Any) -> bool:
    return bool(getattr(learner, "aux_in_encoder", False))


@pytest.mark.parametrize(("cls", "params"), TORCH, ids=IDS)
def test_codes_are_finite_deterministic_and_leave_global_random_state_alone(cls: Any, params: dict[str, Any]) -> None:
    view = segments_view()
    torch_state, numpy_state = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    learner = fit(cls(**QUICK, **params), view, seed=3)
    aux = view.aux[:7] if needs_aux(learner) else None
    codes = learner.encode(view.x[:7], aux)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state()) == numpy_state  # noqa: NPY002
    assert codes.shape == (7, 3)
    assert codes.dtype == np.float64
    assert np.isfinite(codes).all()
    assert learner.n_parameters_ > 100
    again = fit(cls(**QUICK, **params), view, seed=3)
    np.testing.assert_array_equal(again.encode(view.x[:7], aux), codes)
    other = fit(cls(**QUICK, **params), view, seed=4)
    assert not np.allclose(other.encode(view.x[:7], aux), codes)


@pytest.mark.parametrize(("cls", "params"), TORCH, ids=IDS)
def test_seeds_trained_together_equal_seeds_trained_alone(cls: Any, params: dict[str, Any]) -> None:
    view = segments_view()
    together = cls(**QUICK, **params).fit_many(view, seeds=[5, 6, 7], device="cpu", progress=silent)
    aux = view.aux if needs_aux(together[0]) else None
    for seed, learner in zip([5, 6, 7], together, strict=True):
        alone = fit(cls(**QUICK, **params), view, seed=seed)
        np.testing.assert_allclose(learner.encode(view.x, aux), alone.encode(view.x, aux), rtol=0, atol=1e-5)


@pytest.mark.parametrize("aux", ["category", "one-hot", "continuous"])
@pytest.mark.parametrize("targets", [0, 1, 4])
@pytest.mark.parametrize("cls", [IVAE, ICARL])
def test_every_form_of_auxiliary_variable_and_targets_is_taken(cls: Any, aux: str, targets: int) -> None:
    view = segments_view(targets=targets, aux=aux)
    learner = fit(cls(**QUICK), view)
    assert learner.encode(view.x, view.aux).shape == (200, 3)


def test_blind_ivae_takes_targets_for_the_auxiliary_variable_where_there_is_none() -> None:
    view = TrainView(**{**segments_view(targets=4).__dict__, "aux": None})
    learner = fit(IVAE(**QUICK, aux_in_encoder=False), view)
    assert learner.aux_.n_features == 4
    assert learner.encode(view.x).shape == (200, 3)
    with pytest.raises(NotApplicable, match="no auxiliary"):
        fit(IVAE(**QUICK), view)


def test_one_hot_is_read_as_category() -> None:
    category, one_hot = segments_view(), segments_view(aux="one-hot")
    a, b = fit(IVAE(**QUICK), category), fit(IVAE(**QUICK), one_hot)
    np.testing.assert_array_equal(a.encode(category.x, category.aux), b.encode(one_hot.x, one_hot.aux))
    assert as_category(np.array([[0.5, 0.5]])) is None


def tiny_network(full: bool, prior: Any = None) -> tuple[VariationalNetwork, dict[str, Tensor]]:
    init = Streams([1], "init")
    vectors: Any = SimpleNamespace(kind="vector", columns=3)
    posterior = Posterior(vectors, [4], 2, init, activation="tanh", full_covariance=full, aux=None)
    decoder = MLP([2, 4, 3], init, activation="tanh")
    kind = NonFactorisedNetwork if isinstance(prior, ExponentialFamily) else VariationalNetwork
    model = kind(
        posterior,
        decoder,
        prior or StandardPrior(),
        lambda rows: rows,
        beta=2.0,
        start_variance=0.3,
        decoder_variance=0.05,
        anneal=0.5,
    )
    if isinstance(model, NonFactorisedNetwork):
        model.joined = True
    return model, {"x": Streams([2], "x").normal(6, 3), "aux": torch.tensor([[0, 1, 2, 0, 1, 2]])}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_evidence_lower_bound_equals_torch_distributions(full: bool, conditional: bool) -> None:
    aux = Auxiliary(n_categories=3, n_features=0)
    prior = None
    if conditional:
        prior = ConditionalPrior(aux, 2, Streams([3], "p"), n_targets=0, learn_mean=True, hidden=4, activation="tanh")
        assert prior.table is not None
        prior.table.weight.data = Streams([4], "t").normal(3, 4)
    model, rows = tiny_network(full, prior)
    ours = model.loss(Batch(rows, Streams([9], "noise"), 1.0))

    mean, log_s = model.posterior(rows)
    cholesky = torch.diag_embed(torch.exp(0.5 * log_s))
    if full:
        lower = model.posterior.parameters_at(rows)[..., 4:].unflatten(-1, (2, 2)).tril(-1)
        assert bool((lower != 0).any())
        cholesky = cholesky @ (torch.eye(2) + lower)
    q = torch.distributions.MultivariateNormal(mean, scale_tril=cholesky)
    if conditional:
        assert prior is not None
        prior_mean, log_v = prior.moments(rows)
    else:
        prior_mean, log_v = torch.zeros_like(mean), torch.zeros_like(mean)
    p = torch.distributions.MultivariateNormal(prior_mean, torch.diag_embed(torch.exp(log_v)))
    offset = (cholesky @ Streams([9], "noise").normal(6, 2)[..., None])[..., 0]
    nll = torch.zeros(())
    for z in (mean + offset, mean - offset):
        nll = nll - torch.distributions.Normal(model.decoder(z), math.sqrt(0.05)).log_prob(rows["x"]).sum(-1) / 2
    theirs = (nll + 2.0 * torch.distributions.kl_divergence(q, p)).mean(dim=-1)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_decoder_noise_is_annealed() -> None:
    model, _ = tiny_network(True)
    variances = [float(torch.exp(model.log_noise(fraction))) for fraction in (0.0, 0.25, 0.5, 1.0)]
    assert variances == pytest.approx([0.3, math.sqrt(0.3 * 0.05), 0.05, 0.05])


def test_decoder_noise_is_learned_where_x_has_more_columns_than_latents() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 10)) + 0.5 * rng.normal(size=(500, 10))
    view = TrainView(**{**segments_view().__dict__, "x": x.astype(np.float32), "n_latents": 2, "aux": None})
    learner = fit(VAE(steps=300, hidden=32), view)
    truth = float((0.25 / x.var(axis=0)).mean())
    assert float(torch.exp(learner.network_.log_noise(1.0)).detach()) == pytest.approx(truth, rel=0.3)
    assert fit(VAE(**QUICK), segments_view()).network_.noise is None


def family(free: bool) -> tuple[ExponentialFamily, dict[str, Tensor]]:
    aux = Auxiliary(n_categories=3, n_features=0)
    prior = ExponentialFamily(aux, 3, Streams([0], "init"), units=5, free_coupling=free, n_targets=1, hidden=4).double()
    for i, p in enumerate(prior.parameters()):
        p.data = 0.5 * Streams([i], "values").normal(*p.shape[1:]).double()
    return prior, {"aux": torch.tensor([[0, 1, 2, 2]]), "y": Streams([1], "y").normal(4, 1).double()}


@pytest.mark.parametrize("free", [False, True])
def test_score_matching_equals_its_definition_by_autograd(free: bool) -> None:
    prior, rows = family(free)
    z = Streams([7], "z").normal(4, 3).double().requires_grad_()
    (score,) = torch.autograd.grad(prior.log_density(rows, z).sum(), z, create_graph=True)
    laplacian = torch.zeros(1, 4, dtype=torch.float64)
    for j in range(3):
        (second,) = torch.autograd.grad(score[..., j].sum(), z, retain_graph=True)
        laplacian = laplacian + second[..., j]
    torch.testing.assert_close(prior.score_matching(rows, z), 0.5 * score.square().sum(-1) + laplacian)


def test_normaliser_equals_a_sum_over_a_grid() -> None:
    aux = Auxiliary(n_categories=3, n_features=0)
    for targets in (0, 1):  # one estimate a category, or one a row
        init = Streams([0, 1], "init")
        prior = ExponentialFamily(aux, 2, init, units=5, free_coupling=True, n_targets=targets, hidden=4)
        for i, p in enumerate(prior.parameters()):
            p.data = 0.7 * Streams([i, i + 9], "values").normal(*p.shape[1:])
        rows = {"aux": torch.tensor([[0, 1, 2, 1]] * 2), "y": torch.tensor([[0.3, -1.0, 0.5, 0.1]] * 2)[..., None]}
        ours = prior.log_normaliser(rows)
        axis = torch.linspace(-25, 25, 501)
        z = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).reshape(1, -1, 2).expand(2, -1, -1)
        for row in range(4):
            at = {name: t[:, [row]].expand(2, z.shape[1], *t.shape[2:]) for name, t in rows.items()}
            on_grid = torch.logsumexp(prior.log_density(at, z), dim=1) + 2 * torch.log(axis[1] - axis[0])
            torch.testing.assert_close(ours[:, row], on_grid, rtol=0, atol=0.02)


def test_validation_bound_of_a_gaussian_family_is_the_evidence_lower_bound() -> None:
    aux = Auxiliary(n_categories=3, n_features=0)
    prior = ExponentialFamily(aux, 2, Streams([3], "p"), units=0, free_coupling=False, n_targets=0, hidden=4)
    prior.table.weight.data = Streams([4], "t").normal(3, 4)
    prior.coupling.data.zero_()
    model, rows = tiny_network(True, prior)
    assert isinstance(model, NonFactorisedNetwork)
    ours = model.bound(Batch(rows, Streams([9], "noise"), 1.0))
    _, log_s, _, z = model.sample(rows, Streams([9], "noise"))
    twice = {name: torch.cat([t, t], dim=1) for name, t in rows.items()}
    linear, precision, _ = prior.parameters_at(twice)
    log_p = torch.distributions.Normal(linear / precision, precision.rsqrt()).log_prob(z).sum(-1)
    entropy = 0.5 * (log_s + 1 + math.log(2 * math.pi)).sum(-1)
    nll = model.reconstruction(rows["x"], z, model.log_noise(1.0))
    torch.testing.assert_close(ours, nll - 2.0 * (log_p.mean(-1) + entropy.mean(-1)), rtol=0, atol=2e-3)


def test_before_its_codes_are_joined_icarls_bound_is_that_of_ivae() -> None:
    aux = Auxiliary(n_categories=3, n_features=0)
    prior = ExponentialFamily(aux, 2, Streams([3], "p"), units=4, free_coupling=False, n_targets=0, hidden=4)
    prior.table.weight.data = Streams([4], "t").normal(3, 4)
    model, rows = tiny_network(True, prior)
    gaussian = ConditionalPrior(aux, 2, Streams([3], "p"), n_targets=0, learn_mean=True, hidden=4, activation="tanh")
    location, log_precision = prior.table.weight.data.chunk(2, dim=-1)
    gaussian.table.weight.data = torch.cat([location, -log_precision], dim=-1)
    mean, log_s, variance, _ = model.sample(rows, Streams([9], "noise"))
    ours, theirs = (p.divergence(rows, mean, log_s, variance) for p in (prior, gaussian))
    torch.testing.assert_close(ours, theirs)
    model.joined = False
    other = model.bound(Batch(rows, Streams([9], "noise"), 1.0))
    model.prior = gaussian
    torch.testing.assert_close(model.bound(Batch(rows, Streams([9], "noise"), 1.0)), other)


def test_the_bound_leaves_the_unnormalised_prior_to_score_matching() -> None:
    prior, _ = family(False)
    prior = ExponentialFamily(
        Auxiliary(3, 0), 2, Streams([0], "init"), units=5, free_coupling=False, n_targets=0, hidden=4
    )
    model, rows = tiny_network(True, prior)
    model.loss(Batch(rows, Streams([9], "noise"), 1.0)).sum().backward()
    got = [p.grad.clone() for p in prior.parameters() if p.grad is not None]
    model.zero_grad()
    *_, z = model.sample(rows, Streams([9], "noise"))
    twice = {name: torch.cat([t, t], dim=1) for name, t in rows.items()}
    prior.score_matching(twice, z.detach()).mean().backward()
    expected = [p.grad for p in prior.parameters() if p.grad is not None]
    assert len(got) == len(expected) == 5
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert all(p.requires_grad for p in prior.parameters())


def test_classifier_loss_equals_cross_entropy() -> None:
    view = segments_view()
    learner = fit(TCL(**QUICK), view)
    x = learner.inputs_(view.x)[None]
    segment = torch.from_numpy(view.aux)[None]
    ours = learner.network_.loss(Batch({"x": x, "segment": segment}, Streams([0], "noise"), 1.0))
    theirs = torch.nn.functional.cross_entropy(learner.network_(x)[0], segment[0])
    torch.testing.assert_close(ours[0], theirs)


def test_whitening_is_for_square_mixings_only() -> None:
    view = segments_view()
    white = AffineInput.for_view(view, None)(view.x)
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(3), atol=1e-9)
    wide = TrainView(**{**view.__dict__, "n_latents": 2})
    assert AffineInput.for_view(wide, None).matrix is None
    assert AffineInput.for_view(wide, True).matrix is not None


def test_targets_are_standardised_by_task_and_missing_ones_are_zero() -> None:
    view = segments_view(targets=1)
    single = dense_targets(view)
    assert single is not None
    assert single.shape == (200, 1)
    for t in range(4):
        assert single[view.aux == t].mean() == pytest.approx(0, abs=1e-9)
        assert single[view.aux == t].std() == pytest.approx(1)
    sparse = TrainView(**{**view.__dict__, "sample": np.array([0, 0, 5]), "task": np.array([1, 2, 1]), "y": np.ones(3)})
    dense = dense_targets(sparse)
    assert dense is not None
    assert dense.shape == (200, 4)
    assert np.count_nonzero(dense) == 0


def test_unusable_auxiliary_variables_are_not_applicable() -> None:
    view = segments_view()

    def with_aux(aux: Any) -> TrainView:
        return TrainView(**{**view.__dict__, "aux": aux})

    for aux, reason in (
        (None, "no auxiliary"),
        (np.zeros(200, dtype=int), "one category"),
        (np.zeros((200, 2)), "constant"),
        (np.full(200, np.nan), "not finite"),
        (np.arange(200) - 1, "category -1"),
        (np.arange(100), "100 rows for 200"),
    ):
        with pytest.raises(NotApplicable, match=reason):
            fit(IVAE(**QUICK), with_aux(aux))
    with pytest.raises(NotApplicable, match="segments"):
        fit(TCL(**QUICK), with_aux(None))
    with pytest.raises(NotApplicable, match="one segment"):
        fit(TCL(**QUICK), with_aux(np.ones(200, dtype=int)))


def test_encoding_without_or_with_unknown_auxiliary_variable_says_so() -> None:
    view = segments_view()
    learner = fit(IVAE(**QUICK), view)
    with pytest.raises(ValueError, match="ivae-blind"):
        learner.encode(view.x)
    with pytest.raises(ValueError, match=r"category 4, training knew 0\.\.3"):
        learner.encode(view.x[:1], np.array([4]))
    with pytest.raises(ValueError, match="must hold categories"):
        learner.encode(view.x[:1], np.array([0.5]))


def test_diverging_training_raises() -> None:
    with pytest.raises(Diverged, match="learning_rate"):
        fit(VAE(**QUICK, learning_rate=1e30), segments_view())


def test_mtrn_ica_unmixes_independent_factors_of_a_linear_problem() -> None:
    rng = np.random.default_rng(0)
    z = rng.laplace(size=(2000, 2))
    x = (z @ rng.normal(size=(2, 6))).astype(np.float32)
    task = np.arange(2000) % 8
    y = (z * rng.normal(size=(8, 2))[task]).sum(1) + 0.1 * rng.normal(size=2000)
    view = TrainView(x=x, sample=np.arange(2000), task=task, y=y, n_tasks=8, n_latents=2)
    learner = fit(MTRNICA(steps=10, batch=1000), view)
    correlation = np.abs(np.corrcoef(z.T, learner.encode(x).T)[:2, 2:])
    assert correlation.max(axis=1).min() > 0.98
