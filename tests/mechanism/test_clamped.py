"""Clamps during training against networks that were changed by hand, and the closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from bregma.datasets import induction
from bregma.errors import InvalidArgument, PerturbationConflict, UnknownName
from bregma.mechanism import InteractingParts, TrainingClamp, clamped
from bregma.nn import AttentionOnlyTransformer
from bregma.run import fit, minibatches, spawn_torch


def network(seed=0):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=spawn_torch(seed, "test"))
    return net


def inputs(n=5):
    return torch.randn(n, 3, generator=spawn_torch(0, "inputs"), dtype=torch.float64)


def gradients(net, out):
    return torch.autograd.grad(out.square().sum(), list(net.parameters()), allow_unused=True)


def assert_same(some, others):
    for a, b in zip(some, others, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_without_clamps_nothing_changes():
    net, x = network(), inputs()
    with clamped(net) as same:
        assert same is net
        assert torch.equal(net(x), net(x))
        found = gradients(net, net(x))
    assert_same(found, gradients(net, net(x)))


def test_forward_and_gradients_are_those_of_the_network_written_by_hand():
    net, x = network(), inputs()
    mask = torch.tensor([True, False, True, False])
    held = torch.tensor([0.3, 0.0, -2.0, 0.0], dtype=torch.float64)
    with clamped(net, TrainingClamp("1", held, mask)):
        out = net(x)
        found = gradients(net, out)
    by_hand = net[2](torch.where(mask, held, net[1](net[0](x))))
    torch.testing.assert_close(out, by_hand, rtol=0, atol=0)
    assert_same(found, gradients(net, by_hand))
    assert found[0][[0, 2]].abs().max() == 0  # what lies before a constant does not learn by it
    assert found[0][[1, 3]].abs().min() > 0


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), site=st.sampled_from(["0", "1", "2", "1.input", "2.input"]))
def test_holding_activity_at_what_it_is_changes_nothing(seed, site):
    net, x = network(seed), inputs()
    for value in (lambda here, _: here, lambda _, moment: moment.first(site)):
        with clamped(net, TrainingClamp(site, value)):
            out = net(x)
            found = gradients(net, net(x))
        torch.testing.assert_close(out, net(x), rtol=0, atol=0)
        assert_same(found, gradients(net, net(x)))


def test_the_first_pass_is_unperturbed_and_may_be_detached():
    net, x = network(), inputs()
    zero = TrainingClamp("0", 0)
    for value, learns in (
        (lambda _, m: m.first("1").detach(), False),
        (lambda _, m: m.first("1"), True),
    ):
        with clamped(net, zero, TrainingClamp("1", value)):
            out = net(x)
            found = gradients(net, out)
        torch.testing.assert_close(out, net(x), rtol=0, atol=0)  # although "0" gave nothing
        assert bool(found[0].any()) == learns
        assert found[2].any()


def test_a_clamp_can_read_other_sites_of_the_same_pass():
    net, x = network(), inputs()
    double = TrainingClamp("2", lambda _, m: 2 * m.now["1"][:, :2], reads=("1",))
    held = TrainingClamp("1", 0.5, torch.tensor([True, False, False, False]))
    with clamped(net, double, held):
        out = net(x)
    assert (out[:, 0] == 1.0).all()  # it sees the clamped activity
    torch.testing.assert_close(out[:, 1], 2 * net[1](net[0](x))[:, 1], rtol=0, atol=0)


def test_inputs_and_parts_that_give_tuples():
    lstm = nn.LSTM(3, 4, batch_first=True)
    net = nn.ModuleDict({"rnn": lstm})
    net.forward = lambda x: net["rnn"](x)[0]
    x = torch.ones(2, 5, 3)
    with clamped(net, TrainingClamp("rnn", 7.0, torch.arange(4) == 1)):
        out = net(x)
    assert (out[..., 1] == 7).all()
    assert torch.equal(out[..., 0], net(x)[..., 0])
    with clamped(net, TrainingClamp("rnn.input", 0.0)):
        assert torch.equal(net(x), net(torch.zeros(2, 5, 3)))


def test_hooks_are_gone_afterwards_also_after_an_error():
    net, x = network(), inputs()
    before = net(x)
    with pytest.raises(RuntimeError, match="mat1"), clamped(net, TrainingClamp("1", 0.0)):
        net(x[:, :2])
    with clamped(net, TrainingClamp("1", lambda here, m: 0 * m.first("1"))):
        with pytest.raises(RuntimeError, match="mat1"):
            net(x[:, :2])
        # The call that broke off has left nothing behind.
        assert torch.equal(net(x), net[2](torch.zeros(5, 4, dtype=torch.float64)))
    assert torch.equal(net(x), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_training_loop_trains_under_the_clamp():
    net, x = network(), inputs(40)
    silent = TrainingClamp("1", 0.0, torch.tensor([True, False, False, False]))
    start = net[2].weight.detach().clone()
    with clamped(net, silent):
        fit(
            net,
            lambda m, batch: m(batch[0]).square().mean(),
            minibatches(x, size=10),
            optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
            epochs=5,
            seed=0,
        )
    moved = (net[2].weight - start).abs().amax(0)
    assert moved[0] == 0
    assert (moved[1:] > 1e-4).all()


def test_two_held_parts_fall_as_the_closed_form_says():
    law = InteractingParts(7, seed=1).double()
    target, start = law.wanted[0].clone(), law.vectors[0].detach().clone()
    ab = (law.wanted[1].square().sum() * law.wanted[2].square().sum()).item()
    descent = torch.optim.SGD(law.parameters(), lr=1.0)
    with clamped(law, *[TrainingClamp(f"parts.{k}", law.wanted[k]) for k in (1, 2)]):
        for step in range(30):
            loss = law()
            factor = (1 - ab / 7**3) ** step
            expected = factor**2 * (start - target).square().sum().item() * ab / (2 * 7**3)
            assert loss.item() == pytest.approx(expected, rel=1e-9)
            descent.zero_grad()
            loss.backward()
            descent.step()
    torch.testing.assert_close(
        law.vectors[0].detach(), target + (1 - ab / 7**3) ** 30 * (start - target)
    )


def test_three_parts_that_fit_in_direction_follow_the_scalar_equation():
    """With a = s a*, all alike: ds/dt = -|x|^2 |x|^2 / n^3 (s^3 - 1) s^2, a plateau and a drop."""
    law = InteractingParts(4, seed=0).double()
    with torch.no_grad():
        law.wanted.copy_(torch.ones(3, 4))
        law.vectors.copy_(0.1 * law.wanted)
    descent, s = torch.optim.SGD(law.parameters(), lr=1.0), 0.1
    for _ in range(80):
        assert law().item() == pytest.approx((1 - s**3) ** 2 / 2, rel=1e-9)
        descent.zero_grad()
        law().backward()
        descent.step()
        s -= 4 * 4 / 4**3 * (s**3 - 1) * s**2
    assert s > 0.9


def test_the_circuit_of_two_clamped_layers_solves_induction():
    """Wired by clamps alone: previous token, match, copy; nothing has to be learned."""
    task = induction(200, n_classes=9, seed=0)
    net = AttentionOnlyTransformer(14, 5, width=32, heads=4, seed=0)

    def copied(here, moment):
        pattern = moment.now["layers.1.pattern"][:, 0, -1, [1, 3]]
        return torch.zeros_like(here).scatter(1, moment.args[0][:, [1, 3]] - 9, pattern)

    def matched(here, moment):
        place = 1 + 2 * (moment.args[0][:, 2] == moment.args[0][:, 4]).int()
        return torch.eye(5)[place][:, None, None]

    clamps = [
        TrainingClamp("layers.1.pattern", matched),
        TrainingClamp("read", copied, reads=("layers.1.pattern",)),
    ]
    with torch.no_grad(), clamped(net, *clamps):
        assert task.accuracy(net(task.inputs)) == 1.0
    assert task.accuracy(net(task.inputs)) < 0.5


def test_the_same_seed_learns_the_same():
    def weights():
        net = AttentionOnlyTransformer(14, 5, width=16, heads=2, seed=3)
        task = induction(64, n_classes=9, seed=1)
        with clamped(net, TrainingClamp("layers.0.head", 0.0)):
            fit(
                net,
                lambda m, b: cross_entropy(m(b[0]), b[1]),
                minibatches(task.inputs, task.targets, size=32),
                optimizer=torch.optim.Adam(net.parameters()),
                epochs=2,
                seed=0,
            )
        return net.state_dict()

    for a, b in zip(weights().values(), weights().values(), strict=True):
        assert torch.equal(a, b)


def test_bad_input():
    net, x = network(), inputs()
    with (
        pytest.raises(UnknownName, match=r"'3'.*nearest of 3"),
        clamped(net, TrainingClamp("3", 0)),
    ):
        pass
    with pytest.raises(UnknownName), clamped(net, TrainingClamp("1", 0.0, reads=("no",))):
        pass
    assert not any(m._forward_hooks for m in net.modules())
    both = TrainingClamp("1", 0.0), TrainingClamp("1", 1.0, torch.tensor([True] * 4))
    with pytest.raises(PerturbationConflict, match="'1'"), clamped(net, *both):
        pass
    with (
        pytest.raises(InvalidArgument, match=r"shape \(5, 4\).*\(3,\)"),
        clamped(net, TrainingClamp("1", torch.zeros(3))),
    ):
        net(x)
    net[2].unused = nn.Identity()
    with (
        pytest.raises(InvalidArgument, match="does not run"),
        clamped(net, TrainingClamp("1", lambda _, m: m.first("2.unused"))),
    ):
        net(x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_same_on_a_gpu():
    net, x = network(), inputs()
    clamp = TrainingClamp("1", torch.tensor(0.3), torch.tensor([True, False, True, False]))
    with clamped(net, clamp):
        here = net(x)
    with clamped(net.cuda(), clamp):
        torch.testing.assert_close(net(x.cuda()).cpu(), here)


def test_a_spiking_layer_under_light():
    """Optogenetic inhibition across training: silenced units teach their targets nothing."""
    from bregma.dynamics import Neuron
    from bregma.nn import EventLinear, Spiking, SpikingSequential

    lif = Neuron(
        "dv/dt = (I - v)/tau",
        spike="v > 1",
        reset="v = 0",
        params={"tau": "5 ms"},
        surrogate="atan",
    )
    net = SpikingSequential(EventLinear(3, 4), Spiking(lif, 4, dt="1 ms"), nn.Linear(4, 1))
    with torch.no_grad():
        net[0].weight.fill_(2.0)
    dark = TrainingClamp("1", 0.0, torch.tensor([True, False, False, False]))
    with clamped(net, dark):
        out = net(torch.ones(20, 2, 3))
        out = out[0] if isinstance(out, tuple) else out
        out.sum().backward()
    assert net[2].weight.grad[0, 0] == 0
    assert (net[2].weight.grad[0, 1:] > 0).all()
    assert np.isfinite(net[0].weight.grad.numpy()).all()
