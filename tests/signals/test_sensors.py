"""Sensors and windows of real and simulated recordings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bregma import Recording, read
from bregma.datasets import dipole_brain, eeg_layout, meg_layout
from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.signals import Sensors, SensorTokenizer, sensor_windows

TINY = {"n_sources": 3, "n_heads": 2, "n_filters": 4, "strides": (8, 4), "n_codes": 8}


def test_a_table_becomes_sensors():
    helmet = Sensors.of_table(meg_layout(4))
    assert helmet.kinds.tolist() == [1, 2, 2] * 4
    torch.testing.assert_close(helmet.positions.norm(dim=1), torch.full((12,), 0.115))
    assert len(helmet[helmet.kinds == 1]) == 4


def test_controls_of_geometry():
    helmet = Sensors.of_table(meg_layout(6))
    mixed = helmet.permuted(seed=0)
    assert torch.equal(mixed.kinds, helmet.kinds)
    for kind in (1, 2):
        places = [s.positions[s.kinds == kind] for s in (helmet, mixed)]
        assert not torch.equal(*places)
        assert float(torch.cdist(*places).min(0).values.max()) < 1e-4  # the same places
    assert torch.equal(helmet.permuted(seed=0).positions, mixed.positions)
    assert not torch.equal(helmet.permuted(seed=1).positions, mixed.positions)
    assert float(helmet.without_geometry().positions.abs().sum()) == 0


def test_a_file_goes_all_the_way_to_tokens(tmp_path):
    mne = pytest.importorskip("mne")
    names = ["Fp1", "Fp2", "C3", "Cz", "C4", "O1", "O2"]
    signal = 1e-5 * np.random.default_rng(0).standard_normal((7, 100 * 5))
    raw = mne.io.RawArray(signal, mne.create_info(names, 100.0, "eeg"), verbose="ERROR")
    raw.save(tmp_path / "bare_raw.fif", verbose="ERROR")
    with pytest.raises(UnknownName, match="column"):
        Sensors.of(read(tmp_path / "bare_raw.fif"))  # knows no places
    raw.set_montage("easycap-M1")
    raw.save(tmp_path / "raw.fif", overwrite=True, verbose="ERROR")
    recording = read(tmp_path / "raw.fif")
    sensors = Sensors.of(recording)
    torch.testing.assert_close(sensors.positions, Sensors.of_info(raw.info).positions)
    x = sensor_windows(recording, seconds=2.0, rate=256.0)
    assert x.shape == (2, 7, 512)
    made = SensorTokenizer(16, **TINY, seed=0)(x, sensors)
    assert made.codes.shape == (2, 3, 16, 4)


def test_a_real_eeg_recording_becomes_tokens(shared_data):
    recording = read(shared_data / "eeg" / "eeglab_data.set", window=(0, 4))
    keep = [name for name in recording.units.index if not str(name).startswith("EOG")]
    recording = recording.select(unit=keep)
    x, sensors = sensor_windows(recording), Sensors.of(recording)
    assert x.shape == (2, len(keep), 512)
    torch.testing.assert_close(x.mean(1), torch.zeros(2, 512), atol=1e-5, rtol=0)
    assert float(sensors.positions.norm(dim=1).max()) < 0.13
    front = sensors.positions[keep.index("FPz")]
    assert float(front[1]) > 0.08  # y points to the nose
    tokenizer = SensorTokenizer(16, **TINY, seed=0)
    made = tokenizer(x, sensors)
    assert made.waves.shape == x.shape
    assert torch.isfinite(made.waves).all()


def test_a_real_joint_recording_has_both_kinds_in_one_frame(shared_data):
    mne = pytest.importorskip("mne")
    path = shared_data / "meg" / "sample_audvis_evoked-ave.fif.gz"
    info = mne.io.read_info(path, verbose="ERROR")
    sensors = Sensors.of_info(info)
    picks = ({"eeg": True}, {"meg": "mag"}, {"meg": "grad"})
    expected = [len(mne.pick_types(info, **kinds)) for kinds in picks]
    assert torch.bincount(sensors.kinds).tolist() == expected
    meg, eeg = sensors.kinds > 0, sensors.kinds == 0
    torch.testing.assert_close(
        sensors.orientations[meg].norm(dim=1), torch.ones(int(meg.sum())), atol=1e-3, rtol=0
    )
    assert (sensors.orientations[eeg] == 0).all()
    # In the head frame the helmet encloses the electrodes: MNE's own transform of a coil says so.
    name = info["ch_names"][next(i for i, c in enumerate(info["chs"]) if c["kind"] == 1)]
    at = mne.transforms.apply_trans(
        info["dev_head_t"], info["chs"][info["ch_names"].index(name)]["loc"][:3]
    )
    names = [
        info["ch_names"][i]
        for i in mne.pick_types(info, meg=True, eeg=True, ref_meg=False, exclude="bads")
    ]
    np.testing.assert_allclose(sensors.positions[names.index(name)], at, atol=1e-6)
    # magnetometer and gradiometers of one site look in three directions
    trio = Sensors.of_info(info, ["MEG 0111", "MEG 0112", "MEG 0113"])
    product = trio.orientations @ trio.orientations.T
    np.testing.assert_allclose(product, np.eye(3), atol=0.02)
    recording = read(path, "Left Auditory").select(unit=names)
    x = sensor_windows(recording, seconds=0.25)
    for kind in ("eeg", "mag", "grad"):
        of_kind = (recording.units["kind"] == kind).to_numpy().copy()
        assert 0.5 < float(x[:, of_kind].square().mean().sqrt()) < 2
    made = SensorTokenizer(16, **{**TINY, "strides": (4, 4)}, seed=0)(x, sensors)
    assert made.waves.shape == x.shape


def test_windows_keep_the_order_of_time_and_relations_of_sensors():
    rate, n = 50.0, 200
    time = np.arange(n) / rate
    waves = np.stack([np.sin(2 * np.pi * 3 * time), 2 * np.sin(2 * np.pi * 3 * time)], axis=1)
    units = {"unit": ["a", "b"], "kind": ["mag", "mag"]}
    recording = Recording.from_array(np.stack([waves, -waves]), unit=units, time=time)
    x = sensor_windows(recording, seconds=1.0, rate=50.0)
    assert x.shape == (8, 2, 50)
    torch.testing.assert_close(x[:, 1], 2 * x[:, 0])
    torch.testing.assert_close(x[4:], -x[:4])
    size = np.sqrt(((waves - waves.mean(0)) ** 2).mean())
    np.testing.assert_allclose(x[1, 0], waves[50:100, 0] / size, atol=1e-5)
    slower = sensor_windows(recording, seconds=1.0, rate=25.0)
    np.testing.assert_allclose(slower[1, 0, 5:-5], x[1, 0, 10:-10:2], atol=0.03)


def test_units_of_measurement_do_not_matter():
    made = dipole_brain(seed=0).record(meg_layout(3), 4, seed=0).recording
    scaled = Recording.from_array(
        made.values * 1e15, unit=made.units, time=made.times, presentation=made.presentations.index
    )
    a, b = (sensor_windows(r, seconds=1.0, rate=64.0) for r in (made, scaled))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_bad_input(unchecked_types):
    cap = eeg_layout(4)
    for table, error, match in (
        (cap.drop(columns="z"), UnknownName, "column"),
        (cap.assign(kind="ecog"), UnknownName, "kind of sensor 'ecog'"),
        (cap.assign(x=np.nan), InvalidArgument, "E1.*not known"),
        (cap.assign(x=90.0), InvalidArgument, "in metres"),
        (meg_layout(2).drop(columns="nx"), InvalidArgument, "of_info"),
        (meg_layout(2).drop(columns="nz"), InvalidArgument, "of_info"),
        (cap.iloc[:0], InvalidArgument, "above 0"),
    ):
        with pytest.raises(error, match=match):
            Sensors.of_table(table)
    with pytest.raises(InvalidArgument, match="one of"):
        Sensors(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([3]))
    with pytest.raises(InvalidArgument, match="NaN or infinite"):
        Sensors(torch.zeros(1, 3), torch.full((1, 3), float("nan")), torch.tensor([0]))
    made = dipole_brain(seed=0).record(cap, 2, seed=0).recording
    with pytest.raises(InvalidArgument, match="hold no window"):
        sensor_windows(made, seconds=2.0, rate=64.0)
    for rate in (0.0, -4.0, float("nan"), 0.06):
        with pytest.raises(InvalidArgument, match="0.064 Hz or more"):
            sensor_windows(made, rate=rate)
    with pytest.raises(UnknownName, match="'kind'"):
        sensor_windows(Recording.from_array(made.values, time=made.times))
    with pytest.raises(InvalidRecording, match="no time"):
        sensor_windows(Recording.from_array(made.values[:, 0], unit=made.units))
    flat = Recording.from_array(np.ones(made.shape), unit=made.units, time=made.times)
    with pytest.raises(InvalidArgument, match="flat"):
        sensor_windows(flat)
    mne = pytest.importorskip("mne")
    info = mne.create_info(["Cz", "Oz"], 100.0, "eeg")
    with pytest.raises(InvalidArgument, match="montage"):
        Sensors.of_info(info)
    with pytest.raises(UnknownName, match="channel 'Cy'"):
        Sensors.of_info(info, ["Cy"])
