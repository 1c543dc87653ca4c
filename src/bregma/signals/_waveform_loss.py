"""How far a reconstructed waveform is from the true one, in time and in frequency."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 1e-6


def standardized(x: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
    """Each waveform with mean 0 and SD 1; a flat one becomes 0.

    Parameters
    ----------
    x : Tensor (..., time)
        Waveforms.

    Returns
    -------
    Tensor (..., time)
        The same shape.
    """
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True).sqrt() + SMALL)


def waveform_correlation(
    predicted: Float[Tensor, "*batch time"], true: Float[Tensor, "*batch time"]
) -> Float[Tensor, "*batch"]:
    """Pearson's correlation over time.

    Parameters
    ----------
    predicted, true : Tensor (..., time)
        Waveforms.

    Returns
    -------
    Tensor (...)
        From -1 to 1; 0 where one of them is flat.
    """
    p, t = (x - x.mean(-1, keepdim=True) for x in (predicted, true))
    size = (p.square().sum(-1) * t.square().sum(-1) + SMALL**2).sqrt()
    return (p * t).sum(-1) / size


def waveform_loss(
    predicted: Float[Tensor, "*batch time"], true: Float[Tensor, "*batch time"]
) -> Float[Tensor, ""]:
    """Distance in time, shape, amplitude spectrum and phase.

    |x - y| + exp(-r) + |(|X| - |Y|)| + |arg X - arg Y| / 2, each a mean, where r is the mean
    correlation, y the true waveform with mean 0 and SD 1, and X, Y spectra under a Hamming window.

    Parameters
    ----------
    predicted : Tensor (..., time)
        Reconstruction of standardised waveforms.
    true : Tensor (..., time)
        Waveforms of any scale.

    Returns
    -------
    Tensor ()
        The loss.

    References
    ----------
    Xiao et al. (2025), BrainOmni: a brain foundation model for unified EEG and MEG signals.
    """
    true = standardized(true)
    window = torch.hamming_window(true.shape[-1]).to(true)
    x, y = (torch.fft.rfft(window * wave, norm="ortho") for wave in (predicted, true))
    return (
        (predicted - true).abs().mean()
        + torch.exp(-waveform_correlation(predicted, true).mean())
        + (x.abs() - y.abs()).abs().mean()
        + 0.5 * (x.angle() - y.angle()).abs().mean()
    )
