"""`bregma read` shows what a file holds."""

import numpy as np


def test_a_recording(cli, tmp_path):
    file = tmp_path / "responses.npz"
    np.savez(file, rates=np.arange(6.0).reshape(3, 2), image=["cat", "dog", "car"])
    ran = cli("read", file)
    assert ran.code == 0
    assert "3 presentations" in ran.out
    assert "'cat'" in ran.out


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
