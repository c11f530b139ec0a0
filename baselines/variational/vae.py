"""Variational autoencoders without auxiliary variable: what the networks of the identifiable VAE are worth alone."""

from __future__ import annotations

from baselines.variational.base import VariationalLearner
from bench.api import learner


@learner(
    "vae",
    summary="VAE with the networks of ivae and a standard normal prior; posterior means",
    paper="Kingma & Welling, ICLR 2014",
    guarantee="none",
    version=3,
    effort=("steps",),
    budgets={"smoke": {"steps": 120}, "paper": {"steps": 12000, "batch_size": 256, "decoder_variance": 0.003}},
    accepts=("vector", "image", "sequence"),
    by_kind={"image": {"steps": 500, "batch_size": 64, "learning_rate": 2e-3}},
)
@learner(
    "beta-vae",
    summary="the same with the divergence weighted by beta = 4",
    paper="Higgins et al., ICLR 2017",
    guarantee="none",
    version=3,
    defaults={"beta": 4.0, "full_covariance": False},
    effort=("steps",),
    budgets={"smoke": {"steps": 120}, "paper": {"steps": 12000, "batch_size": 256, "decoder_variance": 0.003}},
    accepts=("vector", "image", "sequence"),
    by_kind={"image": {"steps": 500, "batch_size": 64, "learning_rate": 2e-3}},
)
class VAE(VariationalLearner):
    """Maximises the mean over samples of E_q[log p(x | z)] − β KL(q(z | x) ‖ N(0, I)).

    β is meaningful only with its reduction: log p(x | z) is *summed* over the columns of x, with its variance
    σ² = ``decoder_variance`` in units of the standardised columns, the divergence is *summed* over the latents, and
    both are averaged over samples. In terms of a mean squared error per column, as many programs state it, the weight
    of the divergence is 2 β σ² / d_x. ``beta-vae`` has the diagonal posterior of its paper, whose bias towards
    decoders with orthogonal Jacobians β exploits (Rolinek et al., CVPR 2019).
    """
