"""Many classifications of one noisy sequence at once, read from the state of a network that sees it step by step.

Vafidis, Bhargava and Rangel (2024, arXiv 2407.11249): a network that answers enough linear classifications of hidden
factors at best must hold, at its last layer, the posterior's log odds of them all; and where the boundaries' normals
span the space, a linear map of these gives the factors. The log odds of all tasks then vary along d directions in the
main, which are the codes here; the paper probes the whole state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from bench.api import NotApplicable, Progress, TrainView, learner
from bench.toolkit.encoders import encode_rows, encoder
from bench.toolkit.encoders.sequence import Architecture, SequenceEncoder
from bench.toolkit.networks import Streams, n_parameters
from bench.toolkit.preprocess import Float64
from bench.toolkit.rows import prepare
from bench.toolkit.task_batches import tasks_in_words
from bench.toolkit.training import Batch, TrainingOptions, train

Codes = Literal["answers", "state"]
CODES: tuple[Codes, ...] = ("answers", "state")
Answer = Literal["last", "every-step", "paper"]
ANSWERS: tuple[Answer, ...] = ("last", "every-step", "paper")
_UNDECIDED = 0.5
_MOST_TARGETS = 200_000_000  # values of the dense table of targets: 0.8 GB of float32


@learner(
    "rnn",
    summary="ReLU recurrent network on all tasks at once; the directions in which its answers vary most as codes",
    paper="Vafidis, Bhargava, Rangel 2024, arXiv 2407.11249",
    guarantee="linear",
    assumptions="T >= d tasks whose boundaries' normals span the factors, isotropic noise, optimal answers",
    assumes=("injective-mixing", "classified-by-hyperplanes", "isotropic-noise"),
    needs=("targets",),
    effort=("steps",),
    accepts=("sequence",),
    budgets={"smoke": {"steps": 60}, "paper": {"steps": 12000}},
)
@learner(
    "lstm",
    summary="the same with an LSTM",
    paper="Vafidis, Bhargava, Rangel 2024, arXiv 2407.11249",
    guarantee="linear",
    assumptions="T >= d tasks whose boundaries' normals span the factors, isotropic noise, optimal answers",
    assumes=("injective-mixing", "classified-by-hyperplanes", "isotropic-noise"),
    needs=("targets",),
    effort=("steps",),
    accepts=("sequence",),
    defaults={"architecture": "lstm"},
    budgets={"smoke": {"steps": 60}, "paper": {"steps": 12000}},
)
@learner(
    "transformer",
    summary="the same with one block of causal self-attention, without positions",
    paper="Vafidis, Bhargava, Rangel 2024, arXiv 2407.11249",
    guarantee="linear",
    assumptions="T >= d tasks whose boundaries' normals span the factors, isotropic noise, optimal answers",
    assumes=("injective-mixing", "classified-by-hyperplanes", "isotropic-noise"),
    needs=("targets",),
    effort=("steps",),
    accepts=("sequence",),
    defaults={"architecture": "transformer"},
    budgets={"smoke": {"steps": 60}, "paper": {"steps": 12000}},
)
@dataclass(kw_only=True, eq=False)
class EvidenceAggregation:
    """Codes (n, n_latents): principal components of the tasks' logits, which are an affine map of the last state.

    codes           "answers" for these; "state" for the whole last state (n, hidden), which the paper reads
    architecture    "rnn", "lstm" or "transformer" (``bench.toolkit.encoders.sequence``)
    answer          where answers are asked for: after the "last" step; after "every-step", the target being the same at
                    each; or as in the "paper", where before the last step the target is that of the undecided, ½ (0 for
                    continuous targets)
    steps, batch_size   minibatches, and sequences in each
    learning_rate   of Adam, one cycle
    hidden          width of the state

    Binary targets have a cross-entropy, continuous ones, standardised, a squared error; targets that were not observed
    have none. A tenth of the sequences is held out, and the state of the lowest loss on them is kept.
    """

    architecture: Architecture = "rnn"
    codes: Codes = "answers"
    answer: Answer = "last"
    steps: int = 1200
    batch_size: int = 256
    learning_rate: float = 1e-3
    hidden: int = 64

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        if self.answer not in ANSWERS:
            raise ValueError(f"answer={self.answer!r}: choose {', '.join(ANSWERS)}")
        if self.codes not in CODES:
            raise ValueError(f"codes={self.codes!r}: choose {', '.join(CODES)}")
        self.inputs_ = prepare(view)
        table = target_table(view)
        binary = view.target_type == "binary"
        init = Streams([seed], "init")
        network = encoder(self.inputs_, table.shape[1], init, architecture=self.architecture, hidden=self.hidden)
        assert isinstance(network, SequenceEncoder)
        self.network_ = network
        self.n_parameters_ = n_parameters(network)

        def loss(batch: Batch) -> Tensor:
            target, observed = batch["y"].nan_to_num(), (~batch["y"].isnan()).float()
            last = self.answer == "last"
            states = network.last_state(batch["x"])[:, :, None] if last else network.states(batch["x"])
            members, b, steps, hidden = states.shape
            logits = network.leave(states.reshape(members, b * steps, hidden)).view(members, b, steps, -1)
            wanted = target[:, :, None].expand_as(logits)
            if self.answer == "paper":
                wanted = wanted.clone()
                wanted[:, :, :-1] = _UNDECIDED if binary else 0.0
            cost = nn.functional.binary_cross_entropy_with_logits if binary else nn.functional.mse_loss
            each = cost(logits, wanted, reduction="none").mean(dim=2) * observed
            return each.sum(dim=(1, 2)) / observed.sum(dim=(1, 2)).clamp(min=1.0)

        options = TrainingOptions(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup=0.05,
            clip_norm=1.0,
        )
        data = {"x": self.inputs_(view.x), "y": torch.from_numpy(table)}
        result = train(network, loss, data, seeds=[seed], options=options, progress=progress, device=device)
        self.history_ = result.history()
        if self.codes == "answers":
            logits = encode_rows(network, data["x"], device=device)
            self.mean_ = logits.mean(axis=0)
            _, vectors = np.linalg.eigh(np.cov(logits.T, bias=True).reshape(len(self.mean_), -1))
            self.components_ = vectors[:, ::-1][:, : view.n_latents]
        return self

    def encode(self, x: Any, aux: Any = None) -> Float64:
        """Codes float64 of sequences, which may be shorter than those of the training."""
        rows, device = self.inputs_(x), next(self.network_.parameters()).device
        if self.codes == "state":
            return encode_rows(self.network_.last_state, rows, device=device)
        return (encode_rows(self.network_, rows, device=device) - self.mean_) @ self.components_


def target_table(view: TrainView) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Targets (n, T'), nan where not observed; tasks whose target does not vary are left out.

    Continuous targets are standardised per task, binary ones stay in {0, 1}. Raises NotApplicable where too few tasks
    are left to span the latents, where targets are not finite, and where the table would be too large.
    """
    n, n_tasks = view.n_samples, view.n_tasks
    if n * n_tasks > _MOST_TARGETS:
        raise NotApplicable(f"{n} samples × {n_tasks} tasks are more targets than fit; take fewer tasks")
    if not np.isfinite(view.y).all():
        raise NotApplicable("the targets hold values that are not finite; leave those targets out")
    table = np.full((n, n_tasks), np.nan, dtype=np.float32)
    table[view.sample, view.task] = view.y
    observed = ~np.isnan(table)
    count = np.maximum(observed.sum(axis=0), 1)
    mean = np.nansum(table, axis=0, dtype=np.float64) / count
    deviation = np.sqrt(np.nansum((table - mean) ** 2, axis=0) / count)
    varies = deviation > 1e-6 * np.abs(mean)
    if varies.sum() < view.n_latents:
        raise NotApplicable(
            f"{tasks_in_words(int(varies.sum()))} with a target that varies cannot span {view.n_latents} latents:"
            f" at least {view.n_latents} are needed"
        )
    if view.target_type != "binary":
        table = ((table - mean) / np.where(varies, deviation, 1.0)).astype(np.float32)
    return table[:, varies]
