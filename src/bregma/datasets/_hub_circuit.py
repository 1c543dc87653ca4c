"""A simulated circuit with hubs, of known directed wiring, with the probability of every spike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from bregma.errors import InvalidArgument
from bregma.recording import SpikeTrains
from bregma.run import spawn

BIN = 0.01  # seconds
BASE = (0.02, 0.06)  # probability of a spike in a bin without any input
STRENGTH = (0.7, 1.4)  # log-odds that a spike adds one bin later
N_LAGS = 15  # bins that a spike is felt
DECAY, OWN_DECAY = 3.0, 2.0  # bins
OWN = 2.0  # log-odds that an own spike takes away one bin later
INPUT = 0.4  # SD over units of the weights of stimulus and behaviour
STIMULUS_TIME, BEHAVIOUR_TIME = 0.1, 1.0  # seconds until a signal has lost e-fold
HUB_SHARE = 0.5  # of the units that a hub drives, in circuits with enough edges
N_STIMULI = 2


@dataclass(frozen=True)
class HubCircuit:
    """Spikes with the wiring and the probabilities that made them.

    Parameters
    ----------
    spikes : SpikeTrains
        In the middle of their bins.
    wiring : Bool[np.ndarray, "unit unit"]
        Whether the column drives the row.
    hubs : Int[np.ndarray, "hub"]
        The units that drive many.
    probability : Float[np.ndarray, "bin unit"]
        Of a spike, given all spikes before, the stimulus and the behaviour.
    stimulus : Float[np.ndarray, "bin stimulus"]
        Two signals that drive the units.
    behaviour : Float[np.ndarray, "bin"]
        A slow signal that drives the units too.
    bin : float
        Width of a bin in seconds.
    """

    spikes: SpikeTrains
    wiring: Bool[np.ndarray, "unit unit"]
    hubs: Int[np.ndarray, " hub"]
    probability: Float[np.ndarray, "bin unit"]
    stimulus: Float[np.ndarray, "bin stimulus"]
    behaviour: Float[np.ndarray, " bin"]
    bin: float = BIN

    def log_likelihood(self, first: int = 0, last: int | None = None) -> float:
        """Log-probability of the spikes in a range of bins: no model can expect a higher one.

        Parameters
        ----------
        first, last : int
            Bins, the last one not included; to the end by default.

        Returns
        -------
        float
            In nats.
        """
        p = self.probability[first:last]
        bins = np.floor(self.spikes.times / self.bin).astype(np.int64) - first
        inside = (bins >= 0) & (bins < len(p))
        odds = p[bins[inside], self.spikes.unit_index[inside]]
        return float(np.log(odds / (1 - odds)).sum() + np.log1p(-p).sum())


def hub_circuit(
    *,
    n_units: int = 24,
    n_hubs: int = 3,
    density: float = 0.1,
    seconds: float = 180.0,
    seed: int,
) -> HubCircuit:
    """Spikes of a Bernoulli GLM in which a few hubs drive half of the units.

    In each bin of 10 ms a unit fires with the probability sigmoid(b + sum of the traces of the
    units that drive it - trace of its own spikes + stimuli + behaviour). Traces decay with a time
    constant of 30 ms (own ones with 20 ms). Stimuli are noise of 0.1 s, behaviour is noise of 1 s.

    Parameters
    ----------
    n_units, n_hubs : int
        Units, and how many of them are hubs.
    density : float
        Share of the ordered pairs of units that are edges. Hubs drive half of the other units
        each; what is left of the edges comes from the others. (With too few edges for that, hubs
        share them evenly.)
    seconds : float
        Length.
    seed : int
        Draws the circuit, its inputs and its spikes.

    Returns
    -------
    HubCircuit
        The spikes and their truth.

    Raises
    ------
    InvalidArgument
        If there are fewer than 2 units, not fewer hubs than units, no whole bin, or the density is
        none.

    References
    ----------
    Antoniades, Yu, Canzano, Wang and Smith (2024), Neuroformer: multimodal and multitask generative
    pretraining for brain data. arXiv:2311.00136. (Hubs of a simulated network.)

    Examples
    --------
    >>> circuit = hub_circuit(n_units=8, n_hubs=1, seconds=2.0, seed=0)
    >>> int(circuit.wiring.sum()), circuit.probability.shape
    (6, (200, 8))
    """
    n_bins = round(seconds / BIN) if np.isfinite(seconds) else 0
    if n_units < 2 or not 0 <= n_hubs < n_units or n_bins < 1:
        raise InvalidArgument(
            f"a circuit needs 2 or more units, fewer hubs and a bin of {BIN} s or more, not "
            f"{n_units}, {n_hubs} and {seconds} s"
        )
    if not 0 <= density <= 1:
        raise InvalidArgument(f"density must be from 0 to 1, not {density}")
    rng = spawn(seed, "circuit")
    hubs = np.sort(rng.permutation(n_units)[:n_hubs])
    wiring = _wire(n_units, hubs, round(density * n_units * (n_units - 1)), rng)
    weights = wiring * rng.uniform(*STRENGTH, wiring.shape)
    base = rng.uniform(*BASE, n_units)
    bias = np.log(base / (1 - base))
    to_units = rng.normal(0, INPUT, (N_STIMULI + 1, n_units))

    rng = spawn(seed, "activity")
    stimulus = _noise(n_bins, N_STIMULI, STIMULUS_TIME, rng)
    behaviour = _noise(n_bins, 1, BEHAVIOUR_TIME, rng)
    drive = bias + np.c_[stimulus, behaviour] @ to_units
    lags = np.arange(N_LAGS)[::-1]  # the oldest first
    trace, own = np.exp(-lags / DECAY), np.exp(-lags / OWN_DECAY)
    fired = np.zeros((N_LAGS + n_bins, n_units))  # after a silence
    probability = np.empty((n_bins, n_units))
    chance = rng.random((n_bins, n_units))
    for t in range(n_bins):
        before = fired[t : t + N_LAGS]
        log_odds = drive[t] + weights @ (trace @ before) - OWN * (own @ before)
        probability[t] = 1 / (1 + np.exp(-log_odds))
        fired[t + N_LAGS] = chance[t] < probability[t]
    bins, unit = np.nonzero(fired[N_LAGS:])
    spikes = SpikeTrains(
        (bins + 0.5) * BIN, unit, units=np.arange(n_units), support=[(0.0, n_bins * BIN)]
    )
    return HubCircuit(spikes, wiring, hubs, probability, stimulus, behaviour[:, 0])


def _wire(
    n_units: int, hubs: Int[np.ndarray, " hub"], n_edges: int, rng: np.random.Generator
) -> Bool[np.ndarray, "unit unit"]:
    """Edges from columns to rows."""
    wiring = np.zeros((n_units, n_units), dtype=bool)
    of_a_hub = min(round(HUB_SHARE * (n_units - 1)), n_edges // max(len(hubs), 1))
    for hub in hubs:
        others = np.delete(np.arange(n_units), hub)
        wiring[rng.permutation(others)[:of_a_hub], hub] = True
    free = ~wiring & ~np.eye(n_units, dtype=bool)
    free[:, hubs] = False
    places = np.argwhere(free)
    chosen = places[rng.permutation(len(places))[: n_edges - int(wiring.sum())]]
    wiring[chosen[:, 0], chosen[:, 1]] = True
    return wiring


def _noise(
    n_bins: int, n_signals: int, time: float, rng: np.random.Generator
) -> Float[np.ndarray, "bin signal"]:
    """Gaussian noise of variance 1 that forgets with a time constant."""
    keep = np.exp(-BIN / time)
    fresh = rng.standard_normal((n_bins, n_signals)) * np.sqrt(1 - keep**2)
    fresh[0] /= np.sqrt(1 - keep**2)  # begins as it goes on
    for t in range(1, n_bins):
        fresh[t] += keep * fresh[t - 1]
    return fresh
