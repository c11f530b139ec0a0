"""The learners of evidence aggregation: what they take, what they refuse, what they give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.sequence.evidence_aggregation import EvidenceAggregation, target_table
from baselines.sequence.flattened import Flattened
from bench.api import NotApplicable, TrainView
from datasets.sequences.evidence import evidence


def silent(fraction: float, message: str) -> None:
    """A progress callback that says nothing."""


@pytest.fixture(scope="module")
def view() -> TrainView:
    return evidence(seed=0, n=300, steps=6, n_tasks=5).train


@pytest.mark.parametrize("architecture", ["rnn", "lstm", "transformer"])
@pytest.mark.parametrize("answer", ["last", "every-step", "paper"])
def test_codes_follow_from_the_seed_alone(view: TrainView, architecture: str, answer: str) -> None:
    def codes(seed: int) -> np.ndarray:
        learner = EvidenceAggregation(architecture=architecture, answer=answer, steps=8, hidden=16)  # type: ignore[arg-type]
        return learner.fit(view, seed=seed, device="cpu", progress=silent).encode(view.x)

    before = torch.random.get_rng_state()
    one = codes(1)
    assert one.shape == (300, 2)
    np.testing.assert_array_equal(one, codes(1))
    assert not np.allclose(one, codes(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_codes_are_a_linear_map_of_the_state(view: TrainView) -> None:
    answers = EvidenceAggregation(steps=20, hidden=8).fit(view, seed=0, device="cpu", progress=silent).encode(view.x)
    state = EvidenceAggregation(steps=20, hidden=8, codes="state").fit(view, seed=0, device="cpu", progress=silent)
    design = np.column_stack([state.encode(view.x), np.ones(300)])
    residual = answers - design @ np.linalg.lstsq(design, answers, rcond=None)[0]
    assert np.abs(residual).max() < 1e-3 * np.abs(answers).max()
    np.testing.assert_allclose(np.cov(answers.T)[0, 1], 0.0, atol=1e-6 * answers.var())


def test_the_loss_on_held_out_answers_falls(view: TrainView) -> None:
    learner = EvidenceAggregation(steps=100, learning_rate=3e-3).fit(view, seed=0, device="cpu", progress=silent)
    curve = learner.history_["validation_curve"]
    assert curve[-1] < curve[0] - 0.1
    assert learner.history_["validation_loss"] == pytest.approx(min(curve), abs=1e-5)


def test_shorter_sequences_are_read_too(view: TrainView) -> None:
    learner = EvidenceAggregation(steps=4, hidden=8, codes="state").fit(view, seed=0, device="cpu", progress=silent)
    cut = replace(view.x, values=view.x.values[:, :3])
    changed = view.x.values.copy()
    changed[:, 3:] = 0
    states = learner.network_.states(learner.inputs_(replace(view.x, values=changed))[None])[0, :, 2]
    np.testing.assert_allclose(learner.encode(cut), states.detach().double().numpy(), atol=1e-5)


def test_targets_that_were_not_observed_count_for_nothing(view: TrainView) -> None:
    rng = np.random.default_rng(0)
    keep = rng.random(len(view.y)) < 0.4
    fewer = replace(view, sample=view.sample[keep], task=view.task[keep], y=view.y[keep])
    table = target_table(fewer)
    assert np.isnan(table).mean() == pytest.approx(0.6, abs=0.05)
    learner = EvidenceAggregation(steps=5, hidden=8).fit(fewer, seed=0, device="cpu", progress=silent)
    assert np.isfinite(learner.encode(view.x)).all()


def test_continuous_targets_are_standardised() -> None:
    view = evidence(seed=0, n=200, steps=5, n_tasks=4, free_time=True).train
    table = target_table(view)
    np.testing.assert_allclose(table.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(table.std(axis=0), 1.0, rtol=1e-4)
    learner = EvidenceAggregation(steps=5, hidden=8).fit(view, seed=0, device="cpu", progress=silent)
    assert np.isfinite(learner.encode(view.x)).all()


def test_what_cannot_be_learned_from_is_refused_in_words(view: TrainView) -> None:
    constant = replace(view, y=np.ones_like(view.y))
    with pytest.raises(NotApplicable, match="0 tasks with a target that varies"):
        EvidenceAggregation(steps=2).fit(constant, seed=0, device="cpu", progress=silent)
    with pytest.raises(NotApplicable, match="not finite"):
        target_table(replace(view, y=np.full_like(view.y, np.nan)))
    with pytest.raises(ValueError, match="answer='never'"):
        EvidenceAggregation(answer="never").fit(view, seed=0, device="cpu", progress=silent)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="codes='all'"):
        EvidenceAggregation(codes="all").fit(view, seed=0, device="cpu", progress=silent)  # type: ignore[arg-type]
    wide = replace(view, x=replace(view.x, values=np.zeros((300, 700, 5), dtype=np.float32)))
    with pytest.raises(NotApplicable, match="3500 columns"):
        Flattened().fit(wide, seed=0, device="cpu", progress=silent)
