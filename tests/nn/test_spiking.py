"""Populations of equations as layers."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys

import pytest
import torch

from bregma.dynamics import Neuron
from bregma.dynamics.training._workspace import workspace
from bregma.errors import InvalidArgument, InvalidEquation, UnknownName, UnstableSimulation
from bregma.nn import Spiking, SpikingRecurrent

LIF = Neuron(
    "dv/dt = (v_0 - v + R*I)/tau : 1 (unless refractory)", spike="v > theta", reset="v = 0",
    refractory="2 ms",
    surrogate="fast_sigmoid(5)", params={"v_0": 0, "R": 1, "theta": 1, "tau": "10 ms"},
)  # fmt: skip


def current(*shape, seed=0, scale=2.0, dtype=torch.float32):
    return (
        torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * scale + 1
    )


def test_a_constant_current_gives_the_rate_of_the_closed_form():
    layer = Spiking(LIF, 3, dt="0.01 ms")
    i = torch.tensor([1.2, 1.5, 3.0], dtype=torch.float64)
    spikes, _ = layer(i.expand(100_000, 1, 3).contiguous())
    period = 0.002 + 0.010 * torch.log(i / (i - 1))
    torch.testing.assert_close(spikes.sum((0, 1)), 1 / period, atol=1, rtol=0.003)


def test_two_halves_are_the_whole():
    layer = Spiking(LIF, 5, learnable=["tau"], dt="1 ms", output=["spikes", "v"])
    x = current(40, 3, 5)
    whole, end = layer(x)
    first, state = layer(x[:23])
    second, last = layer(x[23:], state)
    for n in ("spikes", "v"):
        assert torch.equal(torch.cat([first[n], second[n]]), whole[n])
    assert all(torch.equal(last[n], end[n]) for n in end)
    (a,) = torch.autograd.grad(whole["v"].sum(), layer.tau)
    (b,) = torch.autograd.grad(first["v"].sum() + second["v"].sum(), layer.tau)
    torch.testing.assert_close(a, b)


def test_parameters_have_the_names_of_the_text_and_are_learned():
    neuron = LIF.with_params(theta=[0.8, 1.0, 1.2])
    layer = Spiking(neuron, 3, learnable=["tau", "theta"], dt="1 ms")
    assert {n: tuple(p.shape) for n, p in layer.named_parameters()} == {"tau": (), "theta": (3,)}
    spikes, _ = layer(current(50, 4, 3))
    spikes.sum().backward()
    assert layer.tau.grad != 0
    assert (layer.theta.grad < 0).all()  # a higher threshold, fewer spikes


def test_a_time_constant_is_recovered():
    teacher = Spiking(LIF.with_params(tau="20 ms"), 8, dt="1 ms", output="v")
    student = Spiking(LIF, 8, learnable=["tau"], dt="1 ms", output="v")
    x, optimizer = current(60, 8, 8, scale=0.3) - 0.6, torch.optim.Adam(student.parameters(), 5e-4)
    wanted, _ = teacher(x)
    for _ in range(100):
        optimizer.zero_grad()
        (student(x)[0] - wanted).square().mean().backward()
        optimizer.step()
    assert student.tau.item() == pytest.approx(0.02, rel=0.02)


def test_units_without_spikes_give_their_variable():
    layer = Spiking(Neuron("dr/dt = (I - r)/tau", params={"tau": "10 ms"}), 2, dt="1 ms")
    r, state = layer(torch.ones(20, 1, 2))
    wanted = 1 - torch.exp(-torch.arange(1, 21) / 10)
    torch.testing.assert_close(r[:, 0, 0], wanted)
    assert torch.equal(state["r"], r[-1])


def test_time_enters_and_goes_on():
    layer = Spiking(
        Neuron("dx/dt = sin(w*t)\nI (input)", params={"w": 3.0}, method="rk4"), 1, dt=0.01
    )
    x, state = layer(torch.zeros(60, 1, 1, dtype=torch.float64))
    y, _ = layer(torch.zeros(40, 1, 1, dtype=torch.float64), state)
    t = torch.arange(1, 101, dtype=torch.float64) * 0.01
    # t is that of the beginning of a step: a sum from the left
    wanted = torch.cumsum(torch.sin(3 * (t - 0.01)) * 0.01, 0)
    torch.testing.assert_close(torch.cat([x, y])[:, 0, 0], wanted, atol=1e-9, rtol=0)


def test_noise_follows_from_the_seed_and_has_the_variance_of_the_process():
    ou = Neuron("dx/dt = -x/tau\nI (input)", noise={"x": 0.5}, params={"tau": "5 ms"})
    layer, rest = Spiking(ou, 200, dt="1 ms"), torch.zeros(60, 10, 200)
    x, _ = layer(rest, seed=1)
    assert torch.equal(x, layer(rest, seed=1)[0])
    assert not torch.equal(x, layer(rest, seed=2)[0])
    assert x[-1].var().item() == pytest.approx(0.25 * 0.005 / 2, rel=0.1)
    with pytest.raises(InvalidArgument, match="'x' has noise: give seed="):
        layer(rest)


def test_first_values_are_drawn_for_each_unit():
    neuron = Neuron("dv/dt = (I - v)/9", init={"v": "rand"}, spike="v > 2", reset="v = 0")
    layer = Spiking(neuron, 50)
    state = layer.initial_state(4, seed=3)
    assert len(state["v"].unique()) == 200
    assert torch.equal(state["v"], layer.initial_state(4, seed=3)["v"])


def test_checkpoints_give_the_same_with_less_memory():
    x = current(100, 2, 40, seed=5).requires_grad_()
    found = []
    for checkpoint in (False, True):
        layer = Spiking(LIF, 40, dt="1 ms", learnable=["tau"], checkpoint=checkpoint)
        spikes, _ = layer(x)
        found.append([spikes, *torch.autograd.grad(spikes.sum(), [x, layer.tau])])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


QUADRATIC = Neuron("dv/dt = (v**2 + I)/9", spike="v > 3", reset="v = -1")
FILTERED = Neuron("dv/dt = (g - v)/9\ndg/dt = (I - g)/4", spike="v > 1", reset="v = 0")


@pytest.mark.parametrize(
    ("kind", "neuron", "options", "arrays"),
    [
        (Spiking, LIF, {}, 1),  # v after the advance alone
        (Spiking, FILTERED, {}, 1),
        (Spiking, LIF, {"learnable": ["tau"]}, 2),  # v and the input
        (Spiking, LIF, {"output": ["spikes", "v"]}, 2),
        (Spiking, QUADRATIC, {}, 2),
        (Spiking, QUADRATIC, {"checkpoint": True}, 1),  # the input
        (SpikingRecurrent, LIF, {}, 2),  # its own spikes too, for the weights
        (SpikingRecurrent, QUADRATIC, {}, 3),
    ],
)
def test_no_more_is_kept_than_derivatives_need(kind, neuron, options, arrays):
    layer = kind(neuron, 30, dt="1 ms" if neuron is LIF else 0.5, **options)
    x = current(200, 4, 30, seed=5).requires_grad_()
    y, _ = layer(x)
    y = y["spikes"] if isinstance(y, dict) else y
    saved = [t.nbytes for t in y.grad_fn.saved_tensors if t is not None]
    assert sum(size >= x.nbytes for size in saved) == arrays
    small = sum(size for size in saved if size < x.nbytes)  # who was refractory, as bytes
    assert small < 0.3 * x.nbytes


@pytest.mark.parametrize("kind", [Spiking, SpikingRecurrent])
def test_without_derivatives_spikes_alone_are_made(kind):
    layer, x = kind(LIF, 500, dt="1 ms"), current(200, 4, 500, seed=5)
    found = []
    for grad, arrays in ((False, 1), (True, 2)):
        before = workspace.in_use
        with torch.set_grad_enabled(grad):
            spikes, _ = layer(x.clone().requires_grad_())
        assert (workspace.in_use - before) / x.nbytes == pytest.approx(arrays, rel=0.02)
        found.append(spikes.detach().clone())
        del spikes
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", [Spiking, SpikingRecurrent])
def test_the_way_back_takes_memory_only_where_it_may_be_taken_again(kind):
    layer, x = kind(LIF, 30, dt="1 ms"), current(50, 4, 30, seed=5).requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    found = []
    for twice in (False, True):
        spikes, _ = layer(x)
        saved = [t for t in spikes.grad_fn.saved_tensors if t is not None]
        (grad,) = torch.autograd.grad(spikes, x, weight, retain_graph=twice)
        places = [t.untyped_storage().data_ptr() for t in saved]
        assert (grad.untyped_storage().data_ptr() in places) is not twice
        if twice:
            assert torch.equal(torch.autograd.grad(spikes, x, weight)[0], grad)
        found.append(grad)
    assert torch.equal(*found)


def test_a_layer_is_saved_copied_and_cast_like_any_other(tmp_path):
    layer = Spiking(LIF, 4, dt="1 ms", learnable=["tau"])
    with torch.no_grad():
        layer.tau.fill_(0.03)
    torch.save(layer.state_dict(), tmp_path / "layer.pt")
    other = Spiking(LIF, 4, dt="1 ms", learnable=["tau"])
    other.load_state_dict(torch.load(tmp_path / "layer.pt", weights_only=True))
    x = current(30, 2, 4)
    assert torch.equal(other(x)[0], layer(x)[0])
    assert torch.equal(copy.deepcopy(layer)(x)[0], layer(x)[0])
    assert layer(x.double())[0].dtype == torch.float64


def test_other_devices_take_the_plain_loop():
    spikes, _ = Spiking(LIF, 4, dt="1 ms").to("meta")(torch.zeros(3, 2, 4, device="meta"))
    assert spikes.device.type == "meta"


def test_nothing_is_kept_between_calls():
    layer, x = Spiking(LIF, 4, dt="1 ms"), current(30, 2, 4)
    assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own():
    """Loaders of data fork; the pool of the parent is of no use to them."""
    code = (
        "import os, torch\nfrom bregma.dynamics import Neuron\nfrom bregma.nn import Spiking\n"
        "torch.set_num_threads(2)\n"
        "layer = Spiking(Neuron('dv/dt = I - v', spike='v > 1', reset='v = 0'), 600)\n"
        "x = torch.full((9, 2, 600), 1.5)\nwanted = layer(x)[0].sum().item()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    os._exit(0 if layer(x)[0].sum().item() == wanted else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Spiking(LIF, 4, input="J", dt=1.0), UnknownName, "input in the equations 'J'"),
        (lambda: Spiking(LIF, 4, input="v", dt=1.0), InvalidArgument, "'v' has a value"),
        (lambda: Spiking(LIF, 4, learnable=["taw"], dt=1.0), UnknownName, "'tau'"),
        (lambda: Spiking(LIF, 4, output="w", dt=1.0), UnknownName, "output of these equations"),
        (lambda: Spiking(LIF, 0, dt=1.0), InvalidArgument, "size must be 1 or more"),
        (lambda: Spiking(LIF, 4), InvalidArgument, "tau is a duration: give dt="),
        (lambda: Spiking(LIF, 4, dt=0.0), InvalidArgument, "dt must be above 0"),
        (lambda: Spiking(LIF, 4, dt="1 mV"), InvalidArgument, "dt must be a duration"),
        (lambda: Spiking(LIF.with_params(tau=[1.0, 2.0]), 4, dt=1.0), InvalidArgument, "or 4"),
        (lambda: Spiking(Neuron("dv/dt = I + J"), 4), InvalidEquation, "'J' has no value"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_bad_input_is_named():
    layer = Spiking(LIF, 4, dt="1 ms")
    with pytest.raises(InvalidArgument, match=r"\(time, batch, 4\), not \(5, 4\)"):
        layer(torch.zeros(5, 4))
    with pytest.raises(InvalidArgument, match="float32 or float64, not torch.int64"):
        layer(torch.zeros(5, 2, 4, dtype=torch.int64))
    with pytest.raises(InvalidArgument, match=r"a state has \['refractory', 'v'\], not \['v'\]"):
        layer(torch.zeros(5, 2, 4), {"v": torch.zeros(2, 4)})
    state = layer.initial_state(3)
    with pytest.raises(InvalidArgument, match=r"'v' of the state must be .* \(2, 4\)"):
        layer(torch.zeros(5, 2, 4), state)
    x = torch.zeros(5, 2, 4)
    x[3, 1, 2] = math.nan
    with pytest.raises(InvalidArgument, match=r"'I' is nan at step 3 in unit 2 of batch element 1"):
        layer(x)
    with pytest.raises(UnstableSimulation, match="dt = 30 ms is too long for 'v'"):
        Spiking(Neuron("dv/dt = (I - v)/tau", method="euler", params={"tau": 0.01}), 1, dt="30 ms")
    wild = Spiking(Neuron("dv/dt = v**2 + I"), 1)
    with pytest.raises(UnstableSimulation, match="'v' became inf at step"):
        wild(torch.ones(200, 1, 1))
