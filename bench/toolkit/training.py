"""The one training loop that the gradient-trained learners share.

It trains an ensemble (``bench.toolkit.networks``): E members with a seed each, in one pass. A member's random draws,
split, early stopping and learning rate are its own, all parameters live in one buffer (E, P) that Adam updates with a
handful of elementwise operations, and no operation mixes members: what a member becomes does not depend on its company.
An ordinary ``nn.Module`` is an ensemble of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.api import Diverged, NotApplicable, Progress
from bench.toolkit.fused import gradients_in_place
from bench.toolkit.networks import Streams
from bench.toolkit.rows import Rows, rows_at_once

Schedule = Literal["constant", "one-cycle", "cosine", "plateau"]

# Buffers are padded to whole cache lines, so that every member's weights are aligned alike: matrix products may round
# differently otherwise.
_ALIGNMENT = 16
_EVALUATION_ROWS = 8192


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """steps                number of minibatches at most
    batch_size             rows a step and member (all training rows where there are fewer)
    learning_rate          peak of Adam's learning rate
    schedule               "constant"; "one-cycle": linear rise over ``warmup`` of the steps, cosine fall to 0;
                           "cosine": the fall alone; "plateau": × ``plateau_factor`` after ``plateau_patience``
                           evaluations without improvement of the validation loss
    warmup                 fraction of the steps
    weight_decay           decoupled (Loshchilov & Hutter, ICLR 2019), on parameters named "weight"
    clip_norm              bound on the norm of a member's gradient, or None
    validation_fraction    part of the rows kept from training to choose the best state; 0: the last state is taken
    evaluate_every         steps between evaluations of the validation loss; None: a 25th of the steps
    patience               evaluations without improvement after which a member stops; None: never
    choose_after           fraction of the steps before which no state may be chosen (annealed losses)
    evaluation_rows        held-out rows that go into the loss at once; None: as many as memory likes. For losses that
                           hold the rows of a batch against each other
    """

    steps: int = 3000
    batch_size: int = 128
    learning_rate: float = 3e-3
    schedule: Schedule = "one-cycle"
    warmup: float = 0.2
    plateau_factor: float = 0.3
    plateau_patience: int = 3
    weight_decay: float = 0.0
    clip_norm: float | None = None
    validation_fraction: float = 0.1
    evaluate_every: int | None = None
    patience: int | None = None
    choose_after: float = 0.0
    evaluation_rows: int | None = None
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Batch:
    """A minibatch: ``batch["x"]`` is (E, B, …).

    noise      random streams, one a member
    fraction   part of the training that is done, 1 when the validation loss is taken
    """

    rows: Mapping[str, Any]
    noise: Streams
    fraction: float

    def __getitem__(self, name: str) -> Any:
        return self.rows[name]


Loss = Callable[[Batch], Tensor]
"""Mean loss over the rows of a batch, one a member: (E,), or a scalar where E is 1."""


@dataclass(frozen=True)
class TrainingResult:
    """steps              steps taken
    best_step            (E) the step whose state was kept
    validation_loss      (E) the loss there; nan without validation rows
    curve                validation losses, one list a member, at the steps ``evaluated_at``
    diverged             (E) True where a member left the finite numbers
    """

    steps: int
    best_step: list[int]
    validation_loss: list[float]
    curve: list[list[float]]
    diverged: list[bool]
    evaluated_at: list[int]

    def history(self, index: int = 0) -> dict[str, Any]:
        """JSON values on one member, for a learner's ``history_``."""
        loss = self.validation_loss[index]
        return {
            "steps": self.steps,
            "best_step": self.best_step[index],
            "validation_loss": loss if math.isfinite(loss) else None,
            "validation_curve": [round(value, 6) for value in self.curve[index] if math.isfinite(value)],
            "evaluated_at": [
                step for step, v in zip(self.evaluated_at, self.curve[index], strict=True) if math.isfinite(v)
            ],
            "diverged": self.diverged[index],
        }


