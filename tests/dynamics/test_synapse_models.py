"""The library of synapses and plasticity, each against its closed form or brute force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bregma.dynamics import (
    AllToAll,
    Drive,
    Network,
    Neuron,
    Population,
    Projection,
    Spikes,
    Synapse,
    simulate,
    synapses,
)
from bregma.recording import SpikeTrains

DT = 1e-4


def source(*times):
    trains = {f"s{i}": t for i, t in enumerate(times)}
    return Population(Spikes(SpikeTrains.from_dict(trains, support=[(0, 10)])), len(times))


def cell(text="dv/dt = -v/(1*s)", **init):
    return Population(Neuron(text, init=init), 1)


def joined(pre, post, synapse):
    """Two populations with a synapse between each pair."""
    return Network({"S": pre, "A": post}, [Projection("S", "A", synapse, AllToAll())])


def fires_at_15_ms(text="", **params):
    """A neuron, and the drive that makes it fire once between 15 and 16 ms."""
    neuron = Neuron(
        f"dv/dt = (I - v)/(1*ms)\nI (input)\n{text}", spike="v > 0.5", reset="v = 0", params=params
    )
    pulse = np.zeros((17, 1))
    pulse[15] = 1
    return Population(neuron, 1), Drive("A", "I", pulse)


def last_weight(synapse, pre, post, duration):
    """Weight of a synapse between two units that fire at given times."""
    n = joined(source(pre), source(post), synapse)
    found = simulate(
        n, duration, seed=0, dt=DT, dtype="float64", engine="cpu", record={"S->A": ["w"]}
    )
    return found.traces["S->A.w"].values[0, -1, 0]


def run(network, duration, record, **options):
    options = {"dtype": "float64", "engine": "cpu", "dt": DT, "seed": 0} | options
    found = simulate(network, duration, record=record, **options)
    return {name: r.values[0] for name, r in found.traces.items()}


def kinetics(synapse):
    n = Network(
        {"S": source([0.002]), "A": cell("dv/dt = I", v=0.0)},
        [Projection("S", "A", synapse, AllToAll(), name="syn")],
    )
    return run(n, "50 ms", {"syn": ["s"]})["syn.s"][19:, 0], np.arange(481) * DT


def test_exponential_decays_from_its_weight():
    s, t = kinetics(synapses.exponential(w=2.0, tau="4 ms"))
    np.testing.assert_allclose(s, 2 * np.exp(-t / 0.004), rtol=1e-10)


def test_alpha_peaks_at_its_weight_after_its_time_constant():
    s, t = kinetics(synapses.alpha(w=2.0, tau="4 ms"))
    np.testing.assert_allclose(s, 2 * t / 0.004 * np.exp(1 - t / 0.004), rtol=1e-9, atol=1e-12)
    assert t[np.argmax(s)] == pytest.approx(0.004)


def test_double_exponential_peaks_at_its_weight():
    s, t = kinetics(synapses.double_exponential(w=2.0, tau_rise="1.5 ms", tau_decay="6 ms"))
    shape = np.exp(-t / 0.006) - np.exp(-t / 0.0015)
    np.testing.assert_allclose(s / s.max(), shape / shape.max(), atol=1e-9)
    assert s.max() == pytest.approx(2, rel=1e-4)  # sampled at every step


def test_magnesium_blocks_nmda_at_rest():
    def current_at(v):
        n = Network(
            {"S": source([0.001]), "A": cell("dv/dt = 0*I\nflow = I", v=v)},
            [Projection("S", "A", synapses.nmda(w=1e-9), AllToAll(), name="syn")],
        )
        found = run(n, "8 ms", {"A": ["flow"], "syn": ["s"]})
        return found["A.flow"][-1, 0] / found["syn.s"][-1, 0]

    for v in (-0.070, -0.020, 0.020):
        unblocked = 1 / (1 + 1 / 3.57 * np.exp(-62 * v))
        np.testing.assert_allclose(current_at(v), unblocked * (0 - v), rtol=1e-9)


def test_short_term_plasticity_follows_its_recursion():
    spikes = np.array([0.01, 0.03, 0.05, 0.20])
    u, x, last, sent = 0.0, 1.0, None, []
    for t in spikes:
        if last is not None:
            u, x = u * np.exp(-(t - last) / 0.6), 1 - (1 - x) * np.exp(-(t - last) / 0.2)
        u += 0.3 * (1 - u)
        sent.append(u * x)
        x, last = x - u * x, t
    syn = synapses.short_term_plasticity(w=1.0, U=0.3)
    n = Network(
        {"S": source(spikes), "A": cell("dv/dt = 0*v")}, [Projection("S", "A", syn, AllToAll())]
    )
    v = run(n, "210 ms", {"A": ["v"]})["A.v"][:, 0]
    jumps = np.diff(v)[np.diff(v) > 0]
    np.testing.assert_allclose(jumps, sent, rtol=1e-9)


PRE, POST = [0.010, 0.031, 0.052, 0.0905], [0.015, 0.028, 0.060, 0.0902]


def test_pair_rule_sums_over_all_pairs():
    syn = synapses.pair_stdp(A_plus=0.01, A_minus=0.012, tau_plus="17 ms", tau_minus="34 ms")
    lag = np.subtract.outer(POST, PRE)
    change = 0.01 * np.exp(-lag[lag > 0] / 0.017).sum() - 0.012 * np.exp(lag[lag < 0] / 0.034).sum()
    neuron_free = Synapse(syn.equations, "x += 1; w = clip(w - A_minus*y, 0, w_max)", syn.on_post,
                          params={n: v for n, v in syn.params.items() if n != "gain"},
                          init=syn.init)  # fmt: skip
    assert last_weight(neuron_free, PRE, POST, 0.1) == pytest.approx(0.5 + change, rel=1e-9)


def plastic(synapse):
    """The same rule without its effect on the neuron behind, which here only replays spikes."""
    text = "; ".join(t for t in synapse.on_pre.replace("\n", ";").split(";") if "gain" not in t)
    params = {n: v for n, v in synapse.params.items() if n != "gain"}
    return Synapse(synapse.equations, text, synapse.on_post, params=params, init=synapse.init)


def test_triplet_rule_equals_its_sum_over_triplets():
    w = 0.5
    for t, pre in sorted([(t, True) for t in PRE] + [(t, False) for t in POST]):
        past_pre = t - np.array([s for s in PRE if s < t])
        past_post = t - np.array([s for s in POST if s < t])
        if pre:
            r2 = np.exp(-past_pre / 0.101).sum()
            w -= np.exp(-past_post / 0.0337).sum() * (7e-3 + 2.3e-4 * r2)
        else:
            o2 = np.exp(-past_post / 0.125).sum()
            w += np.exp(-past_pre / 0.0168).sum() * (5e-10 + 6.2e-3 * o2)
    assert last_weight(plastic(synapses.triplet_stdp()), PRE, POST, 0.1) == pytest.approx(
        w, rel=1e-9
    )


def test_inhibitory_rule_is_symmetric_and_weakens_without_partner():
    syn = plastic(synapses.inhibitory_stdp(w=0.5))
    alone = last_weight(syn, [0.010], [], 0.1)
    assert alone == pytest.approx(0.5 - 0.01 * 2 * 3 * 0.02)
    before, after = (last_weight(syn, [0.05], [0.05 + lag], 0.1) for lag in (-0.007, 0.007))
    assert before == pytest.approx(after)
    assert before == pytest.approx(alone + 0.01 * np.exp(-0.35))


def test_voltage_rule_has_its_areas_at_a_held_voltage():
    """At a constant voltage the filters equal it, and a spike's trace has an area of 1."""

    def change(v):
        n = Network(
            {"S": source([0.1]), "A": cell("dv/dt = 0*v", v=v)},
            [Projection("S", "A", synapses.voltage_stdp(gain="0 mV"), AllToAll())],
        )
        return run(n, "400 ms", {"S->A": ["w"]})["S->A.w"][-1, 0] - 0.5

    assert change(-0.060) == pytest.approx(-0.14 * 0.0106, rel=1e-3)
    both = 80 * 0.0253 * 0.0506 - 0.14 * 0.0506
    assert change(-0.020) == pytest.approx(both, rel=0.01)
    assert change(-0.080) == 0


