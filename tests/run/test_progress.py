"""Progress is silent where nobody watches."""

import io
import sys

import pytest

from bregma.run import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_silent_without_a_terminal(capsys):
    assert list(progress(range(3), "counting")) == [0, 1, 2]
    with progress(what="reading", total=1) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


def test_shown_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    for item in (bar := progress(range(3), "counting")):
        bar.advance(0, note=f"at {item}")
    assert "counting" in terminal.getvalue()
    assert "at 2" in terminal.getvalue()
    quiet = Terminal()
    monkeypatch.setattr(sys, "stderr", quiet)
    assert list(progress(range(3), show=False)) == [0, 1, 2]
    assert quiet.getvalue() == ""


def test_the_bar_is_taken_down_after_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = progress(what="reading", total=3)
    with pytest.raises(KeyboardInterrupt), bar:
        raise KeyboardInterrupt
    bar.advance()  # after the end: no effect, no error
    assert bar.total == 3


def test_nothing_to_loop_over():
    assert list(progress()) == []
    assert progress(iter([1, 2])).total is None
    assert progress([1, 2]).total == 2
