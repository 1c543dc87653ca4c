"""Recurrent populations against a plain loop over steps."""

from __future__ import annotations

import pytest
import torch

from bregma.dynamics import Neuron
from bregma.dynamics.training._eager_scan import eager_scan
from bregma.errors import InvalidArgument
from bregma.nn import SpikingRecurrent

LIF = Neuron("dv/dt = (I - v)/tau", spike="v > theta", reset="v -= theta",
             surrogate="fast_sigmoid(3)", params={"tau": 9, "theta": 1})  # fmt: skip
ALIF = Neuron(
    "dv/dt = (I - v)/tau (unless refractory)\ndw/dt = -w/tau_w", spike="v > theta + beta*w",
    reset="v = 0; w += 1", refractory=2.0, surrogate="atan(1)",
    params={"tau": [5, 6, 7, 8, 9, 10, 11], "tau_w": 30, "beta": 0.3, "theta": 0.8},
)  # fmt: skip
T, B, N = 25, 3, 7


def plain(layer, x, state):
    """One step after the other, each by the reference."""
    constants, program = layer._constants(x), layer.program
    now = {n: state[n] for n in program.step.states}
    fired, resting = state["spikes"], state.get("refractory", torch.zeros(B, N, dtype=torch.int32))
    spikes, v = [], []
    for current in x.unbind(0):
        given = {layer.input: (current + fired @ layer.weight.to(x).t())[None]}
        out, now, resting = eager_scan(program, given, constants, now, resting, layer.rest)
        fired = out["spikes"][0]
        spikes.append(fired)
        v.append(out["v"][0])
    return torch.stack(spikes), torch.stack(v)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("neuron", [LIF, ALIF])
def test_spikes_are_equal_and_derivatives_agree(neuron, detached, dtype, tolerance):
    layer = SpikingRecurrent(
        neuron, N, learnable=["tau", "theta"], output=["spikes", "v"], detached=detached, seed=1
    ).to(dtype)
    rng = torch.Generator().manual_seed(2)
    x = (torch.randn(T, B, N, generator=rng, dtype=dtype) * 2 + 1.5).requires_grad_()
    state = layer.initial_state(B, like=x)
    state["spikes"] = (torch.rand(B, N, generator=rng) < 0.5).to(dtype).requires_grad_()
    weights = torch.randn(2, T, B, N, generator=rng, dtype=dtype)
    outputs, _ = layer(x, state)
    spikes, v = plain(layer, x, state)
    assert 0.05 < spikes.mean() < 0.6
    assert torch.equal(outputs["spikes"], spikes)
    wanted = [x, state["spikes"], *layer.parameters()]
    found = (outputs["spikes"] * weights[0]).sum() + (outputs["v"] * weights[1]).sum()
    expected = (spikes * weights[0]).sum() + (v * weights[1]).sum()
    pairs = zip(
        torch.autograd.grad(found, wanted), torch.autograd.grad(expected, wanted), strict=True
    )
    for a, b in pairs:
        bound = tolerance if detached else max(tolerance, 1e-4)
        assert (a - b).norm() <= bound * b.norm()


def test_a_loss_that_sees_no_spikes_still_reaches_them():
    neuron = Neuron("dv/dt = (I - v)/9", spike="v > 1", surrogate="fast_sigmoid(3)")  # no reset
    layer = SpikingRecurrent(neuron, N, output="v", seed=1)
    x = (
        torch.randn(T, B, N, generator=torch.Generator().manual_seed(2)) * 2 + 1.5
    ).requires_grad_()
    weight = torch.randn(T, B, N, generator=torch.Generator().manual_seed(3))
    wanted = [x, layer.weight]
    found = torch.autograd.grad(layer(x)[0], wanted, weight)
    expected = torch.autograd.grad(plain(layer, x, layer.initial_state(B))[1], wanted, weight)
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


def test_two_halves_are_the_whole():
    layer = SpikingRecurrent(LIF, N, seed=3)
    x = torch.randn(T, B, N, generator=torch.Generator().manual_seed(0)) * 2 + 1
    whole, _ = layer(x)
    first, state = layer(x[:11])
    assert torch.equal(torch.cat([first, layer(x[11:], state)[0]]), whole)


def test_without_weights_it_is_a_plain_layer():
    layer = SpikingRecurrent(LIF, N)
    with torch.no_grad():
        layer.weight.zero_()
    x = torch.randn(T, B, N, generator=torch.Generator().manual_seed(0)) * 2 + 1
    found = layer(x)[0]
    resting = torch.zeros(B, N, dtype=torch.int32)
    start = {"v": torch.zeros(B, N)}
    out, _, _ = eager_scan(layer.program, {"I": x}, layer._constants(x), start, resting, 0)
    assert torch.equal(found, out["spikes"])


def test_the_same_bits_on_any_number_of_threads():
    layer = SpikingRecurrent(LIF, 60, seed=1)
    x = torch.randn(30, 9, 60, generator=torch.Generator().manual_seed(0)) * 2 + 1
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            found.append(layer(x)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_other_devices_take_the_plain_loop():
    spikes, _ = SpikingRecurrent(LIF, N).to("meta")(torch.zeros(3, 2, N, device="meta"))
    assert spikes.shape == (3, 2, N)


def test_units_without_spikes_are_refused():
    with pytest.raises(InvalidArgument, match="needs equations with spikes"):
        SpikingRecurrent(Neuron("dr/dt = I - r"), 3)
