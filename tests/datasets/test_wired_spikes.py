"""The wiring of a spiking circuit is what decides; the rest does not tell the answers apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bregma.datasets import wired_spikes
from bregma.errors import InvalidArgument
from bregma.system import Ablate


def lead(rates, wired):
    rows = np.arange(len(wired.right))
    return (rates[rows, wired.right] - rates[rows, wired.wrong]).mean()


@pytest.mark.parametrize("n_relays", [1, 2])
def test_relays_decide_and_other_populations_do_not(n_relays):
    wired = wired_spikes(6, n_relays=n_relays, seed=3)
    system = wired.system.with_layers("O")
    whole = lead(system.record(wired.clean).values, wired)
    assert whole > 50
    assert lead(system.record(wired.corrupt).values, wired) < -50
    for name in wired.roles:
        if name in ("S", "O"):
            continue
        share = lead(system.perturb(Ablate(name)).record(wired.clean).values, wired) / whole
        if wired.roles[name] == "relay":
            assert abs(share) < 0.1
        else:
            assert share > 0.6
    path = ["S", *(f"R{i}" for i in range(n_relays)), "O"]
    assert wired.circuit == set(pairwise(path))


def test_the_same_seed_gives_the_same_circuit():
    one, same, other = (wired_spikes(2, seed=s) for s in (0, 0, 1))
    rates = [w.system.with_layers("O").record(w.clean).values for w in (one, same, other)]
    np.testing.assert_array_equal(rates[0], rates[1])
    assert (rates[0] != rates[2]).any()


def test_errors():
    for bad in ({"n": 0}, {"n_relays": 0}, {"n_units": 5}):
        with pytest.raises(InvalidArgument, match="even number"):
            wired_spikes(**bad, seed=0)
