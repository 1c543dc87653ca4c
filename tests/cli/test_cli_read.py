"""`bregma read` shows what a file holds."""

import numpy as np

import bregma


def test_a_recording(cli, tmp_path):
    file = tmp_path / "responses.npz"
    np.savez(file, rates=np.arange(6.0).reshape(3, 2), image=["cat", "dog", "car"])
    ran = cli("read", file)
    assert ran.code == 0
    assert "3 presentations" in ran.out
    assert "'cat'" in ran.out


def test_rdms(cli, tmp_path):
    rdms = bregma.Dissimilarity(
        [[1.0, 2, 3], [2, 3, 4]],
        stimuli=["cat", "dog", "[bold]cup"],
        rdms={"subject": ["s1", "s2\x1b[31m"]},
        measure="cosine",
    )
    ran = cli("read", rdms.save(tmp_path / "rdms.nc"))
    assert ran.code == 0, ran.err
    assert "2 RDMs of 3 stimuli, cosine" in ran.out
    assert "3 labels: 'cat', 'dog', '[bold]cup'" in ran.out
    assert "2 labels: 's1', 's2" in ran.out
    assert "\x1b" not in ran.out


def test_spikes(cli, monkeypatch):
    spikes = bregma.SpikeTrains.from_dict({"a": [0.1, 0.2], "b": [0.3]})
    monkeypatch.setitem(bregma.__dict__, "read", lambda path: spikes)
    assert "3 spikes of 2 units" in " ".join(cli("read", "x.nwb").out.split())


def test_units_that_lack_a_value(cli, tmp_path):
    file = tmp_path / "holes.npz"
    np.savez(file, rates=[[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]])
    ran = cli("read", file)
    assert ran.code == 2
    assert "--missing drop_units" in ran.err
    assert "2 units" in cli("read", file, "--missing", "drop_units").out
    assert "1 presentations" in cli("read", file, "--missing", "drop_presentations").out


def test_a_coordinate_of_many_numbers_is_a_range(cli, tmp_path):
    file = tmp_path / "placed.npz"
    np.savez(file, rates=np.zeros((3, 6)), x=[0.5, -1.25, 2, 3, 4, np.nan])
    assert "6 numbers, -1.25 to 4" in cli("read", file).out


def test_a_choice_of_arrays(cli, tmp_path):
    file = tmp_path / "responses.npz"
    np.savez(file, a=np.zeros((3, 2)), b=np.ones((4, 2)))
    ran = cli("read", file)
    assert ran.code == 2
    assert "'a'" in ran.err
    assert cli("read", f"{file}::b").code == 0


def test_names_cannot_steer_the_terminal(cli, tmp_path):
    file = tmp_path / "responses.npz"
    names = ["\x1b[2J\x1b[31mcat", "[bold]dog[/bold]", "car\u202e"]
    np.savez(file, rates=np.zeros((3, 2)), image=names)
    ran = cli("read", file)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\u202e" not in ran.out
    assert "[bold]dog[/bold]" in ran.out
