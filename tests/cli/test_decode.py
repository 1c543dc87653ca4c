"""`bregma compare BRAIN --by decoding`: on planted epochs, on real EEG, and refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bregma


@pytest.fixture
def epochs(tmp_path):
    """A file of 60 epochs of two conditions that differ from 0.3 s on."""
    rng = np.random.default_rng(0)
    condition = np.repeat(["face", "house"], 30)
    values = rng.normal(size=(60, 8, 5))
    values[30:, 3:, 0] += 2.5
    recording = bregma.Recording.from_array(
        values, time=np.arange(8) / 10, presentation={"stimulus": condition}
    )
    return recording.save(tmp_path / "epochs.nc")


@pytest.mark.parametrize("distance", [[], ["--distance", "crossnobis"]])
def test_conditions_are_told_apart_when_they_differ(cli, epochs, tmp_path, distance):
    ran = cli(
        "compare", epochs, "--by", "decoding", "--permutations", 99, "--report",
        tmp_path / "r.html", "--json", tmp_path / "r.json", *distance,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "face and house can be told apart at 0.3 to 0.7 s" in " ".join(ran.out.split())
    found = json.loads((tmp_path / "r.json").read_text())
    p = np.array(found["times"]["p_value"])
    assert (p[:3] > 0.05).all()
    assert (p[3:] <= 0.05).all()
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "Telling face and house apart over time" in page
    assert "maris2007nonparametric" in page
    assert 'id="scores"' not in page
    assert f"<td>{found['method']}</td>" in page  # its full name, among the settings
    assert "<th>p (corrected)</th>" in page
    assert page.count("<td>0.7</td>") == 1  # a row for every time


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["pixels"], "about the brain alone"),
        (["--each", "area"], "about the brain alone"),
        (["--distance", "cosine"], "--distance crossnobis"),
    ],
)
def test_what_does_not_fit(cli, epochs, more, reason):
    ran = cli("compare", epochs, *more, "--by", "decoding")
    assert ran.code == 2
    assert reason in ran.err


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (bregma.Dissimilarity([1.0, 2.0, 3.0]), "this is Dissimilarity(1 RDM"),
        (bregma.Recording.from_array(np.zeros((1, 9, 2)), time=np.arange(9.0)), "--events NAME"),
    ],
)
def test_what_has_no_epochs(cli, monkeypatch, what, reason):
    monkeypatch.setitem(bregma.__dict__, "read", lambda path: what)
    ran = cli("compare", "x", "--by", "decoding")
    assert ran.code == 2
    assert reason in ran.err


def test_names_from_files_stay_harmless(cli, tmp_path):
    rng = np.random.default_rng(0)
    names = np.repeat(["<script>alert(1)</script>", "b"], 12)
    recording = bregma.Recording.from_array(
        rng.normal(size=(24, 2, 3)), time=[0, 0.1], presentation={"stimulus": names}
    )
    file = recording.save(tmp_path / "x.nc")
    ran = cli("compare", file, "--by", "decoding", "--permutations", 19, "--report",
              tmp_path / "r.html")  # fmt: skip
    assert ran.code == 0, ran.err
    assert "<script>alert" not in (tmp_path / "r.html").read_text("utf-8")


def test_events_of_a_real_recording(cli, shared_data, tmp_path):
    pytest.importorskip("mne")
    ran = cli(
        "compare", shared_data / "eeg" / "eeglab_data.set", "--by", "decoding", "--events",
        "square", "--events", "rt", "--window", "0.2:0.3", "--permutations", 39, "--json",
        tmp_path / "r.json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["n"]["square"] == 80
    assert max(found["times"]["score"]) > 0.7
    assert min(found["times"]["p_value"]) == pytest.approx(1 / 40)
