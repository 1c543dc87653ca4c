"""The causal Transformer as a kit: its numbers are what they were, and parts can be handed in.

That it computes what PyTorch's own layers compute is tested beside the network that it is compared
with, in test_fast_weights.py.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bregma.errors import InvalidArgument
from bregma.nn import CausalTransformer

TOKENS = torch.arange(14).view(2, 7) % 9


def test_a_seed_gives_the_numbers_that_it_has_always_given():
    """A published claim rests on them."""
    scores = CausalTransformer(9, 7, 8, heads=2, layers=2, seed=3)(TOKENS)[1, -1]
    before = [
        *(-0.3451763093, 0.3886318803, -0.8198398948, 1.1733064651, 0.3639271259),
        *(0.4907257855, 1.0923068523, 1.3427630663, -0.3316040337),
    ]
    torch.testing.assert_close(scores, torch.tensor(before), atol=1e-6, rtol=0)


def test_heads_of_another_width_by_hand():
    net = CausalTransformer(
        9, 7, 8, heads=3, head_width=5, neurons=4, layers=1, norm=nn.Identity, seed=0
    )
    (block,) = net.blocks
    x = net.embed(TOKENS)
    q, k, v = block.query_key_value(x).split(15, -1)
    written = block.project.bias.expand(2, 7, 8).clone()
    for head in range(3):
        own = slice(5 * head, 5 * head + 5)
        for t in range(7):
            score = (q[:, t, None, own] * k[:, : t + 1, own]).sum(-1) / 5**0.5
            gathered = (score.softmax(-1)[..., None] * v[:, : t + 1, own]).sum(1)
            written[:, t] += gathered @ block.project.weight[:, own].T
    x = x + written
    hidden = nn.functional.gelu(x @ block.widen.weight.T + block.widen.bias)
    x = x + hidden @ block.narrow.weight.T + block.narrow.bias
    torch.testing.assert_close(net(TOKENS), x @ net.unembed.weight.T)
    torch.testing.assert_close(net.neurons(TOKENS)[0], hidden)


def test_steps_have_names_and_hand_on_what_they_get():
    net = CausalTransformer(9, 7, 8, heads=2, layers=2, seed=0)
    seen = {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda m, args, out, name=name: seen.update({name: out}))
    net(TOKENS)
    for step in ("query", "key", "value", "head"):
        assert seen[f"blocks.1.{step}"].shape == (2, 2, 7, 4)
    torch.testing.assert_close(seen["blocks.1.hidden"], net.neurons(TOKENS)[1])


def test_a_norm_is_handed_in():
    widths = []

    def norm(width):
        widths.append(width)
        return nn.RMSNorm(width)

    net = CausalTransformer(9, 7, 8, heads=2, layers=2, norm=norm, seed=0)
    assert widths == [8] * 5
    assert isinstance(net.blocks[1].second, nn.RMSNorm)


@pytest.mark.parametrize("wrong", [{"head_width": 0}, {"neurons": 0}])
def test_what_is_wrong_is_said(wrong):
    with pytest.raises(InvalidArgument, match="head_width and neurons"):
        CausalTransformer(9, 7, 8, heads=2, layers=1, **wrong)
