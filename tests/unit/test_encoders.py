"""The encoders of the kinds: one signature, weights from their streams alone, no row that depends on another."""

from typing import Any

import numpy as np
import pytest
import torch

from bench import registry
from bench.toolkit.encoders import decoder, encode_rows, encoder
from bench.toolkit.encoders.image import halvings
from bench.toolkit.encoders.sequence import SequenceEncoder
from bench.toolkit.networks import Streams
from bench.toolkit.rows import Prepared, prepare

FOUND = registry.discover()
CASES = [
    ("tiny-images", {}),
    ("tiny-sequences", {"architecture": "rnn"}),
    ("tiny-sequences", {"architecture": "lstm"}),
    ("tiny-sequences", {"architecture": "transformer"}),
    ("tiny-graphs", {}),
]


def case(name: str) -> tuple[Prepared, Any]:
    train = registry.load(FOUND.datasets[name])(seed=1, n_per_task=6).train
    return prepare(train), train.x


@pytest.mark.parametrize(("name", "options"), CASES)
def test_weights_follow_from_the_seed_and_nothing_else(name: str, options: dict[str, str]) -> None:
    inputs, x = case(name)
    before = torch.get_rng_state()
    made = [encoder(inputs, 3, Streams([seed], "init"), **options) for seed in (7, 7, 8)]
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (encode_rows(network, inputs(x)) for network in made)
    assert first.shape == (len(x), 3)
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert 0.01 < first.std() < 10, "initial codes are of ordinary size"


@pytest.mark.parametrize(("name", "options"), CASES)
def test_rows_do_not_see_each_other_and_gradients_reach_all_weights(name: str, options: dict[str, str]) -> None:
    inputs, x = case(name)
    network, rows = encoder(inputs, 3, Streams([0], "init"), **options), inputs(x)
    codes = network(rows[torch.arange(len(x))[None]])
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:9]
    assert torch.allclose(network(rows[order[None]]), codes[:, order], atol=1e-5)
    codes.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters() if p.ndim > 1)


def test_causal_states_have_seen_the_past_alone() -> None:
    inputs, x = case("tiny-sequences")
    rows = inputs(x)
    changed = rows.clone()
    changed[:, 5:] += 1.0
    for architecture in ("rnn", "lstm", "transformer"):
        network = encoder(inputs, 2, Streams([0], "init"), architecture=architecture)
        states, others = network.states(rows[None]), network.states(changed[None])
        assert torch.allclose(states[:, :, :5], others[:, :, :5], atol=1e-6)
        assert not torch.allclose(states[:, :, 5:], others[:, :, 5:], atol=1e-2)


def test_graphs_are_their_nodes_in_any_order() -> None:
    inputs, x = case("tiny-graphs")
    network = encoder(inputs, 3, Streams([0], "init"))
    reversed_ = _with_nodes_reversed(x)
    assert np.allclose(encode_rows(network, inputs(x)), encode_rows(network, inputs(reversed_)), atol=1e-5)


def _with_nodes_reversed(x: Any) -> Any:
    from dataclasses import replace

    size = np.diff(x.node_offsets)
    nodes = np.concatenate([x.nodes[a:b][::-1] for a, b in zip(x.node_offsets, x.node_offsets[1:], strict=False)])
    graph = np.repeat(np.arange(len(x)), np.diff(x.edge_offsets))
    return replace(x, nodes=nodes, edges=size[graph][:, None] - 1 - x.edges)


def test_decoders_and_sides() -> None:
    images, x = case("tiny-images")
    z = torch.zeros(1, 4, 2)
    assert decoder(images, 2, Streams([0], "init"))(z).shape == (1, 4, 256)
    assert images.dense(images(x)[torch.arange(4)[None]]).shape == (1, 4, 256)
    sequences, x = case("tiny-sequences")
    assert decoder(sequences, 2, Streams([0], "init"))(z).shape == (1, 4, 32)
    assert [halvings((3, s, s)) for s in (64, 32, 28, 9)] == [4, 3, 2, 0]


def test_several_members_are_for_vectors() -> None:
    inputs, _ = case("tiny-images")
    with pytest.raises(ValueError, match="images train one seed at a time, not 2"):
        encoder(inputs, 2, Streams([0, 1], "init"))
    inputs, _ = case("tiny-sequences")
    with pytest.raises(ValueError, match="choose rnn, lstm or transformer"):
        encoder(inputs, 2, Streams([0], "init"), architecture="gru")


@pytest.mark.parametrize("architecture", ["rnn", "lstm", "transformer"])
def test_the_last_state_is_the_last_of_all_states(architecture: str) -> None:
    network = SequenceEncoder(3, 2, Streams([0], "init"), architecture=architecture, hidden=16)  # type: ignore[arg-type]
    rows = torch.randn(1, 5, 7, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network.last_state(rows), network.states(rows)[:, :, -1])
