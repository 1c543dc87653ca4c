"""Runs that go to disk: the same bits as in memory, whatever ended them on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest

from bregma import read
from bregma.dynamics import (
    Drive,
    FixedProbability,
    Network,
    Neuron,
    Poisson,
    Population,
    Projection,
    Simulation,
    State,
    Synapse,
    simulate,
)
from bregma.dynamics.engines import _reference
from bregma.dynamics.running import _simulate, _to_disk
from bregma.errors import InvalidArgument, UnknownName

pytest.importorskip("zarr", reason="needs the extra 'scale'")
pytest.importorskip("dask.array", reason="needs the extra 'scale'")

CELL = Neuron(
    "dv/dt = (I - v)/tau", spike="v > 1", reset="v = 0", params={"tau": "10 ms"},
    init={"v": "rand"},
)  # fmt: skip
LEARNING = Synapse("w", on_pre="v += w; w = 0.99*w", init={"w": "0.3*rand"})
OPTIONS = {
    "seed": 4, "dt": "1 ms", "engine": "reference", "every": "3 ms",
    "record": {"E": ["v"], "P->E": ["w"]},
}  # fmt: skip
DURATION = "100 ms"


def network():
    return Network(
        {"P": Population(Poisson("40 Hz"), 10), "E": Population(CELL, 8)},
        [Projection("P", "E", LEARNING, FixedProbability(0.5), delay="1*ms + 3*ms*rand")],
        [Drive("E", "I", 0.7)],
    )


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    monkeypatch.setattr(_simulate, "PIECE", 17)


def check_same(found, expected):
    assert {*found.spikes} == {*expected.spikes}
    assert {*found.traces} == {*expected.traces}
    for name, trains in expected.spikes.items():
        assert found.spikes[name].identical(trains)
    for name, trace in expected.traces.items():
        assert found.traces[name].identical(trace)
    assert found.state.step == expected.state.step
    for name, value in expected.state.values.items():
        assert found.state.values[name].dtype == value.dtype
        np.testing.assert_array_equal(found.state.values[name], value)


def test_what_is_on_disk_is_what_a_run_in_memory_gives(tmp_path):
    expected = simulate(network(), DURATION, **OPTIONS)
    to = tmp_path / "run.zarr"
    found = simulate(network(), DURATION, to=to, **OPTIONS)
    assert expected.spikes["E"].n_spikes > 5
    check_same(found, expected)
    check_same(Simulation.load(to), expected)
    assert found.rates == expected.rates
    assert read(to, "E").identical(expected.spikes["E"])
    assert read(f"{to}::P->E.w").identical(expected.traces["P->E.w"])
    with pytest.raises(UnknownName, match="nearest"):
        found.spikes["F"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]  # no pieces are left


def test_a_run_on_disk_goes_on_from_a_state(tmp_path):
    first = simulate(network(), "40 ms", **OPTIONS)
    expected = simulate(network(), "60 ms", state=first.state, **OPTIONS)
    found = simulate(network(), "60 ms", state=first.state, to=tmp_path / "b.zarr", **OPTIONS)
    check_same(found, expected)


@pytest.mark.parametrize("stop_at", [1, 3, 6])
def test_an_interrupted_run_goes_on_from_its_last_state(tmp_path, monkeypatch, stop_at):
    expected = simulate(network(), DURATION, **OPTIONS)
    to, begins = tmp_path / "run.zarr", []
    original = _reference.run

    def counted(plan, state, n_steps, probes=()):
        begins.append(state.step)
        if len(begins) == stop_at:
            raise KeyboardInterrupt
        return original(plan, state, n_steps, probes)

    monkeypatch.setattr(_reference, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        simulate(network(), DURATION, to=to, **OPTIONS)
    assert not to.exists()
    check_same(simulate(network(), DURATION, to=to, **OPTIONS), expected)
    assert begins[:stop_at] == [17 * i for i in range(stop_at)]
    assert begins[stop_at:] == [17 * i for i in range(stop_at - 1, 6)]  # nothing twice


def test_a_piece_without_its_state_is_made_again(tmp_path, monkeypatch):
    """The process died between the two files."""
    expected = simulate(network(), DURATION, **OPTIONS)
    original, calls = State.save, []

    def failing(self, path):
        calls.append(path)
        if len(calls) == 3:
            raise OSError("disk full")
        return original(self, path)

    monkeypatch.setattr(State, "save", failing)
    with pytest.raises(OSError, match="disk full"):
        simulate(network(), DURATION, to=tmp_path / "run.zarr", **OPTIONS)
    check_same(simulate(network(), DURATION, to=tmp_path / "run.zarr", **OPTIONS), expected)


def test_other_settings_do_not_go_on_from_it(tmp_path, monkeypatch):
    to = tmp_path / "run.zarr"
    original = _reference.run

    def failing(plan, state, n_steps, probes=()):
        if state.step > 40:
            raise KeyboardInterrupt
        return original(plan, state, n_steps, probes)

    with monkeypatch.context() as patched:
        patched.setattr(_reference, "run", failing)
        with pytest.raises(KeyboardInterrupt):
            simulate(network(), DURATION, to=to, **OPTIONS)
    other = {**OPTIONS, "seed": 5}
    expected = simulate(network(), DURATION, **other)
    check_same(simulate(network(), DURATION, to=to, **other), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["run.zarr"]


SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
import test_to_disk as t
from bregma.dynamics.engines import _reference
from bregma.dynamics.running import _simulate
_simulate.PIECE = 17
original = _reference.run
def slow(*args):
    time.sleep(0.05)
    return original(*args)
_reference.run = slow
t.simulate(t.network(), t.DURATION, to=sys.argv[1], **t.OPTIONS)
"""


