"""The code on the page about circuits runs on a model of transformers."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs(transformers):
    names = run_page("circuits.md")
    assert names["loss"].item() < 1
    found = names["found"]
    assert found.selected >= 0.85
    assert found.tested > 0.6
    assert len(found.edges) < 30  # of 110
    assert names["evidence"].p_value < 0.1
    assert names["evidence"].system_null.values.max() < names["evidence"].score / 2
    assert names["effects"].to_frame()["share"][0] > 0.5
    assert names["top"] in names["graph"].senders
    assert names["where"].values.dims == ("pair", "layer", "token")
