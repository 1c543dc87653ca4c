"""From a recording of EEG or MEG to windows of one rate and scale, as networks take them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import Recording


def sensor_windows(
    recording: Recording,
    *,
    seconds: float = 2.0,
    rate: float = 256.0,
    average_reference: bool = True,
) -> Float[Tensor, "window sensor time"]:
    """Cut a recording into windows, at one rate and with one scale per kind of sensor.

    Every sensor loses its mean over the recording. Values in V, T and T/m differ by up to seven
    orders of magnitude, so all sensors of a kind are divided by one number, the RMS over all of
    them: relations between sensors stay.

    Parameters
    ----------
    recording : Recording
        With time; the unit coordinate ``kind`` says which sensors share a scale.
    seconds : float
        Length of a window; what is left at the end of a presentation is dropped.
    rate : float
        Samples per second that come out (polyphase resampling, which filters).
    average_reference : bool
        Subtract the average of all electrodes, as recordings with different references need. Where
        electrodes are hidden afterwards to be predicted, their sum is known from the others then.

    Returns
    -------
    Float[Tensor, "window sensor time"]
        In the order of presentations, then of time; float32.

    Raises
    ------
    UnknownName
        If units have no coordinate ``kind``.
    InvalidArgument
        If presentations are shorter than a window, the rate is below a thousandth of the
        recording's, or all sensors of a kind are flat.
    InvalidRecording
        If the recording has no time, or uneven times.

    References
    ----------
    Xiao et al. (2025), BrainOmni: a brain foundation model for unified EEG and MEG signals.

    Examples
    --------
    >>> from bregma.datasets import dipole_brain, eeg_layout
    >>> made = dipole_brain(seed=0).record(eeg_layout(19), 5, seed=0)
    >>> sensor_windows(made.recording, seconds=0.5, rate=64.0).shape
    torch.Size([10, 19, 32])
    """
    from scipy.signal import resample_poly

    before, units = recording.sampling_rate, recording.units
    if not 1000 * rate >= before:
        raise InvalidArgument(f"rate must be {before / 1000:g} Hz or more, not {rate:g}")
    if "kind" not in units:
        raise UnknownName.of("coordinate of units", "kind", units.columns)
    ratio = Fraction(rate / before).limit_denominator(1000)
    values = np.swapaxes(np.asarray(recording.values, dtype=float), 1, 2)
    values = values - values.mean(axis=(0, 2), keepdims=True)
    kinds = units["kind"].to_numpy()
    eeg = kinds == "eeg"
    if average_reference and eeg.any():
        values[:, eeg] -= values[:, eeg].mean(axis=1, keepdims=True)
    for kind in sorted(set(kinds)):
        size = np.sqrt((values[:, kinds == kind] ** 2).mean())
        if not size > 0:
            raise InvalidArgument(f"all sensors of the kind {kind!r} are flat: leave them out")
        values[:, kinds == kind] /= size
    if ratio != 1:
        values = resample_poly(values, ratio.numerator, ratio.denominator, axis=-1)
    length = round(seconds * rate)
    n_windows = values.shape[-1] // length if length > 0 else 0
    if not n_windows:
        raise InvalidArgument(
            f"presentations of {values.shape[-1]} samples at {rate:g} Hz hold no window of "
            f"{length} samples"
        )
    values = values[..., : n_windows * length]
    values = values.reshape(*values.shape[:2], n_windows, length).swapaxes(1, 2)
    return torch.as_tensor(values.reshape(-1, len(kinds), length), dtype=torch.float32)
