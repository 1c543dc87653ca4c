"""A brain of a few oscillating dipoles that any EEG cap or MEG helmet can look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from bregma.datasets._sensor_layouts import ORIENTATION
from bregma.datasets._simulated import Simulated
from bregma.datasets._spherical_head import sphere_field, sphere_potential
from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import Recording
from bregma.run import spawn

KINDS = ("eeg", "mag", "grad")
BASELINE = 0.0168  # metres between the two coils of a planar gradiometer
STRENGTH = 1e-8  # RMS of a dipole in A m
BANDWIDTH = 1.5  # SD of a dipole's band in Hz


@dataclass(frozen=True)
class DipoleBrain:
    """Dipoles in a spherical head, each with a Gaussian oscillation in its own band.

    The oscillations are stationary around each window (its end joins its beginning), so that the
    best possible prediction of one sensor from others is known exactly: see `best`.

    Parameters
    ----------
    places : Float[np.ndarray, "dipole 3"]
        Metres from the centre of the head.
    directions : Float[np.ndarray, "dipole 3"]
        Unit vectors.
    frequencies : Float[np.ndarray, "dipole"]
        Middle of each band in Hz.

    References
    ----------
    Hamalainen, Hari, Ilmoniemi, Knuutila and Lounasmaa (1993), Magnetoencephalography: theory,
    instrumentation, and applications to noninvasive studies of the working human brain.
    """

    places: Float[np.ndarray, "dipole 3"]
    directions: Float[np.ndarray, "dipole 3"]
    frequencies: Float[np.ndarray, " dipole"]

    def lead_field(self, layout: pd.DataFrame) -> Float[np.ndarray, "sensor dipole"]:
        """What each sensor measures of each dipole of 1 A m.

        Parameters
        ----------
        layout : pandas.DataFrame
            Sensors as `eeg_layout` and `meg_layout` give them (`pandas.concat` both for a joint
            recording).

        Returns
        -------
        Float[np.ndarray, "sensor dipole"]
            V, T or T/m; potentials are against infinity, which all layouts share.

        Raises
        ------
        UnknownName
            If a sensor is neither ``eeg`` nor ``mag`` nor ``grad``.
        """
        if strange := set(layout["kind"]) - set(KINDS):
            raise UnknownName.of("kind of sensor", strange.pop(), KINDS)
        place = layout[["x", "y", "z"]].to_numpy(float)
        look = layout[ORIENTATION].to_numpy(float)
        out = np.zeros((len(layout), len(self.places)))
        eeg, mag, grad = (layout["kind"].to_numpy() == kind for kind in KINDS)
        if eeg.any():
            potential = sphere_potential(place[eeg], self.places)
            out[eeg] = (potential * self.directions).sum(-1)
        if mag.any():
            out[mag] = self._field(place[mag], look[mag])
        if grad.any():
            radial = place[grad] / np.linalg.norm(place[grad], axis=1, keepdims=True)
            step = look[grad] * BASELINE / 2
            ahead, behind = (self._field(place[grad] + s, radial) for s in (step, -step))
            out[grad] = (ahead - behind) / BASELINE
        return out

    def record(
        self,
        layout: pd.DataFrame,
        n_windows: int,
        *,
        seconds: float = 1.0,
        rate: float = 64.0,
        noise: float = 0.3,
        seed: int,
    ) -> Simulated:
        """Look at the brain through a layout.

        Parameters
        ----------
        layout : pandas.DataFrame
            Sensors (see `lead_field`).
        n_windows : int
            How many independent windows.
        seconds : float
            Length of a window.
        rate : float
            Samples per second.
        noise : float
            RMS of the noise of a sensor, white, of the RMS of the signal of all of its kind.
        seed : int
            Makes activity and noise, independently of each other: other layouts with the same seed
            see the same activity.

        Returns
        -------
        Simulated
            The recording (window, time, sensor), which keeps the columns of the layout as
            coordinates; the same without noise; the lead field of each sensor as truth.

        Raises
        ------
        InvalidArgument
            If there is no window, fewer than two samples, or the noise is negative.
        """
        power = self._power(seconds, rate)
        _check_recording(n_windows, noise)
        lead, n_times = self.lead_field(layout), round(seconds * rate)
        rng = spawn(seed, "activity")
        spectrum = rng.standard_normal((2, n_windows, *power.shape)) * np.sqrt(power / 2)
        activity = np.fft.irfft(spectrum[0] + 1j * spectrum[1], n=n_times, axis=1)
        signal = activity @ lead.T  # (window, time, sensor)
        variance = self._variance(lead)
        deviation = _noise_of(layout, variance, noise)
        drawn = deviation * spawn(seed, "noise").standard_normal(signal.shape)
        noisy, clean = (
            Recording.from_array(x, unit=layout, time=np.arange(n_times) / rate, name="dipoles")
            for x in (signal + drawn, signal)
        )
        truth = pd.DataFrame(lead, index=layout.index)
        return Simulated(noisy, clean, truth, variance / (variance + deviation**2))

    def best(
        self,
        layout: pd.DataFrame,
        hidden: Bool[np.ndarray, " sensor"],
        *,
        seconds: float = 1.0,
        rate: float = 64.0,
        noise: float = 0.3,
    ) -> Float[np.ndarray, " hidden"]:
        """Correlation of hidden sensors with their best prediction from all others (Bayes).

        Who knows the lead field, the bands and the noise predicts with the Wiener filter over the
        whole window, and nothing does better. Chance is 0.

        Parameters
        ----------
        layout : pandas.DataFrame
            Sensors (see `lead_field`).
        hidden : Bool[np.ndarray, "sensor"]
            Which sensors are to be predicted.
        seconds, rate, noise : float
            As in `record`.

        Returns
        -------
        Float[np.ndarray, "hidden"]
            Expected correlation over windows and time, noise of the hidden sensor included.

        Raises
        ------
        InvalidArgument
            If all sensors are hidden, or none is.
        """
        if hidden.all() or not hidden.any():
            raise InvalidArgument("hide some of the sensors, neither all nor none of them")
        _check_recording(1, noise)
        lead = self.lead_field(layout)
        variance = self._variance(lead)
        size = np.sqrt(variance) + np.finfo(float).tiny  # V and T side by side
        spread = np.diag((_noise_of(layout, variance, noise) / size) ** 2)
        lead = lead / size[:, None]
        explained, total = np.zeros(hidden.sum()), np.zeros(hidden.sum())
        n_times = round(seconds * rate)
        for number, power in enumerate(self._power(seconds, rate)):
            twice = 2 if 0 < number < n_times / 2 else 1  # its negative frequency
            covariance = (lead * power / n_times**2) @ lead.T + spread / n_times
            across = covariance[np.ix_(hidden, ~hidden)]
            weights = np.linalg.lstsq(covariance[np.ix_(~hidden, ~hidden)], across.T, rcond=1e-10)
            explained += twice * (across * weights[0].T).sum(axis=1)
            total += twice * covariance[hidden, hidden]
        return np.sqrt(np.clip(explained / total, 0, 1))

    def _field(
        self, points: Float[np.ndarray, "point 3"], along: Float[np.ndarray, "point 3"]
    ) -> Float[np.ndarray, "point dipole"]:
        """Component of the magnetic field at some points."""
        field = sphere_field(points, self.places)  # (point, dipole, direction, component)
        return np.einsum("pdic,di,pc->pd", field, self.directions, along)

    def _variance(self, lead: Float[np.ndarray, "sensor dipole"]) -> Float[np.ndarray, " sensor"]:
        return STRENGTH**2 * (lead**2).sum(axis=1)

    def _power(self, seconds: float, rate: float) -> Float[np.ndarray, "frequency dipole"]:
        """Expected |X|^2 of the discrete transform; each dipole's variance is STRENGTH^2."""
        n_times = round(seconds * rate)
        if n_times < 2:
            raise InvalidArgument(f"{seconds} s at {rate} Hz are fewer than two samples")
        frequency = np.fft.rfftfreq(n_times, 1 / rate)
        power = np.exp(-((frequency[:, None] - self.frequencies) ** 2) / (2 * BANDWIDTH**2))
        power[0] = 0
        power[2 * np.arange(len(power)) == n_times] = 0  # its phase would have to be real
        return power * (STRENGTH * n_times) ** 2 / (2 * power.sum(axis=0))