def test_a_killed_process_leaves_what_another_one_goes_on_from(tmp_path, request, monkeypatch):
    expected = simulate(network(), DURATION, **OPTIONS)
    to = tmp_path / "run.zarr"
    script = SCRIPT.format(folder=str(request.path.parent))
    process = subprocess.Popen([sys.executable, "-c", script, str(to)])
    while process.poll() is None and len(list(tmp_path.glob(".run*/0*.npz"))) < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not to.exists()
    begins, original = [], _reference.run

    def counted(plan, state, n_steps, probes=()):
        begins.append(state.step)
        return original(plan, state, n_steps, probes)

    monkeypatch.setattr(_reference, "run", counted)
    check_same(simulate(network(), DURATION, to=to, **OPTIONS), expected)
    assert begins[0] >= 2 * 17


def test_memory_holds_one_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(_simulate, "PIECE", 5000)
    monkeypatch.setattr(_to_disk, "PIECE_BYTES", 1 << 19)
    leaky = Neuron("dv/dt = -v/tau", params={"tau": "10 ms"}, init={"v": 1})
    n = Network({"L": Population(leaky, 4000)})
    options = {"seed": 0, "dt": "1 ms", "engine": "reference", "record": {"L": ["v"]}}
    simulate(n, "2 ms", to=tmp_path / "first.zarr", **options)  # imports what it needs
    peaks = []

    def opened(path):  # afterwards the checks of types read what they check
        peaks.append(tracemalloc.get_traced_memory()[1])
        return _to_disk.opened_run(path)

    monkeypatch.setattr(_simulate, "opened_run", opened)
    tracemalloc.start()
    result = simulate(n, "2 s", to=tmp_path / "run.zarr", **options)
    tracemalloc.stop()
    trace = result.traces["L.v"]
    assert trace.shape == (1, 2000, 4000)
    assert peaks[0] < trace.data.nbytes / 4
    found, t = trace.values[0, :100, 7], trace.times[:100]
    np.testing.assert_allclose(found, np.exp(-t / 0.01), rtol=1e-3)


def test_a_state_is_kept_bit_for_bit(tmp_path):
    state = simulate(network(), DURATION, **OPTIONS).state
    back = State.load(state.save(tmp_path / "end.npz"))
    assert back.step == 100
    assert [*back.values] == [*state.values]
    for name, value in state.values.items():
        assert back.values[name].dtype == value.dtype
        np.testing.assert_array_equal(back.values[name], value)


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InvalidArgument, match="holds no state"):
        State.load(tmp_path / "a.npz")
    with pytest.raises(InvalidArgument, match="holds no run"):
        Simulation.load(tmp_path)
    with pytest.raises(InvalidArgument, match="must end in .zarr"):
        simulate(network(), DURATION, to=tmp_path / "run", **OPTIONS)
    with pytest.raises(InvalidArgument, match="written to .npz"):
        simulate(network(), DURATION, **OPTIONS).state.save(tmp_path / "state.pkl")
