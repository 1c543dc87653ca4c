"""The switching circuit does what its truth says."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.datasets import switching_circuit
from bregma.errors import InvalidArgument


def test_counts_have_the_rates_of_the_truth():
    circuit = switching_circuit(n_units=5, n_bins=6000, seed=0)
    rates = circuit.rates[np.arange(6000), circuit.states]
    counts = circuit.recording.values[0]
    z = (counts.sum(0) - rates.sum(0)) / np.sqrt(rates.sum(0))  # Poisson given the past
    assert np.abs(z).max() < 4
    residual = (counts - rates) ** 2 / rates
    assert residual.mean() == pytest.approx(1, abs=0.05)


def test_rates_follow_the_equation():
    circuit = switching_circuit(n_units=4, n_states=2, n_bins=60, n_lags=3, seed=1)
    counts = circuit.recording.values[0].astype(float)
    decay = np.exp(-np.arange(3) / 2) / np.exp(-np.arange(3) / 2).sum()
    quiet = np.log(np.expm1(circuit.rates[0]))  # nothing came before: the biases
    for t in (1, 2, 30, 59):
        trace = sum(decay[k - 1] * counts[t - k] for k in (1, 2, 3) if t >= k)
        drive = quiet + circuit.weights @ trace - 0.8 * trace
        np.testing.assert_allclose(circuit.rates[t], np.log1p(np.exp(drive)), rtol=1e-10)


def test_the_wiring_is_as_asked():
    circuit = switching_circuit(n_units=40, n_states=4, n_bins=5, density=0.3, seed=0)
    assert (circuit.wiring == circuit.wiring[0]).all()
    assert not circuit.wiring[:, np.arange(40), np.arange(40)].any()
    assert (circuit.wiring[0] != 0).mean() == pytest.approx(0.3 * 39 / 40, abs=0.04)
    coupled = circuit.wiring != 0
    assert (circuit.weights[coupled] == 0).mean() == pytest.approx(0.25, abs=0.03)
    at_work = circuit.weights != 0
    assert (np.sign(circuit.weights)[at_work] == circuit.wiring[at_work]).all()
    own = switching_circuit(n_units=40, n_states=4, n_bins=5, shared_wiring=False, seed=0)
    assert (own.wiring[0] != own.wiring[1]).mean() > 0.3


def test_states_stay_as_long_as_asked_and_chance_is_theirs():
    circuit = switching_circuit(n_units=2, stay=0.9, n_bins=20_000, seed=0)
    assert (np.diff(circuit.states) == 0).mean() == pytest.approx(0.9, abs=0.01)
    assert circuit.chance == max(np.bincount(circuit.states)) / 20_000


def test_seeds():
    a, b, c = (switching_circuit(n_units=3, n_bins=50, seed=s) for s in (0, 0, 1))
    assert a.recording.identical(b.recording)
    assert not np.array_equal(a.recording.values, c.recording.values)


def test_what_is_wrong_is_said():
    with pytest.raises(InvalidArgument, match="2 or more"):
        switching_circuit(n_states=1, seed=0)
    with pytest.raises(InvalidArgument, match="from 0 to 1"):
        switching_circuit(density=1.5, seed=0)
