"""The code on the page about encoding runs."""

from __future__ import annotations

import numpy as np
import torch

from pages import run_page


def test_the_page_runs(transformers):
    names = run_page("encoding.md")
    assert names["predicted"].shape == names["together"].shape == (80, 6)
    assert names["maps"].shape == (80, 3, 16)
    torch.testing.assert_close(names["maps"].sum(dim=2), torch.ones(80, 3))
    assert names["weights"].shape == (400, 16)
    assert np.isfinite(names["losses"]).all()
