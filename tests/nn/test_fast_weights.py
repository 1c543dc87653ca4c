"""Hebbian fast weights, held against loops over every pair of moments and neurons."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.errors import InvalidArgument
from bregma.nn import CausalTransformer, FastWeightNetwork, Rotary, linear_attention
from bregma.recording import Recording
from bregma.run import fit, minibatches


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def network(*, seed=0, scale=10.0, **changes):
    shape = {"width": 6, "neurons": 16, "heads": 2, "layers": 3} | changes
    net = FastWeightNetwork(9, **shape, seed=seed)
    for parameter in net.parameters():  # far from zero, so that mistakes show
        parameter.data *= scale
    return net


TOKENS = torch.tensor([[0, 3, 8, 3, 1, 0, 5], [7, 7, 2, 1, 0, 4, 6]])


def layer_norm(v):
    return (v - v.mean()) / math.sqrt(v.var() + 1e-5)


def turned(x, t, base=2.0**16):
    out = np.empty_like(x)
    n = len(x)
    for p in range(n // 2):
        angle = t * base ** (-2 * p / n)
        a, b = x[2 * p], x[2 * p + 1]
        out[2 * p] = a * math.cos(angle) - b * math.sin(angle)
        out[2 * p + 1] = a * math.sin(angle) + b * math.cos(angle)
    return out


def by_loops(net, tokens):
    """Logits of one sequence in double precision: a loop over layers, moments, heads and pasts."""
    embed, unembed, encode, recall, decode = (
        p.detach().double().numpy()
        for p in (net.embed, net.unembed, net.encode, net.recall, net.decode)
    )
    v = [layer_norm(embed[t]) for t in tokens]
    for _ in range(net.layers):
        after = []
        for t in range(len(v)):
            back = np.zeros(len(v[t]))
            for e, r, d in zip(encode, recall, decode, strict=True):
                x = [np.maximum(v[s] @ e, 0) for s in range(t + 1)]
                a = np.zeros(len(v[t]))
                for s in range(t):  # strictly before
                    a += (turned(x[t], t) @ turned(x[s], s)) * v[s]
                y = np.maximum(layer_norm(a) @ r, 0) * x[t]
                back += y @ d
            after.append(layer_norm(v[t] + layer_norm(back)))
        v = after
    return np.stack(v) @ unembed


def test_logits_are_those_of_the_loops():
    net = network()
    found = net(TOKENS)
    for row in range(2):
        wanted = by_loops(net, TOKENS[row].tolist())
        np.testing.assert_allclose(found[row].detach().numpy(), wanted, atol=1e-4)


@settings(max_examples=8)
@given(chunk=st.integers(1, 9), cut=st.integers(1, 6), seed=st.integers(0, 99))
def test_parallel_chunked_and_recurrent_are_one(chunk, cut, seed):
    whole = network(seed=seed).read(TOKENS)
    net = network(seed=seed, chunk=chunk)
    start = net.read(TOKENS[:, :cut])
    rest = net.read(TOKENS[:, cut:], start.weights)
    logits = torch.cat([start.logits, rest.logits], 1)
    torch.testing.assert_close(logits, whole.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(rest.weights.strength, whole.weights.strength, atol=1e-3, rtol=1e-4)
    assert rest.weights.time == 7


def test_one_token_at_a_time_is_the_recurrent_form():
    net = network()
    whole, weights, logits = net.read(TOKENS), None, []
    for t in range(7):
        reading = net.read(TOKENS[:, t : t + 1], weights)
        weights = reading.weights
        logits.append(reading.logits)
    torch.testing.assert_close(torch.cat(logits, 1), whole.logits, atol=1e-4, rtol=1e-4)


def test_derivatives_of_all_forms_are_alike():
    q, v = random(2, 3, 11, 4, dtype=torch.float64), random(2, 1, 11, 5, dtype=torch.float64)
    grads = []
    for chunk in (1, 4, 11):
        x = q.clone().requires_grad_()
        read, _ = linear_attention(x, x, v, chunk=chunk)
        grads.append(torch.autograd.grad(read.square().sum(), x)[0])
    torch.testing.assert_close(grads[0], grads[1])
    torch.testing.assert_close(grads[0], grads[2])


def test_attention_is_the_double_loop():
    q, k, v = random(2, 6, 3), random(2, 6, 3, seed=1), random(2, 6, 4, seed=2)
    read, weights = linear_attention(q, k, v, chunk=4)
    for b in range(2):
        for t in range(6):
            wanted = torch.zeros(4)
            for s in range(t):
                wanted += sum(q[b, t, i] * k[b, s, i] for i in range(3)) * v[b, s]
            torch.testing.assert_close(read[b, t], wanted)
    torch.testing.assert_close(weights, torch.einsum("bti,btj->bij", k, v))


def test_nothing_reads_itself_or_the_future():
    net = network()
    changed = TOKENS.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 9
    before, after = net(TOKENS), net(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert (before[:, 5:] != after[:, 5:]).any()
    read, _ = linear_attention(random(1, 1, 3), random(1, 1, 3), random(1, 1, 2))
    assert (read == 0).all()


def test_products_of_turned_vectors_depend_on_the_distance_in_time():
    turn = Rotary(8)
    a, b = random(1, 8), random(1, 8, seed=1)

    def product(t, s):
        return (turn(a, torch.tensor([t])) * turn(b, torch.tensor([s]))).sum()

    torch.testing.assert_close(product(7, 3), product(1004, 1000), atol=1e-4, rtol=1e-4)
    assert abs(product(7, 3) - product(7, 4)) > 0.01
    there = turn(a, torch.tensor([12]))
    np.testing.assert_allclose(there[0], turned(a[0].numpy(), 12), atol=1e-6)
    torch.testing.assert_close(turn(there, torch.tensor([-12])), a)


def test_synapses_are_how_each_neuron_drives_each_other_one():
    net = network(layers=1)
    past, now = net.read(TOKENS[:, :6]), net.read(TOKENS)
    sigma = net.synapses(past.weights)  # (layer, batch, head, from, to)
    assert sigma.shape == (1, 2, 2, 8, 8)
    x = now.x[0, :, :, 6]
    turned_x = net.rotation(now.x[0], torch.arange(7))
    v = torch.nn.functional.layer_norm(net.embed[TOKENS], (6,))[:, None]
    for b in range(2):
        for h in range(2):
            a = sum((turned_x[b, h, 6] @ turned_x[b, h, s]) * v[b, 0, s] for s in range(6))
            driven = sum(x[b, h, i] * sigma[0, b, h, i] for i in range(8))
            torch.testing.assert_close(driven, a @ net.recall[h], atol=1e-4, rtol=1e-4)


def test_neurons_are_positive_and_the_gate_makes_them_sparse():
    net = network(neurons=256)
    bare = FastWeightNetwork(
        9, width=6, neurons=256, heads=2, layers=3, gate=lambda y, x: y, seed=0
    )
    reading, ungated = net.read(TOKENS), bare.read(TOKENS)
    assert (reading.x >= 0).all()
    assert (reading.y >= 0).all()
    assert (reading.y[reading.x == 0] == 0).all()
    assert (reading.y > 0).float().mean() < 0.75 * (ungated.y > 0).float().mean()


def test_it_learns_in_any_training_loop_and_saves(tmp_path):
    net = network(scale=1.0, dropout=0.1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.03)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            net(TOKENS[:, :-1]).flatten(0, 1), TOKENS[:, 1:].flatten()
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    torch.save(net.state_dict(), tmp_path / "net.pt")
    again = network(seed=5)
    again.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    assert torch.equal(net.eval()(TOKENS), again(TOKENS))


def test_bytes_of_a_page_are_learned_and_its_synapses_become_a_recording():
    page = Path(__file__).resolve().parents[2] / "docs" / "nn.md"
    tokens = torch.tensor(list(page.read_bytes()[:2064])).view(-1, 43)
    net = FastWeightNetwork(256, width=16, neurons=64, heads=2, layers=2)
    losses = fit(
        net,
        lambda net, batch: torch.nn.functional.cross_entropy(
            net(batch[0][:, :-1]).flatten(0, 1), batch[0][:, 1:].flatten()
        ),
        minibatches(tokens, size=16),
        optimizer=torch.optim.AdamW(net.parameters(), lr=1e-2),
        epochs=12,
        seed=0,
    )
    assert losses[-1] < 0.7 * losses[0]
    rows, weights = [], None
    with torch.no_grad():
        for piece in tokens.view(1, -1).split(100, 1):  # as long as one likes, in little memory
            weights = net.read(piece, weights).weights
            rows.append(net.synapses(weights)[1, 0, 0].flatten())
        whole = net.read(tokens.view(1, -1)).weights
    torch.testing.assert_close(
        rows[-1], net.synapses(whole)[1, 0, 0].flatten().detach(), atol=1e-2, rtol=1e-3
    )
    recording = Recording(
        xr.DataArray(
            torch.stack(rows).numpy(),
            dims=("presentation", "unit"),
            coords={
                "presentation": np.arange(len(rows)).astype(str),
                "unit": [f"{i}-{j}" for i in range(32) for j in range(32)],
            },
        )
    )
    assert recording.shape == (21, 1024)


def test_the_same_seed_gives_the_same_network():
    before = torch.random.get_rng_state()
    first, again, other = network(seed=3), network(seed=3), network(seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first(TOKENS), again(TOKENS))
    assert not torch.equal(first(TOKENS), other(TOKENS))


def test_the_transformer_is_that_of_torch():
    net = CausalTransformer(9, 7, 8, heads=2, layers=2, seed=0)
    layer = torch.nn.TransformerEncoderLayer(
        8, 2, 32, dropout=0.0, activation="gelu", norm_first=True, batch_first=True
    )
    x = net.embed(TOKENS)
    for block in net.blocks:
        layer.self_attn.in_proj_weight.data = block.query_key_value.weight.data
        layer.self_attn.in_proj_bias.data = block.query_key_value.bias.data
        layer.self_attn.out_proj = block.project
        layer.norm1, layer.norm2 = block.first, block.second
        layer.linear1, layer.linear2 = block.widen, block.narrow
        x = layer(x, torch.nn.Transformer.generate_square_subsequent_mask(7), is_causal=True)
    torch.testing.assert_close(net(TOKENS), net.unembed(net.norm(x)), atol=1e-5, rtol=1e-5)


def test_hidden_units_of_the_transformer_are_what_its_perceptrons_compute():
    net = CausalTransformer(9, 7, 8, heads=2, layers=2, seed=0)
    seen = []
    for block in net.blocks:
        block.narrow.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(TOKENS)
    torch.testing.assert_close(net.neurons(TOKENS), torch.stack(seen[:2]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_reads_the_same():
    net = network()
    wanted = net(TOKENS)
    torch.testing.assert_close(net.cuda()(TOKENS.cuda()).cpu(), wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: network(neurons=6), "even number of neurons"),
        (lambda: network(layers=0), "1 or more"),
        (lambda: network()(torch.tensor([[9]])), "from 0 to 8"),
        (lambda: network()(torch.tensor([1, 2])), "batch, time"),
        (lambda: network()(torch.zeros(2, 0, dtype=torch.int64)), "batch, time"),
        (lambda: network().read(TOKENS[:1], network().read(TOKENS).weights), "other|shape"),
        (lambda: Rotary(3), "even number"),
        (lambda: Rotary(4)(random(2, 4), torch.arange(3)), "3 times"),
        (lambda: linear_attention(random(2, 3), random(2, 4), random(2, 3)), "do not fit"),
        (lambda: linear_attention(random(2, 3), random(2, 3), random(3, 3)), "common time"),
        (lambda: linear_attention(random(2, 3), random(2, 3), random(2, 3), chunk=0), "chunk"),
        (lambda: CausalTransformer(9, 7, 8, heads=3, layers=1), "divide"),
        (lambda: CausalTransformer(9, 3, 8, heads=2, layers=1)(TOKENS), "3 places"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_what_is_wrong_is_said(make, says):
    with pytest.raises(InvalidArgument, match=says):
        make()
