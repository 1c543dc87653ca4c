"""The code on the page about dissociations runs, and what it says of wired networks is true."""

from __future__ import annotations

import pytest
import torch

from pages import run_page


def test_the_page_runs():
    names = run_page("dissociation.md")
    direct, total = names["direct"].share, names["total"].share
    roles = {role: head for head, role in names["wired_heads"].items()}
    assert float(direct.sel(sender=roles["induction"])) == pytest.approx(1, abs=0.01)
    assert float(direct.sel(sender=roles["previous"])) == pytest.approx(0, abs=0.01)
    assert float(total.sel(layer=0).max()) == pytest.approx(0.5, abs=0.1)
    explained = names["few"].explained
    assert explained.sel(head="0.h0", slot=["k", "v"]).values == pytest.approx(1, abs=1e-6)
    assert float(explained.sel(head="1.h2", slot="v")) < 1
    with torch.no_grad():
        free = names["net"](names["test"].clean)[:, -1]
    near, far = ((names[x] - free).abs().mean() for x in ("answers", "control"))
    assert near < far / 2
    # Agreement and gender are of one family: their heads are the same, none is for one alone.
    assert (names["found"].first, names["found"].second) == ([], [])
    assert not names["found"].tested.crossed
    assert names["lesions"].crossed
