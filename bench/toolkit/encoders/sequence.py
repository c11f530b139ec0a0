"""The encoder of sequences: a recurrent network or a causal attention block, read at the last step."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from bench.toolkit.networks import Linear, Streams

Architecture = Literal["rnn", "lstm", "transformer"]
_HEADS = 8


class SequenceEncoder(nn.Module):
    """Sequences (1, B, steps, p) -> (1, B, width): the state after the last step, then an affine layer.

    architecture   "rnn": ReLU recurrence whose matrix starts at the identity (Le, Jaitly, Hinton 2015); "lstm";
                   "transformer": one block of causal self-attention without positions (Radford et al. 2019)
    hidden         width of the state
    """

    def __init__(
        self, channels: int, width: int, init: Streams, *, architecture: Architecture = "rnn", hidden: int = 64
    ) -> None:
        super().__init__()
        if architecture not in ("rnn", "lstm", "transformer"):
            raise ValueError(f"architecture={architecture!r}: choose rnn, lstm or transformer")
        self.body: nn.Module
        if architecture == "transformer":
            self.body = CausalAttention(channels, hidden, init)
        else:
            self.body = Recurrence(channels, hidden, init, gated=architecture == "lstm")
        self.leave = Linear(hidden, width, init)

    def states(self, rows: Tensor) -> Tensor:
        """State after every step (1, B, steps, hidden); state t has seen the steps up to t alone."""
        states: Tensor = self.body(rows[0])
        return states[None]

    def last_state(self, rows: Tensor) -> Tensor:
        """State after the last step alone (1, B, hidden), which costs attention a fraction of all states."""
        body = self.body
        state = body.last(rows[0]) if isinstance(body, CausalAttention) else body(rows[0])[:, -1]
        return state[None]

    def forward(self, rows: Tensor) -> Tensor:
        return self.leave(self.last_state(rows))


class Recurrence(nn.Module):
    """(B, steps, p) -> states (B, steps, hidden) of a ReLU or an LSTM recurrence, on torch's fused kernels."""

    def __init__(self, channels: int, hidden: int, init: Streams, *, gated: bool) -> None:
        super().__init__()
        kind = nn.LSTM if gated else nn.RNN
        more = {} if gated else {"nonlinearity": "relu"}
        # made without memory first: torch would fill the weights from the global generator
        self.cell = kind(channels, hidden, batch_first=True, device="meta", **more).to_empty(device=init.device)
        with torch.no_grad():
            for name, parameter in self.cell.named_parameters():
                drawn = (2 * init.uniform(*parameter.shape)[0] - 1) / math.sqrt(hidden)
                parameter.copy_(torch.zeros_like(drawn) if name.startswith("bias") else drawn)
            if gated:
                self.cell.bias_ih_l0[hidden : 2 * hidden] = 1.0  # remember by default (Gers et al. 2000)
            else:
                self.cell.weight_hh_l0.copy_(torch.eye(hidden))

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.cell(x)[0]
        return states


class CausalAttention(nn.Module):
    """(B, steps, p) -> (B, steps, hidden): h + attention, then h + perceptron, each on the normalised h."""

    def __init__(self, channels: int, hidden: int, init: Streams) -> None:
        super().__init__()
        if hidden % _HEADS:
            raise ValueError(f"hidden={hidden} must be a multiple of {_HEADS}, the number of heads")
        self.enter = Linear(channels, hidden, init)
        self.query_key_value = Linear(hidden, 3 * hidden, init)
        self.mix = Linear(hidden, hidden, init, gain=0.5)
        self.inner = Linear(hidden, 4 * hidden, init, gain=math.sqrt(2))
        self.outer = Linear(4 * hidden, hidden, init, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        h = _each(self.enter, x)
        query, key, value = (_heads(part) for part in _each(self.query_key_value, _normalised(h)).chunk(3, dim=2))
        return self._onward(h, nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True))

    def last(self, x: Tensor) -> Tensor:
        """The last of the states (B, hidden): only it asks, and only it goes on."""
        h = _each(self.enter, x)
        query, key, value = (_heads(part) for part in _each(self.query_key_value, _normalised(h)).chunk(3, dim=2))
        seen = nn.functional.scaled_dot_product_attention(query[:, :, -1:], key, value)
        return self._onward(h[:, -1:], seen)[:, 0]

    def _onward(self, h: Tensor, seen: Tensor) -> Tensor:
        """States (B, s, hidden) from the inputs h of those steps and what they attended to, (B, heads, s, ·)."""
        h = h + _each(self.mix, seen.transpose(1, 2).flatten(2))
        h = h + _each(self.outer, nn.functional.gelu(_each(self.inner, _normalised(h))))
        return _normalised(h)


def _each(layer: nn.Module, h: Tensor) -> Tensor:
    """The layer, which takes (1, rows, columns), at every step of h (B, steps, columns)."""
    out: Tensor = layer(h.flatten(0, 1)[None])[0]
    return out.view(*h.shape[:2], -1)


def _heads(h: Tensor) -> Tensor:
    """(B, steps, hidden) -> (B, heads, steps, hidden / heads)."""
    return h.unflatten(2, (_HEADS, -1)).transpose(1, 2)


def _normalised(h: Tensor) -> Tensor:
    return nn.functional.layer_norm(h, h.shape[-1:])
