"""A network in several processes gives what it gives in one: spikes, weights, traces, state."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import spread

from bregma.dynamics import (
    AllToAll,
    Drive,
    FixedInDegree,
    FixedOutDegree,
    FixedProbability,
    FromTable,
    Network,
    Population,
    Projection,
    Synapse,
    simulate,
    simulate_distributed,
)
from bregma.dynamics.connect import _connect_part as connect_part
from bregma.dynamics.connect._connect_part import onto, places
from bregma.dynamics.network._plan import plan
from bregma.dynamics.running._part import owned, part_of
from bregma.errors import InvalidArgument

STARTED = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def launch(n, folder, *how):
    """Start processes that talk to each other, and wait for them."""
    script = str(Path(spread.__file__))
    command = [*STARTED, f"--nproc-per-node={n}", script, str(folder), *how]
    return subprocess.run(command, timeout=120, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def alone():
    return {
        name: simulate(network(), spread.DURATION, seed=3, record=spread.RECORD[name], every="1 ms")
        for name, network in spread.NETWORKS.items()
    }


@pytest.fixture(scope="module", params=[2, 4])
def spread_out(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"processes_{request.param}")
    done = launch(request.param, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: np.load(folder / f"{name}.npz") for name in spread.NETWORKS}


@pytest.mark.parametrize("name", spread.NETWORKS)
def test_processes_together_give_what_one_gives(name, alone, spread_out):
    one, many = alone[name], spread_out[name]
    total = 0
    for population, trains in one.spikes.items():
        np.testing.assert_array_equal(many[f"spikes {population} times"], trains.times)
        np.testing.assert_array_equal(many[f"spikes {population} units"], trains.unit_index)
        total += len(trains.times)
    assert total > 50
    for trace, recording in one.traces.items():
        np.testing.assert_array_equal(many[f"trace {trace}"], recording.values)
    assert many["step"] == one.state.step
    assert {n for n in many if n.startswith("state ")} == {f"state {n}" for n in one.state.values}
    for variable, value in one.state.values.items():
        np.testing.assert_array_equal(many[f"state {variable}"], value, err_msg=variable)


def test_weights_have_changed(alone):
    weights = alone["plastic"].traces["plastic.w"].values[0]
    assert np.abs(weights[-1] - weights[0]).max() > 0.01


def test_a_process_that_dies_is_an_error_in_the_others(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, spread.__file__, str(tmp_path), "die"],
            env=os.environ | {"RANK": str(i), "WORLD_SIZE": "2"},
        )
        for i in (0, 1)
    ]
    assert [p.wait(120) for p in processes] == [0, 3]
    text, seconds = (tmp_path / "die_0.txt").read_text().rsplit("\n", 1)
    assert text.startswith("ProcessFailed: another process died or did not answer")
    assert float(seconds) < 60  # it does not wait for ever


def test_a_process_that_fails_stops_all(tmp_path):
    launch(2, tmp_path, "fail")
    first, last = ((tmp_path / f"fail_{i}.txt").read_text() for i in (0, 1))
    assert last.startswith("UnstableSimulation: 'v' of 'A' became NaN or infinite")
    assert "number 5" in last
    assert first.startswith("ProcessFailed: process 1 failed: UnstableSimulation")


# Parts, without processes


@pytest.mark.parametrize("n_parts", [2, 7])
@pytest.mark.parametrize("name", spread.NETWORKS)
def test_parts_hold_every_synapse_once_with_its_numbers(name, n_parts):
    network = spread.NETWORKS[name]()
    settings = {"dt": 1e-4, "seed": 5, "dtype": np.float32}
    whole = plan(network, **settings)
    parts = [part_of(network, i, n_parts, **settings) for i in range(n_parts)]
    for q in whole.projections:
        rows = np.repeat(np.arange(len(q.indptr) - 1), np.diff(q.indptr))
        delay = np.broadcast_to(q.delay, rows.shape)
        expected = {(*pair, d) for *pair, d in zip(rows, q.targets, delay, strict=True)}
        found = []
        for part in parts:
            for local in part.plan.projections:
                if local.name == q.name:
                    pre = np.repeat(np.arange(len(local.indptr) - 1), np.diff(local.indptr))
                    post = local.targets + part.own[q.post][0]
                    assert (local.targets < part.plan.population(q.post).size).all()
                    found += zip(pre, post, np.broadcast_to(local.delay, pre.shape), strict=True)
        assert len(found) == len(expected)
        assert {tuple(map(int, x)) for x in found} == {tuple(map(int, x)) for x in expected}
    for p in whole.populations:
        slices = [part.own[p.name] for part in parts]
        assert sum(end - begin for begin, end in slices) == p.size
        for n, values in p.initial.items():
            local = [
                part.plan.population(p.name).initial[n]
                for part, (begin, end) in zip(parts, slices, strict=True)
                if begin < end
            ]
            np.testing.assert_array_equal(np.concatenate(local), values)


RULES = {
    "probability": FixedProbability(0.3),
    "out": FixedOutDegree(4, self_connections=False),
    "in": FixedInDegree(4, self_connections=False),
    "all": AllToAll(),
    "table": FromTable(
        pd.DataFrame({"pre": [3, 3, 19, 0], "post": [1, 7, 9, 12], "weight": [1.0, 2, 3, 4]}),
        range(20),
        range(20),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_connections_onto_a_part_are_those_of_the_whole(rule, monkeypatch):
    monkeypatch.setattr(connect_part, "SYNAPSES", 10)
    whole = RULES[rule].rows(20, 20, 11, 0, 20)
    pre = np.repeat(np.arange(20), np.diff(whole.indptr))
    for begin, end in ((0, 7), (7, 20), (4, 4)):
        for first, last in ((0, 20), (3, 9)):
            part = onto(RULES[rule], begin, end).rows(20, 20, 11, first, last)
            here = (whole.targets >= begin) & (whole.targets < end)
            mine = here & (pre >= first) & (pre < last)
            np.testing.assert_array_equal(part.targets, whole.targets[mine])
            counts = np.bincount(pre[mine], minlength=20)[first:last]
            np.testing.assert_array_equal(np.diff(part.indptr), counts)
        at, n = places(RULES[rule], 20, 20, 11, begin, end)
        np.testing.assert_array_equal(at, np.flatnonzero(here))
        assert n == len(pre)


def test_large_populations_are_cut_where_blocks_begin():
    edges = [owned(Population(spread.LIF, 100_000), i, 4) for i in range(4)]
    assert all(begin % 512 == 0 for begin, _ in edges)
    assert [end for _, end in edges] == [*(begin for begin, _ in edges[1:]), 100_000]


@pytest.mark.parametrize(
    ("synapse", "message"),
    [
        (Synapse(on_pre="v += 0.1*v_pre"), "'v' of the presynaptic neuron"),
        (Synapse(summed={"I": "0.1*u_pre"}), "'u' of the presynaptic neuron"),
        (Synapse("x (pre)", on_pre="v += x", on_post="x += 1"), "leave the mark out"),
    ],
)
def test_what_needs_the_presynaptic_neuron_is_refused(synapse, message):
    network = Network(
        {"E": Population(spread.LIF.with_params(tau="10 ms"), 9)},
        [Projection("E", "E", synapse, FixedProbability(0.5), delay="1 ms")],
        [Drive("E", "I", 1.0)],
    )
    with pytest.raises(InvalidArgument, match=message):
        part_of(network, 0, 2, dt=1e-4, seed=0, dtype=np.float32)


def test_one_process_alone_is_told_how_to_start_several():
    with pytest.raises(InvalidArgument, match="torchrun"):
        simulate_distributed(spread.balanced(), "10 ms", seed=0)
