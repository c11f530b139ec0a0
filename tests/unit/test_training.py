"""The shared networks and training loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.api import Diverged, NotApplicable
from bench.toolkit.networks import MLP, Embedding, Linear, Streams, member, n_parameters
from bench.toolkit.training import Batch, FlatAdam, TrainingOptions, TrainingResult, scheduled, split_rows, train

EVERY = 10
OPTIONS = TrainingOptions(steps=60, batch_size=32, learning_rate=1e-2, evaluate_every=EVERY)


def silent(fraction: float, message: str) -> None:
    return None


def problem(n: int = 500) -> dict[str, Tensor]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    y = np.sin(x @ rng.normal(size=(3, 2)))
    return {"x": torch.tensor(x, dtype=torch.float32), "y": torch.tensor(y, dtype=torch.float32)}


def fit(seeds: list[int], options: TrainingOptions = OPTIONS, **kwargs: Any) -> tuple[MLP, TrainingResult]:
    net = MLP([3, 32, 2], Streams(seeds, "init"), activation="tanh")

    def loss(batch: Batch) -> Tensor:
        jitter = 0.01 * batch.noise.normal(batch["x"].shape[1], 3)
        return (net(batch["x"] + jitter) - batch["y"]).square().mean(dim=(1, 2))

    return net, train(net, loss, problem(), seeds=seeds, options=options, progress=silent, **kwargs)


def test_mlp_equals_layers_written_out() -> None:
    net = MLP([3, 4, 2], Streams([5], "init"), activation="xtanh")
    x = torch.linspace(-1, 1, 6).view(1, 2, 3)
    first, last = net.layers
    hidden = x[0] @ first.weight[0] + first.bias[0]
    hidden = torch.tanh(hidden) + 0.1 * hidden
    torch.testing.assert_close(net(x)[0], hidden @ last.weight[0] + last.bias[0])
    assert n_parameters(net) == 4 * 4 + 5 * 2
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        MLP([1, 1], Streams([0], "init"), activation="swish")


def test_embedding_equals_linear_on_one_hot() -> None:
    table = Embedding(4, 3, Streams([1, 2], "init"))
    index = torch.tensor([[0, 3, 3], [1, 2, 0]])
    one_hot = nn.functional.one_hot(index, 4).float()
    torch.testing.assert_close(table(index), torch.bmm(one_hot, table.weight))


def test_streams_do_not_depend_on_company_nor_touch_global_state() -> None:
    before = torch.get_rng_state()
    both, alone = Streams([1, 2], "init").normal(4, 3), Streams([2], "init").normal(4, 3)
    assert torch.equal(both[1], alone[0])
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(alone, Streams([2], "noise").normal(4, 3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "plateau", "constant"])
def test_batched_members_equal_single_ones_bit_for_bit(schedule: Any) -> None:
    options = replace(OPTIONS, schedule=schedule, plateau_patience=1, patience=3, clip_norm=0.5, weight_decay=0.01)
    batched, together = fit([7, 8, 9], options)
    single, alone = fit([8], options)
    for a, b in zip(member(batched, 1, 3).parameters(), single.parameters(), strict=True):
        assert torch.equal(a, b)
    assert together.validation_loss[1] == alone.validation_loss[0]
    assert together.best_step[1] == alone.best_step[0]


def test_training_learns_and_keeps_global_random_state() -> None:
    before = torch.get_rng_state()
    _, result = fit([0], replace(OPTIONS, steps=400))
    assert torch.equal(torch.get_rng_state(), before)
    variance = float(problem()["y"].var())
    assert result.validation_loss[0] < 0.1 * variance


def test_best_state_is_restored() -> None:
    net, result = fit([0], replace(OPTIONS, learning_rate=0.3, schedule="constant"))
    assert result.validation_loss[0] == min(result.curve[0])
    assert result.best_step[0] == EVERY * (1 + int(np.argmin(result.curve[0])))
    _, held_out = split_rows(500, 0.1, Streams([0], "split"))
    rows = problem()
    jitter = 0.01 * Streams([0], "validation").normal(50, 3)
    loss = (net(rows["x"][held_out] + jitter) - rows["y"][held_out]).square().mean()
    assert float(loss.detach()) == pytest.approx(result.validation_loss[0], rel=1e-5)


def test_patience_stops_early_and_no_validation_keeps_the_last_state() -> None:
    _, stopped = fit([0], replace(OPTIONS, learning_rate=1.0, schedule="constant", steps=5000, patience=2))
    assert stopped.steps < 5000
    _, last = fit([0], replace(OPTIONS, validation_fraction=0.0))
    assert last.best_step == [OPTIONS.steps]
    assert np.isnan(last.validation_loss[0])


def test_states_before_choose_after_are_not_chosen() -> None:
    _, result = fit([0], replace(OPTIONS, learning_rate=1.0, schedule="constant", choose_after=0.8))
    assert result.best_step[0] >= 0.8 * OPTIONS.steps


def test_divergence_raises_alone_and_is_recorded_in_company() -> None:
    rows = problem()

    def run(seeds: list[int]) -> TrainingResult:
        net = MLP([3, 2], Streams(seeds, "init"))
        poison = torch.tensor([float("nan") if seed == 1 else 1.0 for seed in seeds])

        def loss(batch: Batch) -> Tensor:
            return (net(batch["x"]) - batch["y"]).square().mean(dim=(1, 2)) * poison

        return train(net, loss, rows, seeds=seeds, options=OPTIONS, progress=silent)

    with pytest.raises(Diverged, match="not finite"):
        run([1])
    result = run([0, 1])
    assert result.diverged == [False, True]
    assert result.validation_loss[0] == run([0]).validation_loss[0]


def test_flat_adam_takes_the_steps_of_torch_adamw() -> None:
    ours, theirs = Linear(3, 2, Streams([0], "init")), Linear(3, 2, Streams([0], "init"))
    flat = FlatAdam(ours, 1, betas=(0.9, 0.99), weight_decay=0.1)
    assert theirs.bias is not None
    groups = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.99))
    x = torch.linspace(-2, 2, 12).view(1, 4, 3)
    for _ in range(5):
        theirs(x).square().sum().backward()
        flat.backward(ours(x).square().sum())
        flat.step(0.01, None)
        reference.step()
        reference.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_ordinary_modules_train_too() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 2))
            self.norm = nn.BatchNorm1d(3, affine=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x) @ self.weight

    net, rows = Plain(), problem()
    target = rows["x"] @ torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.5, 0.5]])

    def loss(batch: Batch) -> Tensor:
        return (net(batch["x"][0]) - batch["t"][0]).square().mean()

    options = replace(OPTIONS, steps=400, learning_rate=0.05)
    result = train(net, loss, {"x": rows["x"], "t": target}, seeds=[0], options=options, progress=silent)
    assert result.validation_loss[0] < 0.02
    assert float(net.weight[0, 0].detach()) == pytest.approx(1.0, abs=0.1)


def test_schedules() -> None:
    cycle = [scheduled(replace(OPTIONS, schedule="one-cycle", warmup=0.5), step) for step in range(60)]
    assert int(np.argmax(cycle)) == 30
    assert cycle[30] == pytest.approx(1e-2)
    assert cycle[-1] < 1e-4
    assert scheduled(replace(OPTIONS, schedule="cosine"), 0) == pytest.approx(1e-2)
    assert {scheduled(replace(OPTIONS, schedule="constant"), step) for step in range(60)} == {1e-2}


def test_splits_partition_the_rows_and_respect_groups() -> None:
    rows, held_out = split_rows(100, 0.2, Streams([3, 4], "split"))
    assert rows.shape == (2, 80)
    for e in range(2):
        assert sorted(torch.cat([rows[e], held_out[e]]).tolist()) == list(range(100))
    groups = torch.arange(30) % 10
    rows, held_out = split_rows(30, 0.3, Streams([3], "split"), groups)
    assert held_out.shape == (1, 9)
    assert not set(groups[rows[0]].tolist()) & set(groups[held_out[0]].tolist())
    with pytest.raises(NotApplicable, match="too few"):
        split_rows(1, 0.5, Streams([0], "split"))
    with pytest.raises(ValueError, match="equal size"):
        split_rows(3, 0.5, Streams([0], "split"), torch.tensor([0, 0, 1]))
