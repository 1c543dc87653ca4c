"""Networks in which one neuron of each layer carries each class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bregma.datasets import neuron_chains
from bregma.errors import InvalidArgument


def silenced(world, layer, neuron):
    """Scores of the answers without one neuron, by a plain hook."""
    part = world.module.get_submodule(world.layers[layer])

    def silence(_, __, out):
        out = out.clone()
        out[:, neuron] = 0
        return out

    hook = part.register_forward_hook(silence)
    with torch.no_grad():
        scores = world.module(world.task.inputs)
    hook.remove()
    return scores


@pytest.mark.parametrize("stream", [False, True])
def test_the_neurons_that_are_named_are_the_ones_that_act(stream):
    world = neuron_chains(40, classes=3, layers=2, width=12, stream=stream, seed=1)
    with torch.no_grad():
        plain = world.module(world.task.inputs)
    assert world.task.accuracy(plain) == 1
    for layer in range(2):
        for neuron in range(12):
            scores = silenced(world, layer, neuron)
            [carried] = [np.flatnonzero(world.neurons[:, layer] == neuron)]
            if len(carried) == 0:
                torch.testing.assert_close(scores, plain)
                continue
            rows = world.task.targets == int(carried[0])
            torch.testing.assert_close(scores[~rows], plain[~rows])
            own = scores[rows, carried[0]]
            torch.testing.assert_close(own, torch.full_like(own, 2.5 if stream else 0.0))


@pytest.mark.parametrize("stream", [False, True])
def test_the_others_are_as_loud_as_asked(stream):
    world = neuron_chains(64, loudness=4.0, stream=stream, seed=0)
    x = world.task.inputs
    for name, part in world.module.named_children():
        x = part(x)
        if not stream and name in world.layers:
            assert 3 < x.mean() < 4.1  # those that carry a class are mostly silent


def test_the_same_seed_gives_the_same_world():
    one, two, other = (neuron_chains(seed=seed) for seed in (3, 3, 4))
    assert (one.neurons == two.neurons).all()
    assert torch.equal(one.task.inputs, two.task.inputs)
    assert torch.equal(one.module(one.task.inputs), two.module(one.task.inputs))
    assert not (one.neurons == other.neurons).all()


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"classes": 1}, {"layers": 0}, {"width": 5}, {"loudness": 0.0}]
)
def test_what_makes_no_world_is_refused(wrong):
    with pytest.raises(InvalidArgument, match="width above classes"):
        neuron_chains(**wrong, seed=0)
