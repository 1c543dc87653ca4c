"""Networks that think over internal ticks, held against explicit sums and hand-worked cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bregma.errors import InvalidArgument
from bregma.nn import (
    GatedCell,
    HistoryCell,
    InternalTicks,
    NeuronLevelModel,
    Snapshot,
    Synchronization,
    TokenEmbedding,
    answer_when_certain,
    certainty,
    two_tick_loss,
)
from bregma.recording import Recording


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def thinker(*, size=12, memory=3, ticks=4, backbone=None, n_features=8, out=(5, 2), seed=0):
    cell = HistoryCell(
        NeuronLevelModel(size, memory, 2, seed=seed),
        size=size,
        memory=memory,
        n_observed=8,
        seed=seed,
    )
    return InternalTicks(
        backbone or TokenEmbedding(2, 5, 8, seed=seed),
        cell,
        Synchronization(size, 6, seed=1),
        Synchronization(size, 7, seed=2),
        n_features=n_features,
        width=8,
        heads=2,
        ticks=ticks,
        out=out,
        seed=seed,
    )


def explicit(sync, z):
    """S of every moment by the sum over all of its past, in double precision."""
    z, rate = z.double(), sync.decay.detach().double().clamp(min=0)
    rows = []
    for t in range(len(z)):
        above, below = 0.0, 0.0
        for s in range(t + 1):
            weight = torch.exp(-rate * (t - s))
            above = above + weight * z[s][:, sync.left] * z[s][:, sync.right]
            below = below + weight
        rows.append(above / below.sqrt())
    return torch.stack(rows)


@settings(max_examples=12)
@given(n_ticks=st.integers(1, 20), fastest=st.floats(0, 8), seed=st.integers(0, 1000))
def test_carrying_the_sums_along_is_the_explicit_sum_over_the_past(n_ticks, fastest, seed):
    sync = Synchronization(5, 9, n_self=2, seed=seed)
    sync.decay.data = fastest * random(9, seed=seed)  # some below 0
    z, sums, found = random(n_ticks, 3, 5, seed=seed), None, []
    for now in z:
        s, sums = sync(now, sums)
        found.append(s)
    torch.testing.assert_close(torch.stack(found).double(), explicit(sync, z), atol=1e-5, rtol=1e-5)


def test_pairs_of_a_unit_with_itself_without_a_past_tell_its_size():
    sync = Synchronization(4, 6, n_self=6, seed=3)
    z = random(2, 4)
    torch.testing.assert_close(sync(z)[0].sqrt(), z.abs()[:, sync.left])
    sync.decay.data.fill_(50.0)  # forgets at once
    _, sums = sync(10 * z)
    torch.testing.assert_close(sync(z, sums)[0].sqrt(), z.abs()[:, sync.left])


def test_a_rate_below_zero_counts_as_zero_and_still_finds_back():
    sync = Synchronization(2, 1, n_self=1, seed=0)
    sync.decay.data.fill_(-0.1)
    _, sums = sync(torch.full((1, 2), 3.0))
    s, _ = sync(torch.full((1, 2), 1.0), sums)
    assert s.item() == pytest.approx(10 / math.sqrt(2))
    (up,) = torch.autograd.grad(s.sum(), sync.decay, retain_graph=True)
    assert up.item() < 0  # lowering S raises the rate: that direction is open
    (down,) = torch.autograd.grad(-s.sum(), sync.decay)
    assert down.item() == 0


def test_no_neuron_sees_the_history_or_weights_of_another_one():
    neurons = NeuronLevelModel(6, 4, 3, seed=0).double()
    history = random(1, 6, 4).double()
    jacobian = torch.autograd.functional.jacobian(lambda h: neurons(h)[0], history)[:, 0]
    own = torch.eye(6, dtype=torch.bool)
    assert (jacobian[~own] == 0).all()
    assert (jacobian[own] != 0).any(-1).all()
    out = neurons(history)[0]
    for d in range(6):
        grads = torch.autograd.grad(out[d], list(neurons.parameters()), retain_graph=True)
        for grad in grads:
            others = torch.arange(6) != d
            assert (grad[others] == 0).all()
            assert (grad[d] != 0).any()


def test_private_models_are_a_loop_over_neurons():
    neurons = NeuronLevelModel(5, 4, 3, seed=1)
    history = random(7, 5, 4)
    found = neurons(history)
    for d in range(5):
        h = history[:, d] @ neurons.weight_in[d] + neurons.bias_in[d]
        h = h[:, :3] * torch.sigmoid(h[:, 3:])
        y = h @ neurons.weight_out[d] + neurons.bias_out[d]
        torch.testing.assert_close(found[:, d], y[:, 0] * torch.sigmoid(y[:, 1]))


def test_the_memory_is_first_in_first_out():
    class Oldest(nn.Module):
        def forward(self, history):
            return history[..., 0]

    cell = HistoryCell(Oldest(), size=4, memory=3, n_observed=2)
    z, history = cell.begin(1)
    learned = history.clone()
    seen = []
    for t in range(5):
        before = z
        z, history = cell(random(1, 2, seed=t), z, history)
        seen.append(cell.synapses(torch.cat([random(1, 2, seed=t), before], -1)))
        torch.testing.assert_close(z, learned[..., t + 1] if t < 2 else seen[t - 2])


def test_attention_is_that_of_torch():
    net = thinker()
    tokens = torch.tensor([[0, 1, 1, 0, 1]])
    thoughts = net.think(tokens)
    mha = nn.MultiheadAttention(8, 2, batch_first=True)
    features = net.features(net.backbone(tokens))
    mha.in_proj_weight.data = torch.cat(
        [net.query.weight @ torch.zeros(6, 8), net.key_value.weight]
    )
    mha.in_proj_weight.data[:8] = torch.eye(8)  # the query is projected already
    mha.in_proj_bias.data = torch.cat([torch.zeros(8), net.key_value.bias])
    mha.out_proj.weight.data, mha.out_proj.bias.data = net.seen.weight.data, net.seen.bias.data
    start, _ = net.cell.begin(1)
    query = net.query(net.looking(start)[0])
    wanted, weights = mha(query[:, None], features, features, average_attn_weights=False)
    seen, attention = net._attend(query, *net._keys_values(net.backbone(tokens)))
    torch.testing.assert_close(seen, wanted[:, 0])
    torch.testing.assert_close(attention, weights[:, :, 0])
    torch.testing.assert_close(thoughts.attention[:, 0], attention)


def test_answers_are_read_from_the_synchronisation_of_all_ticks_and_the_start():
    net = thinker()
    tokens = torch.tensor([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0]])
    thoughts = net.think(tokens)
    start, _ = net.cell.begin(2)
    z = torch.cat([start[None], thoughts.units.transpose(0, 1)])
    s = explicit(net.answering, z)[1:].float()
    wanted = net.answer(s).transpose(0, 1).unflatten(-1, (5, 2))
    torch.testing.assert_close(thoughts.answers, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(thoughts.attention.sum(-1), torch.ones(2, 4, 2))


def test_thinking_longer_changes_nothing_before():
    short, long = thinker(ticks=3), thinker(ticks=6)
    tokens = torch.tensor([[0, 1, 1, 0, 1]])
    torch.testing.assert_close(short(tokens), long(tokens)[:, :3])


def test_an_lstm_is_read_from_its_activity():
    cell = GatedCell(6, n_observed=8, seed=0)
    z, c = cell.begin(2)
    for t in range(3):
        x = random(2, 8, seed=t)
        wanted, _ = cell.lstm(x, (z, c))
        z, c = cell(x, z, c)
        torch.testing.assert_close(z, wanted)
    net = InternalTicks(
        TokenEmbedding(2, 5, 8),
        cell,
        Snapshot(6),
        Snapshot(6),
        n_features=8,
        width=8,
        heads=1,
        ticks=2,
        out=(3,),
    )
    thoughts = net.think(torch.zeros(2, 5, dtype=torch.int64))
    torch.testing.assert_close(thoughts.answers, net.answer(thoughts.units))


def test_everything_is_learned():
    net = thinker()
    two_tick_loss(net(torch.tensor([[0, 1, 1, 0, 1]])), torch.tensor([[0, 1, 0, 1, 1]])).backward()
    missing = [
        n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    ]
    assert missing == []


def test_the_loss_takes_the_best_and_the_most_certain_tick_of_each_example():
    answers, targets = (
        random(4, 6, 3, 5),
        torch.tensor([[0, 1, 2], [4, 4, 0], [1, 1, 1], [2, 3, 0]]),
    )
    total = 0.0
    for b in range(4):
        losses, sure = [], []
        for t in range(6):
            p = answers[b, t].softmax(-1)
            losses.append(-sum(math.log(p[k, targets[b, k]]) for k in range(3)) / 3)
            entropy = -sum(float(q) * math.log(q) for row in p for q in row) / 3
            sure.append(1 - entropy / math.log(5))
        total += (min(losses) + losses[sure.index(max(sure))]) / 2
        torch.testing.assert_close(certainty(answers)[b], torch.tensor(sure))
    assert two_tick_loss(answers, targets).item() == pytest.approx(total / 4, rel=1e-5)


def test_thinking_stops_where_it_is_certain():
    answers = torch.zeros(3, 4, 2)
    answers[0, 2:, 0] = 9.0
    answers[1, 3, 1] = 1.0  # never certain enough: its best
    answers[2, :, 0] = 9.0
    chosen, ticks = answer_when_certain(answers, 0.8)
    assert ticks.tolist() == [2, 3, 0]
    assert chosen[:, 0].tolist() == [9.0, 0.0, 9.0]


def test_the_same_seed_gives_the_same_network_whatever_the_global_generator_does():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = thinker(seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    tokens = torch.tensor([[0, 1, 1, 0, 1]])
    assert torch.equal(first(tokens), thinker(seed=5)(tokens))
    assert not torch.equal(first(tokens), thinker(seed=6)(tokens))


def test_features_of_a_vision_model_are_looked_at_and_activity_is_a_recording(timm):
    vit = timm.create_model("test_vit", img_size=32)

    class Features(nn.Module):
        def forward(self, images):
            return vit.forward_features(images)

    net = thinker(backbone=Features(), n_features=vit.num_features, out=(10,)).eval()
    thoughts = net.think(random(3, 3, 32, 32))
    assert thoughts.answers.shape == (3, 4, 10)
    recording = Recording(
        xr.DataArray(
            thoughts.units.detach().numpy(),
            dims=("presentation", "time", "unit"),
            coords={
                "presentation": ["a", "b", "c"],
                "time": np.arange(4.0),
                "unit": np.arange(12).astype(str),
            },
        )
    )
    assert recording.shape == (3, 4, 12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_thinks_the_same():
    net, tokens = thinker(), torch.tensor([[0, 1, 1, 0, 1]])
    wanted = net(tokens)
    torch.testing.assert_close(net.cuda()(tokens.cuda()).cpu(), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: NeuronLevelModel(0, 3, 2), "size, memory and hidden"),
        (lambda: NeuronLevelModel(4, 3, 2)(torch.zeros(1, 4, 2)), r"\(batch, 4, 3\)"),
        (lambda: Synchronization(4, 2, n_self=3), "n_self from 0"),
        (lambda: Synchronization(4, 2)(torch.zeros(1, 3)), "4 units are synchronised, not 3"),
        (lambda: Snapshot(0), "1 or more"),
        (lambda: HistoryCell(nn.Identity(), size=4, memory=0, n_observed=2), "memory"),
        (lambda: GatedCell(4, n_observed=0), "n_observed"),
        (lambda: TokenEmbedding(2, 3, 4)(torch.zeros(1, 4, dtype=torch.int64)), "3 places, not 4"),
        (lambda: TokenEmbedding(2, 0, 4), "n_places"),
        (lambda: TokenEmbedding(2, 3, 4)(torch.tensor([[2]])), "from 0 to 1: 2 to 2"),
        (lambda: TokenEmbedding(2, 3, 4)(torch.zeros(0, 3, dtype=torch.int64)), "are none"),
        (lambda: GatedCell(4, n_observed=3)(random(1, 2), *[random(1, 4)] * 2), "observes 3"),
        (lambda: thinker(backbone=nn.Identity())(torch.full((1, 2, 8), math.nan)), "NaN"),
        (lambda: thinker(out=()), "out"),
        (lambda: thinker(n_features=9)(torch.zeros(1, 5, dtype=torch.int64)), "place, 9"),
        (lambda: certainty(torch.zeros(2, 3, 1)), "two classes"),
        (lambda: two_tick_loss(torch.zeros(2, 3, 4, 2), torch.zeros(2, 5).long()), r"\(2, 4\)"),
        (lambda: answer_when_certain(torch.zeros(2, 3, 2), 1.5), "from 0 to 1"),
    ],
)
def test_what_is_wrong_is_said(make, says):
    with pytest.raises(InvalidArgument, match=says):
        make()


def test_heads_have_to_divide_the_width():
    with pytest.raises(InvalidArgument, match="3 heads cannot share a width of 8"):
        InternalTicks(
            nn.Identity(),
            GatedCell(4, n_observed=8),
            Snapshot(4),
            Snapshot(4),
            n_features=8,
            width=8,
            heads=3,
            ticks=1,
            out=(2,),
        )
