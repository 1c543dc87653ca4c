"""docs/models.md says what the models say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from bregma.dynamics import Drive, Network, Population, models, simulate

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("models_page", DOCS / "models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(script):
    written = (DOCS / "models.md").read_text(encoding="utf-8")
    assert written == script.page(), "run: python docs/models.py"
    for name in models.__all__:
        assert f"## {name}\n" in written
    assert set(script.PANELS) == set(script.TESTED) == set(models.__all__)
    assert (DOCS / "models.svg").read_text(encoding="utf-8").count("<polyline") == len(
        models.__all__
    )


def test_the_picture_keeps_peaks(script):
    t = np.linspace(0, 150, 100_001)
    y = np.zeros_like(t)
    y[[333, 50_000]] = 1.0, -1.0
    svg = script.picture({"lif": (t, y)})
    line = svg.split('points="')[1].split('"')[0]
    heights = {float(point.split(",")[1]) for point in line.split()}
    assert {18.0, 60.0, 102.0} <= heights


def test_the_engine_fires_as_the_closed_form_says():
    """The public `simulate` runs a model from this page."""
    network = Network({"A": Population(models.lif(), 1)}, drives=[Drive("A", "I", 2.5e-10)])
    spikes = simulate(network, "300 ms", seed=0, dt="0.05 ms", dtype="float64").spikes["A"]
    expected = 2e-3 + 0.02 * np.log(0.015 / 0.005)
    np.testing.assert_allclose(np.diff(spikes.times), expected, atol=1e-4)