class FlatAdam:
    """Adam (Kingma & Ba, ICLR 2015) with decoupled weight decay on one buffer that holds all parameters of a module.

    On construction the module's parameters become views into ``values`` (E, P), and their ``grad`` into ``gradients``.
    """

    def __init__(
        self, module: nn.Module, members: int, *, betas: tuple[float, float], weight_decay: float, eps: float = 1e-8
    ) -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        widths = [p.numel() // members for _, p in named]
        total = -(-sum(widths) // _ALIGNMENT) * _ALIGNMENT
        device = named[0][1].device
        self.values = torch.zeros(members, total, device=device)
        self.gradients = torch.zeros_like(self.values)
        self._parameters = [p for _, p in named]
        decays = torch.zeros(total, device=device)
        start = 0
        for (name, p), width in zip(named, widths, strict=True):
            part = slice(start, start + width)
            self.values[:, part] = p.detach().reshape(members, width)
            p.data = self.values[:, part].view(p.shape)
            p.grad = self.gradients[:, part].view(p.shape)
            decays[part] = float(name.rsplit(".")[-1] == "weight")
            start += width
        self._decays = decays * weight_decay if weight_decay else None
        self._betas, self._eps, self._step = betas, eps, torch.zeros((), device=device)
        self._mean, self._square = torch.zeros_like(self.values), torch.zeros_like(self.values)

    def backward(self, total: Tensor) -> None:
        """Gradient of the scalar ``total``; 0 for parameters it does not depend on."""
        with gradients_in_place() as written:
            rest = torch.autograd.grad(total, self._parameters, allow_unused=True)
        for parameter, gradient in zip(self._parameters, rest, strict=True):
            assert parameter.grad is not None
            if id(parameter) in written:
                if gradient is not None:
                    parameter.grad += gradient
            elif gradient is not None:
                parameter.grad.copy_(gradient)
            else:
                parameter.grad.zero_()

    def step(self, learning_rate: Tensor | float, clip_norm: float | None) -> None:
        """One update; ``learning_rate`` is a number or (E, 1)."""
        g = self.gradients
        self._step += 1
        if clip_norm is not None:
            norm = torch.linalg.vector_norm(g, dim=1, keepdim=True)
            if g.is_cuda or bool((norm > clip_norm).any()):  # no device is made to wait
                g.mul_((clip_norm / (norm + 1e-12)).clamp_(max=1.0))
        if self._decays is not None:
            self.values.sub_(self.values * self._decays * learning_rate)
        if isinstance(learning_rate, Tensor):
            for member, rate in enumerate(learning_rate.view(-1).tolist()):
                self._update(slice(member, member + 1), rate)
        else:
            self._update(slice(None), learning_rate)

    def _update(self, members: slice, learning_rate: float) -> None:
        """One pass over memory, by the operator behind ``torch.optim.Adam(fused=True)``: that class takes a second to
        load."""
        torch._fused_adam_(
            [self.values[members]],
            [self.gradients[members]],
            [self._mean[members]],
            [self._square[members]],
            [],
            [self._step],
            lr=learning_rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=self._eps,
            amsgrad=False,
            maximize=False,
        )


def scheduled(options: TrainingOptions, step: int) -> float:
    """Learning rate of a step (0-based) but for the reductions of "plateau"."""
    if options.schedule in ("constant", "plateau"):
        return options.learning_rate
    warmup = options.warmup * options.steps if options.schedule == "one-cycle" else 0.0
    if step < warmup:
        return options.learning_rate * (step + 1) / (warmup + 1)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(options.steps - warmup, 1.0)))


