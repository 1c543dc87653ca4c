"""The circuit with hubs does what its truth says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bernoulli

from bregma.datasets import hub_circuit
from bregma.errors import InvalidArgument


@pytest.fixture(scope="module")
def circuit():
    return hub_circuit(n_units=12, n_hubs=2, density=0.15, seconds=60.0, seed=1)


def fired(circuit):
    return circuit.spikes.bin(circuit.bin).values[0].astype(float)


def test_spikes_have_the_probabilities_of_the_truth(circuit):
    counts, p = fired(circuit), circuit.probability
    assert counts.max() == 1
    z = (counts.sum(0) - p.sum(0)) / np.sqrt((p * (1 - p)).sum(0))
    assert np.abs(z).max() < 4
    for low, high in ((0, 0.03), (0.03, 0.1), (0.1, 1)):  # unlikely spikes and likely ones
        some = (p >= low) & (p < high)
        error = np.sqrt((p * (1 - p))[some].sum())
        assert abs(counts[some].sum() - p[some].sum()) < 4 * error


def test_probabilities_follow_the_equation():
    """Log-odds without what own spikes take away are linear in the inputs, with one constant."""
    circuit = hub_circuit(n_units=3, n_hubs=0, density=0.0, seconds=20.0, seed=0)
    counts, p = fired(circuit), circuit.probability
    own = np.zeros_like(p)
    for t in range(len(p)):
        for k in range(1, min(15, t) + 1):
            own[t] += np.exp(-(k - 1) / 2) * counts[t - k]
    drive = np.log(p / (1 - p)) + 2 * own
    inputs = np.c_[np.ones(len(p)), circuit.stimulus, circuit.behaviour]
    weights = np.linalg.lstsq(inputs, drive, rcond=None)[0]
    np.testing.assert_allclose(inputs @ weights, drive, atol=1e-8)
    assert ((1 / (1 + np.exp(-weights[0]))) > 0.02 - 1e-9).all()
    assert ((1 / (1 + np.exp(-weights[0]))) < 0.06 + 1e-9).all()


def test_only_edges_of_the_wiring_are_felt(circuit):
    """Regress the log-odds on all traces: the weights lie where the wiring is."""
    counts, p = fired(circuit), circuit.probability
    kernel, own = np.exp(-np.arange(15) / 3), np.exp(-np.arange(15) / 2)
    traces, mine = (
        np.stack([np.convolve(x, k)[: len(x)] for x in counts.T], 1) for k in (kernel, own)
    )
    traces, mine = (np.vstack([np.zeros(12), x[:-1]]) for x in (traces, mine))
    for unit in range(12):
        others = np.delete(np.arange(12), unit)
        x = np.c_[np.ones(len(p)), circuit.stimulus, circuit.behaviour, mine[:, unit]]
        x = np.c_[x, traces[:, others]]
        weights = np.linalg.lstsq(x, np.log(p[:, unit] / (1 - p[:, unit])), rcond=None)[0]
        assert weights[4] == pytest.approx(-2, abs=1e-6)
        edges = circuit.wiring[unit, others]
        assert np.abs(weights[5:][~edges]).max() < 1e-6
        assert ((weights[5:][edges] > 0.7 - 1e-6) & (weights[5:][edges] < 1.4 + 1e-6)).all()


def test_the_log_likelihood_is_the_sum_over_bins(circuit):
    each = bernoulli.logpmf(fired(circuit), circuit.probability).sum(1)
    assert circuit.log_likelihood() == pytest.approx(each.sum())
    assert circuit.log_likelihood(100, 250) == pytest.approx(each[100:250].sum())


def test_the_wiring_is_as_asked():
    circuit = hub_circuit(seconds=0.1, seed=3)
    assert circuit.wiring.sum() == round(0.1 * 24 * 23)
    assert not circuit.wiring.diagonal().any()
    degrees = circuit.wiring.sum(0)
    assert set(degrees[circuit.hubs]) == {12}
    assert np.delete(degrees, circuit.hubs).max() < 12
    few = hub_circuit(n_units=10, n_hubs=3, density=0.1, seconds=0.1, seed=3)
    assert set(few.wiring.sum(0)[few.hubs]) == {3}  # 9 edges among 3 hubs
    full = hub_circuit(n_units=4, n_hubs=1, density=1.0, seconds=0.1, seed=0)
    assert full.wiring.sum() == 2 + 9  # a hub drives half of the others, and they drive all


def test_signals_have_variance_1_and_their_times():
    circuit = hub_circuit(n_units=2, n_hubs=0, seconds=600.0, seed=0)
    for signal, time in ((circuit.stimulus[:, 0], 0.1), (circuit.behaviour, 1.0)):
        assert signal.std() == pytest.approx(1, abs=0.1)
        lag = round(time / circuit.bin)
        assert np.corrcoef(signal[lag:], signal[:-lag])[0, 1] == pytest.approx(np.exp(-1), abs=0.08)


def test_seeds():
    a, b, c = (hub_circuit(n_units=4, n_hubs=1, seconds=1.0, seed=s) for s in (0, 0, 1))
    assert a.spikes.identical(b.spikes)
    assert not np.array_equal(a.probability, c.probability)


def test_what_is_wrong_is_said():
    for wrong in ({"n_units": 1}, {"n_hubs": 24}, {"seconds": 0.0}, {"seconds": np.nan}):
        with pytest.raises(InvalidArgument, match="2 or more units"):
            hub_circuit(**wrong, seed=0)
    with pytest.raises(InvalidArgument, match="density"):
        hub_circuit(density=2.0, seed=0)
