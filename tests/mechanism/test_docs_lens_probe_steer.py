"""The code on the page about lenses, probes and steering runs on a model of transformers."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs(transformers):
    names = run_page("lens_probe_steer.md")
    assert names["loss"].item() < 1.5
    score, read = names["tuned"].score, names["read"]
    assert (score["tuned"] < score["logit"]).all()
    assert read["probability"].iloc[-1] > 0.3
    assert names["evidence"].p_value == 0.05
    assert names["evidence"].system_null.p_value == 0.05
    assert names["found"].sites[-1] == "transformer.h.2"
    assert names["probed"].score > 0.8
    assert names["probed"].system_null.p_value == 0.1
    assert names["effect"].p_value == 0.05
    table = names["steered"].to_frame()
    assert table["effect"].is_monotonic_increasing
    assert (table["side"] > 0).all()