def split_rows(n: int, fraction: float, shuffle: Streams, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Row indices (E, n_train), (E, n_validation) of each member's own random split.

    groups   (n,) integers: rows of one group stay on one side (e.g. all targets of a sample), all of equal size
    """
    if groups is None:
        order = shuffle.permutations(n)
        n_validation = max(1, round(fraction * n)) if fraction > 0 else 0
        if n_validation >= n:
            raise NotApplicable(f"{n} samples are too few to hold out a fraction of {fraction} for validation")
        return order[:, n_validation:].contiguous(), order[:, :n_validation].contiguous()
    _, inverse, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    if bool((counts != counts[0]).any()):
        raise ValueError("groups must be of equal size; split by rows instead")
    by_group = torch.argsort(inverse, stable=True).view(len(counts), -1)
    train, validation = split_rows(len(counts), fraction, shuffle)
    return by_group[train].flatten(1), by_group[validation].flatten(1)


def train(
    module: nn.Module,
    loss: Loss,
    data: Mapping[str, Rows],
    *,
    seeds: Sequence[int],
    options: TrainingOptions,
    progress: Progress,
    device: str | torch.device = "cpu",
    groups: Tensor | None = None,
    validation_loss: Loss | None = None,
) -> TrainingResult:
    """Minimise ``loss`` over the parameters of ``module`` in place, and leave each member in its best state.

    module            parameters (E, …), E = len(seeds); for E = 1 any module
    data              tensors (or ``GraphRows``) of n rows each, shared by the members; moved to ``device``
    groups            see ``split_rows``
    validation_loss   judged instead of ``loss`` on the held-out rows, always with the same noise

    Raises Diverged when every member has left the finite numbers; with several members see ``TrainingResult.diverged``.
    """
    members, device = len(seeds), torch.device(device)
    module.to(device)
    data = {name: tensor.to(device) for name, tensor in data.items()}
    n = len(next(iter(data.values())))
    rows, held_out = split_rows(n, options.validation_fraction, Streams(seeds, "split", device), groups)
    batch_size = min(options.batch_size, rows.shape[1])
    per_epoch = rows.shape[1] // batch_size
    every = options.evaluate_every or max(1, options.steps // 25)
    adam = FlatAdam(module, members, betas=options.betas, weight_decay=options.weight_decay)
    shuffle, noise = Streams(seeds, "shuffle", device), Streams(seeds, "noise", device)
    tracker = _Tracker(module, adam, members, options)
    finite = torch.ones(members, dtype=torch.bool, device=device)
    order = rows
    module.train()
    step = 0
    while step < options.steps:
        position = step % per_epoch
        if position == 0:
            order = rows.gather(1, shuffle.permutations(rows.shape[1]))
        index = order[:, position * batch_size : (position + 1) * batch_size]
        values = loss(Batch({name: t[index] for name, t in data.items()}, noise, step / options.steps))
        adam.backward(values.sum())
        finite &= torch.isfinite(values.detach()).view(-1)
        rate = scheduled(options, step)
        adam.step(rate * tracker.factor if options.schedule == "plateau" else rate, options.clip_norm)
        step += 1
        if step % every == 0 or step == options.steps:
            at_once = options.evaluation_rows or rows_at_once(data.values(), _EVALUATION_ROWS)
            noise_there = Streams(seeds, "validation", device)
            judged = _evaluate(module, validation_loss or loss, data, held_out, noise_there, at_once)
            finite &= torch.isfinite(adam.values).all(dim=1)
            if not bool(finite.any()):
                raise Diverged(f"the loss was not finite by step {step} of {options.steps}; lower learning_rate")
            tracker.update(step, judged, finite)
            loss_now = f", validation loss {float(judged.nanmean()):.4g}" if options.validation_fraction else ""
            progress(step / options.steps, f"step {step}{loss_now}")
            if not bool(tracker.active.any()):
                break
    tracker.restore()
    module.eval()
    return tracker.result(step)


@torch.no_grad()
def _evaluate(
    module: nn.Module, loss: Loss, data: Mapping[str, Rows], rows: Tensor, noise: Streams, at_once: int
) -> Tensor:
    """Mean loss (E,) over the rows (E, n), ``at_once`` a time; nan where there are none."""
    if rows.shape[1] == 0:
        return torch.full((len(rows),), torch.nan, device=rows.device)
    module.eval()
    total = torch.zeros(len(rows), device=rows.device)
    for index in rows.split(at_once, dim=1):
        total += loss(Batch({name: t[index] for name, t in data.items()}, noise, 1.0)).view(-1) * index.shape[1]
    module.train()
    return total / rows.shape[1]


class _Tracker:
    """Best state, patience and plateau of every member."""

    def __init__(self, module: nn.Module, adam: FlatAdam, members: int, options: TrainingOptions) -> None:
        self._options, self._adam = options, adam
        self._buffers = [b for b in module.buffers() if b.ndim > 0]
        self._members = members
        device = adam.values.device
        self._best = torch.full((members,), torch.inf, device=device)
        self._best_step = torch.zeros(members, dtype=torch.long, device=device)
        self._stale = torch.zeros(members, dtype=torch.long, device=device)
        self._plateau = torch.zeros(members, dtype=torch.long, device=device)
        self.factor = torch.ones(members, 1, device=device)
        self.active = torch.ones(members, dtype=torch.bool, device=device)
        self._finite = self.active
        self._curve: list[Tensor] = []
        self._evaluated_at: list[int] = []
        self._state = self._snapshot()

    def _snapshot(self) -> list[Tensor]:
        return [t.clone() for t in self._live()]

    def _live(self) -> list[Tensor]:
        return [self._adam.values, *(b.view(self._members, -1) for b in self._buffers)]

    def update(self, step: int, judged: Tensor, finite: Tensor) -> None:
        self._finite = finite
        self._curve.append(judged)
        self._evaluated_at.append(step)
        if step < self._options.choose_after * self._options.steps:
            return
        # Without validation rows the latest finite state is the best one.
        better = (
            self.active
            & finite
            & ((judged < self._best) | torch.isnan(judged) & (self._options.validation_fraction == 0))
        )
        self._best = torch.where(better, judged, self._best)
        self._best_step = torch.where(better, step, self._best_step)
        for kept, live in zip(self._state, self._live(), strict=True):
            kept.copy_(torch.where(better[:, None], live, kept))
        self._stale = torch.where(better, 0, self._stale + 1)
        self._plateau = torch.where(better, 0, self._plateau + 1)
        reduce = self._plateau >= self._options.plateau_patience
        self.factor = torch.where(reduce[:, None], self.factor * self._options.plateau_factor, self.factor)
        self._plateau = torch.where(reduce, 0, self._plateau)
        self.active = self.active & finite
        if self._options.patience is not None:
            self.active = self.active & (self._stale < self._options.patience)

    def restore(self) -> None:
        with torch.no_grad():
            for kept, live in zip(self._state, self._live(), strict=True):
                live.copy_(kept)

    def result(self, steps: int) -> TrainingResult:
        curve = torch.stack(self._curve, dim=1).tolist() if self._curve else [[] for _ in range(self._members)]
        return TrainingResult(
            steps=steps,
            best_step=self._best_step.tolist(),
            validation_loss=[v if math.isfinite(v) else math.nan for v in self._best.tolist()],
            curve=curve,
            diverged=(~self._finite).tolist(),
            evaluated_at=self._evaluated_at,
        )
