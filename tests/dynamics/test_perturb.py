"""Perturbed networks, on every engine, against closed forms and networks that were built so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bregma.dynamics import (
    AllToAll,
    Drive,
    FixedProbability,
    FromMatrix,
    Hold,
    Network,
    Neuron,
    Poisson,
    Population,
    Projection,
    Spikes,
    Synapse,
    add_noise,
    clamp,
    cut,
    replay,
    scale,
    silence,
    simulate,
    stimulate,
)
from bregma.dynamics.running._simulate import engines_here
from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import SpikeTrains

every_engine = pytest.mark.parametrize("engine", engines_here())
LEAKY = Neuron("dv/dt = (I - v)/tau", params={"tau": "10 ms"})
LIF = Neuron(
    "dv/dt = (I - v)/tau : 1 (unless refractory)", spike="v > 1", reset="v = 0",
    refractory="1 ms", params={"tau": "10 ms"}, init={"v": "rand"},
)  # fmt: skip
KICK = Synapse(on_pre="v += w", params={"w": "0.3*rand"})


def circuit(**delays):
    """Noise drives cells that excite each other."""
    return Network(
        {"P": Population(Poisson("60 Hz"), 20), "E": Population(LIF, 15)},
        [
            Projection("P", "E", KICK, FixedProbability(0.4), delay="2*ms*rand"),
            Projection("E", "E", KICK, FixedProbability(0.3), delay="1 ms"),
        ],
        [Drive("E", "I", 0.9)],
    )


def run(network, engine, duration="60 ms", record=("v",), **options):
    return simulate(
        network, duration, seed=1, engine=engine, dtype="float64", record={"E": record}, **options
    )


def v_of(result):
    return result.traces["E.v"].values[0]


def check_same(a, b):
    assert a.spikes["E"].identical(b.spikes["E"])
    assert (v_of(a) == v_of(b)).all()


def perturbed_in_every_way():
    n = silence(circuit(), "E", [0, 1], start="10 ms", stop="40 ms")
    n = silence(n, "P", [3, 4])
    n = clamp(n, "E", "v", [0.2, 0.95], [2, 3], start="5 ms")
    n = clamp(n, "E", "v", np.linspace(0, 1, 12)[:, None], [4], frame="3 ms", stop="30 ms")
    n = clamp(n, "E", "spikes", [[1.0], [np.nan], [0.0]], [5], start="20 ms", frame="0.7 ms")
    n = stimulate(n, "E", "I", [0.5, -0.5], [6, 7], start="15 ms", stop="35 ms")
    n = stimulate(n, "E", "I", np.eye(5, 2) * 3, [8, 9], start="20 ms", stop="50 ms", frame="4 ms")
    trains = SpikeTrains.from_dict({"a": [0.011, 0.02], "b": [0.0301]}, support=[(0, 1)])
    n = replay(n, "P", trains, [7, 8], stop="50 ms")
    n = replay(n, "E", trains, [10, 11])
    n = cut(n, "P->E", [0, 1, 2], [12, 13])
    return add_noise(scale(n, "E->E", -1.5, post=[14]), "E", {"v": 0.3})


@every_engine
def test_every_engine_gives_what_the_reference_gives(engine):
    n = perturbed_in_every_way()
    expected, found = run(n, "reference"), run(n, engine)
    assert expected.spikes["E"].n_spikes > 20
    for name in ("E", "P"):
        assert found.spikes[name].identical(expected.spikes[name])
    np.testing.assert_allclose(v_of(found), v_of(expected), rtol=1e-9, atol=1e-13)


@every_engine
def test_a_perturbed_run_goes_on_from_its_state(engine):
    n = perturbed_in_every_way()
    whole = run(n, engine)
    first = run(n, engine, "23 ms")
    second = run(n, engine, "37 ms", state=first.state)
    assert (np.concatenate([v_of(first), v_of(second)]) == v_of(whole)).all()
    for name in ("E", "P"):
        joined = [first.spikes[name].times, second.spikes[name].times]
        np.testing.assert_array_equal(np.concatenate(joined), whole.spikes[name].times)


@every_engine
def test_silent_units_do_to_others_what_units_without_synapses_do(engine):
    chosen = [1, 4, 9]
    silent = run(silence(circuit(), "E", chosen), engine)
    alone = run(cut(circuit(), "E->E", chosen), engine)
    counts = silent.spikes["E"].counts.values
    assert (counts[chosen] == 0).all()
    assert (alone.spikes["E"].counts.values[chosen] > 0).all()
    others = np.delete(np.arange(15), chosen)
    assert (counts[others] == alone.spikes["E"].counts.values[others]).all()
    assert (v_of(silent) == v_of(alone)).all()  # they are reset as ever


@every_engine
def test_silence_has_a_window(engine):
    silent = run(silence(circuit(), start="20 ms", stop="30 ms", population="P"), engine)
    before, after = run(circuit(), engine), silent.spikes["P"].times
    inside = (after > 20.05e-3) & (after < 30.05e-3)  # spikes of a step are at its end
    assert not inside.any()
    times = before.spikes["P"].times
    np.testing.assert_array_equal(after, times[(times < 20.05e-3) | (times > 30.05e-3)])
    assert len(after) < len(times)


@every_engine
def test_replaying_own_spikes_changes_nothing(engine):
    n = circuit()
    own = run(n, engine)
    for name, units in (("E", None), ("E", [1, 3, 8]), ("P", None), ("P", [0, 19])):
        trains = own.spikes[name]
        if units is not None:
            trains = trains.select(unit=[f"{name}/{i}" for i in units])
        check_same(run(replay(n, name, trains, units), engine), own)


@every_engine
def test_clamping_to_the_own_trace_changes_nothing(engine):
    n = circuit()
    own = run(n, engine)
    chosen = [2, 0, 7]
    check_same(run(clamp(n, "E", "v", v_of(own)[:, chosen], chosen, start="0.1 ms"), engine), own)


@every_engine
def test_given_spikes_reset_and_reach_others(engine):
    """Two cells at rest: the first one is made to spike, the second one gets w after the delay."""
    quiet = Neuron(
        "dv/dt = -v/tau", spike="v > 9", reset="v = 3", params={"tau": "10 ms"}, init={"v": 0}
    )
    kick = Synapse(on_pre="v += w", params={"w": 2.0})
    n = Network(
        {"E": Population(quiet, 2)},
        [Projection("E", "E", kick, FromMatrix([[0, 1], [0, 0]]), delay="1 ms")],
    )
    trains = SpikeTrains.from_dict({"a": [0.005]}, support=[(0, 1)])
    result = run(replay(n, "E", trains, [0]), engine, "10 ms")
    assert result.spikes["E"].times == pytest.approx([0.005])
    t = np.arange(1, 101) * 1e-4
    first = np.where(t > 4.95e-3, 3 * np.exp(-(t - 0.005) / 0.01), 0)
    second = np.where(t > 5.95e-3, 2 * np.exp(-(t - 0.006) / 0.01), 0)
    np.testing.assert_allclose(v_of(result), np.stack([first, second], 1), atol=1e-12)


@every_engine
def test_a_clamped_variable_is_held_in_its_window_and_set_free_behind_it(engine):
    n = Network({"E": Population(LEAKY, 3)}, drives=[Drive("E", "I", 2.0)])
    held = clamp(n, "E", "v", [0.5, -1.0], [0, 2], start="10 ms", stop="20 ms")
    v = v_of(run(held, engine, "40 ms"))
    t = np.arange(1, 401) * 1e-4
    free = 2 * (1 - np.exp(-t / 0.01))
    np.testing.assert_allclose(v[:, 1], free, rtol=1e-9)
    for column, value in ((0, 0.5), (2, -1.0)):
        inside = (t > 9.95e-3) & (t < 19.95e-3)
        assert (v[inside, column] == value).all()
        np.testing.assert_allclose(v[t < 9.95e-3, column], free[t < 9.95e-3], rtol=1e-9)
        later = t > 19.95e-3  # the last value is that of 19.9 ms
        relaxed = 2 + (value - 2) * np.exp(-(t[later] - 19.9e-3) / 0.01)
        np.testing.assert_allclose(v[later, column], relaxed, rtol=1e-9)


@every_engine
def test_a_clamp_that_begins_where_a_state_ends_acts_at_once(engine):
    n = Network({"E": Population(LEAKY, 2)}, drives=[Drive("E", "I", 0.0)])
    first = run(n, engine, "5 ms")
    held = clamp(n, "E", "v", 1.0, [1], start="5 ms", stop="5.1 ms")
    v = v_of(run(held, engine, "1 ms", state=first.state))
    np.testing.assert_allclose(v[:, 1], np.exp(-np.arange(1, 11) * 1e-2), rtol=1e-12)
    assert (v[:, 0] == 0).all()


@every_engine
def test_a_current_acts_in_its_window(engine):
    n = Network({"E": Population(LEAKY, 3)})
    driven = stimulate(n, "E", "I", [1.0, 3.0], [0, 2], start="5 ms", stop="15 ms")
    v = v_of(run(driven, engine, "30 ms"))
    t = np.arange(1, 301) * 1e-4
    on = 1 - np.exp(-np.clip(t - 0.005, 0, 0.01) / 0.01)
    expected = on * np.exp(-np.clip(t - 0.015, 0, None) / 0.01)
    np.testing.assert_allclose(v, expected[:, None] * [1.0, 0.0, 3.0], rtol=1e-9, atol=1e-15)


@every_engine
@pytest.mark.parametrize("delay", ["1 ms", "2*ms*rand"])
def test_cut_and_scaled_synapses_are_those_of_a_network_built_so(engine, delay):
    weights = np.random.default_rng(0).uniform(0, 0.4, (20, 15))
    synapse = Synapse(on_pre="v += w", params={"w": "weight"})
    populations = {"P": Population(Poisson("60 Hz"), 20), "E": Population(LIF, 15)}

    def network(matrix):
        rule = FromMatrix(matrix)
        return Network(
            populations, [Projection("P", "E", synapse, rule, delay=delay)], [Drive("E", "I", 0.5)]
        )

    pre, post = [0, 5, 7], [2, 3, 11, 14]
    built = weights.copy()
    built[np.ix_(pre, post)] = 0
    built[:, 6] *= 2.5
    changed = scale(cut(network(weights), "P->E", pre, post), "P->E", 2.5, post=[6])
    found, expected = run(changed, engine), run(network(built), engine)
    check_same(found, expected)
    assert not found.spikes["E"].identical(run(network(weights), engine).spikes["E"])


@every_engine
def test_weights_that_change_are_scaled_at_the_beginning(engine):
    learning = Synapse("w", on_pre="v += w; w = 0.9*w", init={"w": 0.4})
    n = Network(
        {"P": Population(Poisson("60 Hz"), 3), "E": Population(LIF, 2)},
        [Projection("P", "E", learning, AllToAll())], [Drive("E", "I", 0.5)],
    )  # fmt: skip
    changed = scale(n, "P->E", 0.5, pre=[1])
    result = simulate(changed, "0.1 ms", seed=0, engine=engine, record={"P->E": ["w"]})
    fired = result.spikes["P"].counts.values
    expected = np.repeat([0.4, 0.2, 0.4] * 0.9**fired, 2)
    np.testing.assert_allclose(result.traces["P->E.w"].values[0, -1], expected, rtol=1e-6)


@every_engine
def test_noise_that_is_added_is_noise_of_the_equations(engine):
    noisy = Neuron("dv/dt = (I - v)/tau", params={"tau": "10 ms"}, noise={"v": "2.0"})
    plain, built = (Network({"E": Population(c, 4)}, drives=[Drive("E", "I", 0)])
                    for c in (LEAKY, noisy))  # fmt: skip
    found = v_of(run(add_noise(plain, "E", {"v": 2.0}), engine))
    assert (found == v_of(run(built, engine))).all()
    assert found.std() > 0.05


@every_engine
def test_spikes_that_were_planned_are_silenced_and_replaced(engine):
    trains = SpikeTrains.from_dict({"a": [0.001, 0.003], "b": [0.002]}, support=[(0, 1)])
    n = Network({"S": Population(Spikes(trains), 2)})
    result = simulate(silence(n, "S", [0], stop="2 ms"), "5 ms", seed=0, engine=engine)
    assert result.spikes["S"].to_dict()["S/0"] == pytest.approx([0.003])
    forced = clamp(n, "S", "spikes", [[1], [0]], [1])
    result = simulate(forced, "5 ms", seed=0, engine=engine)
    assert result.spikes["S"].to_dict()["S/1"] == pytest.approx([1e-4])
    assert result.spikes["S"].to_dict()["S/0"] == pytest.approx([0.001, 0.003])


def test_the_old_network_stays_as_it_was():
    n = circuit()
    before = run(n, "reference")
    perturbed_in_every_way()
    silence(n, "E")
    cut(n, "E->E")
    check_same(run(n, "reference"), before)
    assert not n.holds


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda n: silence(n, "X"), UnknownName, "nearest"),
        (lambda n: silence(n, "E", [15]), InvalidArgument, "no unit 15; they are 0 to 14"),
        (lambda n: silence(n, "E", [1, 1]), InvalidArgument, "more than once"),
        (lambda n: silence(n, "E", ["a"]), InvalidArgument, "whole numbers 0 to 14"),
        (lambda n: clamp(n, "E", "u", 1), UnknownName, "variable to hold in 'E'"),
        (lambda n: clamp(n, "P", "v", 1), UnknownName, "variable to hold in 'P'"),
        (lambda n: cut(n, "E->P"), UnknownName, "nearest"),
        (lambda n: scale(n, "E->E", 2.0, name="g"), UnknownName, "weight of 'E->E'"),
        (lambda n: scale(n, "E->E", np.nan), InvalidArgument, "not finite"),
        (lambda n: stimulate(n, "E", "I", [1, 2], [3]), InvalidArgument, "do not fit 1 units"),
        (lambda n: add_noise(n, "P", {"v": 1.0}), InvalidArgument, "no equations"),
        (lambda n: run(clamp(n, "E", "v", [1, 2], [3]), "reference"), InvalidArgument, "1 units"),
        (lambda n: run(clamp(n, "E", "spikes", 0.5), "reference"), InvalidArgument, "0 or 1"),
        (lambda n: run(clamp(n, "E", "v", np.inf), "reference"), InvalidArgument, "infinite"),
        (lambda n: run(silence(n, "E", stop=0.0), "reference"), InvalidArgument, "empty"),
        (
            lambda n: run(replace(n, holds=[Hold("E", "v", 0, frame=0.0)]), "reference"),
            InvalidArgument, "at least one step",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        change(circuit())
