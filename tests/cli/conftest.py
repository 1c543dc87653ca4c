"""The command line, called as a user does, inside the process."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bregma.cli import main


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys, monkeypatch):
    """Call `bregma ...` and give its exit status and what it printed."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")

    def call(*args):
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return Ran(left.value.code or 0, printed.out, printed.err)

    return call
