"""Does the VAE family recover the factors of nonstationary segments? Reduced sizes, not those of the papers.

Three factors, two mixing layers, 40 segments of 250 samples: a problem that linear methods do not solve and that
takes two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from baselines.contrastive.tcl import TCL
from baselines.linear.fastica import FastICA
from baselines.variational.icarl import ICARL
from baselines.variational.ivae import IVAE
from baselines.variational.vae import VAE
from bench.api import Data
from bench.metrics import mcc
from datasets.synthetic.segments import tcl_segments

pytestmark = pytest.mark.slow

SEEDS = (0, 1)
STEPS = 1500


@cache
def data(d: int = 3, n_per_segment: int = 250, centred: bool = True, coupling: float = 0.0) -> Data:
    return tcl_segments(seed=1, d=d, n_layers=2, n_per_segment=n_per_segment, centred=centred, coupling=coupling)


def score(learner: Any, aux: bool, absolute: bool = False, **which: Any) -> float:
    """Held-out pooled MCC, against |z| where ``absolute``."""
    train, evaluation = data(**which).train, data(**which).eval
    codes = learner.encode(train.x, train.aux if aux else None)
    codes_test = learner.encode(evaluation.x_test, evaluation.aux_test if aux else None)
    assert evaluation.z_train is not None
    assert evaluation.z_test is not None
    z, z_test = (np.abs(z) if absolute else z for z in (evaluation.z_train, evaluation.z_test))
    return float(mcc(z, codes, z_test, codes_test))


def scores(name: str, seeds: Sequence[int] = SEEDS, **which: Any) -> tuple[float, ...]:
    return tuple(value for value, _ in judged(name, seeds, **which))


@cache
def judged(name: str, seeds: Sequence[int] = SEEDS, **which: Any) -> tuple[tuple[float, float], ...]:
    """Held-out pooled MCC and validation loss of every seed."""
    learners: dict[str, Any] = {
        "ivae": IVAE(steps=STEPS),
        "ivae-blind": IVAE(steps=STEPS, aux_in_encoder=False),
        "ivae, fixed mean": IVAE(steps=STEPS, learn_mean=False),
        "ivae, diagonal posterior": IVAE(steps=STEPS, full_covariance=False),
        "icarl": ICARL(steps=STEPS),
        "vae": VAE(steps=STEPS),
        "beta-vae": VAE(steps=STEPS, beta=4.0, full_covariance=False),
    }
    fitted = learners[name].fit_many(
        data(**which).train, seeds=seeds, device="cpu", progress=lambda fraction, word: None
    )
    found = tuple(
        (score(learner, getattr(learner, "aux_in_encoder", False), **which), learner.history_["validation_loss"])
        for learner in fitted
    )
    print(f"{name} {which}: MCC (validation loss) {', '.join(f'{value:.3f} ({loss:.3f})' for value, loss in found)}")
    return found


def test_ivae_recovers_what_vae_and_fastica_do_not() -> None:
    ica = FastICA().fit(data().train, seed=0, device="cpu", progress=lambda fraction, word: None)
    linear = score(ica, aux=False)
    print(f"fastica: MCC {linear:.3f}")
    found, plain = scores("ivae"), scores("vae")
    assert min(found) >= 0.97
    assert np.mean(found) >= np.mean(plain) + 0.1
    assert np.mean(found) >= linear + 0.15


def test_icarl_is_as_good_where_the_prior_factorises() -> None:
    assert np.mean(scores("icarl")) >= np.mean(scores("ivae")) - 0.03


def test_icarl_has_the_better_bound_where_the_prior_does_not_factorise() -> None:
    """The bound, not the factors: which learner is nearer to them is the draw's (docs/settings.md, icarl)."""
    coupled: dict[str, Any] = {"d": 5, "n_per_segment": 500, "coupling": 0.5}
    icarl, ivae = judged("icarl", **coupled), judged("ivae", **coupled)
    # learners of one seed hold out the same rows, and both losses are bounds on −log p(x | u). They compare in the
    # mean: icarl's is estimated to 0.02 nats, and a pair may differ by less (5.319 and 5.315 in one)
    assert np.mean([loss for _, loss in icarl]) < np.mean([loss for _, loss in ivae])


def test_ivae_needs_no_auxiliary_variable_at_test_time() -> None:
    assert scores("ivae-blind", (0,))[0] >= scores("ivae")[0] - 0.03


def test_learnable_mean_is_needed_where_segments_are_not_centred() -> None:
    learned = scores("ivae", (0,), centred=False)[0]
    fixed = scores("ivae, fixed mean", (0,), centred=False)[0]
    assert learned >= 0.95
    assert learned >= fixed + 0.15


def test_tcl_recovers_the_size_of_a_factor_but_not_its_sign() -> None:
    learner = TCL().fit(data().train, seed=0, device="cpu", progress=lambda fraction, word: None)
    size, signed = score(learner, aux=False, absolute=True), score(learner, aux=False)
    print(f"tcl: MCC with |z| {size:.3f}, with z {signed:.3f}")
    assert size >= 0.85
    assert signed <= 0.3
