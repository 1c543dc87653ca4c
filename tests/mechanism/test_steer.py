"""Steering is compared with what linear networks do by calculation, and with plain hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import N_WORDS, net
from torch import nn

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import (
    SparseAutoencoder,
    TopKCode,
    answer_divergence,
    mean_difference,
    probe,
    steer,
)
from bregma.recording import Recording
from bregma.system import TorchSystem


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))


def second(out):
    return out.values[:, 1]


def test_a_linear_network_by_calculation():
    model, x, v = linear(), np.ones((5, 4)), np.arange(6.0)
    doses = [-1.0, 2.0]
    found = steer(
        TorchSystem(model, "1"), x, v, "0", second, doses=doses, neutral=2 * x[:3], n_random=19,
        size=3, seed=0,
    )  # fmt: skip
    weight = model[1].weight.detach().double().numpy()
    np.testing.assert_allclose(found.effect, np.outer(np.ones(5), weight[1] @ v) * doses, atol=1e-5)
    with torch.no_grad():
        logits = model(torch.full((1, 4), 2.0))[0].double()
    log_p = logits.log_softmax(-1)
    for i, dose in enumerate(doses):
        log_q = (logits + dose * torch.from_numpy(weight @ v)).log_softmax(-1)
        kl = (log_p.exp() * (log_p - log_q)).sum().item()
        np.testing.assert_allclose(found.side[:, i], kl, atol=1e-5)
    assert found.side.shape == (3, 2)
    # Random ones: as linear, of the same length, in all directions.
    np.testing.assert_allclose(found.random[:, 1], -2 * found.random[:, 0], atol=1e-5)
    expected = np.linalg.norm(weight[1]) * np.linalg.norm(v) / np.sqrt(6)
    assert 0.4 * expected < found.random[:, 0].std() < 1.8 * expected
    evidence = found.evidence()
    assert evidence.score == pytest.approx(weight[1] @ v, abs=1e-5)
    assert 0 < evidence.p_value < 1
    table = found.to_frame()
    assert list(table["dose"]) == doses
    np.testing.assert_allclose(table["low"], table["effect"], atol=1e-5)  # all stimuli alike


def test_the_best_direction_beats_random_ones():
    model, x = linear(), np.random.default_rng(0).standard_normal((6, 4))
    best = model[1].weight[1].detach()
    found = steer(TorchSystem(model, "1"), x, best, "0", second, doses=[1.0], n_random=39, seed=0)
    assert found.evidence().p_value == 1 / 40
    worst = steer(TorchSystem(model, "1"), x, -best, "0", second, doses=[1.0], seed=0)
    assert worst.evidence().p_value == 1
    assert [t.name for t in found.plot().data] == ["random", "random", "effect"]
    a, b = (
        steer(TorchSystem(model, "1"), x, best, "0", second, n_random=2, seed=s) for s in (1, 2)
    )
    assert not np.array_equal(a.random, b.random)
    torch.manual_seed(9)
    again = steer(TorchSystem(model, "1"), x, best, "0", second, n_random=2, seed=1)
    np.testing.assert_array_equal(a.random, again.random)


def test_a_transformer_as_by_hooks():
    model = net()
    g = torch.Generator().manual_seed(0)
    tokens = torch.randint(N_WORDS, (4, 6), generator=g)
    v = torch.randn(16, generator=g)

    def last(out):  # logit of token 7 at the last place
        return out.select(token=5, channel=7).values[:, 0]

    everywhere = steer(
        TorchSystem(model, "unembed"), tokens, v, "blocks.1", last, doses=[1.5], neutral=tokens,
        n_random=1, seed=0,
    )  # fmt: skip
    one = steer(
        TorchSystem(model, "unembed"), tokens, v, "blocks.1", last, doses=[1.5],
        units={"token": 3}, n_random=1, seed=0,
    )  # fmt: skip
    for found, where in ((everywhere, slice(None)), (one, [3])):

        def hook(_, __, out, where=where):
            out = out.clone()
            out[:, where] += 1.5 * v
            return out

        with torch.no_grad():
            before = model(tokens)
            handle = model.blocks[1].register_forward_hook(hook)
            after = model(tokens)
            handle.remove()
        wanted = (after - before)[:, 5, 7]
        assert wanted.abs().max() > 5e-3
        np.testing.assert_allclose(found.effect[:, 0], wanted, atol=2e-6)
        if found.side is not None:
            p, q = before.log_softmax(-1), after.log_softmax(-1)
            kl = (p.exp() * (p - q)).sum(-1).mean(-1)
            np.testing.assert_allclose(found.side[:, 0], kl, atol=1e-5)


def test_where_directions_come_from():
    r = np.random.default_rng(0)
    a, b = r.standard_normal((30, 5)), r.standard_normal((20, 5))
    np.testing.assert_allclose(mean_difference(a, b), a.mean(0) - b.mean(0))
    tokens = torch.randint(N_WORDS, (6, 6), generator=torch.Generator().manual_seed(0))
    system = TorchSystem(net(), "blocks.0")
    one, other = system.record(tokens[:4]), system.record(tokens[4:])
    x = torch.from_numpy(np.concatenate([one.values, other.values]).reshape(6, 6, 16))
    wanted = x[:4].mean((0, 1)) - x[4:].mean((0, 1))
    np.testing.assert_allclose(mean_difference(one, other), wanted, atol=1e-6)
    with pytest.raises(InvalidArgument, match="several layers"):
        mean_difference(TorchSystem(net(), ["blocks.0", "blocks.1"]).record(tokens), other)
    with pytest.raises(InvalidArgument, match="finite"):
        mean_difference(a, np.full((2, 5), np.nan))


def test_samples_of_unlike_widths(unchecked_types):
    with pytest.raises(InvalidArgument, match="no difference"):
        mean_difference(np.ones((3, 5)), np.ones((3, 4)))


def test_probes_and_dictionaries_give_directions():
    model = linear()
    x = np.random.default_rng(0).standard_normal((60, 4))
    system = TorchSystem(model, "1")
    hidden = system.with_layers("0").record(x)
    found = probe(hidden, system.record(x).values[:, 1].astype(float), seed=0)
    v = found.direction("0")
    effect = steer(system, x[:4], v, "0", second, n_random=3, seed=0)
    assert effect.effect.mean() > 0
    sae = SparseAutoencoder(6, 12, TopKCode(2), seed=0)
    feature = steer(system, x[:4], sae.decoder[3], "0", second, n_random=2, seed=0)
    assert feature.effect.shape == (4, 3)


def test_other_side_effects():
    x = np.ones((3, 4))

    def moved(plain, steered):
        return np.abs(steered.values - plain.values).sum(1)

    found = steer(
        TorchSystem(linear(), "1"), x, np.ones(6), "0", second, doses=[0.0, 1.0], neutral=x,
        side=moved, n_random=3, seed=0,
    )  # fmt: skip
    assert (found.side[:, 0] == 0).all()  # a dose of 0 is the identity
    assert (found.effect[:, 0] == 0).all()
    assert (found.side[:, 1] > 0).all()
    assert set(found.to_frame()) >= {"side", "random_side"}
    assert len(found.plot().data) == 4


def test_a_recording_of_maps_has_no_answers():
    maps = Recording.from_array(
        np.ones((2, 8)),
        unit={"unit": list("abcdefgh"), "layer": ["l"] * 8, "channel": np.repeat([0, 1], 4)},
    )
    with pytest.raises(InvalidArgument, match="channels last"):
        answer_divergence(maps, maps)


X = np.ones((3, 4))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"direction": np.zeros(6)}, InvalidArgument, "longer than 0"),
        ({"direction": np.full(6, np.nan)}, InvalidArgument, "finite"),
        ({"direction": np.ones((2, 3))}, InvalidArgument, "number"),
        ({"direction": np.ones(5)}, InvalidArgument, "selected units"),
        ({"site": "7"}, UnknownName, "7"),
        ({"doses": [0.0]}, InvalidArgument, "not all 0"),
        ({"doses": []}, InvalidArgument, "doses"),
        ({"n_random": 0}, InvalidArgument, "n_random"),
        ({"stimuli": X[:1]}, InvalidArgument, "2 or more"),
        ({"metric": lambda out: out.values}, InvalidArgument, "one finite"),
        ({"metric": lambda out: out.values[:, 0] * np.nan}, InvalidArgument, "one finite"),
    ],
)
def test_bad_steering(change, error, message, unchecked_types):
    given = {"stimuli": X, "direction": np.ones(6), "site": "0", "metric": second, "n_random": 2}
    with pytest.raises(error, match=message):
        steer(TorchSystem(linear(), "1"), **{**given, **change}, seed=0)


def test_too_few_random_directions():
    found = steer(TorchSystem(linear(), "1"), X, np.ones(6), "0", second, n_random=4, seed=0)
    with pytest.raises(NotIdentifiable, match="at least 19"):
        found.evidence()
    assert found.evidence(level=0.8).null.values.shape == (4,)
    with pytest.raises(InvalidArgument, match="level"):
        found.to_frame(level=2.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_steering_on_cuda():
    here, there = (
        steer(TorchSystem(linear(), "1", device=d), X, np.ones(6), "0", second, seed=0)
        for d in ("cpu", "cuda")
    )
    np.testing.assert_allclose(there.effect, here.effect, atol=1e-4)
