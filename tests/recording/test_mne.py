"""MNE's formats: the numbers that MNE gives, with labels, and events cut as MNE cuts them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import bregma
from bregma.errors import InvalidArgument, UnknownName, UnreadableRecording

mne = pytest.importorskip("mne", reason="MNE reads these files")
mne.set_log_level("ERROR")

RATE = 100.0


def new_raw(n=1000, *, first_samp=0, annotate=True):
    rng = np.random.default_rng(0)
    kinds = ["eeg", "eeg", "mag", "stim", "eog"]
    info = mne.create_info(["Cz", "Pz", "M1", "STI", "EOG"], RATE, kinds)
    data = rng.normal(size=(5, n)) * 1e-6
    data[3] = 0
    for start, code in ((100, 1), (300, 2), (500, 1), (900, 2)):
        data[3, start : start + 5] = code
    raw = mne.io.RawArray(data, info, first_samp=first_samp)
    raw.set_montage(mne.channels.make_dig_montage({"Cz": (0, 0, 0.1), "Pz": (0, -0.05, 0.08)}))
    if annotate:
        raw.set_annotations(
            mne.Annotations([1.0, 3.0, 5.0, 9.0, 5.2], [0, 0, 0, 0, 0.1],
                            ["face", "house", "face", "house", "BAD_blink"])
        )  # fmt: skip
    return raw


@pytest.fixture(scope="module")
def fif(tmp_path_factory):
    path = tmp_path_factory.mktemp("mne") / "a_raw.fif"
    new_raw(first_samp=250).save(path, fmt="double")
    return path


def write_edf(path, values, rate=100, *, bdf=False):
    """Smallest EDF or BDF file: one record for each second, microvolts."""
    n, width = len(values), 3 if bdf else 2
    top = 2 ** (8 * width - 1) - 1
    n_records = values.shape[1] // rate

    def field(text, length):
        return str(text).ljust(length)[:length].encode("ascii")

    head = (
        (b"\xffBIOSEMI" if bdf else field("0", 8)) + field("X X X X", 80) + field("Startdate", 80)
    )
    head += field("01.01.24", 8) + field("00.00.00", 8) + field(256 * (n + 1), 8)
    head += field("24BIT" if bdf else "", 44) + field(n_records, 8) + field(1, 8) + field(n, 4)
    for items, length in (
        ([f"EEG {i}" for i in range(n)], 16), ([""] * n, 80), (["uV"] * n, 8),
        ([-1000] * n, 8), ([1000] * n, 8), ([-top] * n, 8), ([top] * n, 8), ([""] * n, 80),
        ([rate] * n, 8), ([""] * n, 32),
    ):  # fmt: skip
        head += b"".join(field(item, length) for item in items)
    digits = np.round(values / 1000 * top).astype("<i4")
    body = b""
    for k in range(n_records):
        block = digits[:, k * rate : (k + 1) * rate]
        body += np.ascontiguousarray(block).view(np.uint8).reshape(-1, 4)[:, :width].tobytes()
    path.write_bytes(head + body)
    return 1000 / top


def write_brainvision(path, values):
    path.with_suffix(".eeg").write_bytes(values.T.astype("<f4").tobytes())
    channels = "\n".join(f"Ch{i + 1}=C{i},,1,µV" for i in range(len(values)))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"
        f"Codepage=UTF-8\nDataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\n"
        f"DataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels={len(values)}\n"
        f"SamplingInterval=10000\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n"
        f"[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    path.with_suffix(".vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\n[Marker Infos]\n"
        "Mk1=New Segment,,1,1,0,20240101000000000000\nMk2=Stimulus,S  1,101,1,0\n"
        "Mk3=Stimulus,S  2,201,1,0\n",
        encoding="utf-8",
    )


# Continuous


def test_continuous_fif(fif):
    raw = new_raw(first_samp=250)
    recording = bregma.read(fif)
    assert recording.units.index.tolist() == ["Cz", "Pz", "M1"]
    assert recording.coordinate("kind").tolist() == ["eeg", "eeg", "mag"]
    assert recording.coordinate("measured_in").tolist() == ["V", "V", "T"]
    assert recording.measured_in is None
    assert np.array_equal(recording.values[0].T, raw.get_data(["Cz", "Pz", "M1"]))
    assert np.array_equal(recording.times, raw.times)
    assert np.allclose(recording.coordinate("z")[:2], [0.1, 0.08])
    assert np.isnan(recording.coordinate("x")[2])


def test_window_and_picks(fif):
    whole = bregma.read(fif, picks="eeg")
    assert whole.measured_in == "V"
    assert "measured_in" not in whole.units
    part = bregma.read(fif, picks=["Pz", "eog"], window=(2.0, 2.5))
    assert part.units.index.tolist() == ["Pz", "EOG"]
    assert np.allclose(part.times, np.arange(200, 251) / RATE)
    assert np.array_equal(part.values[0, :, 0], whole.values[0, 200:251, 1])
    assert bregma.read(fif, picks="all").n_units == 5
    assert bregma.read(fif, picks="meg").measured_in == "T"
    level = bregma.read(fif, picks="eeg", baseline=(None, 1.0)).values
    assert np.abs(level[0, :101].mean(axis=0)).max() < 1e-20


def test_filters_are_those_of_mne(fif):
    raw = new_raw(first_samp=250).pick(["Cz", "EOG"]).filter(1, 30, picks="all")
    filtered = bregma.read(fif, picks=["Cz", "EOG"], high_pass=1, low_pass=30)
    assert np.allclose(filtered.values[0].T, raw.get_data(), atol=1e-15)


def test_channels_marked_bad_are_left_out(tmp_path):
    raw = new_raw()
    raw.info["bads"] = ["Pz"]
    raw.save(tmp_path / "a_raw.fif")
    assert bregma.read(tmp_path / "a_raw.fif").units.index.tolist() == ["Cz", "M1"]
    assert bregma.read(tmp_path / "a_raw.fif", picks="eeg").n_units == 1
    assert bregma.read(tmp_path / "a_raw.fif", picks=["Pz"]).n_units == 1
    raw.info["bads"] = ["Cz", "Pz", "M1"]
    raw.save(tmp_path / "b_raw.fif")
    with pytest.raises(InvalidArgument, match="no data channels"):
        bregma.read(tmp_path / "b_raw.fif")


def test_projectors_only_when_asked(tmp_path):
    raw = new_raw().set_eeg_reference(projection=True)
    raw.save(tmp_path / "a_raw.fif")
    plain = bregma.read(tmp_path / "a_raw.fif", picks="eeg").values
    projected = bregma.read(tmp_path / "a_raw.fif", picks="eeg", project=True).values
    assert np.abs(plain.mean(axis=2)).max() > 1e-8
    assert np.abs(projected.mean(axis=2)).max() < 1e-12


# Events


@pytest.mark.parametrize("first_samp", [0, 250])
def test_events_are_cut_as_mne_cuts_them(tmp_path, first_samp):
    raw = new_raw(first_samp=first_samp)
    raw.save(tmp_path / "a_raw.fif", fmt="double")
    found, codes = mne.events_from_annotations(raw, event_id={"face": 1, "house": 2})
    epochs = mne.Epochs(raw, found, codes, -0.2, 0.8, baseline=(None, 0), preload=True,
                        picks=["Cz", "Pz"])  # fmt: skip
    recording = bregma.read(
        tmp_path / "a_raw.fif", events=["face", "house"], window=(-0.2, 0.8),
        baseline=(None, 0), picks=["Cz", "Pz"], outside="drop",
    )  # fmt: skip
    assert len(epochs) == 3  # the third is marked bad
    assert np.allclose(np.swapaxes(recording.values, 1, 2), epochs.get_data(), atol=1e-18)
    assert np.allclose(recording.times, epochs.times)
    assert recording.stimuli.tolist() == ["face", "house", "house"]
    assert recording.coordinate("presentation").tolist() == [0, 1, 3]
    assert recording.coordinate("onset").tolist() == [1, 3, 9]


def test_events_that_cannot_be_cut_are_named(fif):
    with pytest.raises(InvalidArgument) as error:
        bregma.read(fif, events="*", window=(-1.5, 1.5))
    assert "3 of 4 events cannot be cut: face at 1 s: its window leaves" in str(error.value)
    assert "face at 5 s: it touches what is marked 'BAD_blink'" in str(error.value)
    assert "outside='drop'" in str(error.value)


def test_stimulus_channel(tmp_path):
    new_raw(annotate=False, first_samp=70).save(tmp_path / "a_raw.fif")
    recording = bregma.read(tmp_path / "a_raw.fif", events="*", window=(-0.1, 0.1))
    assert recording.stimuli.tolist() == ["1", "2", "1", "2"]
    assert np.allclose(recording.coordinate("onset"), [1, 3, 5, 9])
    with pytest.raises(UnknownName, match="'1', '2'"):
        bregma.read(tmp_path / "a_raw.fif", events="face", window=(-0.1, 0.1))


def test_events_of_the_user(fif):
    table = pd.DataFrame({"time": [2.0, 7.0], "stimulus": ["a", "b"], "x": [1, 2]})
    recording = bregma.read(fif, events=table, window=(0, 0.1))
    assert recording.stimuli.tolist() == ["a", "b"]
    assert recording.coordinate("event_x").tolist() == [1, 2]
    whole = bregma.read(fif)
    assert np.array_equal(recording.values[1], whole.values[0, 700:711])
    again = bregma.read(fif, events=np.array([2.0, 7.0]), window=(0, 0.1))
    assert np.array_equal(again.values, recording.values)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"events": "fac", "window": (0, 1)}, UnknownName, "nearest of 2: 'face'"),
        ({"events": "face"}, InvalidArgument, "give window="),
        ({"events": "face", "window": (1, 0)}, InvalidArgument, "ends before it starts"),
        ({"events": "face", "window": (0, 1), "outside": "x"}, InvalidArgument, "'drop'"),
        ({"events": [], "window": (0, 1)}, InvalidArgument, "at least one event"),
        ({"key": "face", "events": "face"}, InvalidArgument, "events= is given too"),
        ({"window": (1, 2), "baseline": (3, 4)}, InvalidArgument, "no sample is in the window 3"),
        ({"picks": "gradd"}, UnknownName, "channel or kind"),
        ({"window": (20, 30)}, InvalidArgument, "0 to 9.99 s"),
        ({"window": (9.5, 9.0)}, InvalidArgument, "no sample"),
        ({"max_bytes": 100}, UnreadableRecording, "larger max_bytes"),
        ({"event": "face"}, UnknownName, "'events'"),
    ],
)
def test_refused(fif, options, error, message):
    with pytest.raises(error, match=message):
        bregma.read(fif, **options)


# Other formats


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_edf_and_bdf(tmp_path, suffix):
    values = np.random.default_rng(0).uniform(-900, 900, (3, 500))
    step = write_edf(tmp_path / f"a{suffix}", values, bdf=suffix == ".bdf")
    recording = bregma.read(tmp_path / f"a{suffix}")
    assert recording.n_units == 3
    assert recording.sampling_rate == pytest.approx(100)
    assert np.abs(recording.values[0].T * 1e6 - values).max() <= 0.51 * step
    part = bregma.read(tmp_path / f"a{suffix}", events=[1.0, 2.0], window=(0, 0.5))
    assert np.array_equal(part.values[1], recording.values[0, 200:251])
    with pytest.raises(InvalidArgument, match="no annotations and no stimulus channel"):
        bregma.read(tmp_path / f"a{suffix}", events="face", window=(0, 1))


def test_brainvision(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 400)).astype(np.float32)
    write_brainvision(tmp_path / "a.vhdr", values)
    recording = bregma.read(tmp_path / "a.vhdr")
    assert np.allclose(recording.values[0].T * 1e6, values, atol=1e-6)
    cut = bregma.read(tmp_path / "a.vhdr", events="Stimulus/*", window=(-0.5, 0.5))
    assert cut.stimuli.tolist() == ["Stimulus/S  1", "Stimulus/S  2"]
    assert np.array_equal(cut.values[0], recording.values[0, 50:151])


def test_epochs(tmp_path):
    raw = new_raw()
    found, codes = mne.events_from_annotations(raw, event_id={"face": 1, "house": 2})
    metadata = pd.DataFrame({"trust": [1, 2, 3, 4], "kind": ["a"] * 4})
    epochs = mne.Epochs(raw, found, codes, -0.2, 0.8, baseline=None, preload=True,
                        metadata=metadata)  # fmt: skip
    epochs.save(tmp_path / "a-epo.fif", fmt="double")
    recording = bregma.read(tmp_path / "a-epo.fif", picks="eeg")
    assert np.array_equal(np.swapaxes(recording.values, 1, 2), epochs.get_data(["Cz", "Pz"]))
    assert recording.coordinate("presentation").tolist() == [0, 1, 3]
    assert recording.coordinate("trust").tolist() == [1, 2, 4]
    assert recording.coordinate("event_kind").tolist() == ["a"] * 3
    part = bregma.read(tmp_path / "a-epo.fif", "house", window=(0, None), baseline=(0, 0.1))
    assert part.stimuli.tolist() == ["house", "house"]
    assert part.times[0] == 0
    assert np.abs(part.values[:, :11].mean(axis=1)).max() < 1e-18
    with pytest.raises(InvalidArgument, match="can only choose by name"):
        bregma.read(tmp_path / "a-epo.fif", events=[1.0])
    with pytest.raises(InvalidArgument, match="only continuous"):
        bregma.read(tmp_path / "a-epo.fif", high_pass=1)


def test_epochs_of_eeglab(tmp_path):
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 50, 4))  # channel, sample, epoch
    kinds = ["face", "house", "face", "house"]
    event = [
        {"type": kind, "latency": 50.0 * i + 11, "epoch": i + 1, "duration": 0.0}
        for i, kind in enumerate(kinds)
    ]
    epoch = [
        {"event": i + 1, "eventtype": kind, "eventlatency": 0.0} for i, kind in enumerate(kinds)
    ]
    channels = [{"labels": name, "X": 0.0, "Y": 0.0, "Z": 0.0} for name in ("Cz", "Pz")]

    def struct(rows):
        table = np.empty(len(rows), dtype=[(name, object) for name in rows[0]])
        for i, row in enumerate(rows):
            table[i] = tuple(row.values())
        return table

    eeg = {
        "trials": 4.0, "nbchan": 2.0, "pnts": 50.0, "srate": 100.0, "xmin": -0.1, "xmax": 0.39,
        "data": values, "chanlocs": struct(channels), "event": struct(event),
        "epoch": struct(epoch), "icawinv": [], "icaweights": [], "icasphere": [],
        "times": np.arange(50.0), "setname": "x", "chaninfo": {"nosedir": "+X"},
    }  # fmt: skip
    savemat(tmp_path / "a.set", {"EEG": eeg}, oned_as="row")
    recording = bregma.read(tmp_path / "a.set")
    assert recording.shape == (4, 50, 2)
    assert recording.stimuli.tolist() == kinds
    assert np.allclose(recording.values[1].T * 1e6, values[..., 1])
    assert recording.times[0] == pytest.approx(-0.1)
    assert bregma.read(tmp_path / "a.set", "face").n_presentations == 2


def test_averages_that_share_a_name(tmp_path):
    raw = new_raw()
    found, codes = mne.events_from_annotations(raw, event_id={"house": 2})
    epochs = mne.Epochs(raw, found, codes, -0.2, 0.8, baseline=None, preload=True)
    mean, error = epochs.average(), epochs.standard_error()
    mne.write_evokeds(tmp_path / "a-ave.fif", [mean, error])
    both = bregma.read(tmp_path / "a-ave.fif", picks="eeg")
    assert both.coordinate("presentation").tolist() == [
        "0: house (average)", "1: house (standard_error)"
    ]  # fmt: skip
    assert both.coordinate("n_repeats").tolist() == [2, 2]
    mne.write_evokeds(tmp_path / "b-ave.fif", [mean, error.copy().crop(0, 0.5)])
    with pytest.raises(UnreadableRecording, match="differ in channels or times"):
        bregma.read(tmp_path / "b-ave.fif")


def test_fif_without_responses(tmp_path):
    mne.write_events(tmp_path / "a-eve.fif", np.array([[1, 0, 1]]))
    with pytest.raises(UnreadableRecording, match="holds no responses; MNE says: events"):
        bregma.read(tmp_path / "a-eve.fif")


def test_bids(tmp_path):
    mne_bids = pytest.importorskip("mne_bids", reason="mne-bids reads BIDS data sets")
    raw = new_raw(annotate=False).pick("eeg")
    raw.info["line_freq"] = 50
    folder = tmp_path / "sub-07" / "eeg"
    folder.mkdir(parents=True)
    write_brainvision(folder / "sub-07_task-faces_eeg.vhdr", raw.get_data() * 1e6)
    head = {"Name": "x", "BIDSVersion": "1.9.0"}
    (tmp_path / "dataset_description.json").write_text(json.dumps(head))
    (tmp_path / "participants.tsv").write_text("participant_id\nsub-07\n")
    stem = folder / "sub-07_task-faces_"
    (folder / "sub-07_task-faces_eeg.json").write_text(json.dumps({"PowerLineFrequency": 50}))
    (folder / f"{stem}events.tsv").write_text("onset\tduration\ttrial_type\n1.0\t0\tface\n")
    (folder / f"{stem}channels.tsv").write_text(
        "name\ttype\tunits\tstatus\nC0\tEEG\tuV\tgood\nC1\tEEG\tuV\tbad\n"
    )
    path = mne_bids.BIDSPath(
        subject="07", task="faces", datatype="eeg", suffix="eeg", extension=".vhdr", root=tmp_path
    )
    for file in (path, folder / "sub-07_task-faces_eeg.vhdr"):
        recording = bregma.read(file, events="face", window=(0, 0.5))
        assert recording.stimuli.tolist() == ["face"]
        assert recording.units.index.tolist() == ["C0"]  # the table says that C1 is bad
        assert recording.coordinate("subject").tolist() == ["07"]


def test_nothing_is_printed(fif, capfd):
    bregma.read(fif, events="face", window=(0, 0.1), high_pass=1)
    assert capfd.readouterr() == ("", "")


# Real files


def test_real_eeglab(shared_data):
    path = shared_data / "eeg" / "eeglab_data.set"
    whole = bregma.read(path)
    assert whole.shape == (1, 30504, 32)
    assert whole.sampling_rate == pytest.approx(128)
    assert whole.measured_in == "V"
    raw = mne.io.read_raw_eeglab(path)
    found, codes = mne.events_from_annotations(raw)
    epochs = mne.Epochs(raw, found, codes, -0.2, 0.8, baseline=(None, 0), preload=True,
                        event_repeated="error")  # fmt: skip
    cut = bregma.read(path, events=["square", "rt"], window=(-0.2, 0.8), baseline=(None, 0))
    assert np.allclose(np.swapaxes(cut.values, 1, 2), epochs.get_data(), atol=1e-15)
    names = {code: name for name, code in codes.items()}
    assert cut.stimuli.tolist() == [names[code] for code in epochs.events[:, 2]]
    assert {"kind", "x", "y", "z"} <= set(cut.units)


def test_real_averages(shared_data):
    path = shared_data / "meg" / "sample_audvis_evoked-ave.fif.gz"
    recording = bregma.read(path)
    assert recording.stimuli.tolist() == [
        "Left Auditory", "Right Auditory", "Left visual", "Right visual"
    ]  # fmt: skip
    assert recording.shape == (4, 421, 366)
    assert set(recording.coordinate("kind")) == {"mag", "grad", "eeg"}
    peer = mne.read_evokeds(path, condition="Left visual", proj=False)
    visual = bregma.read(path, "Left visual", picks="eeg")
    assert np.array_equal(visual.values[0].T, peer.get_data(picks="eeg"))
    with pytest.raises(UnreadableRecording, match="no responses"):
        bregma.read(shared_data / "meg" / "sample_audvis-cov.fif.gz")
