"""The figure of a run shows what the run gave."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.dynamics import Drive, Network, Neuron, Poisson, Population, simulate
from bregma.errors import InvalidArgument

CELL = Neuron("dv/dt = (I - v)/tau", params={"tau": "10 ms"})


def run(**populations):
    drives = [Drive("L", "I", 1.0)] if "L" in populations else []
    return simulate(
        Network(populations, drives=drives), "1 s", seed=0, dt="1 ms", engine="reference",
        record={"L": ["v"]} if drives else {},
    )  # fmt: skip


def test_spikes_rates_and_traces():
    result = run(P=Population(Poisson("20 Hz"), 8), Q=Population(Poisson("5 Hz"), 3),
                 L=Population(CELL, 6))  # fmt: skip
    figure = result.plot(units=4, traces=2)
    spikes = {d.name: d for d in figure.data if d.mode == "markers"}
    trains = result.spikes["P"].select(unit=["P/0", "P/2", "P/4", "P/7"])
    np.testing.assert_array_equal(spikes["P"].x, trains.times)
    np.testing.assert_array_equal(spikes["P"].y, trains.unit_index)
    assert {*np.unique(spikes["Q"].y)} <= {4, 5, 6}  # above those of P
    rates = {d.name: d for d in figure.data if d.mode == "lines" and d.legendgroup}
    for name, n in (("P", 8), ("Q", 3)):  # 200 bins of 5 ms
        assert rates[name].y.sum() * 0.005 * n == pytest.approx(result.spikes[name].n_spikes)
    lines = [d for d in figure.data if d.name == "L.v"]
    assert len(lines) == 2
    np.testing.assert_array_equal(lines[1].y, result.traces["L.v"].values[0, :, 5])
    assert figure.layout.xaxis3.title.text == "time (s)"  # below the last row only
    assert not figure.layout.xaxis.title.text


def test_without_spikes_there_are_traces_alone():
    figure = run(L=Population(CELL, 1)).plot()
    assert [d.name for d in figure.data] == ["L.v"]
    silent = simulate(Network({"L": Population(CELL, 1)}, drives=[Drive("L", "I", 0)]), "5 ms",
                      seed=0, engine="reference")  # fmt: skip
    with pytest.raises(InvalidArgument, match="nothing was recorded"):
        silent.plot()