def dipole_brain(
    n_dipoles: int = 20, *, band: tuple[float, float] = (5.0, 20.0), seed: int
) -> DipoleBrain:
    """Dipoles at random places in the upper part of a head of 9 cm.

    Parameters
    ----------
    n_dipoles : int
        How many.
    band : (float, float)
        Hz between which the middle of each dipole's band lies.
    seed : int
        Draws places, directions and bands.

    Returns
    -------
    DipoleBrain
        The brain.

    Raises
    ------
    InvalidArgument
        If there is no dipole, or the band is none.

    Examples
    --------
    >>> from bregma.datasets import eeg_layout
    >>> brain = dipole_brain(seed=0)
    >>> brain.record(eeg_layout(32), 5, seed=0).recording
    Recording('dipoles', 5 presentations of 5 stimuli, 64 times from 0 to 0.984375 s, 32 units)
    """
    if n_dipoles < 1:
        raise InvalidArgument(f"a brain needs 1 dipole or more, not {n_dipoles}")
    if not 0 < band[0] <= band[1]:
        raise InvalidArgument(f"band must be from a lower to a higher frequency, not {band}")
    rng = spawn(seed, "dipoles")
    z, azimuth = rng.uniform(-0.2, 1, n_dipoles), rng.uniform(0, 2 * np.pi, n_dipoles)
    across = np.sqrt(1 - z**2)
    outwards = np.stack([across * np.cos(azimuth), across * np.sin(azimuth), z], axis=1)
    directions = rng.standard_normal((n_dipoles, 3))
    return DipoleBrain(
        places=outwards * rng.uniform(0.045, 0.07, (n_dipoles, 1)),
        directions=directions / np.linalg.norm(directions, axis=1, keepdims=True),
        frequencies=rng.uniform(*band, n_dipoles),
    )


def _noise_of(
    layout: pd.DataFrame, variance: Float[np.ndarray, " sensor"], noise: float
) -> Float[np.ndarray, " sensor"]:
    """SD of the noise of each sensor, the same for all of a kind."""
    kinds = layout["kind"].to_numpy()
    mean = {kind: variance[kinds == kind].mean() for kind in set(kinds)}
    return noise * np.sqrt([mean[kind] for kind in kinds])


def _check_recording(n_windows: int, noise: float) -> None:
    if n_windows < 1 or noise < 0:
        raise InvalidArgument(
            f"n_windows must be 1 or more and noise 0 or more, not {n_windows} and {noise}"
        )
