"""Contributions to features: sums, a frozen network under autograd, and circuits by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import N_TOKENS, N_WORDS, net, wild
from torch import nn

from bregma import TorchSystem
from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import (
    FeatureTrace,
    Part,
    ReLUCode,
    SparseAutoencoder,
    TopKCode,
    de_embedding,
    feature_circuit,
    feature_weights,
)
from bregma.nn import CausalTransformer
from bregma.run import spawn_torch


def transcoder(width=16, n=12, code=None, seed=0):
    found = SparseAutoencoder(width, n, code or ReLUCode(0.1), n_outputs=width, seed=seed)
    rng = spawn_torch(seed, "test")
    with torch.no_grad():
        found.encoder.bias.copy_(0.3 * torch.randn(n, generator=rng))
        found.bias.copy_(0.3 * torch.randn(width, generator=rng))
    return found


def tokens(n=N_TOKENS, seed=0):
    return torch.randint(N_WORDS, (n,), generator=torch.Generator().manual_seed(seed))


def drives(trace, layer, token):
    """Contributions to every feature of a layer at a token, summed."""
    n = trace.active(layer).shape[1]
    return [trace.contributions(trace.reading(layer, token, j)).total for j in range(n)]


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm, nn.Identity])
def test_contributions_sum_to_the_drive(norm):
    model = wild(CausalTransformer(N_WORDS, N_TOKENS, 16, heads=2, layers=3, norm=norm))
    dictionaries = {0: transcoder(seed=0), 2: transcoder(seed=2, code=TopKCode(4))}
    x = tokens()
    trace = FeatureTrace(TorchSystem(model), dictionaries, x)
    read = dict[int, torch.Tensor]()
    for layer in dictionaries:  # what the perceptrons really get
        model.blocks[layer].widen.register_forward_hook(
            lambda _, args, __, layer=layer: read.__setitem__(layer, args[0][0].detach())
        )
    with torch.no_grad():
        model(x[None])
        for layer, dictionary in dictionaries.items():
            want = dictionary.encoder(read[layer])
            np.testing.assert_allclose(
                trace.active(layer), dictionary.encode(read[layer]), atol=1e-5
            )
            for token in (0, 3, -1):
                np.testing.assert_allclose(drives(trace, layer, token), want[token], atol=1e-4)


@settings(max_examples=5)
@given(st.integers(0, 10**6))
def test_what_is_behind_a_part_sums_to_what_it_adds(seed):
    model = net(layers=2, seed=seed)
    trace = FeatureTrace(model, {i: transcoder(seed=seed + i) for i in range(2)}, tokens(seed=seed))
    reading = trace.reading(1, seed % N_TOKENS, seed % 12)
    for _ in range(3):  # down to the embedding
        parts = trace.contributions(reading).largest(50)
        followed = [(p, v) for p, v in parts if p.kind in ("feature", "head")]
        for part, value in followed:
            behind = trace.contributions(trace.behind(reading, part))
            assert behind.total == pytest.approx(value, abs=1e-4)
            assert (behind.layer < part.layer + (part.kind == "feature")).all()
        if not followed:
            break
        reading = trace.behind(reading, followed[seed % len(followed)][0])


def frozen_drive(model, dictionaries, x, layer, token, feature, size):
    """The drive in a network whose attention, norms and gates are held, from embeddings * size."""

    def held(norm, at):
        scale = (at.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt().detach()
        return lambda y: norm.weight * (y - y.mean(-1, keepdim=True)) / scale + norm.bias

    stream = real = model.embed(x[None])[0].detach()
    stream = stream * size[:, None]
    for number, block in enumerate(model.blocks):
        q, k, v = (y.unflatten(-1, (2, 8)).transpose(0, 1)
                   for y in block.query_key_value(block.first(real)).chunk(3, -1))  # fmt: skip
        later = torch.ones(len(x), len(x)).triu(1).bool()
        pattern = (q @ k.transpose(1, 2) / 8**0.5).masked_fill(later, -torch.inf).softmax(-1)
        y = block.query_key_value(held(block.first, real)(stream))[:, 32:]
        moved = (pattern.detach() @ y.unflatten(-1, (2, 8)).transpose(0, 1)).transpose(0, 1)
        stream = stream + block.project(moved.flatten(1))
        real = real + block.project((pattern @ v).transpose(0, 1).flatten(1))
        dictionary, read = dictionaries[number], block.second(real)
        pre = dictionary.encoder(held(block.second, real)(stream))
        if number == layer:
            return pre[token, feature]
        code = dictionary.encode(read)
        written = block.narrow(block.hidden(block.widen(read)))
        rest = (written - dictionary.decode(code)).detach()
        stream = stream + dictionary.decode(pre * (code > 0)) + rest
        real = (real + written).detach()


def test_all_paths_together_are_the_slope_of_the_frozen_network():
    model, x = net(layers=2), tokens(4)
    dictionaries = {i: transcoder(n=6, seed=i) for i in range(2)}
    trace = FeatureTrace(model, dictionaries, x)
    for token, feature in ((1, 0), (3, 5)):
        size = torch.ones(4, requires_grad=True)
        drive = frozen_drive(model, dictionaries, x, 1, token, feature, size)
        slope = torch.autograd.grad(drive, size)[0].numpy()
        found = feature_circuit(trace, 1, token, feature, width=10**4, depth=6)
        assert found.drive == pytest.approx(drive.item(), abs=1e-4)
        assert found.explained == pytest.approx(1)
        sums = np.zeros(4)
        for path, value in found.paths.items():
            if path[-1].kind == "embed":
                sums[path[-1].token] += value
        np.testing.assert_allclose(sums, slope, atol=1e-4)
        assert np.abs(slope).max() > 0.1


def test_features_and_heads_by_hand():
    """No norms, exact transcoders: weights times codes, through a head times its attention."""
    model = wild(CausalTransformer(N_WORDS, N_TOKENS, 16, heads=2, layers=2, norm=nn.Identity))
    dictionaries, x = {0: transcoder(seed=0), 1: transcoder(seed=1)}, tokens()
    trace = FeatureTrace(model, dictionaries, x)
    d, e = dictionaries[0].decoder, dictionaries[1].encoder.weight
    weights = feature_weights(model, dictionaries[0], dictionaries[1], 1)
    torch.testing.assert_close(weights, d @ e.T)
    block, t, s = model.blocks[1], 4, 2
    reading = trace.reading(1, t, 7)
    frame = trace.contributions(reading).to_frame().set_index(["kind", "layer", "token", "index"])
    for i in trace.active(0)[t].nonzero()[:, 0].tolist():
        want = (trace.active(0)[t, i] * weights[i, 7]).item()
        assert frame["value"][("feature", 0, t, i)] == pytest.approx(want, abs=1e-5)
    w_v, w_o = block.query_key_value.weight[2 * 16 + 8 :], block.project.weight[:, 8:]
    through = feature_weights(model, dictionaries[0], dictionaries[1], 1, head=(1, 1))
    torch.testing.assert_close(through, d @ w_v.T @ w_o.T @ e.T)
    behind = trace.behind(reading, Part("head", 1, s, 1))
    torch.testing.assert_close(
        behind.vector, trace._seen[1].pattern[1, t, s] * (w_v.T @ w_o.T @ e[7])
    )
    words = model.embed(torch.arange(N_WORDS)[:, None])[:, 0]
    found = de_embedding(model, dictionaries[1], 1, torch.arange(N_WORDS))
    torch.testing.assert_close(found, (words - words.mean(0)) @ e.T, atol=1e-5, rtol=1e-4)


def test_weights_and_codes_factor_with_norms():
    """z_i w_ij over the scale of the token is the contribution: for all pairs."""
    model, x = net(layers=2), tokens()
    dictionaries = {i: transcoder(seed=i) for i in range(2)}
    trace = FeatureTrace(model, dictionaries, x)
    weights = feature_weights(model, dictionaries[0], dictionaries[1], 1)
    scale = trace._seen[1].scale
    for t, j in product((0, 5), range(12)):
        found = trace.contributions(trace.reading(1, t, j)).to_frame()
        found = found[found["kind"] == "feature"].set_index("index")["value"]
        want = trace.active(0)[t] * weights[:, j] / scale[t]
        np.testing.assert_allclose(found, want[found.index], atol=1e-5)


def test_a_beam_finds_the_strongest_paths():
    model, x = net(layers=2), tokens(4)
    trace = FeatureTrace(model, {i: transcoder(n=6, seed=i) for i in range(2)}, x)
    everything = feature_circuit(trace, 1, 3, 2, width=10**4, depth=6)
    few = feature_circuit(trace, 1, 3, 2, width=5, depth=3)
    assert {len(p) for p in few.paths} >= {2, 3}
    for length in (2, 3, 4):
        mine = {p: v for p, v in few.paths.items() if len(p) == length}
        assert len(mine) <= 5  # fewer where paths have ended at the embedding
        assert all(everything.paths[p] == v for p, v in mine.items())
    first = sorted((abs(v) for p, v in everything.paths.items() if len(p) == 2), reverse=True)[:5]
    assert sorted((abs(v) for p, v in few.paths.items() if len(p) == 2), reverse=True) == first
    frame = few.to_frame()
    assert frame["value"].sum() == pytest.approx(sum(few.paths.values()))
    assert "1.feature 2 @3" in set(frame["receiver"])
    assert str(Part("head", 0, 2, 1)) == "0.head 1 @2"
    assert str(Part("bias")) == "bias"


def language_models(transformers):
    small = {"vocab_size": 20, "bos_token_id": 0, "eos_token_id": 0}
    gpt2 = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=8, **small)
    llama = transformers.LlamaConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=24, attention_bias=True, **small,
    )  # fmt: skip
    neox = transformers.GPTNeoXConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=8, **small,
    )  # fmt: skip
    yield transformers.GPT2LMHeadModel(gpt2)
    yield transformers.LlamaForCausalLM(llama)
    yield transformers.GPTNeoXForCausalLM(neox)


def test_models_of_transformers_and_timm(transformers, timm):
    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, embed_dim=16, depth=2, num_heads=2, init_values=0.5
    )
    image = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0))
    cases = [*((m, tokens()) for m in language_models(transformers)), (vit, image)]
    for model, x in cases:
        wild(model)
        trace = FeatureTrace(model, {i: transcoder(seed=i) for i in range(2)}, x)
        want = trace._seen[1].pre[-1]
        np.testing.assert_allclose(drives(trace, 1, -1), want, atol=1e-4)
        found = feature_circuit(trace, 1, -1, 0, width=4, depth=3)
        assert len(found.paths) > 4


def test_bad_input():
    model, good = net(layers=2), transcoder()
    trace = FeatureTrace(model, {0: good}, tokens())
    for wrong in (SparseAutoencoder(16, 12, ReLUCode(), seed=0), transcoder(width=8)):
        with pytest.raises(InvalidArgument, match="transcoder"):
            FeatureTrace(model, {0: wrong}, tokens())
    with pytest.raises(InvalidArgument, match="layer 5"):
        FeatureTrace(model, {5: good}, tokens())
    with pytest.raises(UnknownName):
        trace.reading(1, 0, 0)
    with pytest.raises(InvalidArgument, match="feature 12"):
        trace.reading(0, 0, 12)
    reading = trace.reading(0, -1, 0)
    with pytest.raises(InvalidArgument, match="followed"):
        trace.behind(reading, Part("embed"))
    silent = (trace.active(0) == 0).nonzero()[0].tolist()
    with pytest.raises(InvalidArgument, match="not on"):
        trace.behind(reading, Part("feature", 0, *silent))
    with pytest.raises(InvalidArgument, match="width"):
        feature_circuit(trace, 0, 0, 0, width=0)
    for layer, head in ((7, None), (0, (1, 0)), (1, (1, 2))):
        with pytest.raises(InvalidArgument):
            feature_weights(model, good, good, layer, head=head)
    with pytest.raises(InvalidArgument, match="whole numbers"):
        de_embedding(model, good, 0, torch.arange(0))
    odd = wild(CausalTransformer(N_WORDS, N_TOKENS, 16, heads=2, layers=1, norm=Odd))
    with pytest.raises(InvalidArgument, match="Odd"):
        FeatureTrace(odd, {0: good}, tokens())


class Odd(nn.Module):
    def __init__(self, width):
        super().__init__()

    def forward(self, x):
        return x.tanh()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu():
    model, dictionaries = net(layers=2), {i: transcoder(seed=i) for i in range(2)}
    here = FeatureTrace(model, dictionaries, tokens())
    want = here.contributions(here.reading(1, -1, 0)).value
    there = FeatureTrace(
        model.cuda(), {i: d.cuda() for i, d in dictionaries.items()}, tokens().cuda()
    )
    found = there.contributions(there.reading(1, -1, 0)).value
    np.testing.assert_allclose(found, want, atol=1e-4)
