"""The code on the page about describing units runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("describing_units.md")
    assert names["masks"].shape == (15, 30, 30)
    assert set(names["table"].index[names["table"]["p_fwe"] < 0.05]) >= {"u0", "u1", "u2", "u3"}
    assert (names["made"].activations > names["made"].start_activations).all()
    assert len(names["words"].table) == 24
    assert 0 <= names["chance"].fooled <= 1
