"""Networks on the reference engine against closed forms; what every engine must then repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bregma.dynamics import (
    AllToAll,
    Drive,
    FixedProbability,
    FromTable,
    Network,
    Neuron,
    OneToOne,
    Poisson,
    PoissonDrive,
    Population,
    Projection,
    Spikes,
    Synapse,
    simulate,
)
from bregma.errors import InvalidArgument, InvalidEquation, UnknownName, UnstableSimulation
from bregma.recording import SpikeTrains

DT = 1e-4
LEAK = Neuron("dv/dt = -v/tau", params={"tau": "20 ms"})
LIF = Neuron(
    "dv/dt = (I - v)/tau : 1 (unless refractory)",
    spike="v > 1",
    reset="v = 0",
    refractory="2 ms",
    params={"tau": "20 ms"},
)


def run(network, duration, **options):
    options = {"seed": 0, "dt": DT, "dtype": "float64", "engine": "reference"} | options
    return simulate(network, duration, **options)


def trace(simulation, name):
    return simulation.traces[name].values[0]


def source(*times):
    trains = {f"s{i}": t for i, t in enumerate(times)}
    return Population(Spikes(SpikeTrains.from_dict(trains, support=[(0, 1)])), len(times))


def test_membrane_relaxes_as_its_solution():
    n = Network({"A": Population(LIF.with_params(tau="10 ms"), 1)}, drives=[Drive("A", "I", 0.8)])
    v = trace(run(n, "50 ms", record={"A": ["v"]}), "A.v")[:, 0]
    t = np.arange(1, 501) * DT
    np.testing.assert_allclose(v, 0.8 * (1 - np.exp(-t / 0.01)), rtol=1e-12)


@pytest.mark.parametrize("current", [1.05, 1.5, 3.0])
def test_rate_of_a_neuron_is_that_of_its_f_i_curve(current):
    n = Network({"A": Population(LIF, 1)}, drives=[Drive("A", "I", current)])
    spikes = run(n, 0.4).spikes["A"].times
    period = 0.002 + 0.02 * np.log(current / (current - 1))
    intervals = np.diff(spikes)
    assert len(intervals) > 3
    assert np.ptp(intervals) < 1e-9  # nothing is random
    assert 0 <= intervals[0] - period <= 1.01 * DT  # the threshold is seen at the end of a step


def test_postsynaptic_potential_has_its_shape_and_comes_with_its_delay():
    post = Neuron(
        "dv/dt = (g - v)/tau_m\ndg/dt = -g/tau_s", params={"tau_m": "20 ms", "tau_s": "5 ms"}
    )
    kick = Synapse(on_pre="g += w", params={"w": 2.0})
    n = Network(
        {"S": source([0.005]), "A": Population(post, 1)},
        [Projection("S", "A", kick, AllToAll(), delay="3 ms")],
    )
    v = trace(run(n, "60 ms", record={"A": ["v"]}), "A.v")[:, 0]
    s = np.arange(1, 601) * DT - 0.008
    shape = 2.0 * 5 / (20 - 5) * (np.exp(-s / 0.02) - np.exp(-s / 0.005))
    np.testing.assert_allclose(v, np.where(s > 0, shape, 0), atol=1e-12)


def test_kinetics_of_synapses_flow_into_any_neuron():
    """The same potential as above, with the kinetics in the synapse; two projections add up."""
    cell = Neuron("dv/dt = (I - v)/tau", params={"tau": "20 ms"})
    slow = Synapse("ds/dt = -s/tau_s (post)", on_pre="s += w", current={"I": "gain*s"},
                   params={"tau_s": "5 ms", "w": [2.0, 1.0], "gain": 0.5})  # fmt: skip
    fast = slow.with_params(tau_s="2 ms", w=[3.0, 0.0])
    n = Network(
        {"S": source([0.005], [0.005]), "A": Population(cell, 1)},
        [
            Projection("S", "A", slow, AllToAll(), delay="3 ms", name="slow"),
            Projection("S", "A", fast, AllToAll(), delay="3 ms", name="fast"),
        ],
    )
    found = run(n, "60 ms", record={"A": ["v"], "slow": ["s"]})
    t = np.maximum(np.arange(1, 601) * DT - 0.008, 0)

    def potential(tau_s, weight):
        shape = tau_s / (0.02 - tau_s) * (np.exp(-t / 0.02) - np.exp(-t / tau_s))
        return 0.5 * weight * shape

    v = trace(found, "A.v")[:, 0]
    np.testing.assert_allclose(v, potential(0.005, 3) + potential(0.002, 3), atol=1e-12)
    s = trace(found, "slow.s")[:, 0]
    np.testing.assert_allclose(s[79:], 3 * np.exp(-t[79:] / 0.005))


@pytest.mark.parametrize("names", [("slow__x", "slow__y"), ("a-b", "a-c")])
def test_currents_of_projections_keep_their_own_parameters(names):
    cell = Neuron("dv/dt = (I - v)/tau", params={"tau": "20 ms"})
    kick = Synapse("ds/dt = -s/tau_s (post)", on_pre="s += 1", current={"I": "s"},
                   params={"tau_s": "5 ms"})  # fmt: skip

    def last(*labels):
        pair = zip(labels, (kick, kick.with_params(tau_s="50 ms")), strict=True)
        projections = [Projection("S", "A", syn, AllToAll(), name=n) for n, syn in pair]
        n = Network({"S": source([0.005]), "A": Population(cell, 1)}, projections)
        return trace(run(n, "50 ms", record={"A": ["v"]}), "A.v")[-1, 0]

    assert last(*names) == last("one", "two") > 0


def test_projections_whose_currents_cannot_be_told_apart_are_refused():
    kick = Synapse("ds/dt = -s/tau_s (post)", on_pre="s += 1", current={"I": "s"},
                   params={"tau_s": "5 ms"})  # fmt: skip
    projections = [Projection("A", "A", kick, AllToAll(), name=n) for n in ("a-b", "a+b")]
    with pytest.raises(InvalidArgument, match="'a-b' and 'a\\+b' are both 'a_b'"):
        run(Network({"A": Population(LIF, 2)}, projections), 0.001)


def test_what_is_recorded_may_be_named_by_any_iterable():
    n = Network({"A": Population(LEAK, 2)})
    found = run(n, "1 ms", record={"A": (name for name in ["v"])})
    assert list(found.traces) == ["A.v"]


def test_a_current_of_single_synapses_is_refused():
    syn = Synapse("ds/dt = -s/tau", on_pre="s += 1", current={"I": "s"}, params={"tau": "5 ms"})
    n = Network({"A": Population(LIF, 2)}, [Projection("A", "A", syn, AllToAll())])
    with pytest.raises(InvalidArgument, match=r"not marked \(post\)"):
        run(n, 0.001)


def test_a_spike_arrives_at_the_end_of_its_own_step_without_a_delay():
    kick = Synapse(on_pre="v += 1")
    n = Network(
        {"S": source([0.005]), "A": Population(LEAK, 1)}, [Projection("S", "A", kick, AllToAll())]
    )
    v = trace(run(n, "10 ms", record={"A": ["v"]}), "A.v")[:, 0]
    assert v[48] == 0
    assert v[49] == 1  # written down at 5 ms
    np.testing.assert_allclose(v[50:], np.exp(-np.arange(1, 51) * DT / 0.02))


def test_delays_that_differ_bring_each_spike_at_its_time():
    kick = Synapse(on_pre="v += 1")
    n = Network(
        {"S": source([0.001]), "A": Population(LEAK, 4)},
        [Projection("S", "A", kick, AllToAll(), delay=[0.0, 1e-3, 2e-3, 3.5e-3])],
    )
    v = trace(run(n, "6 ms", record={"A": ["v"]}), "A.v")
    np.testing.assert_array_equal(np.argmax(v > 0, axis=0), [9, 19, 29, 44])


@pytest.mark.parametrize("lag", [-30, -10, -1, 1, 10, 30])  # ms, post after pre
def test_window_of_spike_timing_dependent_plasticity(lag):
    stdp = Synapse(
        """dx/dt = -x/tau_plus (pre)
        dy/dt = -y/tau_minus (post)
        w""",
        on_pre="x += 1; w -= A_minus*y",
        on_post="y += 1; w += A_plus*x",
        params={"tau_plus": "17 ms", "tau_minus": "34 ms", "A_plus": 0.01, "A_minus": 0.005},
        init={"w": 0.5},
    )
    t = 0.05
    n = Network(
        {"S": source([t]), "A": source([t + lag * 1e-3])}, [Projection("S", "A", stdp, AllToAll())]
    )
    w = trace(run(n, "100 ms", record={"S->A": ["w"]}), "S->A.w")[-1, 0]
    s = lag * 1e-3
    change = 0.01 * np.exp(-s / 0.017) if s > 0 else -0.005 * np.exp(s / 0.034)
    np.testing.assert_allclose(w - 0.5, change, rtol=1e-10)


def test_weights_and_delays_of_a_connectome_reach_its_synapses():
    table = pd.DataFrame(
        {"pre": ["a", "a"], "post": ["x", "z"], "weight": [2.0, 5.0], "delay": [1e-3, 2e-3]}
    )
    kick = Synapse(on_pre="v += w", params={"w": "0.5*weight"})
    n = Network(
        {"S": source([0.001]), "A": Population(LEAK, 3)},
        [Projection("S", "A", kick, FromTable(table, ["a"], ["x", "y", "z"]), delay="delay")],
    )
    v = trace(run(n, "4 ms", record={"A": ["v"]}), "A.v")
    np.testing.assert_allclose([v[19, 0], v[29, 2]], [1.0, 2.5])
    assert v[18, 0] == v[28, 2] == v[:, 1].max() == 0


def test_variables_of_synapses_are_their_own():
    """Each synapse decays from where its own spikes left it."""
    syn = Synapse("dc/dt = -c/tau\nw", on_pre="c += 1; w += c", params={"tau": "10 ms"})
    n = Network(
        {"S": source([0.002, 0.012], [0.005]), "A": Population(LEAK, 1)},
        [Projection("S", "A", syn, AllToAll())],
    )
    c = trace(run(n, "20 ms", record={"S->A": ["c", "w"]}), "S->A.c")
    np.testing.assert_allclose(c[-1], [np.exp(-0.8) * (1 + np.exp(-1)), np.exp(-1.5)], rtol=1e-10)
    w = trace(run(n, "20 ms", record={"S->A": ["w"]}), "S->A.w")
    np.testing.assert_allclose(w[-1], [2 + np.exp(-1), 1], rtol=1e-10)


def test_sums_couple_continuously():
    """Two leaky units with a gap junction: the difference decays faster than the mean."""
    cell = Neuron("dv/dt = (I - v)/tau\nI (input)", params={"tau": "10 ms"}, init={"v": [1.0, 0.0]})
    gap = Synapse(summed={"I": "g*(v_pre - v_post)"}, params={"g": 0.5})
    n = Network(
        {"A": Population(cell, 2)}, [Projection("A", "A", gap, AllToAll(self_connections=False))]
    )
    v = trace(run(n, "20 ms", dt=1e-5, record={"A": ["v"]}), "A.v")[-1]
    np.testing.assert_allclose(v.sum(), np.exp(-2), rtol=1e-4)
    np.testing.assert_allclose(v[0] - v[1], np.exp(-2 * 2), rtol=3e-3)  # 1 + 2 g


def test_frames_of_a_drive_last_as_long_as_they_say():
    values = np.array([[0.0, 1.0], [0.5, 0.0]])
    cell = Neuron("dv/dt = I", init={"v": 0})
    n = Network({"A": Population(cell, 2)}, drives=[Drive("A", "I", values, frame="2 ms")])
    v = trace(run(n, "6 ms", record={"A": ["v"]}), "A.v")[[19, 39, 59]]
    np.testing.assert_allclose(v, [[0, 2e-3], [1e-3, 2e-3], [2e-3, 2e-3]], atol=1e-15)


def test_poisson_units_and_drives_have_their_rates():
    n = Network(
        {"P": Population(Poisson([20.0] * 400 + [80.0] * 400), 800), "A": Population(LEAK, 400)},
        drives=[PoissonDrive("A", "v", "300 Hz", 1.0)],
    )
    found = run(n, "250 ms", record={"A": ["v"]}, every="50 ms")
    counts = found.spikes["P"].counts.to_numpy().reshape(2, 400)
    expected = np.array([20, 80]) * 0.25
    assert (np.abs(counts.mean(1) - expected) < 4 * np.sqrt(expected / 400)).all()
    v = trace(found, "A.v")[-1]  # shot noise: mean rate * tau, variance rate * tau / 2
    assert abs(v.mean() - 6) < 4 * np.sqrt(3 / 400)
    assert 0.75 < v.var() / 3 < 1.3


def test_a_run_in_two_parts_is_the_run():
    syn = Synapse("dx/dt = -x/tau (pre)\nw", on_pre="v += w; x += 1; w -= 0.01*x",
                  params={"tau": "20 ms"}, init={"w": "0.05 + 0.01*rand"})  # fmt: skip
    n = Network(
        {"A": Population(LIF, 50)},
        [Projection("A", "A", syn, FixedProbability(0.2), delay="1.5 ms")],
        [Drive("A", "I", np.linspace(1.0, 1.3, 50))],
    )
    whole = run(n, "100 ms", dtype="float32")
    half = run(n, "40 ms", dtype="float32")
    rest = run(n, "60 ms", dtype="float32", state=half.state)
    for name, value in whole.state.values.items():
        np.testing.assert_array_equal(value, rest.state.values[name])
    assert whole.spikes["A"].n_spikes == half.spikes["A"].n_spikes + rest.spikes["A"].n_spikes > 20


def test_condition_of_refractoriness_gives_one_spike_per_crossing():
    wave = Neuron(
        "v = sin(2*pi*100*Hz*t)\ndx/dt = (v - x)/(1*us)", spike="x > 0.5", refractory="x > 0.5"
    )
    found = run(Network({"A": Population(wave, 1)}), "100 ms")
    assert found.spikes["A"].n_spikes == 10


def test_a_time_step_that_is_too_long_is_refused_before_the_run():
    fast = LEAK.with_params(tau="0.02 ms")
    run(Network({"A": Population(fast, 2)}), "1 ms")  # exact steps are stable
    with pytest.raises(
        UnstableSimulation, match=r"population 'A': dt = 0.1 ms is too long for 'v'"
    ):
        run(Network({"A": Population(replace(fast, method="euler"), 2)}), "1 ms")


def test_nan_stops_the_run_and_is_named():
    explosive = Neuron("dv/dt = v*v/tau", params={"tau": "1 ms"}, init={"v": [0.0, 2.0]})
    with pytest.raises(UnstableSimulation, match=r"'v' of 'A' became NaN .* in number 1"):
        run(Network({"A": Population(explosive, 2)}), 1.0)


# Bad input


def test_names_without_a_value_are_refused():
    with pytest.raises(InvalidEquation, match="'I' has no value"):
        run(Network({"A": Population(LIF, 2)}), 0.01)


def test_unknown_populations_and_variables_are_named():
    kick = Synapse(on_pre="v += 1")
    with pytest.raises(UnknownName, match="'B'"):
        Network({"A": Population(LIF, 2)}, [Projection("A", "B", kick, AllToAll())])
    with pytest.raises(UnknownName, match="'J'"):
        Network({"A": Population(LIF, 2)}, drives=[Drive("A", "J", 1.0)])
    n = Network({"A": Population(LIF, 2)}, drives=[Drive("A", "I", 1.0)])
    with pytest.raises(UnknownName, match="'u'"):
        run(n, 0.01, record={"A": ["u"]})
    with pytest.raises(UnknownName, match="engine"):
        run(n, 0.01, engine="abacus")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("v = 1", "can only grow"),
        ("v *= 2", "can only grow"),
        ("v += v_post", "do not change"),
        ("v += nothing", "'nothing' in A->A has no value"),
        ("x += w", "cannot depend on single synapses"),
    ],
)
def test_statements_that_have_no_single_meaning_are_refused(text, match):
    syn = Synapse("dx/dt = -x/tau (pre)\nw", on_pre=f"{text}; w += 1", params={"tau": "1 ms"})
    n = Network(
        {"A": Population(LIF, 3)}, [Projection("A", "A", syn, AllToAll())], [Drive("A", "I", 1)]
    )
    with pytest.raises(InvalidEquation, match=match):
        run(n, 0.001)


def test_negative_delays_and_wrong_lengths_are_refused():
    kick = Synapse(on_pre="v += w", params={"w": [1.0, 2.0]})
    n = Network(
        {"A": Population(LIF, 3)}, [Projection("A", "A", kick, OneToOne())], [Drive("A", "I", 1)]
    )
    with pytest.raises(
        InvalidArgument, match=r"w of A->A has the shape \(2,\); give one number, or 3"
    ):
        run(n, 0.001)
    late = Projection("A", "A", kick.with_params(w=1.0), OneToOne(), delay="-1 ms")
    with pytest.raises(InvalidArgument, match="must not be negative"):
        run(Network({"A": Population(LIF, 3)}, [late], [Drive("A", "I", 1)]), 0.001)
    with pytest.raises(InvalidArgument, match="shorter than one step"):
        run(n, 1e-6)
    small, large = (
        Network({"A": Population(LIF, size)}, drives=[Drive("A", "I", 1.0)]) for size in (2, 3)
    )
    state = run(small, 0.01).state
    with pytest.raises(InvalidArgument, match="belongs to another network"):
        run(large, 0.01, state=state)


def test_units_of_statements_are_checked():
    cell = Neuron("dg/dt = -g/tau : nS", params={"tau": "5 ms"})
    kick = Synapse(on_pre="g += w", params={"w": "1 mV"})
    n = Network(
        {"S": source([0.001]), "A": Population(cell, 1)}, [Projection("S", "A", kick, AllToAll())]
    )
    with pytest.raises(InvalidEquation, match="units do not match"):
        run(n, 0.001)
