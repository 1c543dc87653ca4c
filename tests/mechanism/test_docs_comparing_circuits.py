"""The code on the page about comparing circuits runs, and gives what it says."""

from __future__ import annotations

import pytest

from pages import run_page


def test_the_page_runs():
    names = run_page("comparing_circuits.md")
    table = names["table"].set_index(["task", "circuit"])
    assert table["faithfulness"]["agreement", "gender"] > 0.8
    assert abs(table["faithfulness"]["agreement", "capital"]) < 0.2
    assert names["split"].difference > 0.7
    assert names["split"].null.p_value == pytest.approx(1 / 3)
    assert {m["links"] > 3 for m in names["shape"].values()} == {True}