def test_three_factors_multiply():
    syn = synapses.three_factor(gain="0 mV", tau_c="200 ms", w_max=10.0)
    post, drive = fires_at_15_ms("m", m=2.0)
    n = replace(joined(source([0.010]), post, syn), drives=[drive])
    options = {"seed": 0, "dt": DT, "dtype": "float64", "engine": "cpu"}
    found = simulate(n, 0.2, record={"S->A": ["w", "c"]}, **options)
    (fired,) = found.spikes["A"].times
    c = np.exp(-(fired - 0.010) / 0.02)
    expected = 0.5 + 2.0 * c * 0.2 * (1 - np.exp(-(0.2 - fired) / 0.2))
    assert found.traces["S->A.w"].values[0, -1, 0] == pytest.approx(expected, rel=1e-3)


def test_reward_that_comes_late_strengthens_less():
    def change(reward_at):
        post, drive = fires_at_15_ms("dm/dt = -m/(200*ms)")
        n = Network(
            {"S": source([0.010]), "R": source([reward_at]), "A": post},
            [
                Projection("S", "A", synapses.reward_stdp(gain="0 mV"), AllToAll(), name="plastic"),
                Projection("R", "A", Synapse(on_pre="m += 0.5"), AllToAll()),
            ],
            [drive],
        )
        return run(n, "1.5 s", {"plastic": ["w"]}, dt=5e-4)["plastic.w"][-1, 0] - 0.5

    soon, late = change(0.1), change(0.6)
    assert soon > late > 0
    assert late / soon == pytest.approx(np.exp(-0.5), rel=0.03)  # tau_c is 1 s


