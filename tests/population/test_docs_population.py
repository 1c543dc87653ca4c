"""The code on the page about populations runs."""

from __future__ import annotations

import numpy as np

from pages import run_page


def test_the_page_runs():
    names = run_page("population.md")
    assert names["probability"].shape == (1, 1000, 2)
    np.testing.assert_allclose(names["probability"].sum(-1), 1, atol=1e-6)
    assert names["best"]["n_states"] in (1, 2)
    assert np.isfinite(names["bits_per_spike"])
    assert round(names["made_up"].duration, 6) == 1.5
    assert names["by_pair"].shape == names["influence"].shape == (24, 24)
