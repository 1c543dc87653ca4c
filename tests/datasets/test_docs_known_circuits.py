"""The code on the page about known circuits runs."""

from __future__ import annotations

import pytest

from pages import run_page


def test_the_page_runs():
    names = run_page("known_circuits.md")
    assert len(names["find"]) == len(names["test"]) == 32
    assert names["right"] == 1
    assert names["drop"].min().item() == pytest.approx(10, abs=0.1)
    assert len(names["circuit"]) == 12
    assert len(names["shared"]) == 4
    assert names["answer"] == 1
