"""Attention sinks against what models of transformers report, and against planted ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import net, of_transformers

from bregma.datasets import planted_sinks
from bregma.errors import InvalidArgument
from bregma.mechanism import (
    RescaleAlong,
    attention_sinks,
    edited_answers,
    sink_writings,
)


def tokens(n=5, length=9, seed=0):
    return torch.randint(20, (n, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3"])
def test_as_models_of_transformers_report(transformers, family):
    """Their attention maps and hidden states, by loops."""
    model = of_transformers(transformers, family, num_hidden_layers=3, attn_implementation="eager")
    inputs = tokens()
    found = attention_sinks(model, inputs, massive=0.0, cosine=0.3, batch_size=2)
    with torch.no_grad():
        out = model(inputs, output_attentions=True, output_hidden_states=True)
    for layer, maps in enumerate(out.attentions):
        for t in range(8):
            want = maps[:, :, t + 1 :, t].mean((1, 2))
            np.testing.assert_allclose(found.scores[:, layer, t], want, atol=1e-5)
    assert (found.scores[:, :, 8] == 0).all()
    for state, h in enumerate(out.hidden_states[:-1]):  # the last one is normed there
        np.testing.assert_allclose(found.norms[:, state], h.norm(dim=-1), rtol=1e-4)
        cosine = torch.cosine_similarity(h, h[:, :1], -1)
        np.testing.assert_allclose(found.cosines[:, state], cosine, atol=1e-5)
    norm = found.norms.values[:, :, 0].mean(0)
    first, last = found.span
    assert np.diff(norm).max() == norm[first] - norm[first - 1]
    assert last <= 3
    inside = np.abs(found.cosines.values[:, first : last + 1]) > 0.3
    np.testing.assert_array_equal(found.lifetime, inside.sum(1))
    assert not found.is_sink[:, :first].any()


def test_scores_of_uniform_attention():
    model = net()
    for block in model.blocks:
        block.query_key_value.weight.data[:32] = 0  # queries and keys
        block.query_key_value.bias.data[:32] = 0
    found = attention_sinks(model, tokens(3, 6), massive=0.0)
    np.testing.assert_allclose(found.scores, np.broadcast_to(found.uniform, (3, 3, 6)), atol=1e-6)
    assert found.uniform[3] == pytest.approx((1 / 5 + 1 / 6) / 2)
    assert found.uniform[5] == 0


@pytest.mark.parametrize("seed", [3, 4])
def test_planted_sinks_are_recovered(seed):
    world = planted_sinks(6, n_kinds=4, layers=14, seed=seed)
    found = attention_sinks(world.net, world.tokens)
    np.testing.assert_array_equal(found.created, world.created)
    np.testing.assert_array_equal(found.lifetime, world.lifetime)
    assert (found.primary, found.span) == (0, (2, 12))
    kinds, share = found.kinds(), world.lifetime / 14
    assert (kinds[:, 0] == "primary").all()
    assert (kinds[world.created < 0] == "").all()
    later = (world.created > 1) & (share < 0.7)
    assert set(kinds[later & (share > 0.08)]) <= {"secondary"}
    assert set(kinds[later & (share <= 0.08)]) <= {"brief"}
    frame = found.to_frame()
    assert len(frame) == (world.created >= 0).sum()
    last = frame.token == 23
    assert (frame.relative_score[~last] > 1.5).all()
    assert (frame.relative_score[last] == 0).all()


def test_a_network_without_sinks_has_none():
    for model in (net(), planted_sinks(1, n_kinds=0, seed=0).net):
        inputs = tokens(3, 6)
        found = attention_sinks(model, inputs + 5 if model.embed.token.shape[0] > 25 else inputs)
        assert (found.primary, found.span) == (-1, (0, -1))
        assert not found.is_sink.any()
        assert len(found.to_frame()) == 0
        assert (found.created == -1).all()


def test_without_what_was_written_there_is_no_sink():
    world = planted_sinks(6, seed=5)
    found = attention_sinks(world.net, world.tokens)
    writings = sink_writings(world.net, world.tokens, found, batch_size=4)
    assert sorted(writings) == sorted({*world.created[world.created >= 0].tolist()})
    for layer, one in writings.items():
        np.testing.assert_array_equal(one.where, np.argwhere(world.created == layer))
        assert one.norms.min() > 50
        assert one.explained > 0.95
        assert one.direction.norm().item() == pytest.approx(1)
        if layer > 1:
            edits = {layer: RescaleAlong(one.direction, norm=1.0, cosine=0.9)}
            left = attention_sinks(world.net, world.tokens, edits=edits)
            others = world.created != layer
            assert (left.created[~others] == -1).all()
            np.testing.assert_array_equal(left.created[others], world.created[others])


def test_edited_answers_by_hooks():
    model, inputs = net(), tokens(5, 6)
    with torch.no_grad():
        torch.testing.assert_close(edited_answers(model, inputs, {}), model(inputs))
        hook = model.blocks[1].narrow.register_forward_hook(lambda m, a, out: out * 0.3)
        want = model(inputs)
        hook.remove()
    got = edited_answers(model, inputs, {1: lambda y: 0.3 * y}, batch_size=2)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    assert (got - edited_answers(model, inputs, {})).abs().max() > 0.01


def test_rescaled_by_hand():
    rescale = RescaleAlong(torch.tensor([2.0, 0.0]), norm=5.0, cosine=0.7)
    x = torch.tensor([[30.0, 0.0], [-30.0, 0.0], [3.0, 4.0], [4.0, 3.0], [0.0, 0.0]])
    want = torch.tensor([[5.0, 0.0], [-30.0, 0.0], [3.0, 4.0], [4.0, 3.0], [0.0, 0.0]])
    torch.testing.assert_close(rescale(x), want)
    torch.testing.assert_close(rescale(10 * x)[3], torch.tensor([4.0, 3.0]))
    for bad in ({"direction": torch.zeros(2)}, {"norm": -1.0}, {"cosine": 1.0}):
        with pytest.raises(InvalidArgument, match="direction"):
            RescaleAlong(**({"direction": torch.ones(2), "norm": 1.0} | bad))


def test_errors(timm):
    model, inputs = net(), tokens(3, 6)
    for bad in ({"cosine": 1.0}, {"massive": -1.0}, {"batch_size": 0}):
        with pytest.raises(InvalidArgument, match="cosine must"):
            attention_sinks(model, inputs, **bad)
    for tokens_, place in ((inputs, 5), (inputs[:, :1], 0), (inputs[0], 0), (inputs[:0], 0)):
        with pytest.raises(InvalidArgument, match="primary sink at"):
            attention_sinks(model, tokens_, primary=place)
    with pytest.raises(InvalidArgument, match="layer 3 of 3"):
        attention_sinks(model, inputs, edits={3: torch.zeros_like})
    found = attention_sinks(model, inputs)
    with pytest.raises(InvalidArgument, match="ordered"):
        found.kinds(short=0.8)
    with pytest.raises(InvalidArgument, match="shape"):
        sink_writings(model, inputs[:2], found)
    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, embed_dim=16, num_heads=2, depth=1, num_classes=3
    ).eval()
    with pytest.raises(InvalidArgument, match="every token"):
        edited_answers(vit, torch.zeros(2, 3, 32, 32), {})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives():
    world = planted_sinks(3, seed=0)
    here = attention_sinks(world.net, world.tokens)
    there = attention_sinks(world.net.cuda(), world.tokens.cuda())
    np.testing.assert_array_equal(there.created, here.created)
    np.testing.assert_allclose(there.scores, here.scores, atol=1e-3)
