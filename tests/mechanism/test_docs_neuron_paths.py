"""The code on the page about neuron paths runs on a model of timm."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs(timm):
    names = run_page("neuron_paths.md")
    paths = names["paths"]
    assert paths.neurons.shape == (20, 3)
    assert names["lost"].shape == (20,)
    assert names["recording"].values.shape[-1] == sum(paths.widths) * 5  # tokens
    assert names["evidence"].p_value < 0.05  # as the page says: it has learned nothing
    assert names["control"].p_value > 0.05
