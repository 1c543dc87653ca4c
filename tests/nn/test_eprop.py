"""e-prop against backpropagation through time, where both must agree."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bregma.dynamics import Neuron
from bregma.errors import InvalidArgument, UnknownName
from bregma.nn import EProp, EventLinear, Spiking, SpikingRecurrent

LIF = Neuron("dv/dt = (4*I - v)/tau", spike="v > 1", reset="v -= 1", params={"tau": 9})
ALIF = Neuron(
    "dv/dt = (5*I - v)/tau\ndw/dt = -w/tau_w", spike="v > theta + beta*w", reset="v = 0; w += 1",
    refractory=2.0, params={"tau": 6, "tau_w": 30, "beta": 0.3, "theta": 0.8},
)  # fmt: skip
T, B, P, N, Q = 20, 3, 6, 5, 2


def task(kind, neuron, **more):
    inputs, layer = EventLinear(P, N, seed=4).double(), kind(neuron, N, **more).double()
    readout = nn.Linear(N, Q).double()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        inputs.weight.copy_(torch.randn(N, P, generator=rng) * 0.7 + 0.4)
        readout.weight.copy_(torch.randn(Q, N, generator=rng))
        readout.bias.copy_(torch.randn(Q, generator=rng))
    x = (torch.rand(T, B, P, generator=rng) < 0.4).double()
    target = torch.randn(T, B, Q, generator=rng, dtype=torch.float64)
    return inputs, layer, readout, x, target


def leaky(currents, leak):
    y, outputs = torch.zeros_like(currents[0]), []
    for now in currents.unbind(0):
        y = leak * y + now
        outputs.append(y)
    return torch.stack(outputs)


def gradients(*modules):
    found = [p.grad.clone() for m in modules for p in m.parameters()]
    for m in modules:
        m.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("leak", [0.0, 0.8])
@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("neuron", [LIF, ALIF])
def test_without_recurrence_it_is_backpropagation(neuron, detached, leak):
    inputs, layer, readout, x, target = task(Spiking, neuron, detached=detached)
    y, loss = EProp(inputs, layer, readout, leak=leak)(
        x, lambda y, k: (y - target[k]).square().sum()
    )
    found = gradients(inputs, readout)
    spikes, _ = layer(inputs(x))
    assert 0.05 < spikes.mean() < 0.7
    expected = leaky(readout(spikes), leak)
    torch.testing.assert_close(y, expected)
    wanted = (expected - target).square().sum()
    torch.testing.assert_close(loss, wanted, check_dtype=False)
    wanted.backward()
    for a, b in zip(found, gradients(inputs, readout), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("neuron", [LIF, ALIF])
def test_with_recurrence_it_leaves_out_what_goes_through_other_units(neuron):
    inputs, layer, readout, x, target = task(SpikingRecurrent, neuron, seed=2)
    y, _ = EProp(inputs, layer, readout)(x, lambda y, k: (y - target[k]).square().sum())
    found = gradients(inputs, layer, readout)
    spikes, _ = layer(inputs(x))
    torch.testing.assert_close(y, readout(spikes))
    # the same network with its own spikes as a fixed second input: backpropagation is cut there
    before = torch.cat([torch.zeros_like(spikes[:1]), spikes[:-1]]).detach()
    alone = Spiking(neuron, N)
    cut, _ = alone(inputs(x) + before @ layer.weight.t())
    torch.testing.assert_close(cut, spikes)
    (readout(cut) - target).square().sum().backward()
    for a, b in zip(found, gradients(inputs, layer, readout), strict=True):
        torch.testing.assert_close(a, b)


def test_random_feedback_trains_too():
    inputs, layer, readout, x, _ = task(SpikingRecurrent, ALIF, seed=2)
    target = torch.tensor([3.0, -2.0], dtype=torch.float64)
    rule = EProp(inputs, layer, readout, leak=0.9, feedback="random", seed=3)
    modules = nn.ModuleList([inputs, layer, readout])
    optimizer, losses = torch.optim.Adam(modules.parameters(), 0.01), []
    for _ in range(40):
        optimizer.zero_grad()
        _, loss = rule(x, lambda y, k: (y - target).square().mean() / T)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert not torch.equal(rule.random, readout.weight)


def test_gradients_are_added_to_those_that_are_there():
    inputs, layer, readout, x, target = task(Spiking, LIF)
    rule = EProp(inputs, layer, readout)
    rule(x, lambda y, k: (y - target[k]).square().sum())
    once = inputs.weight.grad.clone()
    rule(x, lambda y, k: (y - target[k]).square().sum())
    torch.testing.assert_close(inputs.weight.grad, 2 * once)


def test_bad_input_is_refused():
    inputs, layer, readout, x, _ = task(Spiking, LIF)
    with pytest.raises(UnknownName, match="symmetric"):
        EProp(inputs, layer, readout, feedback="symetric")
    with pytest.raises(InvalidArgument, match="the layer has 5 units"):
        EProp(inputs, layer, nn.Linear(4, 2))
    with pytest.raises(InvalidArgument, match="leak must be"):
        EProp(inputs, layer, readout, leak=1.0)
    with pytest.raises(InvalidArgument, match="needs equations with spikes"):
        EProp(inputs, Spiking(Neuron("dr/dt = I - r"), N), readout)
    with pytest.raises(InvalidArgument, match="loss must give one number"):
        EProp(inputs, layer, readout)(x, lambda y, k: y)
