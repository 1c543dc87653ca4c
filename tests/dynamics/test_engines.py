"""Every engine gives what the reference gives: the same spikes, traces and state from a seed."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.dynamics import (
    AllToAll,
    Drive,
    FixedOutDegree,
    FixedProbability,
    Network,
    Neuron,
    OneToOne,
    Poisson,
    PoissonDrive,
    Population,
    Projection,
    Spikes,
    Synapse,
)
from bregma.dynamics.network._plan import plan
from bregma.dynamics.network._state import Probe, initial_state
from bregma.dynamics.running._simulate import ENGINES, engines_here
from bregma.recording import SpikeTrains

DT = 1e-4
FAST = [name for name in engines_here() if name != "reference"]
ENGINE = {name: importlib.import_module(module) for name, module in ENGINES.items()}

VOGELS = {
    "E_L": "-49 mV", "tau_m": "20 ms", "tau_e": "5 ms", "tau_i": "10 ms", "V_t": "-50 mV",
    "V_r": "-60 mV", "E_e": "0 mV", "E_i": "-80 mV",
}  # fmt: skip
RATES = "dg_e/dt = -g_e/tau_e {unit}\ndg_i/dt = -g_i/tau_i {unit}"
CUBA = "dv/dt = (g_e + g_i - (v - E_L))/tau_m : volt (unless refractory)\n" + RATES
COBA = (
    "dv/dt = (E_L - v + g_e*(E_e - v) + g_i*(E_i - v))/tau_m : volt (unless refractory)\n" + RATES
)
LIF = Neuron(
    "dv/dt = (I - v)/tau : 1 (unless refractory)",
    spike="v > 1", reset="v = 0", refractory="2 ms", params={"tau": "20 ms"},
    init={"v": "rand"},
)  # fmt: skip
KICK = Synapse(on_pre="v += w", params={"w": 0.05})


def balanced(kind, delay=0.0, size=200, **params):
    """The networks of Brette et al. (2007), small, with stronger weights."""
    equations, unit = (CUBA, ": volt") if kind == "cuba" else (COBA, "")
    known = {n: v for n, v in VOGELS.items() if n[:2] != "E_" or n == "E_L" or kind == "coba"}
    neuron = Neuron(
        equations.format(unit=unit), spike="v > V_t", reset="v = V_r", refractory="5 ms",
        params=known | params, init={"v": "-60*mV + 10*mV*rand"},
    )  # fmt: skip
    weights = {"cuba": ("4 mV", "-20 mV"), "coba": (1.5, 15.0)}[kind]
    e, i = (
        Synapse(on_pre=f"g_{s} += w", params={"w": w}) for s, w in zip("ei", weights, strict=True)
    )
    n_e, rule = 4 * size // 5, FixedProbability(0.1)
    pairs = [("E", "E", e), ("E", "I", e), ("I", "E", i), ("I", "I", i)]
    return Network(
        {"E": Population(neuron, n_e), "I": Population(neuron, size - n_e)},
        [Projection(pre, post, s, rule, delay=delay) for pre, post, s in pairs],
    )


def with_stdp(delay=0.0, place=("(pre)", "(post)")):
    """Plastic synapses in a driven network, with traces of units or of synapses."""
    pre, post = place
    stdp = Synapse(
        f"dx/dt = -x/tau_plus {pre}\ndy/dt = -y/tau_minus {post}\nw",
        on_pre="v += w; x += 1; w = clip(w - A_minus*y, 0, w_max)",
        on_post="y += 1; w = clip(w + A_plus*x, 0, w_max)",
        params={"tau_plus": "20 ms", "tau_minus": "30 ms", "A_plus": 0.01, "A_minus": 0.012,
                "w_max": 0.2},
        init={"w": "0.05 + 0.02*rand"},
    )  # fmt: skip
    return Network(
        {"E": Population(LIF, 50), "P": Population(Poisson("80 Hz"), 30)},
        [
            Projection("E", "E", stdp, FixedProbability(0.2), delay=delay),
            Projection("P", "E", KICK, FixedProbability(0.3), delay="1*ms + 2*ms*rand"),
        ],
        [Drive("E", "I", 1.02), PoissonDrive("E", "v", "300 Hz", 0.01)],
    )


def driven():
    """Every kind of input: numbers, frames, sums over synapses, time, sources, expressions."""
    rng = np.random.default_rng(1)
    cell = Neuron(
        """dv/dt = (-v + I + J + gap + sin(t/tau))/tau
        drive = I + J + gap
        rate = 1/(1 + exp(-v))""",
        spike="v > 1.2", reset="v -= 1 + 0.1*I", refractory="v > 0.1", params={"tau": "10 ms"},
    )  # fmt: skip
    gap = Synapse(summed={"gap": "w*(v_pre - v_post)"}, params={"w": "0.02*rand"})
    rate = Synapse(summed={"gap": "w*rate_pre"}, params={"w": 0.1})
    times = np.sort(rng.uniform(0, 0.05, 40))
    trains = {f"s{i}": times[i::5] for i in range(5)}
    frames = rng.uniform(0, 200, (7, 11))
    kick = Synapse(on_pre="v += w", params={"w": "0.4*rand"})
    return Network(
        {
            "A": Population(cell, 13),
            "S": Population(Spikes(SpikeTrains.from_dict(trains, support=[(0, 1)])), 5),
            "P": Population(Poisson(frames, frame="8 ms"), 11),
        },
        [
            Projection("A", "A", gap, FixedProbability(0.5), name="gap"),
            Projection("A", "A", rate, FixedProbability(0.3), name="rate"),
            Projection("S", "A", kick, AllToAll(), delay=rng.uniform(0, 4e-3, 65)),
            Projection("P", "A", KICK, FixedProbability(0.5), delay="0.7 ms"),
        ],
        [
            Drive("A", "I", rng.uniform(0.5, 1.5, 13)),
            Drive("A", "J", rng.normal(0, 0.3, (20, 13)), frame="3 ms"),
            Drive("A", "J", 0.2),
        ],
    )


def noisy():
    """Noise, a parameter for each unit, and more drive than one uniform number is inverted for."""
    tau = np.linspace(0.01, 0.03, 37)
    cell = Neuron(
        "dv/dt = (I - v)/tau : 1 (unless refractory)\ndw/dt = (a*v - w)/(50*ms)",
        spike="v - 0.2*w > 1", reset="v = 0.1*w; w += 0.3", refractory="1 ms",
        noise={"v": "0.8", "w": "0.2"}, params={"tau": tau, "a": 0.2},
    )  # fmt: skip
    return Network(
        {"N": Population(cell, 37)},
        [Projection("N", "N", KICK, OneToOne(), delay="1 ms")],
        [
            Drive("N", "I", 0.8),
            PoissonDrive("N", "w", 4e5, 1e-5),
            PoissonDrive("N", "v", 40.0, 0.3),
        ],
    )


def many_units():
    """More units than are looked at together, some with steps that are large for them."""
    tau = np.linspace(1e-4, 2e-2, 1300)
    cell = Neuron(
        "dv/dt = (1 - v + g*(4 - v))/tau", spike="v > 2", reset="v = 0", params={"tau": tau},
        init={"v": "2*rand"},
    )  # fmt: skip
    return Network({"B": Population(cell, 1300)}, drives=[Drive("B", "g", np.linspace(0, 2, 1300))])


def in_order():
    """Statements whose order shows: they read what others wrote at other synapses."""
    cell = Neuron(
        "dv/dt = (I - v)/tau\ndu/dt = -u/tau\ndz/dt = -b*z/tau", spike="v > 1", reset="v = 0",
        params={"tau": "20 ms", "b": np.linspace(1, 2, 30)}, init={"v": "rand"},
    )  # fmt: skip
    chain = Synapse(
        "w\nc\nq (pre)\ndh/dt = (u_pre - h)/(5*ms) (pre)",
        on_pre="u += w; c = u + h; z_pre += 0.1*c; q = 0.5*q + z_pre;"
        "w = 0.9*w + 0.01*q + 0.001*b_post",
        on_post="c += w; u_pre += 0.05*c*b_pre; z += 0.1*w; w = w + 0.001*u_post",
        init={"w": 0.02},
    )  # fmt: skip
    itself = Synapse(on_pre="u_post += 0.1*u_pre + 0.01", params={})
    return Network(
        {"A": Population(cell, 30)},
        [
            Projection("A", "A", chain, FixedProbability(0.3), delay="0.2 ms", name="chain"),
            Projection("A", "A", itself, FixedProbability(0.3), name="itself"),
            Projection("A", "A", itself, FixedProbability(0.2), delay="2*ms*rand", name="later"),
        ],
        [Drive("A", "I", 1.3)],
    )


V = Probe("E", "v", np.array([3, 0]), every=7)
NETWORKS = {
    "cuba": (lambda: balanced("cuba"), [V, Probe("I", "g_e")]),
    "coba": (lambda: balanced("coba", "1.5 ms"), [V]),
    "coba, short time constant": (
        lambda: balanced("coba", "1*ms + 3*ms*rand", tau_m="0.15 ms"), [V],
    ),
    "stdp": (with_stdp, [V, Probe("E->E", "syn_w", every=10), Probe("E->E", "pre_x", every=10)]),
    "stdp, late": (lambda: with_stdp("1.5 ms"), [Probe("E->E", "syn_w", np.arange(5), every=10)]),
    "stdp, delays that differ": (
        lambda: with_stdp("3*ms*rand", ("", "")),
        [Probe("E->E", "syn_w", every=10), Probe("E->E", "syn_x", np.array([7, 1]), every=3)],
    ),
    "stdp, own traces": (lambda: with_stdp("3*ms*rand", ("", "")), [Probe("E->E", "syn_w")]),
    "many units": (many_units, [Probe("B", "v", np.array([0, 700, 1299]))]),
    "driven": (
        driven,
        [Probe("A", n, every=e) for n, e in (("v", 1), ("drive", 3), ("rate", 5))],
    ),
    "noisy": (noisy, [Probe("N", "v"), Probe("N", "w", every=4)]),
    "in order": (in_order, [Probe("A", "u"), Probe("A", "z"), Probe("chain", "pre_q", every=2)]),
}  # fmt: skip


def made(name, dtype, seed=3):
    network, probes = NETWORKS[name]
    p = plan(network(), dt=DT, seed=seed, dtype=dtype)
    return p, probes


def check_same_spikes(found, expected):
    assert found.spikes.keys() == expected.spikes.keys()
    for name, arrays in expected.spikes.items():
        for a, b in zip(found.spikes[name], arrays, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, err_msg=name)


def check_same(found, expected, rtol, atol):
    check_same_spikes(found, expected)
    for a, b in zip(found.traces, expected.traces, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    assert found.state.step == expected.state.step
    assert found.state.values.keys() == expected.state.values.keys()
    for name, b in expected.state.values.items():
        a = found.state.values[name]
        assert a.dtype == b.dtype, name
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)


def n_spikes(outcome):
    return sum(len(units) for _, units in outcome.spikes.values())


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("name", NETWORKS)
def test_in_double_precision_everything_is_the_same(name, engine):
    p, probes = made(name, np.float64)
    expected = ENGINE["reference"].run(p, initial_state(p), 1000, probes)
    assert n_spikes(expected) > 50
    check_same(ENGINE[engine].run(p, initial_state(p), 1000, probes), expected, 1e-9, 1e-13)


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("name", NETWORKS)
def test_in_single_precision_spikes_are_the_same_until_rounding_grows(name, engine):
    p, probes = made(name, np.float32)
    expected = ENGINE["reference"].run(p, initial_state(p), 300, probes)
    check_same(ENGINE[engine].run(p, initial_state(p), 300, probes), expected, 2e-4, 1e-6)


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("name", NETWORKS)
def test_state_goes_on_from_piece_to_piece_and_from_engine_to_engine(name, engine):
    p, probes = made(name, np.float64)
    expected = ENGINE["reference"].run(p, initial_state(p), 600, probes)
    now, pieces = initial_state(p), []
    for n, by in ((250, engine), (1, engine), (149, "reference"), (200, engine)):
        pieces.append(ENGINE[by].run(p, now, n, probes))
        now = pieces[-1].state
    for population, (steps, units) in expected.spikes.items():
        parts = [o.spikes[population] for o in pieces]
        np.testing.assert_array_equal(np.concatenate([s for s, _ in parts]), steps)
        np.testing.assert_array_equal(np.concatenate([u for _, u in parts]), units)
    for i, trace in enumerate(expected.traces):
        joined = np.concatenate([o.traces[i] for o in pieces])
        np.testing.assert_allclose(joined, trace, rtol=1e-9, atol=1e-13)
    for population, value in expected.state.values.items():
        np.testing.assert_allclose(now.values[population], value, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("engine", FAST)
def test_a_state_is_not_changed_and_a_run_can_be_repeated(engine):
    p, _ = made("stdp", np.float32)
    state = initial_state(p)
    before = {n: v.copy() for n, v in state.values.items()}
    first = ENGINE[engine].run(p, state, 300)
    for n, v in before.items():
        np.testing.assert_array_equal(state.values[n], v)
    check_same(ENGINE[engine].run(p, state, 300), first, 0, 0)


@pytest.mark.parametrize("engine", FAST)
def test_more_targets_than_two_bytes_count(engine):
    n = Network(
        {"P": Population(Poisson("500 Hz"), 3), "A": Population(LIF, 70_000)},
        [Projection("P", "A", KICK, FixedOutDegree(200))],
        [Drive("A", "I", 0.9)],
    )
    p = plan(n, dt=DT, seed=0, dtype=np.float64)
    assert p.projections[0].targets.max() > 2**16
    check_same(
        ENGINE[engine].run(p, initial_state(p), 40),
        ENGINE["reference"].run(p, initial_state(p), 40),
        1e-12, 0,
    )  # fmt: skip


def always_firing(size=21):
    """Units that fire at every step, which is more than anybody prepares for."""
    always = Neuron("dv/dt = 0/ms", spike="v > -1", reset="v = v", params={})
    return Network(
        {"E": Population(always, size), "A": Population(LIF, 3)},
        [Projection("E", "A", KICK, AllToAll(), delay="5*ms*rand")],
        [Drive("A", "I", 0.0)],
    )


@pytest.mark.parametrize("engine", FAST)
def test_room_for_spikes_grows(engine):
    p = plan(always_firing(), dt=DT, seed=0, dtype=np.float64)
    check_same(
        ENGINE[engine].run(p, initial_state(p), 200),
        ENGINE["reference"].run(p, initial_state(p), 200),
        1e-12, 0,
    )  # fmt: skip


def drawn_plan(draw):
    """A small network of one structure, so that it is compiled once; everything else is drawn."""
    sizes = [draw(st.integers(1, 40)) for _ in range(2)]
    number = st.floats(0, 0.3)
    cell = LIF.with_params(tau=draw(st.floats(0.002, 0.05)))
    synapses = [
        Synapse(on_pre="v += w", params={"w": draw(number) * (1 if i < 2 else -1)})
        for i in range(4)
    ]
    projections = [
        Projection(pre, post, s, FixedProbability(draw(st.floats(0, 1))), name=f"{pre}{post}",
                   delay=draw(st.integers(0, 30)) * DT)
        for s, (pre, post) in zip(synapses, ("AB", "BB", "BA", "AA"), strict=True)
    ]  # fmt: skip
    n = Network(
        {name: Population(cell, size) for name, size in zip("AB", sizes, strict=True)},
        projections,
        [Drive(name, "I", draw(st.floats(0, 4))) for name in "AB"],
    )
    return plan(n, dt=DT, seed=draw(st.integers(0, 99)), dtype=np.float64)


@pytest.mark.parametrize("engine", FAST)
@settings(max_examples=20)
@given(data=st.data())
def test_random_small_networks(engine, data):
    p = drawn_plan(data.draw)
    expected = ENGINE["reference"].run(p, initial_state(p), 150)
    check_same(ENGINE[engine].run(p, initial_state(p), 150), expected, 1e-9, 1e-12)
