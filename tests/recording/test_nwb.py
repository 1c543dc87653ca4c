"""NWB: units, series and sweeps as they were written, by window and around events."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

import bregma
from bregma.errors import InvalidArgument, UnknownName, UnreadableRecording
from bregma.recording import Recording, SpikeTrains

pynwb = pytest.importorskip("pynwb", reason="pynwb reads NWB files")

TRAINS = [np.arange(0.05, 10, 0.1), np.array([0.5, 2.5, 9.9]), np.empty(0)]


def new_file():
    return pynwb.NWBFile("a session", "id", datetime(2024, 1, 1, tzinfo=UTC))


def save(file, path):
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    return path


def add_electrodes(file):
    device = file.create_device(name="probe")
    group = file.create_electrode_group("shank", "a shank", "hippocampus", device)
    for i in range(4):
        file.add_electrode(location=["V1", "V1", "CA1", "CA3"][i], group=group, x=float(i))
    return group


def add_trials(file):
    file.add_trial_column("orientation", "degrees")
    file.add_trial_column("animal", "what was shown")
    file.add_trial_column("location", "clashes with the units")
    file.add_trial_column("onset", "clashes with the time of the event")
    file.add_trial_column("flashes", "times of flashes: ragged numbers", index=True)
    for i, start in enumerate([1.0, 3.0, 5.0]):
        file.add_trial(
            start_time=start,
            stop_time=start + 1,
            orientation=45 * i,
            animal=["cat", "dog", "cat"][i],
            location="left",
            onset=start + 0.1,
            flashes=[1.0] * i,
            tags=["good", "late"][: i + 1],
        )


@pytest.fixture(scope="module")
def units_file(tmp_path_factory):
    file = new_file()
    group = add_electrodes(file)
    add_trials(file)
    file.add_unit_column("quality", "of the unit")
    for i, train in enumerate(TRAINS):
        file.add_unit(
            id=10 * i,
            spike_times=train,
            electrodes=[[0, 1], [1, 2], [3]][i],
            electrode_group=group,
            quality=["good", "mua", "good"][i],
        )
    return save(file, tmp_path_factory.mktemp("nwb") / "units.nwb")


@pytest.fixture(scope="module")
def series_file(tmp_path_factory):
    file = new_file()
    add_electrodes(file)
    add_trials(file)
    rng = np.random.default_rng(0)
    file.add_acquisition(
        pynwb.ecephys.ElectricalSeries(
            name="lfp",
            data=rng.integers(-500, 500, (1000, 3)).astype(np.int16),
            electrodes=file.create_electrode_table_region([0, 2, 3], "three of them"),
            rate=100.0,
            starting_time=0.5,
            conversion=1e-6,
            offset=0.001,
            channel_conversion=[1.0, 2.0, 3.0],
        )
    )
    timestamps = np.arange(500) / 50 + 1e-5 * rng.normal(size=500)
    timestamps[300:] += 2  # a gap at 6 s
    file.add_acquisition(
        pynwb.TimeSeries(
            name="speed", data=rng.normal(size=500), unit="furlongs", timestamps=timestamps
        )
    )
    behaviour = file.create_processing_module("behavior", "of the animal")
    position = pynwb.behavior.Position(name="Position")
    position.create_spatial_series(
        name="place", data=rng.normal(size=(100, 2)), rate=10.0, reference_frame="maze", unit="cm"
    )
    behaviour.add(position)
    device = file.create_device(name="microscope")
    channel = pynwb.ophys.OpticalChannel("green", "the channel", 520.0)
    plane = file.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        description="one",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP6f",
        location="V1",
    )
    rois = pynwb.ophys.PlaneSegmentation("cells", plane, name="cells")
    rois.add_column("is_cell", "by hand")
    for i in range(4):
        rois.add_roi(id=100 + i, pixel_mask=[(i, i, 1.0)], is_cell=i != 2)
    segmentation = pynwb.ophys.ImageSegmentation(plane_segmentations=[rois])
    fluorescence = pynwb.ophys.Fluorescence(name="Fluorescence")
    values = rng.normal(size=(200, 3))
    fluorescence.add_roi_response_series(
        pynwb.ophys.RoiResponseSeries(
            name="RoiResponseSeries",
            data=values,
            unit="dF/F",
            rate=20.0,
            rois=rois.create_roi_table_region(region=[3, 1, 0], description="three"),
        )
    )
    ophys = file.create_processing_module("ophys", "calcium")
    ophys.add(segmentation)
    ophys.add(fluorescence)
    ophys.add(pynwb.TimeSeries(name="speed", data=np.zeros(5), unit="m", rate=1.0))
    ophys.add(pynwb.TimeSeries(name="cube", data=np.zeros((5, 2, 2)), unit="m", rate=1.0))
    ophys.add(
        pynwb.TimeSeries(name="holes", data=np.array([[0, np.nan], [1, 1]]), unit="m", rate=1.0)
    )
    return save(file, tmp_path_factory.mktemp("nwb") / "series.nwb"), values


def sweeps_file(path, *, lengths=(300, 300, 200), rates=(1e3, 1e3, 1e3)):
    file = new_file()
    device = file.create_device(name="amplifier")
    for i, (n, rate) in enumerate(zip(lengths, rates, strict=True)):
        if i < 2:
            electrode = file.create_icephys_electrode(
                name=f"pipette{i}", description="glass", device=device
            )
        file.add_acquisition(
            pynwb.icephys.CurrentClampSeries(
                name=f"sweep{i}",
                data=np.arange(n) * 1e-3 + i,
                electrode=electrode,
                gain=1.0,
                rate=rate,
                starting_time=10.0 * i,
                sweep_number=np.uint32(7 + i),
            )
        )
    return save(file, path)


# Units


def test_units_with_their_table(units_file):
    spikes = bregma.read(units_file)
    assert isinstance(spikes, SpikeTrains)
    assert spikes.units.index.tolist() == [0, 10, 20]
    assert spikes.units["quality"].tolist() == ["good", "mua", "good"]
    assert spikes.units["electrode_group"].tolist() == ["shank"] * 3
    assert spikes.units["area"].tolist() == ["V1", "V1,CA1", "CA3"]
    for train, wanted in zip(spikes.to_dict().values(), TRAINS, strict=True):
        assert np.array_equal(train, wanted)
    assert spikes.support.tolist() == [[0, np.nextafter(TRAINS[0][-1], 10)]]


def test_units_by_window(units_file):
    spikes = bregma.read(units_file, "units", window=(2, 3))
    assert spikes.identical(bregma.read(units_file).restrict((2, 3)))
    assert bregma.read(units_file, window=(2, 3), bin=0.5).shape == (1, 2, 3)
    assert bregma.read(units_file, bin=0.5).identical(bregma.read(units_file).bin(0.5))


def test_units_around_trials(units_file):
    cut = bregma.read(
        units_file, "units", around="trials", window=(-0.5, 1), bin=0.1, stimulus="animal"
    )
    assert cut.shape == (3, 15, 3)
    assert cut.stimuli.tolist() == ["cat", "dog", "cat"]
    assert cut.coordinate("orientation").tolist() == [0, 45, 90]
    assert cut.coordinate("tags").tolist() == ["good", "good,late", "good,late"]
    assert cut.coordinate("trials_onset").tolist() == [1.1, 3.1, 5.1]
    assert cut.coordinate("onset").tolist() == [1, 3, 5]
    assert "flashes" not in cut.presentations
    wanted = bregma.read(units_file).around([1.0, 3.0, 5.0], (-0.5, 1), 0.1)
    assert np.array_equal(cut.values, wanted.values)
    late = bregma.read(
        units_file, around="trials", at="stop_time", window=(0, 1), bin=1.0, outside="drop"
    )
    assert late.coordinate("onset").tolist() == [2, 4, 6]


def test_events_of_the_user(units_file):
    cut = bregma.read(units_file, around=[1.0, 3.0], window=(0, 1), bin=0.5)
    assert cut.coordinate("onset").tolist() == [1, 3]
    events = pd.DataFrame({"time": [2.0], "quality": [3], "stimulus": ["x"]})
    cut = bregma.read(units_file, around=events, window=(0, 1), bin=0.5)
    assert cut.stimuli.tolist() == ["x"]
    assert cut.coordinate("event_quality").tolist() == [3]


@pytest.mark.parametrize(
    ("key", "options", "error", "message"),
    [
        ("unit", {}, UnknownName, "'units'"),
        (None, {"around": "trial"}, UnknownName, "'trials'"),
        (None, {"around": "trials", "at": "start"}, UnknownName, "'start_time'"),
        (None, {"around": "trials", "window": (0, 1)}, InvalidArgument, "bin= in seconds"),
        (None, {"around": pd.DataFrame({"t": [1]})}, UnknownName, "'time'"),
        (None, {"stimulus": "animal"}, InvalidArgument, "give around= too"),
        (
            None,
            {"around": "trials", "window": (0, 1), "bin": 1.0, "stimulus": "animals"},
            UnknownName,
            "'animal'",
        ),
        (None, {"windows": (0, 1)}, UnknownName, "'window'"),
        (None, {"support": "all"}, InvalidArgument, "'union', 'intersection'"),
        (None, {"around": "trials", "window": (0, 6), "bin": 1.0}, InvalidArgument, "1 of 3"),
    ],
)
def test_units_refused(units_file, key, options, error, message):
    with pytest.raises(error, match=message):
        bregma.read(units_file, key, **options)


def test_units_observed_at_different_times(tmp_path):
    file = new_file()
    file.add_unit(spike_times=[0.5, 1.0, 5.0], obs_intervals=[[0, 1], [4, 6]])
    file.add_unit(spike_times=[0.2, 4.5], obs_intervals=[[0, 5]])
    path = save(file, tmp_path / "u.nwb")
    with pytest.raises(InvalidArgument, match="not observed in the same intervals"):
        bregma.read(path)
    assert bregma.read(path, support="union").support.tolist() == [[0, 6]]
    common = bregma.read(path, support="intersection")
    assert common.support.tolist() == [[0, 1], [4, 5]]
    assert common.times.tolist() == [0.2, 0.5, 4.5]
    assert bregma.read(path, support=[(-1, 10)]).support.tolist() == [[-1, 10]]


def test_area_from_other_places(tmp_path):
    file = new_file()
    group = add_electrodes(file)
    file.add_unit(spike_times=[0.5], electrode_group=group)
    assert bregma.read(save(file, tmp_path / "a.nwb")).units["area"].tolist() == ["hippocampus"]
    file = new_file()
    file.add_unit_column("location", "where")
    file.add_unit(spike_times=[0.5], location="PFC")
    file.add_unit(spike_times=[0.2], location="V4")
    assert bregma.read(save(file, tmp_path / "b.nwb")).units["area"].tolist() == ["PFC", "V4"]


def test_units_without_spikes_and_an_empty_file(tmp_path):
    file = new_file()
    file.add_unit_column("quality", "of the unit")
    file.add_unit(quality=1)
    with pytest.raises(UnreadableRecording, match="no spike times"):
        bregma.read(save(file, tmp_path / "a.nwb"))
    with pytest.raises(UnreadableRecording, match="no units and no series"):
        bregma.read(save(new_file(), tmp_path / "b.nwb"))


def test_damaged_index_of_spike_times(units_file, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "damaged.nwb"
    path.write_bytes(units_file.read_bytes())
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][0] = 250
    with pytest.raises(UnreadableRecording, match="damaged"):
        bregma.read(path)


def test_repeated_unit_names(tmp_path):
    file = new_file()
    file.add_unit_column("unit", "name")
    for _ in range(2):
        file.add_unit(spike_times=[0.5], unit="a")
    with pytest.raises(UnreadableRecording, match="more than once: 'a'"):
        bregma.read(save(file, tmp_path / "a.nwb"))


# Series


def test_calcium_with_its_cells(series_file):
    path, values = series_file
    for key in ("RoiResponseSeries", "processing/ophys/Fluorescence/RoiResponseSeries"):
        recording = bregma.read(path, key)
        assert np.array_equal(recording.values[0], values)
    assert recording.units.index.tolist() == [103, 101, 100]
    assert recording.units["is_cell"].tolist() == [True, True, True]
    assert recording.measured_in == "dF/F"
    assert recording.sampling_rate == pytest.approx(20)
    part = bregma.read(path, key, window=(1.0, 2.0))
    assert np.array_equal(part.values[0], values[20:40])
    assert np.allclose(part.times, np.arange(20, 40) / 20)
    cut = bregma.read(path, key, around="trials", window=(-0.5, 1.0), stimulus="animal")
    assert cut.shape == (3, 30, 3)
    assert np.array_equal(cut.values[1], values[50:80])
    assert np.allclose(cut.times[[0, 10]], [-0.5, 0])
    assert cut.coordinate("location").tolist() == ["left"] * 3


def test_conversion_and_electrodes(series_file):
    h5py = pytest.importorskip("h5py")
    with h5py.File(series_file[0]) as file:
        raw = file["acquisition/lfp/data"][:]
    recording = bregma.read(series_file[0], "lfp")
    assert np.allclose(recording.values[0], raw * (1e-6 * np.array([1, 2, 3])) + 0.001, atol=0)
    assert recording.measured_in == "V"
    assert recording.times[0] == 0.5
    assert recording.units["area"].tolist() == ["V1", "CA1", "CA3"]
    assert recording.units["x"].tolist() == [0, 2, 3]


def test_timestamps_with_a_gap(series_file):
    path, _ = series_file
    speed = bregma.read(path, "acquisition/speed")
    assert speed.measured_in is None
    assert speed.units.index.tolist() == ["speed"]
    assert speed.shape == (1, 500, 1)
    part = bregma.read(path, "acquisition/speed", window=(5.5, 8.5))
    inside = (speed.times >= 5.5) & (speed.times < 8.5)
    assert np.array_equal(part.times, speed.times[inside])
    cut = bregma.read(path, "acquisition/speed", around=[2.0, 5.0], window=(-0.5, 0.5))
    first = int(np.argmin(np.abs(speed.times - 1.5)))
    assert np.array_equal(cut.values[0], speed.values[0, first : first + 50])
    with pytest.raises(InvalidArgument, match="2 of 3 events .*: 6 s, 12 s"):
        bregma.read(path, "acquisition/speed", around=[2.0, 6.0, 12.0], window=(-0.5, 0.5))


def test_series_that_are_damaged_or_odd(tmp_path):
    h5py = pytest.importorskip("h5py")
    file = new_file()
    for name, timestamps in (("even", np.arange(5.0)), ("still", np.zeros(5)), ("one", [0.0])):
        data = np.ones(len(timestamps))
        file.add_acquisition(
            pynwb.TimeSeries(name=name, data=data, unit="V", timestamps=timestamps)
        )
    file.add_acquisition(pynwb.TimeSeries(name="rate", data=np.ones(5), unit="V", rate=1.0))
    path = save(file, tmp_path / "a.nwb")
    with pytest.raises(InvalidArgument, match="differ in sampling rate"):
        bregma.read(path)
    for name in ("still", "one"):
        with pytest.raises(InvalidArgument, match="no even sampling rate"):
            bregma.read(path, name, around=[0.0], window=(0, 1))
    with h5py.File(path, "r+") as stored:
        stored["acquisition/rate/starting_time"].attrs["rate"] = np.nan
        del stored["acquisition/even/timestamps"]
        stored["acquisition/even/timestamps"] = np.arange(4.0)
        stored["acquisition/even/timestamps"].attrs.update({"interval": 1, "unit": "seconds"})
    with pytest.raises(UnreadableRecording, match="no sampling rate"):
        bregma.read(path, "rate")
    with pytest.raises(UnreadableRecording, match="5 samples and 4 timestamps"):
        bregma.read(path, "even")


def test_wide_series_are_no_sweeps(tmp_path):
    file = new_file()
    for name in ("a", "b"):
        file.add_acquisition(pynwb.TimeSeries(name=name, data=np.ones((5, 2)), unit="V", rate=1.0))
    with pytest.raises(InvalidArgument, match="'acquisition/a' has many columns"):
        bregma.read(save(file, tmp_path / "a.nwb"))


def test_cells_that_do_not_exist(series_file, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.nwb"
    path.write_bytes(series_file[0].read_bytes())
    with h5py.File(path, "r+") as file:
        file["processing/ophys/Fluorescence/RoiResponseSeries/rois"][0] = 77
    with pytest.raises(UnreadableRecording, match="rows that do not exist"):
        bregma.read(path, "RoiResponseSeries")


def test_places_have_axes(series_file):
    place = bregma.read(series_file[0], "place")
    assert place.units.index.tolist() == ["x", "y"]
    assert place.measured_in == "cm"


@pytest.mark.parametrize(
    ("key", "options", "error", "message"),
    [
        (None, {}, InvalidArgument, r"several things.*RoiResponseSeries \(1\)"),
        ("speed", {}, InvalidArgument, "several series are named 'speed'"),
        ("RoiResponse", {}, UnknownName, "'RoiResponseSeries'"),
        ("cube", {}, UnreadableRecording, "no numbers over time"),
        ("holes", {}, UnreadableRecording, "missing='drop_units'"),
        ("lfp", {"window": (50, 60)}, InvalidArgument, "recorded from 0.5 to 10.49 s"),
        ("lfp", {"bin": 0.1}, InvalidArgument, "bin= is for units"),
        ("lfp", {"around": "trials"}, InvalidArgument, "give window="),
        ("lfp", {"around": "trials", "window": (0, 1e-3)}, InvalidArgument, "shorter than one"),
        ("lfp", {"around": [0.0], "window": (0, 1), "outside": "drop"}, InvalidArgument, "1 of 1"),
        ("lfp", {"around": [0], "window": (0, 1), "outside": "x"}, InvalidArgument, "'drop'"),
        ("lfp", {"max_bytes": 1000}, UnreadableRecording, "larger max_bytes"),
        ("TimeSeries", {"around": "trials"}, InvalidArgument, "name one"),
    ],
)
def test_series_refused(series_file, key, options, error, message):
    with pytest.raises(error, match=message):
        bregma.read(series_file[0], key, **options)


def test_missing_values_can_be_left_out(series_file):
    part = bregma.read(series_file[0], "holes", missing="drop_units")
    assert part.units.index.tolist() == ["holes_0"]
    kept = bregma.read(series_file[0], "lfp", around=[0.0, 2.0], window=(0, 1), outside="drop")
    assert kept.n_presentations == 1


# Sweeps


def test_sweeps_are_presentations(tmp_path):
    path = sweeps_file(tmp_path / "s.nwb")
    with pytest.raises(InvalidArgument, match=r"200 to 300 samples.*window=\(0, 0.2\)"):
        bregma.read(path)
    recording = bregma.read(path, window=(0.1, 0.2))
    assert recording.shape == (3, 100, 1)
    assert np.allclose(recording.values[2, :, 0], np.arange(100, 200) * 1e-3 + 2)
    assert recording.coordinate("sweep").tolist() == [7, 8, 9]
    assert recording.coordinate("onset").tolist() == [0, 10, 20]
    assert recording.coordinate("electrode").tolist() == ["pipette0", "pipette1", "pipette1"]
    assert recording.measured_in == "V"
    with pytest.raises(InvalidArgument, match="not every sweep holds"):
        bregma.read(path, window=(0.1, 0.25))
    with pytest.raises(InvalidArgument, match="no sample"):
        bregma.read(path, window=(0.25, 0.3))


def test_sweeps_of_different_rates(tmp_path):
    path = sweeps_file(tmp_path / "s.nwb", rates=(1e3, 2e3, 1e3))
    with pytest.raises(InvalidArgument, match="1000 Hz, 2000 Hz.*one by one"):
        bregma.read(path, "CurrentClampSeries")
    assert bregma.read(path, "sweep1").sampling_rate == pytest.approx(2000)


# Written by bregma


def test_own_files_have_standard_containers(tmp_path):
    recording = Recording.from_array(
        np.arange(12.0).reshape(1, 4, 3), time=np.arange(4) / 10, measured_in="mV", name="a/b"
    )
    path = recording.save(tmp_path / "r.nwb")
    assert bregma.read(path).identical(recording)
    assert bregma.read(path, "responses").values.tolist() == recording.values.tolist()
    with pytest.raises(InvalidArgument, match="cut already"):
        bregma.read(path, window=(0, 1))
    with pynwb.NWBHDF5IO(str(path), "r") as io:
        module = io.read().processing["bregma"]
        assert module["responses"].unit == "mV"
        assert module["units"].to_dataframe()["unit"].tolist() == ["u0", "u1", "u2"]


def test_coordinates_of_any_name_type_and_with_dates(tmp_path):
    recording = Recording.from_array(
        np.ones((2, 2), dtype=np.float32),
        unit={"unit": [1, 2], "id": ["a", "b"], "x/y:.": [True, False], "column_0": [1, 2]},
        presentation={
            "presentation": ["p", "q"],
            "responses": np.array([1, 2], np.uint8),
            "day": np.array(["2024-01-01", "2024-02-01"], "M8[D]"),
            "lag": np.array([1, 2], "m8[ms]"),
        },
        sessions=pd.DataFrame({"subject": ["m"], "age": [0.5]}, index=pd.Index(["s"], name="S")),
    )
    path = recording.save(tmp_path / "r.nwb")
    assert bregma.read(path).identical(recording)
    assert bregma.read(path).sessions.index.name == "S"


def test_spike_trains_there_and_back(tmp_path):
    trains = SpikeTrains.from_dict(
        {"a": [-0.5, 0.1], "b": [], "c": [2.5]},
        units={
            "location": ["V1", "V2", "V1"],
            "depth": [1.0, 2.0, 3.0],
            "a b": [1, 2, 3],
            "id": [4, 5, 6],
            "spike_times": [7, 8, 9],
            "electrodes": ["x", "y", "z"],
            "day": np.array(["2024-01-01"] * 3, "M8[s]"),
        },
        support=[(-1, 1), (2, 3)],
    )
    path = trains.save(tmp_path / "s.nwb")
    assert bregma.read(path).identical(trains)


def test_what_cannot_be_written(tmp_path):
    recording = Recording.from_array(np.ones((1, 2)), unit=["a", "b\0c"])
    with pytest.raises(InvalidArgument, match="NUL"):
        recording.save(tmp_path / "r.nwb")
    assert list(tmp_path.iterdir()) == []
    from bregma.recording import Dissimilarity

    rdm = Dissimilarity.from_square(1 - np.eye(3), measure="euclidean")
    with pytest.raises(InvalidArgument, match="not Dissimilarity"):
        bregma.recording._read.write(rdm, tmp_path / "d.nwb")


@pytest.mark.parametrize("damage", ["text", "json"])
def test_own_file_that_was_damaged(tmp_path, damage):
    h5py = pytest.importorskip("h5py")
    path = Recording.from_array(np.ones((2, 2))).save(tmp_path / "r.nwb")
    with h5py.File(path, "r+") as file:
        file["processing/bregma/about/json"][0] = {"text": "{", "json": "[]"}[damage]
    with pytest.raises(UnreadableRecording):
        bregma.read(path)


# Real files


def test_real_units(shared_data):
    spikes = bregma.read(shared_data / "units" / "A8604-211122.nwb")
    assert spikes.counts.tolist() == [11020, 4690, 5644]
    assert spikes.units.index.tolist() == [6, 191, 206]
    nap = pytest.importorskip("pynapple", reason="pynapple is the peer")
    group = nap.NWBFile(str(shared_data / "units" / "A8604-211122.nwb"))["units"]
    mine = spikes.bin(0.1, (0, 1000)).values[0]
    peer = group.count(0.1, ep=nap.IntervalSet(0, 1000)).values
    assert np.array_equal(mine, peer)


@pytest.mark.parametrize(
    ("name", "n", "rate", "samples"),
    [("ferguson2015_PYR2", 13, 10_000, 20_000), ("lantyer2018_180817_ME_9_CC", 10, 20_000, 23_200)],
)
def test_real_sweeps(shared_data, name, n, rate, samples):
    path = shared_data / "intracellular" / f"{name}.nwb"
    recording = bregma.read(path)
    assert recording.shape == (n, samples, 1)
    assert recording.sampling_rate == pytest.approx(rate)
    assert recording.measured_in == "V"
    assert -0.12 < recording.values.min() < recording.values.max() < 0.1  # a neuron, in volts
    assert recording.coordinate("sweep").tolist() == list(range(1, n + 1))
    current = bregma.read(path, "CurrentClampStimulusSeries")
    assert current.measured_in == "A"
    assert current.shape == recording.shape
