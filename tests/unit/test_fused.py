"""The written-out forward and backward pass of ``bench.toolkit.networks.MLP`` against autograd."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.toolkit import fused
from bench.toolkit.networks import ACTIVATIONS, MLP, Streams
from bench.toolkit.training import FlatAdam

SEEDS = [3, 4]


def plainly(net: MLP, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """The network by autograd's own operations."""
    h = net.layers[0](x)
    h = h if shift is None else h + shift
    for layer in list(net.layers)[1:]:
        h = layer(ACTIVATIONS[net.activation](h))
    return h


def inputs(*shape: int) -> Tensor:
    return Streams(SEEDS, "x").normal(*shape).requires_grad_()


@pytest.mark.parametrize("activation", sorted(fused.RULES))
@pytest.mark.parametrize("sizes", [[3, 2], [3, 6, 2], [3, 6, 7, 5, 2]])
def test_values_and_gradients_are_those_of_autograd(activation: str, sizes: list[int]) -> None:
    net = MLP(sizes, Streams(SEEDS, "init"), activation=activation)
    x, shift = inputs(4, 3), inputs(4, sizes[1])
    over = [x, shift, *net.parameters()]
    for _ in range(2):  # the second time in memory that was used before
        ours, theirs = net(x, shift), plainly(net, x, shift)
        torch.testing.assert_close(ours, theirs)
        found = torch.autograd.grad(ours.sin().sum(), over)
        wanted = torch.autograd.grad(theirs.sin().sum(), over)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b)


def test_a_network_that_is_used_twice_gets_the_sum_of_both_gradients_in_place() -> None:
    net = MLP([3, 6, 5, 2], Streams(SEEDS, "init"), activation="xtanh")
    other = copy.deepcopy(net)
    x = inputs(4, 3)
    adam = FlatAdam(net, len(SEEDS), betas=(0.9, 0.999), weight_decay=0.0)
    for _ in range(2):  # what was there from the step before does not count
        adam.backward((net(x).sin() * net(2 * x)).sum())
    wanted = torch.autograd.grad((plainly(other, x).sin() * plainly(other, 2 * x)).sum(), list(other.parameters()))
    for p, b in zip(net.parameters(), wanted, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, b)


def test_parameters_that_are_not_used_or_frozen_get_no_gradient() -> None:
    both = nn.ModuleList(MLP([3, 4, 2], Streams(SEEDS, name), activation="silu") for name in ("a", "b"))
    adam = FlatAdam(both, len(SEEDS), betas=(0.9, 0.999), weight_decay=0.0)
    x = inputs(4, 3)
    adam.backward(sum(net(x).sum() for net in both))
    assert float(adam.gradients.abs().sum(1).min()) > 0
    for p in both[1].parameters():
        p.requires_grad_(False)
    through = both[1](both[0](x)[..., :1].expand(-1, -1, 3))
    for p in both[1].parameters():
        p.requires_grad_(True)
    adam.backward(through.sum())
    assert all(bool((p.grad == 0).all()) for p in both[1].parameters() if p.grad is not None)
    assert all(bool((p.grad != 0).any()) for p in both[0].parameters() if p.grad is not None)


def test_memory_is_used_again_and_not_copied_with_the_network() -> None:
    net = MLP([3, 6, 6, 2], Streams(SEEDS, "init"), activation="silu")
    x = inputs(4, 3)
    kept = net(x)
    first = net(x)
    torch.autograd.grad(first.sum(), x)
    waiting = [t.data_ptr() for tensors in net._pool._free.values() for t in tensors]
    assert len(waiting) == len(set(waiting)) > 0, "and none is there twice"
    torch.autograd.grad(net(x).sum(), x)
    assert sorted(t.data_ptr() for tensors in net._pool._free.values() for t in tensors) == sorted(waiting)
    torch.testing.assert_close(torch.autograd.grad(kept.sum(), x), torch.autograd.grad(plainly(net, x).sum(), x))
    again = net(x).sum()
    again.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second backward"):
        again.backward()
    assert not copy.deepcopy(net)._pool._free


def test_a_second_derivative_is_refused() -> None:
    net = MLP([3, 6, 2], Streams(SEEDS, "init"), activation="tanh")
    x = inputs(4, 3)
    with pytest.raises(RuntimeError, match="first derivative only"):
        torch.autograd.grad(net(x).sum(), x, create_graph=True)
