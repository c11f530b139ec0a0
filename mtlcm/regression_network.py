"""Stage 1 of MTLCM: a shared encoder with one linear head per task, identified up to a linear map.

Chen, Horwood, Heo, Hernández-Lobato, "Leveraging Task Structures for Improved Identifiability in Neural Network
Representations", TMLR 2024, section 3. Encoder and objective are the paper's; how it is optimised is not:

- the encoder contains, beside the network, a linear path that starts at the reduced-rank regression solution;
- heads and noise variances are solved for in every step (``toolkit.heads``) instead of followed by gradient descent,
  so that a step over whole tasks costs nothing for the heads of other tasks;
- of the start and all checkpoints, the one with the best loss on held-out targets is kept; the start, where it is the
  best, is then fitted to the held-out targets too, its ridge as chosen.

It is one class of functions whatever the data: where the linear start was never improved on, the network is that start,
and ``history_["warnings"]`` says so.

``heads="sgd", skip=False`` trains as the paper's released settings do, for comparison.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.api import Kind, NotApplicable, Progress, TrainView, learner
from bench.toolkit import joint_rank
from bench.toolkit.encoders.skip import Encoder, JointRows, KindEncoder
from bench.toolkit.heads import profiled_loss
from bench.toolkit.inputs import flat
from bench.toolkit.networks import Streams
from bench.toolkit.reduced_rank import LinearEncoder, Standardiser, check_view, reduced_rank_regression, task_ridge
from bench.toolkit.rows import prepare
from bench.toolkit.schedule import one_cycle
from bench.toolkit.task_batches import Targets
from mtlcm.checkpoints import Checkpoints, validation_loss
from mtlcm.conditional_flow import Flow, fit_flow

_HEAD_RIDGES = tuple(float(r) for r in np.logspace(-7, 1, 9))
_ENCODE_ROWS = 1 << 15
_DAMPING = 1.0  # of the whitening of vectors, over the mean variance of their components
_DECAY, _DECAY_SHARED = 10.0, 3.0
_LOOKS_AT_IMAGES = 5  # checkpoints at most: a look encodes all of them, and the loss falls below its start at the end


@learner(
    "mtrn",
    assumes=("injective-mixing", "heads-span"),
    summary="shared network with a linear path, heads in closed form, noise variances profiled out",
    paper="Chen et al. 2024, TMLR, Leveraging Task Structures for Improved Identifiability",
    guarantee="linear",
    assumptions="targets are linear in the factors given the task, the heads span R^d, T >= d",
    needs=("targets",),
    effort=("steps",),
    version=7,
    versions={"graph": 8},
    budgets={"smoke": {"steps": 40}, "paper": {"steps": 2000}},
    by_kind={
        "graph": {
            "steps": 400,
            "batch": 1024,
            "learning_rate": 5e-3,
            "weight_decay": 1.0,
            "checkpoints": 10,
            "loss": "auto",
        },
        "image": {"steps": 900, "batch": 128, "learning_rate": 5e-3, "weight_decay": 1.0, "loss": "auto"},
        "sequence": {"steps": 600, "batch": 256, "learning_rate": 5e-3, "weight_decay": 1.0},
    },
    accepts=("vector", "image", "sequence", "graph"),
)
class MultiTaskRegressionNetwork:
    """Codes (n, n_latents) of the shared encoder, of pooled mean 0 and identity covariance on the training samples.

    hidden        widths of the hidden layers
    steps         optimisation steps, one-cycle learning rate (warm-up, then cosine to 0)
    batch         targets (or, where samples have many tasks, samples) a step
    learning_rate, weight_decay   of AdamW; the decay is decoupled. At higher rates the network loses a factor on some
                  draws, the sooner the longer it trains, and the held-out loss is the worse for it. A decay of None
                  is 10 where every task has samples of its own, which a network soon knows by heart, and 3 where
                  tasks share them
    heads         "closed": ridge regression inside every step and ½ log residual variance as the loss;
                  "sgd": heads are parameters, the loss is ½ squared error of a sample on its own task
    skip          linear path beside the network, which is where it starts
    checkpoints   how often held-out targets are looked at, evenly over the steps. There is no patience: under this
                  schedule the loss rises while the learning rate is high, and falls below its start only at the end

    loss          "log": ½ log of each task's residual variance, the likelihood; "squared": ½ of it. Where there are
                  fewer codes than the targets need, the first spends them on targets that can be told to the last
                  digit (QM9's energies), the second on the variance there is to explain. "auto": "squared" where
                  samples have many tasks, whose targets then compete for the codes, else "log"
    encoder       options of the encoder of images, sequences and graphs (``bench.toolkit.encoders``)
    axes          of the codes, which the model leaves open: "own", the network's, made uncorrelated by the least change
                  (ZCA-cor; Kessy, Lewin, Strimmer 2018); "principal", those of the codes' covariance, for learners that
                  turn the codes themselves

    flow_steps    steps of ``mtlcm.conditional_flow`` on the codes; 0, the default, for none: it assumes more than
                  stage 1 does, the Gaussian conditional prior of stage 2, so only a learner that assumes that too may
                  ask for it. Needs samples that differ between tasks and continuous targets (given one of two values
                  of y no factor is Gaussian, and a flow bends the codes until they are); kept only if held-out
                  samples and targets vouch for it, see ``_straighten``
    flow_hidden, flow_learning_rate, flow_stride    its blocks' widths, its peak learning rate, and on which share of
                  a batch determinants are taken

    Binary targets are regressed as numbers. A tenth of the samples is held out to choose among the checkpoints.

    After ``fit``, ``history_`` holds "model" (the same on all data), "chosen" ("network" or "network+flow"),
    "validation_curve" at the steps "evaluated_at" (step 0 is the start), "steps", "best_step", "warnings", and
    "refitted" where the start was kept.
    Raises NotApplicable for data without enough tasks, samples or varying inputs, Diverged where
    the loss leaves the finite numbers.
    """

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = (200,),
        steps: int = 800,
        batch: int = 1024,
        learning_rate: float = 2e-3,
        weight_decay: float | None = None,
        heads: Literal["closed", "sgd"] = "closed",
        skip: bool = True,
        checkpoints: int = 20,
        flow_steps: int = 0,
        flow_hidden: tuple[int, ...] = (256,),
        flow_learning_rate: float = 4e-2,
        flow_stride: int = 16,
        loss: Literal["log", "squared", "auto"] = "log",
        encoder: dict[str, Any] | None = None,
        axes: Literal["own", "principal"] = "own",
    ) -> None:
        self.hidden = hidden
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.heads = heads
        self.skip = skip
        self.checkpoints = checkpoints
        self.flow_steps = flow_steps
        self.flow_hidden = flow_hidden
        self.flow_learning_rate = flow_learning_rate
        self.flow_stride = flow_stride
        self.loss = loss
        self.encoder = encoder
        self.axes = axes

    def fit(self, view: TrainView, *, seed: int, device: str, progress: Progress) -> Self:
        if self.heads not in ("closed", "sgd"):
            raise ValueError(f"heads={self.heads!r}: choose 'closed' or 'sgd'")
        if self.loss not in ("log", "squared", "auto"):
            raise ValueError(f"loss={self.loss!r}: choose 'log', 'squared' or 'auto'")
        if self.axes not in ("own", "principal"):
            raise ValueError(f"axes={self.axes!r}: choose 'own' or 'principal'")
        check_view(view)
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        targets = Targets(view, batch=self.batch, rng=rng, device=device)
        self._log = self.loss == "log" or (self.loss == "auto" and not targets.shared)
        linear = self._linear_start(view, targets)
        self._set_inputs(view, linear, device)
        x = self._inputs(view.x)
        skip = torch.from_numpy(np.linalg.lstsq(self._whiten, linear.weights, rcond=None)[0]).float()
        self._decay = self.weight_decay
        if self._decay is None:
            self._decay = _DECAY_SHARED if targets.shared else _DECAY
        network = self._encoder(x, view.n_latents, skip if self.skip else None, generator).to(device)
        codes = linear.encode(view.x)
        rows, tasks, y = (part.cpu().numpy() for part in targets.train)
        ridge = task_ridge(codes, rows, tasks, y, n_tasks=targets.n_tasks, ridges=_HEAD_RIDGES).ridge

        linear_loss = self._validate(torch.from_numpy(codes).to(device), targets, ridge)
        train = self._train_closed if self.heads == "closed" else self._train_sgd
        split = self.steps / (self.steps + self.flow_steps)
        keeper = train(network, x, targets, ridge, generator, lambda f, m: progress(split * f, m))
        keeper.restore()
        kept_start = self.skip and keeper.step == 0
        self.history_ = {
            "model": "network with a linear path" if self.skip else "network",
            "chosen": "network",
            "ridge": linear.ridge,
            "head_ridge": ridge,
            "linear_loss": linear_loss,
            "loss": keeper.best,
            **keeper.history(),
            "warnings": [] if keeper.step else ["stage 1: no step improved on the start, so the codes are the start's"],
        }
        self.network_ = network
        self.flow_: Flow | None = None
        if self.flow_steps and view.target_type == "binary":
            self.history_["flow"] = {"skipped": "binary targets: given one of two values, no factor is Gaussian"}
        elif self.flow_steps and targets.shared:
            self.history_["flow"] = {"skipped": "tasks share their samples: a factor's variance is the same in all"}
        elif self.flow_steps:
            rest: Progress = lambda f, m: progress(split + (1 - split) * f, m)  # noqa: E731
            self._straighten(view.x, targets, ridge, generator, rest)
        if kept_start and self.flow_ is None:
            self._refit_start(network, view, linear)
            self.history_["refitted"] = "the start, to the held-out targets too"
        self.n_parameters_ = sum(p.numel() for module in (network, self.flow_) if module for p in module.parameters())
        self._unit_covariance(view.x)
        return self

    def encode(self, x: Any, aux: Any = None) -> NDArray[np.float64]:
        """Codes (n, n_latents) float64 of x (n, d_x)."""
        return np.asarray((self._raw_codes(x) - self._centre) @ self._scale)

    def _raw_codes(self, x: Any) -> NDArray[np.float64]:
        """Codes of the network, through the flow if there is one, before they are whitened."""
        h = _forward(self.network_, self._inputs(x))
        return np.asarray((h if self.flow_ is None else _forward(self.flow_, h)).double().cpu().numpy())

    def _straighten(
        self, x: Any, targets: Targets, ridge: float, generator: torch.Generator, progress: Progress
    ) -> None:
        """Put a flow behind the network where held-out samples and targets vouch for it.

        The likelihood alone cannot tell bent codes from factors that are not Gaussian given y: it rises in both cases,
        and in the second the flow bends what was straight. Targets can: they are linear in the factors, so a flow
        that straightens must not raise the held-out loss of the targets.
        """
        codes = self._raw_codes(x)
        try:
            fit = fit_flow(
                codes,
                targets,
                hidden=self.flow_hidden,
                steps=self.flow_steps,
                learning_rate=self.flow_learning_rate,
                weight_decay=0.01,
                stride=self.flow_stride,
                checkpoints=10,
                generator=generator,
                progress=progress,
            )
        except NotApplicable as reason:
            self.history_["flow"] = {"skipped": str(reason)}
            return
        h = _forward(fit.flow, torch.from_numpy(codes.astype(np.float32)).to(self._device))
        loss = self._validate(h, targets, ridge)
        self.history_["flow"] = {
            "gain": fit.gain,
            "gain_error": fit.gain_error,
            "best_step": fit.best_step,
            "diverged_at": fit.diverged_at,
            "loss": loss,
        }
        if not fit.helps:
            self.history_["warnings"].append("flow: not used, its held-out likelihood is not above chance")
        elif not loss <= self.history_["loss"]:
            self.history_["warnings"].append("flow: not used, it raises the held-out loss of the targets")
        else:
            self.flow_ = fit.flow
            self.history_["chosen"] = "network+flow"

    def _validate(self, h: Tensor, targets: Targets, ridge: float) -> float:
        return validation_loss(h, targets, ridge, log=self._log)

    def _linear_start(self, view: TrainView, targets: Targets) -> LinearEncoder:
        x, sample, task, y = flat(view.x), np.asarray(view.sample), np.asarray(view.task), np.asarray(view.y)
        held, n_tasks, d = targets.held_out[sample], view.n_tasks, view.n_latents
        linear = reduced_rank_regression(x, sample[~held], task[~held], y[~held], n_tasks=n_tasks, n_latents=d)
        if joint_rank.needed(linear, task[~held], n_tasks):
            # A network of vectors seldom improves on its start, so that its start is to be the best there is.
            smooth = view.kind == "graph"
            return joint_rank.joint_rank_regression(
                x, sample, task, y, held, n_tasks=n_tasks, n_latents=d, smooth=smooth
            )
        return linear

    def _refit_start(self, network: Encoder | KindEncoder, view: TrainView, linear: LinearEncoder) -> None:
        """Give a start that nothing improved on the held-out targets too, which have chosen all there was to choose."""
        x, sample, task, y = flat(view.x), np.asarray(view.sample), np.asarray(view.task), np.asarray(view.y)
        if isinstance(linear, joint_rank.JointEncoder):
            refit: LinearEncoder = joint_rank.refitted(linear, x, sample, task, y, n_tasks=view.n_tasks)
        else:
            refit = reduced_rank_regression(
                x, sample, task, y, n_tasks=view.n_tasks, n_latents=view.n_latents, ridges=(linear.ridge,)
            )
        skip = np.linalg.lstsq(self._whiten, refit.weights, rcond=None)[0]
        assert network.skip is not None
        with torch.no_grad():
            network.skip.copy_(torch.from_numpy(skip))

    def _set_inputs(self, view: TrainView, linear: LinearEncoder, device: str) -> None:
        """Input map of the network: standardised, with skip also whitened, more or less.

        Nonlinear mixing of few factors shows in the small principal components, which a network on standardised
        inputs would learn last. But most of the small ones say nothing, and brought to the size of the others they let
        a network of vectors tell every sample from every other and learn the targets by heart: of vectors, components
        that vary less than the average one stay small. Of other kinds this is the input of the linear path alone;
        there, components below the ridge of the linear solution are damped.
        """
        self._device = device
        self._rows = None if view.kind == "vector" else prepare(view)
        self._standardise: Standardiser = linear.standardise
        if not self.skip:
            self._whiten = np.eye(len(linear.standardise.mean))
            return
        xs = self._standardise(flat(view.x))
        e, v = np.linalg.eigh(xs.T @ xs / len(xs))
        kept = e > 1e-10 * e[-1]
        e, v = e[kept], v[:, kept]
        damping = _DAMPING * e.mean() if self._rows is None else 0.1 * linear.ridge
        self._whiten = v / np.sqrt((e + damping) * np.mean(e / (e + damping)))

    def _encoder(
        self, x: Tensor | JointRows, d: int, skip: Tensor | None, generator: torch.Generator
    ) -> Encoder | KindEncoder:
        if isinstance(x, Tensor):
            return Encoder((x.shape[1], *self.hidden, d), skip, generator)
        assert self._rows is not None
        seed = int(torch.randint(2**62, (1,), generator=generator))
        return KindEncoder(self._rows, d, skip, Streams([seed], "init"), **(self.encoder or {}))

    def _inputs(self, x: Any) -> Tensor | JointRows:
        """Network inputs on the device: vectors (n, r) float32, or rows of another kind beside their flat view."""
        vectors = self._flat_inputs(x)
        return vectors if self._rows is None else JointRows(self._rows(x).to(self._device), vectors)

    def _flat_inputs(self, x: Any) -> Tensor:
        x = flat(x)
        parts = [
            torch.from_numpy((self._standardise(x[i : i + _ENCODE_ROWS]) @ self._whiten).astype(np.float32))
            for i in range(0, len(x), _ENCODE_ROWS)
        ]
        return (torch.cat(parts) if parts else torch.empty(0, self._whiten.shape[1])).to(self._device)

    def _unit_covariance(self, x: Any) -> None:
        """Affine map of the codes to mean 0 and identity covariance, degenerate directions left as they are."""
        h = self._raw_codes(x)
        d = h.shape[1]
        self._centre = h.mean(0)
        spread = np.maximum(h.std(0), 1e-300) if self.axes == "own" else np.ones(d)
        e, v = np.linalg.eigh(np.cov((h / spread).T, bias=True).reshape(d, d))
        self._scale = v / np.sqrt(np.maximum(e, 1e-12 * max(e[-1], 1e-300)))
        if self.axes == "own":
            self._scale = self._scale @ v.T / spread[:, None]

    def _of_images(self) -> bool:
        return self._rows is not None and self._rows.kind == "image"

    def _train_closed(
        self,
        network: Encoder | KindEncoder,
        x: Tensor | JointRows,
        targets: Targets,
        ridge: float,
        generator: torch.Generator,
        progress: Progress,
    ) -> Checkpoints:
        """Variable projection; returns the best state on held-out targets."""
        matrices = [p for name, p in network.named_parameters() if "bias" not in name]
        vectors = [p for name, p in network.named_parameters() if "bias" in name]
        optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": self._decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=self.learning_rate,
            betas=(0.9, 0.99),
        )
        keeper = Checkpoints(network)
        keeper.look(self._validate(_forward(network, x), targets, ridge), 0)
        looks = min(self.checkpoints, _LOOKS_AT_IMAGES) if self._of_images() else self.checkpoints
        look_every = max(1, self.steps // max(1, looks))
        batches = itertools.chain.from_iterable(targets.epoch(generator) for _ in itertools.count())
        for step, batch in enumerate(itertools.islice(batches, self.steps), 1):
            for group in optimiser.param_groups:
                group["lr"] = self.learning_rate * one_cycle(step / self.steps)
            h = network(x[batch.rows.reshape(-1)]).reshape(*batch.rows.shape, -1)
            loss = profiled_loss(h, batch.y, batch.mask, ridge, log=self._log)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % look_every == 0 or step == self.steps:
                held_out = self._validate(_forward(network, x), targets, ridge)
                progress(step / self.steps, f"held-out loss {held_out:.3f}")
                keeper.look(held_out, step)
        return keeper

    def _train_sgd(
        self,
        network: Encoder | KindEncoder,
        x: Tensor | JointRows,
        targets: Targets,
        ridge: float,
        generator: torch.Generator,
        progress: Progress,
    ) -> Checkpoints:
        """The paper's plain training: Adam on encoder and heads, ½ squared error of a row on its own task."""
        device, d = x.device, network.width
        bound = 1 / math.sqrt(d)
        head = nn.Parameter(((2 * torch.rand(targets.n_tasks, d + 1, generator=generator) - 1) * bound).to(device))
        optimiser = torch.optim.Adam([*network.parameters(), head], lr=self.learning_rate)
        keeper = Checkpoints(network)
        look_every = max(1, self.steps // max(1, self.checkpoints))
        rows, task, y = targets.train
        shuffled = torch.empty(0, dtype=torch.int64)
        for step in range(1, self.steps + 1):
            if len(shuffled) == 0:
                shuffled = torch.randperm(len(rows), generator=generator)
            now, shuffled = shuffled[: self.batch].to(device), shuffled[self.batch :]
            mine = head[task[now]]
            prediction = (network(x[rows[now]]) * mine[:, :-1]).sum(1) + mine[:, -1]
            loss = 0.5 * (prediction - y[now]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % look_every == 0 or step == self.steps:
                held_out = self._validate(_forward(network, x), targets, ridge)
                progress(step / self.steps, f"held-out loss {held_out:.3f}")
                keeper.look(held_out, step)
        return keeper


def settings_for(kind: Kind) -> dict[str, Any]:
    """What ``mtrn`` sets for this kind of input, over its defaults: for learners that build on its network."""
    return dict(MultiTaskRegressionNetwork.__bench__[0].by_kind.get(kind, {}))  # type: ignore[attr-defined]


@torch.no_grad()
def _forward(network: nn.Module, x: Tensor | JointRows) -> Tensor:
    return torch.cat([network(part) for part in x.split(_ENCODE_ROWS)])
