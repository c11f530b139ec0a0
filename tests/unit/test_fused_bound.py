"""The written-out parts of the evidence lower bound against torch's own distributions and numerical derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from baselines.variational import fused_bound
from bench.toolkit.networks import Streams

E, B, D, P = 2, 3, 4, 5
BOUNDS = (-3.0, 2.0)


def numbers(name: str, *shape: int) -> Tensor:
    """(E, *shape) float64 with a gradient."""
    return Streams([3, 4], name).normal(*shape).double().requires_grad_()


def outputs(full: bool) -> Tensor:
    """Of a posterior network, one log variance beyond its bounds."""
    found = numbers("out", B, 2 * D + (D * D if full else 0))
    with torch.no_grad():
        found[0, 0, D] = 9.0
    return found


@pytest.mark.parametrize("full", [False, True])
def test_draws_are_those_of_the_gaussian_and_come_in_pairs_around_its_mean(full: bool) -> None:
    out = outputs(full)
    epsilon = numbers("noise", B, D).detach()
    mean, log_s, variance, z = fused_bound.draws(out, epsilon, BOUNDS)
    root = torch.diag_embed(torch.exp(0.5 * log_s))
    if full:
        below = out[..., 2 * D :].view(E, B, D, D).tril(-1)
        root = root @ (torch.eye(D, dtype=torch.float64) + below)
    torch.testing.assert_close(mean, out[..., :D])
    torch.testing.assert_close(log_s, out[..., D : 2 * D].clamp(*BOUNDS))
    torch.testing.assert_close(variance, (root @ root.mT).diagonal(dim1=-2, dim2=-1))
    offset = (root @ epsilon[..., None])[..., 0]
    torch.testing.assert_close(z, torch.cat([mean + offset, mean - offset], dim=1))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("used", [(0, 1, 2, 3), (3,), (0, 2), (1,)])
def test_gradients_of_draws(full: bool, used: tuple[int, ...]) -> None:
    epsilon = numbers("noise", B, D).detach()

    def some(out: Tensor) -> tuple[Tensor, ...]:
        found = fused_bound.draws(out, epsilon, BOUNDS)
        return tuple(found[i] for i in used)

    assert gradcheck(some, [outputs(full)])


def test_reconstruction_is_the_gaussian_log_density_over_all_draws_of_a_row() -> None:
    mean, x, log_noise = numbers("mean", 2 * B, P), numbers("x", B, P).detach(), numbers("noise", 1)
    found = fused_bound.reconstruction(mean, x, log_noise)
    density = Normal(mean, torch.exp(0.5 * log_noise)[..., None]).log_prob(torch.cat([x, x], dim=1))
    torch.testing.assert_close(found, -density.sum(-1).mean(-1))
    assert gradcheck(lambda m, v: fused_bound.reconstruction(m, x, v), [mean, log_noise])
    one = fused_bound.reconstruction(mean, x, torch.zeros(1, 1, dtype=torch.float64))
    squared = (mean - torch.cat([x, x], dim=1)).square().sum(-1).mean(-1)
    torch.testing.assert_close(one, 0.5 * (squared + P * math.log(2 * math.pi)))


@pytest.mark.parametrize("conditional", [False, True])
def test_divergence_is_that_of_two_gaussians(conditional: bool) -> None:
    out, epsilon = outputs(True), numbers("noise", B, D).detach()
    prior = [numbers("mu", B, D), numbers("v", B, D)] if conditional else []
    mean, log_s, variance, _ = fused_bound.draws(out, epsilon, BOUNDS)
    found = fused_bound.divergence(mean, log_s, variance, *prior)
    below = out[..., 2 * D :].view(E, B, D, D).tril(-1)
    root = torch.diag_embed(torch.exp(0.5 * log_s)) @ (torch.eye(D, dtype=torch.float64) + below)
    location, log_v = prior or (torch.zeros_like(mean), torch.zeros_like(mean))
    p = MultivariateNormal(location, torch.diag_embed(torch.exp(log_v)))
    theirs = kl_divergence(MultivariateNormal(mean, scale_tril=root), p)
    torch.testing.assert_close(found, theirs.mean(-1))
    leaves = [numbers("m", B, D), numbers("s", B, D), numbers("var", B, D), *prior]
    assert gradcheck(fused_bound.divergence, leaves)


def test_total_correlation_is_the_weighted_estimate() -> None:
    z, mean, log_s = numbers("z", 6, D), numbers("m", 6, D), numbers("s", 6, D)
    n = 50
    density = Normal(mean[:, None], torch.exp(0.5 * log_s)[:, None]).log_prob(z[:, :, None])
    weight = torch.full((6, 6), math.log((n - 1) / (n * 5)), dtype=torch.float64).fill_diagonal_(-math.log(n))
    joint = torch.logsumexp(density.sum(-1) + weight, dim=2)
    marginals = torch.logsumexp(density + weight[..., None], dim=2).sum(-1)
    found = fused_bound.total_correlation(z, mean, log_s, n)
    torch.testing.assert_close(found, (joint - marginals).mean(1))
    assert gradcheck(lambda *three: fused_bound.total_correlation(*three, n), [z, mean, log_s])


def test_total_correlation_of_codes_far_from_each_other_is_finite_and_so_is_its_gradient() -> None:
    z = (100.0 * torch.arange(E * 6 * D)).view(E, 6, D).requires_grad_()
    found = fused_bound.total_correlation(z, z.detach(), torch.full_like(z, -5.0), 50)
    (slope,) = torch.autograd.grad(found.sum(), [z])
    assert torch.isfinite(slope).all()
    torch.testing.assert_close(found, torch.full_like(found, (D - 1) * math.log(50)))  # each code tells the sample
