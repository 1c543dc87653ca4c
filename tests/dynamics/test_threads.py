"""Threads that share one network give the bits of one thread, and never wait for nobody."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import spread
import test_engines as engines
from test_engines import DT, KICK, LIF, always_firing, balanced, check_same, drawn_plan, n_spikes

from bregma.dynamics import (
    Drive,
    FixedProbability,
    Network,
    Neuron,
    OnTheFly,
    Population,
    Projection,
    Synapse,
    simulate,
    simulate_many,
)
from bregma.dynamics.engines import _cpu, _cpu_cores, _cpu_divide, _cpu_worth
from bregma.dynamics.engines._cpu_cores import Cores
from bregma.dynamics.engines._cpu_meet import meet, meeting_place, stop
from bregma.dynamics.engines._cpu_rows import rows_of_parts
from bregma.dynamics.engines._cpu_team import Team, at_once
from bregma.dynamics.engines._cpu_together import divisible
from bregma.dynamics.engines._cpu_worth import most_threads, seconds_of_step
from bregma.dynamics.engines._threads import at_most, n_threads_here
from bregma.dynamics.network._plan import plan
from bregma.dynamics.network._state import Probe, initial_state
from bregma.errors import UnstableSimulation

THREADS = [2, 3, 4]


@pytest.fixture(autouse=True)
def _short_ranges(monkeypatch):
    """Small populations are divided too."""
    monkeypatch.setattr(_cpu_divide, "LINE", 4)


@pytest.fixture
def teams(monkeypatch):
    """Every network takes as many threads as torch has; the numbers of threads that were taken."""
    made = []

    class Seen(Team):
        def __init__(self, p, n_threads):
            made.append(n_threads)
            super().__init__(p, n_threads)

    monkeypatch.setattr(_cpu, "Team", Seen)
    monkeypatch.setattr(_cpu_worth, "ENOUGH", 1e-15)
    monkeypatch.setattr(_cpu, "CORES", Cores())  # which nobody tells that this machine is busy
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield made
    torch.set_num_threads(before)


NETWORKS = {
    "cuba": engines.NETWORKS["cuba"],
    "coba": (lambda: balanced("coba", "1.5 ms", size=1600), engines.NETWORKS["coba"][1]),
    "stdp": engines.NETWORKS["stdp"],
    "stdp, delays that differ": engines.NETWORKS["stdp, delays that differ"],
    "driven": engines.NETWORKS["driven"],
    "noisy": engines.NETWORKS["noisy"],
    "held": (spread.mixed, [Probe("A", "drive", np.array([21, 0, 9]), every=3), Probe("C", "u")]),
}


@pytest.fixture(scope="module")
def alone():
    """Plans, and what one thread gives in two pieces."""
    found = {}
    for name, (network, probes) in NETWORKS.items():
        p = plan(network(), dt=DT, seed=3, dtype=np.float64)
        first = _cpu.Alone(p).run(initial_state(p), 201, probes)
        found[name] = p, probes, first, _cpu.Alone(p).run(first.state, 300, probes)
    return found


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("name", NETWORKS)
def test_threads_give_the_bits_of_one(name, n_threads, alone):
    p, probes, first, second = alone[name]
    assert divisible(p)
    assert n_spikes(first) + n_spikes(second) > 20
    team = Team(p, n_threads)
    state = initial_state(p)
    before = {n: v.copy() for n, v in state.values.items()}
    check_same(team.run(state, 201, probes), first, 0, 0)
    for n, v in before.items():
        np.testing.assert_array_equal(state.values[n], v)
    check_same(team.run(first.state, 300, probes), second, 0, 0)


def test_every_thread_has_a_part(alone):
    for name in ("cuba", "coba", "stdp", "noisy"):
        division = Team(alone[name][0], 4).division
        assert all(sum(p.size for p in part.populations) > 0 for part in division.plans)
        for p in division.whole.populations:
            assert sum(part.population(p.name).size for part in division.plans) == p.size
    assert sum(q.on_post != () for q in alone["stdp"][0].projections) == 1


def test_ranges_begin_where_what_is_computed_does_not_depend_on_it(monkeypatch):
    monkeypatch.setattr(_cpu_divide, "LINE", 64)
    p = plan(balanced("coba", size=5000), dt=DT, seed=0)
    assert (Team(p, 3).division.ranges["E"].edges == [0, 1024, 2560, 4000]).all()
    p = plan(balanced("cuba", size=1000), dt=DT, seed=0)
    assert (Team(p, 3).division.ranges["E"].edges[:-1] % 64 == 0).all()


@settings(max_examples=12)
@given(data=st.data())
def test_random_small_networks(data):
    p = drawn_plan(data.draw)
    expected = _cpu.Alone(p).run(initial_state(p), 150, ())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_cpu_divide, "LINE", data.draw(st.integers(1, 9)))
        team = Team(p, data.draw(st.integers(2, 4)))
    check_same(team.run(initial_state(p), 150, ()), expected, 0, 0)


@pytest.mark.parametrize("n_threads", [2, 4])
def test_room_for_spikes_grows(n_threads):
    p = plan(always_firing(), dt=DT, seed=0, dtype=np.float64)
    expected = _cpu.Alone(p).run(initial_state(p), 200, ())
    assert len(expected.spikes["E"][0]) > 21 * 100
    check_same(Team(p, n_threads).run(initial_state(p), 200, ()), expected, 0, 0)


def test_synapses_drawn_on_the_fly():
    n = Network(
        {"E": Population(LIF, 60)},
        [Projection("E", "E", KICK, OnTheFly(FixedProbability(0.2)), delay="1 ms")],
        [Drive("E", "I", 1.1)],
    )
    p = plan(n, dt=DT, seed=0)
    expected = _cpu.Alone(p).run(initial_state(p), 300, ())
    assert n_spikes(expected) > 50
    check_same(Team(p, 3).run(initial_state(p), 300, ()), expected, 0, 0)


# From the front


def test_simulate_takes_the_threads_of_torch(teams):
    record = {"E": ["v"], "E->E": ["w"]}
    network = engines.with_stdp()
    shared = simulate(network, "40 ms", seed=3, record=record, every="2 ms", dtype="float64")
    assert teams == [3]
    torch.set_num_threads(1)
    one = simulate(network, "40 ms", seed=3, record=record, every="2 ms", dtype="float64")
    assert teams == [3]
    for name in one.spikes:
        np.testing.assert_array_equal(shared.spikes[name].times, one.spikes[name].times)
        np.testing.assert_array_equal(shared.spikes[name].unit_index, one.spikes[name].unit_index)
    for name in one.traces:
        np.testing.assert_array_equal(shared.traces[name].values, one.traces[name].values)
    for name, value in one.state.values.items():
        np.testing.assert_array_equal(shared.state.values[name], value)


def test_runs_side_by_side_divide_the_threads(teams):
    torch.set_num_threads(4)
    networks = [balanced("cuba") for _ in range(6)]
    options = {"seeds": range(6), "dtype": "float64"}
    many = simulate_many(networks, "30 ms", n_jobs=2, **options)
    assert teams == [2] * 6
    for seed, run in enumerate(many):
        one = simulate(networks[seed], "30 ms", seed=seed, dtype="float64")
        for name in one.spikes:
            np.testing.assert_array_equal(run.spikes[name].times, one.spikes[name].times)
            np.testing.assert_array_equal(run.spikes[name].unit_index, one.spikes[name].unit_index)
    teams.clear()
    simulate_many(networks, "1 ms", n_jobs=6, **options)
    assert teams == []  # one thread each


def test_the_share_of_a_thread_is_its_own(teams):
    with at_most(2):
        assert n_threads_here() == 2
        with at_most(1):
            assert n_threads_here() == 1
        assert n_threads_here() == 2
        elsewhere = []
        other = threading.Thread(target=lambda: elsewhere.append(n_threads_here()))
        other.start()
        other.join()
    assert elsewhere == [n_threads_here()] == [3]


def test_where_a_variable_became_infinite_is_found(teams):
    with pytest.raises(UnstableSimulation, match="'v' of 'A' became NaN or infinite") as shared:
        simulate(spread.explosive(), "20 ms", seed=0)
    assert teams
    torch.set_num_threads(1)
    with pytest.raises(UnstableSimulation) as one:
        simulate(spread.explosive(), "20 ms", seed=0)
    assert str(shared.value) == str(one.value)


def test_what_changes_presynaptic_neurons_runs_on_one_thread(teams):
    p = plan(engines.in_order(), dt=DT, seed=0)
    assert not divisible(p)
    late = Synapse("x (pre)", on_pre="v += x", on_post="x += 1")
    n = Network({"E": Population(LIF, 9)}, [Projection("E", "E", late, FixedProbability(0.5))],
                [Drive("E", "I", 1.1)])  # fmt: skip
    assert not divisible(plan(n, dt=DT, seed=0))
    simulate(n, "1 ms", seed=0)
    assert teams == []


def test_small_networks_stay_on_one_thread():
    small, large = (plan(balanced("cuba", size=n), dt=DT, seed=0) for n in (200, 8000))
    assert most_threads(small) == 1
    assert most_threads(large) > 1
    assert seconds_of_step(large) > 20 * seconds_of_step(small)


# Nobody waits for ever


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("who", [0, 2])
def test_a_thread_that_fails_lets_the_others_go(who):
    place, left = meeting_place(3), []

    def part(t):
        meet(place, t, 1)
        if t == who:
            raise ValueError("no")
        left.append(meet(place, t, 2))
        return 0

    with pytest.raises(ValueError, match="no"):
        at_once(part, 3, lambda: stop(place))
    assert wait_until(lambda: left == [False, False])


def test_more_threads_than_cores_get_on():
    place = meeting_place(8)

    def part(t):
        return sum(meet(place, t, number) for number in range(1, 200))

    assert at_once(part, 8, lambda: stop(place)) == [199] * 8


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_control_c_ends_all_threads(teams):
    n = Network({"E": Population(LIF, 4000)}, drives=[Drive("E", "I", 1.1)])
    simulate(n, "1 ms", seed=0)  # compiles
    before = threading.active_count()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        simulate(n, 1000.0, seed=0, dt="1 ms")
    assert wait_until(lambda: threading.active_count() <= before)


def test_busy_machines_are_left_alone_for_a_while(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_cpu_cores.time, "monotonic", lambda: now[0])
    cores = Cores()
    cores.had(0.001, 0.001, 2)  # too short to say anything
    cores.had(1.9, 1.0, 2)
    assert cores.free
    pauses = []
    for _ in range(8):
        cores.had(1.0, 1.0, 2)
        begin = now[0]
        while not cores.free:
            now[0] += 0.5
        pauses.append(now[0] - begin)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 64]
    cores.had(2.0, 1.0, 2)
    cores.had(1.0, 1.0, 2)
    now[0] += 1
    assert cores.free


def test_a_network_goes_on_where_threads_find_no_cores(monkeypatch, teams):
    network = balanced("cuba")
    expected = simulate(network, "40 ms", seed=1, dtype="float64")
    cores = Cores()
    monkeypatch.setattr(_cpu, "CORES", cores)
    cores.had(1.0, 1.0, 2)
    teams.clear()
    found = simulate(network, "40 ms", seed=1, dtype="float64")
    assert teams == []
    np.testing.assert_array_equal(found.spikes["E"].times, expected.spikes["E"].times)


# Rows


@settings(max_examples=50)
@given(data=st.data())
def test_rows_of_parts_are_all_synapses_in_their_order(data):
    n_pre, n_post = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 12))
    synapse = st.tuples(st.integers(0, n_pre - 1), st.integers(0, n_post - 1))
    pairs = sorted(data.draw(st.lists(synapse, max_size=40)), key=lambda x: x[0])
    cuts = sorted(data.draw(st.lists(st.integers(0, n_post), max_size=3)))
    edges = np.array([0, *cuts, n_post])
    indptr = np.searchsorted([pre for pre, _ in pairs], np.arange(n_pre + 1))
    targets = np.array([post for _, post in pairs], np.int32)
    for rows, begin, end in zip(
        rows_of_parts(indptr, targets, edges, True), edges[:-1], edges[1:], strict=True
    ):
        here = [i for i, (_, post) in enumerate(pairs) if begin <= post < end]
        assert rows.order.tolist() == here
        assert (rows.targets + begin).tolist() == [pairs[i][1] for i in here]
        pre = np.repeat(np.arange(n_pre), np.diff(rows.indptr))
        assert pre.tolist() == [pairs[i][0] for i in here]


def test_a_neuron_without_spikes_is_shared_too():
    """Rates that are read by all threads at every step, and nothing that spikes."""
    rate = Neuron("dr/dt = (-r + tanh(I))/(10*ms)", init={"r": "rand"})
    mixed = Synapse(summed={"I": "w*r_pre"}, params={"w": "0.3*randn"})
    n = Network({"R": Population(rate, 30)}, [Projection("R", "R", mixed, FixedProbability(0.4))])
    p = plan(n, dt=DT, seed=0, dtype=np.float64)
    expected = _cpu.Alone(p).run(initial_state(p), 200, [Probe("R", "r", every=9)])
    assert expected.traces[0].std() > 0.01
    check_same(Team(p, 3).run(initial_state(p), 200, [Probe("R", "r", every=9)]), expected, 0, 0)
