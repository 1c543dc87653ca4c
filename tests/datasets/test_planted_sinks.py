"""Planted sinks, looked at with hooks on the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.datasets import planted_sinks
from bregma.errors import InvalidArgument


@torch.no_grad()
def states(world):
    """Of the stream behind every layer: (input, layer, token, width)."""
    found = []
    hooks = [b.register_forward_hook(lambda m, a, out: found.append(out)) for b in world.net.blocks]
    world.net(world.tokens)
    for hook in hooks:
        hook.remove()
    return torch.stack(found, 1)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 999), n_kinds=st.integers(0, 8), layers=st.integers(8, 14))
def test_sinks_are_long_along_the_direction_while_the_truth_says(seed, n_kinds, layers):
    world = planted_sinks(3, n_kinds=n_kinds, layers=layers, length=16, seed=seed)
    layer = np.arange(layers)[:, None]
    begin, end = world.created[:, None], (world.created + world.lifetime)[:, None]
    sink = (begin >= 0) & (layer >= begin) & (layer < end)
    along = (states(world) @ world.direction).numpy()
    assert (along[sink] > 28).all()
    assert (np.abs(along[~sink]) < 0.5).all()
    assert (world.lifetime[world.created >= 0] > 0).all()
    assert sorted({*world.tokens[world.created >= 0].tolist()})[-1] <= n_kinds


def test_the_first_token_and_ordinary_ones():
    world = planted_sinks(4, seed=1)
    assert (world.tokens[:, 0] == 0).all()
    assert (world.created[:, 0] == 1).all()
    assert (world.lifetime[:, 0] == 9).all()
    ordinary = states(world).norm(dim=-1).numpy().transpose(0, 2, 1)[world.created < 0]
    assert ordinary.max() < 20
    with torch.no_grad():  # heads look at sinks: no query, key or value reads the idle direction
        for block in world.net.blocks:
            assert (block.query_key_value.weight @ world.idle).abs().max() < 1e-5
            assert (block.widen.weight @ world.idle).abs().max() < 1e-4


def test_seeds_and_errors():
    one, same, other = (planted_sinks(2, seed=s) for s in (0, 0, 1))
    assert torch.equal(one.net(one.tokens), same.net(same.tokens))
    assert not torch.equal(one.tokens, other.tokens)
    for bad in ({"n": 0}, {"n_kinds": 9}, {"layers": 7}, {"length": 1}, {"dose": 20.0}):
        with pytest.raises(InvalidArgument, match="dose 30"):
            planted_sinks(**bad, seed=0)
