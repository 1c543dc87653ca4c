"""The page on large networks runs as it stands, and says the truth about spikes and memory."""

from __future__ import annotations

import numpy as np

from pages import run_page


def test_the_page_runs():
    found = run_page("scale.md")
    stored, drawn = (found[n].spikes["E"] for n in ("stored", "drawn"))
    assert len(stored.times) > 1000
    np.testing.assert_array_equal(stored.times, drawn.times)
    np.testing.assert_array_equal(stored.unit_index, drawn.unit_index)
    before, after = (sum(bytes_of.values()) for bytes_of in found["needed"])
    assert before > 4 * 0.99 * 0.1 * 2000**2
    assert after == 0
