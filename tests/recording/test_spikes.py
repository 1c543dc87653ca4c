"""SpikeTrains: what they refuse, and counts that equal brute force."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording import SpikeTrains, read, save_spikes
from bregma.recording import _spike_kernels as kernels


@pytest.fixture
def spikes():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 20, 3000))
    units = {
        "unit": [f"u{i}" for i in range(7)],
        "area": ["V1", "IT", "V1", "IT", "V4", "V4", "IT"],
    }
    return SpikeTrains(times, rng.integers(0, 7, 3000), units=units, support=[(0, 20)])


def brute(times, unit_index, n_units, edges):
    counts = np.zeros((len(edges) - 1, n_units), dtype=int)
    for t, u in zip(times, unit_index, strict=True):
        for k in range(len(edges) - 1):
            if edges[k] <= t < edges[k + 1]:
                counts[k, u] += 1
    return counts


# Counting


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_bins_equal_brute_force_with_spikes_on_edges(data):
    width = data.draw(st.sampled_from([0.1, 0.01, 1 / 3, 0.25, 1e-3]))
    n_bins = data.draw(st.integers(1, 40))
    start = data.draw(st.sampled_from([0.0, -1.7, 12345.678]))
    edges = start + np.arange(n_bins + 1) * width
    stop = np.nextafter(max(edges[-1], start + n_bins * width), np.inf)
    on_edges = data.draw(st.lists(st.sampled_from(list(edges)), max_size=20))
    around_edges = [np.nextafter(t, np.inf) for t in on_edges] + [
        np.nextafter(t, -np.inf) for t in on_edges
    ]
    between = data.draw(st.lists(st.floats(start, float(edges[-1])), max_size=20))
    times = np.array([t for t in on_edges + around_edges + between if start <= t < stop])
    unit_index = np.array(
        data.draw(st.lists(st.integers(0, 4), min_size=len(times), max_size=len(times))), dtype=int
    )
    trains = SpikeTrains.from_unsorted(times, unit_index, units=range(5), support=[(start, stop)])
    counted = trains.bin(width, (start, start + n_bins * width))
    assert np.array_equal(counted.values[0], brute(times, unit_index, 5, edges))
    assert np.allclose(counted.times, (edges[:-1] + edges[1:]) / 2)
    assert counted.measured_in == "spikes"


def test_bins_equal_numpy(spikes):
    counted = spikes.bin(0.02)
    assert counted.shape == (1, 1000, 7)
    edges = np.arange(1001) * 0.02
    wanted, _, _ = np.histogram2d(spikes.times, spikes.unit_index, bins=(edges, np.arange(8) - 0.5))
    assert np.array_equal(counted.values[0], wanted)
    assert counted.values.sum() == spikes.n_spikes
    assert counted.units.equals(spikes.units)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_any_integer_type_of_unit_index(spikes, dtype):
    other = SpikeTrains(
        spikes.times, spikes.unit_index.astype(dtype), units=spikes.units, support=spikes.support
    )
    assert other.unit_index.dtype == dtype
    assert np.array_equal(other.bin(0.1).values, spikes.bin(0.1).values)


@pytest.mark.parametrize(
    ("n", "dtype"), [(127, np.int8), (128, np.int16), (32767, np.int16), (32768, np.int32)]
)
def test_counts_widen_where_they_must(n, dtype):
    trains = SpikeTrains(np.full(n, 0.5), np.zeros(n, int), units=["a"], support=[(0, 1)])
    assert trains.bin(1.0).values.dtype == dtype
    assert trains.bin(1.0).values.item() == n


def test_threads_change_nothing(spikes, monkeypatch):
    alone = spikes.bin(1e-3)
    monkeypatch.setattr(kernels, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(kernels.config, "NUMBA_NUM_THREADS", 3)
    assert spikes.bin(1e-3).identical(alone)
    assert kernels.first_fall(spikes.times) is None
    for where in (1, 1500, 2999):
        times = spikes.times.copy()
        times[where] = -1
        assert kernels.first_fall(times) == where


def test_last_bin_that_the_support_does_not_fill_is_left_out():
    trains = SpikeTrains.from_dict({"a": [0.05, 0.15, 0.25]}, support=[(0, 0.25 + 1e-3)])
    assert trains.bin(0.1).values[0].tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("width", "window", "message"),
    [
        (0.0, None, "must be positive"),
        (float("nan"), None, "must be positive"),
        (30.0, None, "not one bin"),
        (0.3, (0, 1), "3.33333 bins .* such as 0 to 0.9 s"),
        (0.5, (-1, 1), "not observed throughout: the support is 0 to 20 s"),
        (0.5, (19, 21), "not observed throughout"),
        (0.5, (3, 3), "start before they stop"),
        (0.5, (3,), "pairs"),
    ],
)
def test_bin_refuses(spikes, width, window, message):
    with pytest.raises(InvalidArgument, match=message):
        spikes.bin(width, window)


def test_binning_needs_a_window_where_the_support_has_gaps():
    trains = SpikeTrains.from_dict({"a": [0.5, 5.5]}, support=[(0, 1), (5, 6)])
    with pytest.raises(InvalidArgument, match="2 intervals, 0 to 1 s, 5 to 6 s: give the window="):
        trains.bin(0.5)
    assert trains.bin(0.5, (5, 6)).values[0].tolist() == [[0], [1]]
    with pytest.raises(InvalidArgument, match="not observed throughout"):
        trains.bin(0.5, (0.5, 5.5))


# Around events


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_around_equals_brute_force(data):
    times = np.sort(data.draw(st.lists(st.floats(0, 9.99), min_size=1, max_size=60)))
    unit_index = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=len(times), max_size=len(times)))
    )
    # events at spikes put spikes on edges
    events = data.draw(
        st.lists(st.one_of(st.floats(1, 9), st.sampled_from(list(times))), min_size=1, max_size=8)
    )
    trains = SpikeTrains(times, unit_index, units=list("abc"), support=[(-1, 11)])
    counted = trains.around(events, (-0.5, 0.75), 0.125)
    relative = -0.5 + np.arange(11) * 0.125
    wanted = [brute(times, unit_index, 3, event + relative) for event in events]
    assert np.array_equal(counted.values, wanted)
    assert np.array_equal(counted.coordinate("onset"), events)


def test_events_bring_their_columns(spikes):
    events = pd.DataFrame(
        {"time": [5.0, 1.0, 9.0], "stimulus": ["cat", "dog", "cat"], "contrast": [0.1, 0.2, 0.3]},
        index=pd.Index([10, 20, 30], name="presentation"),
    )
    counted = spikes.around(events, (-0.5, 1.0), 0.05)
    assert counted.shape == (3, 30, 7)
    assert counted.stimuli.tolist() == ["cat", "dog", "cat"]
    assert counted.coordinate("contrast").tolist() == [0.1, 0.2, 0.3]
    assert counted.coordinate("presentation").tolist() == [10, 20, 30]
    assert np.allclose(counted.times[[0, -1]], [-0.475, 0.975])
    assert counted.select(area="IT").n_units == 3


def test_windows_that_were_not_observed(spikes):
    events = [0.1, 5.0, 19.9]
    with pytest.raises(InvalidArgument, match=r"2 of 3 events.*0 \(at 0.1 s\), 2 \(at 19.9 s\)"):
        spikes.around(events, (-0.5, 0.5), 0.1)
    counted = spikes.around(events, (-0.5, 0.5), 0.1, outside="drop")
    assert counted.coordinate("presentation").tolist() == [1]
    with pytest.raises(InvalidArgument, match="3 of 3 events"):
        spikes.around([-5, -6, 30], (-0.5, 0.5), 0.1, outside="drop")
    with pytest.raises(Exception, match="'raise', 'drop'"):  # by the type checker in tests
        spikes.around(events, (-0.5, 0.5), 0.1, outside="keep")


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "at least one"),
        ([1.0, np.nan], "1 of 2 times of events are not finite"),
        (np.array([[1.0]]), "one-dimensional"),
        (pd.DataFrame({"start": [1.0]}), "need a column 'time'; they have 'start'"),
        (pd.DataFrame({"time": [1.0], "onset": [2.0]}), "drop or rename"),
    ],
)
def test_events_that_are_refused(spikes, events, message):
    with pytest.raises(InvalidArgument, match=message):
        spikes.around(events, (-0.5, 0.5), 0.1)


# What is refused


@pytest.mark.parametrize(
    ("times", "unit_index", "units", "support", "message"),
    [
        ([0.2, 0.1], [0, 0], ["a"], None, "0.1 s at position 1 .*from_unsorted or .*from_dict"),
        ([0.1, np.nan, 0.3], [0] * 3, ["a"], None, "1 times are NaN or infinite, .* position 1"),
        ([np.nan], [0], ["a"], None, "NaN or infinite"),
        ([0.1, np.inf], [0] * 2, ["a"], None, "NaN or infinite"),
        ([-0.2, 0.1], [0, 0], ["a"], None, "1 of 2 times are negative.* give support="),
        ([0.5, 1.5, 2.5], [0] * 3, ["a"], [(0, 1), (2, 3)], "1 of 3 .* 1.5 s at position 1"),
        ([0.5, 1.0], [0, 0], ["a"], [(0, 1)], "1 s at position 1"),
        ([0.1], [1], ["a"], None, "unit_index 1 at position 0 is no row"),
        ([0.1], [-1], ["a"], None, "unit_index -1"),
        ([0.1], [0.0], ["a"], None, "must be whole numbers"),
        ([0.1], [0, 0], ["a"], None, "1 times but 2 entries"),
        ([[0.1]], [0], ["a"], None, "one-dimensional"),
        (["x"], [0], ["a"], None, "must be seconds"),
        ([0.1], [0], ["a", "a"], None, "more than once: 'a'"),
        ([0.1], [0], [], None, "no units"),
        ([0.1], [0], {"area": ["V1"]}, None, "hold no 'unit'"),
        ([], [], ["a"], None, "without spikes the support= is needed"),
        ([0.1], [0], ["a"], [(1, 0)], "start before they stop"),
        ([0.1], [0], ["a"], [(0, 2), (1, 3)], "overlap"),
        ([0.1], [0], ["a"], [(0, np.inf)], "finite"),
    ],
)
def test_refused(times, unit_index, units, support, message):
    with pytest.raises(InvalidRecording, match=message):
        SpikeTrains(times, unit_index, units=units, support=support)


def test_from_dict_refuses_a_table_about_other_units():
    with pytest.raises(InvalidRecording, match="same order"):
        SpikeTrains.from_dict({"a": [1], "b": [2]}, units={"unit": ["b", "a"]})


# What it holds


def test_arrays_are_held_without_a_copy_and_cannot_be_written():
    times, unit_index = np.arange(5.0), np.zeros(5, np.uint16)
    trains = SpikeTrains(times, unit_index, units=["a"])
    assert np.shares_memory(trains.times, times)
    assert np.shares_memory(trains.unit_index, unit_index)
    assert not trains.times.flags.writeable
    assert times.flags.writeable
    assert np.shares_memory(trains.restrict((1, 3)).times, times)
    with pytest.raises(AttributeError):
        trains.times = times


def test_tables_and_rates(spikes):
    assert spikes.n_spikes == spikes.counts.sum() == 3000
    assert spikes.duration == 20
    assert np.allclose(spikes.rates, spikes.counts / 20)
    for i, (unit, times) in enumerate(spikes.to_dict().items()):
        assert unit == f"u{i}"
        assert np.array_equal(times, spikes.times[spikes.unit_index == i])
    again = SpikeTrains.from_dict(spikes.to_dict(), units=spikes.units, support=spikes.support)
    assert again.identical(spikes)
    assert pickle.loads(pickle.dumps(spikes)).identical(spikes)
    assert not spikes.identical(spikes.select(area="V1"))
    assert not spikes.identical(None)


def test_select(spikes):
    part = spikes.select(area=["V1", "V4"], unit=lambda ids: ids != "u0")
    assert part.units.index.tolist() == ["u2", "u4", "u5"]
    assert part.units["area"].tolist() == ["V1", "V4", "V4"]
    whole = spikes.to_dict()
    assert all(np.array_equal(times, whole[unit]) for unit, times in part.to_dict().items())
    assert np.array_equal(part.support, spikes.support)
    with pytest.raises(UnknownName, match="'area'"):
        spikes.select(aera="V1")
    with pytest.raises(InvalidArgument, match="nothing has"):
        spikes.select(area="PFC")
    with pytest.raises(InvalidArgument, match="at once"):
        spikes.select(area="V1", unit="u1")


def test_restrict(spikes):
    part = spikes.restrict((2, 3), (18, 30))
    assert part.support.tolist() == [[2, 3], [18, 20]]
    inside = ((spikes.times >= 2) & (spikes.times < 3)) | (spikes.times >= 18)
    assert np.array_equal(part.times, spikes.times[inside])
    assert part.duration == 3
    with pytest.raises(InvalidArgument, match="does not touch the support"):
        spikes.restrict((20, 30))


@pytest.mark.parametrize("suffix", [".zarr", ".nc"])
def test_spikes_are_read_back_exactly(spikes, tmp_path, suffix):
    silent = SpikeTrains.from_dict({"a": [], "b": []}, support=[(0, 1), (2, 3)])
    for trains in (spikes, silent):
        back = read(trains.save(tmp_path / f"a{suffix}"))
        assert isinstance(back, SpikeTrains)
        assert back.identical(trains)
        assert back.unit_index.dtype == trains.unit_index.dtype


def test_spikes_that_need_not_fit_into_memory(spikes, tmp_path):
    da = pytest.importorskip("dask.array", reason="needs the extra 'scale'")
    times, units = (da.from_array(x, chunks=7) for x in (spikes.times, spikes.unit_index))
    path = save_spikes(
        tmp_path / "a.zarr", times, units, units=spikes.units, support=spikes.support
    )
    assert read(path).identical(spikes)


def test_a_folder_of_stores_has_a_key_for_each(spikes, tmp_path):
    folder = tmp_path / "run.zarr"
    spikes.save(folder / "E.zarr")
    spikes.bin(1.0).save(folder / "E-%3EI.w.zarr")
    assert read(folder, "E").identical(spikes)
    assert read(f"{folder}::E->I.w").identical(spikes.bin(1.0))
    with pytest.raises(InvalidArgument, match="name one of 'E->I.w', 'E' with key="):
        read(folder)
    with pytest.raises(UnknownName, match="nearest"):
        read(folder, "F")


def test_silence_is_possible():
    trains = SpikeTrains.from_dict({"a": [], "b": []}, support=[(0, 1)])
    assert trains.n_spikes == 0
    assert trains.bin(0.5).values.tolist() == [[[0, 0], [0, 0]]]
    assert trains.rates.tolist() == [0, 0]


def test_representations_are_escaped():
    from rich.console import Console

    trains = SpikeTrains.from_dict({"<script>": [0.1], "[red]x": [0.2]}, support=[(0, 1)])
    assert "<script>" not in trains._repr_html_()
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(trains)
    assert "[red]x" in console.export_text()
    assert repr(trains) == "SpikeTrains(2 spikes of 2 units, 0 to 1 s)"


# pynapple


def test_pynapple_counts_are_the_same(spikes):
    pytest.importorskip("pynapple", reason="pynapple is the peer")
    group = spikes.to_pynapple()
    assert np.array_equal(group.count(0.05).values, spikes.bin(0.05).values[0])
    assert np.allclose(group.rates, spikes.rates)
    assert group["area"].tolist() == spikes.units["area"].tolist()


def test_pynapple_there_and_back():
    nap = pytest.importorskip("pynapple", reason="pynapple is the peer")
    trains = SpikeTrains.from_dict(
        {3: [0.1, 0.4], 7: [], 11: [5.25]},
        units={"unit": [3, 7, 11], "depth": [1.5, 2.5, 3.5]},
        support=[(0, 1), (5, 6)],
    )
    group = trains.to_pynapple()
    assert list(group.keys()) == [3, 7, 11]
    assert SpikeTrains.from_pynapple(group).identical(trains)
    closed = nap.TsGroup({0: nap.Ts([0.0, 1.0])}, time_support=nap.IntervalSet(0, 1))
    assert SpikeTrains.from_pynapple(closed).support[0, 1] == np.nextafter(1.0, 2)
    with pytest.raises(InvalidArgument, match="TsGroup is needed"):
        SpikeTrains.from_pynapple(nap.Ts([0.0, 1.0]))
    with pytest.raises(InvalidArgument, match="'rate'"):
        SpikeTrains.from_dict({0: [1]}, units={"rate": [1.0]}).to_pynapple()
    with pytest.raises(InvalidRecording, match="no units"):
        SpikeTrains.from_pynapple(group[[False, False, False]])