def test_scaling_keeps_ratios_and_moves_towards_the_target():
    quiet = plastic(synapses.homeostatic_scaling(rho="10 Hz"))
    quiet = Synapse(quiet.equations, "", quiet.on_post, params=quiet.params, init={"w": [0.2, 0.4]})

    def weights(post):
        n = Network(
            {"S": source([], []), "A": source(post)}, [Projection("S", "A", quiet, AllToAll())]
        )
        return run(n, "2 s", {"S->A": ["w"]}, dt=1e-3)["S->A.w"][-1]

    silent, busy = weights([]), weights(np.arange(0.005, 2, 0.01))
    np.testing.assert_allclose(silent, [0.2 * np.exp(0.4), 0.4 * np.exp(0.4)], rtol=1e-3)
    assert busy[0] < 0.2
    assert busy[1] / busy[0] == pytest.approx(2)


def test_astrocyte_follows_the_balance_and_sets_depression():
    n = Network(
        {"S": source([0.05]), "G": Population(synapses.astrocyte(), 1)},
        [Projection("S", "G", Synapse(on_pre="A += 0.1"), AllToAll())],
    )
    a = run(n, "100 ms", {"G": ["A"]})["G.A"][:, 0]
    assert a[400] == pytest.approx(0.15)
    assert a[-1] == pytest.approx(0.15 + 0.1 * np.exp(-0.5))
    post, drive = fires_at_15_ms("A", A=0.4)
    late = joined(source([0.020]), post, synapses.astrocyte_stdp(gain="0 mV"))
    late = replace(late, drives=[drive])
    options = {"seed": 0, "dt": DT, "dtype": "float64", "engine": "cpu"}
    found = simulate(late, 0.03, record={"S->A": ["w"]}, **options)
    (fired,) = found.spikes["A"].times
    expected = 0.5 - 0.01 * 0.4 * np.exp(-(0.020 - fired) / 0.02)
    assert found.traces["S->A.w"].values[0, -1, 0] == pytest.approx(expected, rel=1e-9)
