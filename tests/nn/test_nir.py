"""NIR: a round trip through a file, dynamics against closed forms, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bregma.dynamics import Neuron
from bregma.dynamics.models import lif
from bregma.errors import InvalidArgument
from bregma.nn import EventLinear, Spiking, SpikingSequential, from_nir, to_nir

nir = pytest.importorskip("nir", reason="nir is not installed (extra: peers)")

DT = 1e-3


def full(*values):
    return [np.full(3, v) for v in values]


def test_a_leaky_integrator_follows_its_closed_form():
    tau, r, leak = full(0.02, 2.0, 0.3)
    model = from_nir(nir.NIRGraph.from_list(nir.LI(tau=tau, r=r, v_leak=leak)), dt="1 ms")
    v, _ = model(torch.full((50, 1, 3), 0.7, dtype=torch.float64))
    t = DT * np.arange(1, 51)
    expected = (0.3 + 2.0 * 0.7) * (1 - np.exp(-t / 0.02))
    np.testing.assert_allclose(v[:, 0, 1], expected, rtol=1e-12)


def test_a_leaky_integrator_behind_a_current_follows_its_closed_form():
    node = nir.CubaLI(
        tau_syn=np.full(1, 0.005), tau_mem=np.full(1, 0.02), r=np.full(1, 3.0),
        v_leak=np.zeros(1), w_in=np.full(1, 2.0),
    )  # fmt: skip
    model = from_nir(nir.NIRGraph.from_list(node), dt=DT)
    x = torch.zeros(60, 1, 1, dtype=torch.float64)
    x[0] = 1.0
    v, states = model(x)
    # after the step with input: s = w (1 - exp(-dt/tau_syn)); then both decay freely
    t = DT * np.arange(1, 60)
    s, v0 = 2.0 * (1 - math.exp(-0.2)), v[0].item()
    rise = (np.exp(-t / 0.005) - np.exp(-t / 0.02)) * 0.005 / (0.005 - 0.02)
    np.testing.assert_allclose(v[1:, 0, 0], v0 * np.exp(-t / 0.02) + 3.0 * s * rise, rtol=1e-10)
    assert states[0]["s"].item() == pytest.approx(s * math.exp(-59 * 0.2), rel=1e-10)


def test_a_perfect_integrator_fires_at_regular_intervals():
    r, threshold, reset = full(10.0, 1.0, 0.0)
    node = nir.IF(r=r, v_threshold=threshold, v_reset=reset)
    spikes, _ = from_nir(nir.NIRGraph.from_list(node), dt=DT)(torch.full((1000, 1, 3), 1.3))
    steps = math.floor(1 / (1.3 * 10 * DT)) + 1  # the first step above the threshold
    fired = np.flatnonzero(spikes[:, 0, 0].numpy())
    np.testing.assert_array_equal(fired + 1, steps * np.arange(1, len(fired) + 1))


def test_a_leaky_unit_fires_at_the_intervals_of_its_closed_form():
    tau, r, leak, threshold, reset = full(0.02, 1.0, -0.2, 1.0, 0.1)
    node = nir.LIF(tau=tau, r=r, v_leak=leak, v_threshold=threshold, v_reset=reset)
    spikes, _ = from_nir(nir.NIRGraph.from_list(node), dt=1e-5)(
        torch.full((20000, 1, 3), 1.5, dtype=torch.float64)
    )
    fired = 1e-5 * np.flatnonzero(spikes[:, 0, 0].numpy())
    interval = 0.02 * math.log((1.3 - 0.1) / (1.3 - 1.0))
    np.testing.assert_allclose(np.diff(fired), interval, atol=1.01e-5)
    assert len(fired) == 7


def test_a_network_goes_through_a_file_and_comes_back(tmp_path):
    torch.manual_seed(0)
    rng = np.random.default_rng(2)
    cuba = Neuron(
        "di/dt = (a*J - i)/t_s\ndu/dt = (E - u + R*i)/t_m", spike="u - th > 0", reset="u = E",
        params={"a": 1.5, "t_s": "4 ms", "t_m": rng.uniform(0.01, 0.03, 8), "E": -0.1, "R": 3.0,
                "th": 0.2},
        init={},
    )  # fmt: skip
    readout = Neuron("dv/dt = (I - v)/tau", params={"tau": "10 ms"})
    model = SpikingSequential(
        torch.nn.Linear(5, 8),
        Spiking(cuba, 8, input="J", dt=DT),
        EventLinear(8, 4, seed=1),
        Spiking(readout, 4, learnable=["tau"], dt=DT),
    )
    x = 4 * torch.rand(80, 3, 5)
    expected, states = model(x)
    assert states[1]["u"].abs().max() > 0
    nir.write(tmp_path / "model.nir", to_nir(model))
    again = from_nir(nir.read(tmp_path / "model.nir"), dt=DT)
    found, _ = again(x)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-5)
    kinds = [type(n).__name__ for n in nir.read(tmp_path / "model.nir").nodes.values()]
    assert sorted(kinds) == sorted(["Input", "Affine", "CubaLIF", "Linear", "LI", "Output"])


def test_a_neuron_is_recognised_whatever_its_names():
    neuron = Neuron(
        "dx/dt = -g*x + c + k*I", spike="2*x > b", reset="x = 0.1",
        params={"g": 50, "c": 5, "k": 10, "b": 3},
    )  # fmt: skip
    (node,) = (n for n in to_nir(Spiking(neuron, 2, dt=DT)).nodes.values() if "tau" in vars(n))
    found = {n: getattr(node, n)[1] for n in ("tau", "r", "v_leak", "v_threshold", "v_reset")}
    wanted = {"tau": 0.02, "r": 0.2, "v_leak": 0.1, "v_threshold": 1.5, "v_reset": 0.1}
    assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        (lif(), "refractory"),
        (Neuron("dv/dt = I - v*v", spike="v > 1", reset="v = 0"), "not linear"),
        (Neuron("dv/dt = I - v", spike="v > 1", reset="v -= 1"), "no other reset"),
        (Neuron("dv/dt = I - v\ndw/dt = -w", spike="v > w", reset="v = 0"), "depends on|above a"),
        (
            Neuron("dv/dt = I - v - w\ndw/dt = v - w", spike="v > 1", reset="v = 0"),
            "decay and hear",
        ),
    ],
)
def test_what_nir_cannot_say_is_refused(neuron, message):
    with pytest.raises(InvalidArgument, match=message):
        to_nir(Spiking(neuron, 2, dt=1e-3))


def test_graphs_that_are_no_chains_are_refused():
    tau, r, leak = full(0.02, 1.0, 0.0)
    nodes = {
        "input": nir.Input(np.array([3])), "a": nir.LI(tau, r, leak), "b": nir.LI(tau, r, leak),
        "output": nir.Output(np.array([3])),
    }  # fmt: skip
    both = [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")]
    loop = [("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")]
    for edges in (both, loop):
        with pytest.raises(InvalidArgument, match="chain"):
            from_nir(nir.NIRGraph(nodes, edges), dt=DT)
    node = nir.Threshold(np.ones(3))
    with pytest.raises(InvalidArgument, match="kind Threshold"):
        from_nir(nir.NIRGraph.from_list(node), dt=DT)
