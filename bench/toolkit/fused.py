"""A multi-layer perceptron's forward and backward pass in memory that is used again at every step.

Autograd allocates every intermediate tensor anew. At some hundred kilobytes each that is memory fresh from the
operating system, and a step of an ensemble spends more time on fetching it than on arithmetic. Here activations live in
a ``Pool``, activation functions and their derivatives work in place, and gradients of weights are written where the
optimiser reads them. The arithmetic is that of autograd, but for tanh operation by operation.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

Forward = Callable[[Tensor, Callable[[], Tensor]], tuple[Tensor, Tensor | None]]
Backward = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Pool:
    """Tensors that wait to be used again; what is never given back is freed as usual. A copy starts empty."""

    def __init__(self) -> None:
        self._free: defaultdict[tuple[Any, ...], list[Tensor]] = defaultdict(list)

    def __deepcopy__(self, memo: object) -> Pool:
        return Pool()

    def __reduce__(self) -> tuple[type[Pool], tuple[()]]:
        return Pool, ()

    def take(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """A tensor of that shape, of the type and on the device of ``like``, with any content."""
        waiting = self._free[(*shape, like.dtype, like.device)]
        return waiting.pop() if waiting else torch.empty(tuple(shape), dtype=like.dtype, device=like.device)

    def give(self, tensor: Tensor) -> None:
        """Nothing may use ``tensor`` any more."""
        self._free[(*tensor.shape, tensor.dtype, tensor.device)].append(tensor)


def _relu(a: Tensor, spare: Callable[[], Tensor]) -> tuple[Tensor, None]:
    return a.relu_(), None


def _relu_backward(g: Tensor, h: Tensor, kept: Tensor | None) -> Tensor:
    return torch.ops.aten.threshold_backward.grad_input(g, h, 0, grad_input=g)


def _tanh(a: Tensor, spare: Callable[[], Tensor]) -> tuple[Tensor, None]:
    return _tanh_in_place(a), None


def _tanh_in_place(a: Tensor) -> Tensor:
    """tanh a = 2 σ(2a) − 1, to a rounding error of 1: torch's sigmoid is seven times as fast as its tanh."""
    return a.mul_(2).sigmoid_().mul_(2).sub_(1)


def _tanh_backward(g: Tensor, h: Tensor, kept: Tensor | None) -> Tensor:
    return torch.ops.aten.tanh_backward.grad_input(g, h, grad_input=g)


def _xtanh(a: Tensor, spare: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    t = _tanh_in_place(spare().copy_(a))
    return torch.add(t, a, alpha=0.1, out=a), t


def _xtanh_backward(g: Tensor, h: Tensor, kept: Tensor | None) -> Tensor:
    assert kept is not None
    return g.mul_(torch.addcmul(torch.full_like(g[0, 0, :1], 1.1), kept, kept, value=-1, out=kept))


def _silu(a: Tensor, spare: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    return torch.ops.aten.silu.out(a, out=spare()), a


def _silu_backward(g: Tensor, h: Tensor, kept: Tensor | None) -> Tensor:
    return torch.ops.aten.silu_backward.grad_input(g, kept, grad_input=g)


RULES: dict[str, tuple[Forward, Backward]] = {
    "relu": (_relu, _relu_backward),
    "tanh": (_tanh, _tanh_backward),
    "xtanh": (_xtanh, _xtanh_backward),
    "silu": (_silu, _silu_backward),
}
"""By name of an activation. Forward takes pre-activations, which it may overwrite, and gives activations and what its
derivative needs beside them. Backward turns the gradient by activations into that by pre-activations, in place."""

_written: set[int] | None = None


@contextlib.contextmanager
def gradients_in_place() -> Iterator[set[int]]:
    """Within it, a backward pass puts the gradients of weights that have a ``grad`` straight there, whatever it held
    before, and autograd gets None for them. Yields the ids of the parameters for which that was done.
    """
    global _written
    before, _written = _written, set()
    try:
        yield _written
    finally:
        _written = before


def chain(
    x: Tensor,
    shift: Tensor | None,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    pool: Pool,
) -> Tensor:
    """Affine maps (E, B, n_in) -> (E, B, n_out) with ``activation``, one of ``RULES``, between them.

    shift     (E, B, n) added to the first layer's pre-activations, or None
    weights   (E, n_in, n_out) each
    biases    (E, 1, n_out) each

    It has a first derivative only.
    """
    return _Chain.apply(activation, pool, x, shift, *weights, *biases)


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activation: str, pool: Pool, x: Tensor, shift: Tensor | None, *parameters: Tensor) -> Tensor:
        act, ctx.rule = RULES[activation]
        n = len(parameters) // 2
        weights, biases = parameters[:n], parameters[n:]
        h, states = x, []
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            shape = (*x.shape[:2], weight.shape[2])
            a = torch.baddbmm(bias, h, weight, out=x.new_empty(shape) if layer == n - 1 else pool.take(shape, x))
            if layer == 0 and shift is not None:
                a += shift
            if layer < n - 1:
                h, kept = act(a, lambda shape=shape: pool.take(shape, x))  # type: ignore[misc]
                states.append((h, kept))
        ctx.save_for_backward(x, *weights)
        ctx.states, ctx.pool, ctx.biases = states, pool, biases
        return a

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        x, *weights = ctx.saved_tensors
        states, pool, n, needed = ctx.states, ctx.pool, len(weights), ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():
            raise RuntimeError("this network has a first derivative only: leave create_graph out")
        if states is None:
            raise RuntimeError("a second backward pass through the same network output: its memory is in use again")
        ctx.states = None
        targets = [
            _Target(parameter) if wanted else None
            for parameter, wanted in zip((*weights, *ctx.biases), needed[2:], strict=True)
        ]
        g = g.contiguous()
        for layer in reversed(range(n)):
            below = states[layer - 1][0] if layer else x
            if (target := targets[layer]) is not None:
                target.put_product(below.mT, g)
            if (target := targets[n + layer]) is not None:
                target.put_sum(g)
            if layer:
                above = torch.bmm(g, weights[layer].mT, out=pool.take(below.shape, below))
                if layer < n - 1:
                    pool.give(g)
                h, kept = states[layer - 1]
                g = ctx.rule(above, h, kept)
                for used in (h, kept):
                    if used is not None:
                        pool.give(used)
        by_x = torch.bmm(g, weights[0].mT) if needed[0] else None
        by_shift = g if needed[1] else None
        if n > 1 and by_shift is None:
            pool.give(g)
        return None, None, by_x, by_shift, *(None if target is None else target.result() for target in targets)


class _Target:
    """Where the gradient of one parameter goes: see ``gradients_in_place``."""

    def __init__(self, parameter: Tensor) -> None:
        self._in_place = _written is not None and parameter.grad is not None
        self._add = False
        if self._in_place:
            assert _written is not None
            self._add = id(parameter) in _written  # by a network that was used twice
            _written.add(id(parameter))
            assert parameter.grad is not None
            self._to = parameter.grad
        else:
            self._to = torch.empty_like(parameter)

    def put_product(self, a: Tensor, b: Tensor) -> None:
        if self._add:
            self._to.baddbmm_(a, b)
        else:
            torch.bmm(a, b, out=self._to)

    def put_sum(self, g: Tensor) -> None:
        """Sum over rows."""
        if self._add:
            self._to += g.sum(1, keepdim=True)
        else:
            torch.sum(g, 1, keepdim=True, out=self._to)

    def result(self) -> Tensor | None:
        return None if self._in_place else self._to
