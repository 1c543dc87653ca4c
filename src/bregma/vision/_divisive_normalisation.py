"""Divisive normalisation: a response relative to the activity of its neighbours."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument


class DivisiveNormalisation(nn.Module):
    r"""Divide by the mean activity of all units at the same place.

    E <- k E / (mean E + sigma^2), with k and sigma learned.

    Parameters
    ----------
    gain : float
        Start of k.
    semisaturation : float
        Start of sigma, in the square root of the units of E.

    Raises
    ------
    InvalidArgument
        If one of them is not positive.

    References
    ----------
    Heeger (1992), Normalization of cell responses in cat striate cortex.

    Examples
    --------
    >>> DivisiveNormalisation(gain=1.0)(torch.full((1, 3, 1, 1), 0.96)).squeeze()
    tensor([0.9600, 0.9600, 0.9600], grad_fn=<SqueezeBackward0>)
    """

    def __init__(self, gain: float = 4.0, semisaturation: float = 0.2) -> None:
        super().__init__()
        if not (gain > 0 and semisaturation > 0):
            raise InvalidArgument("gain and semisaturation must be positive")
        self.gain = nn.Parameter(torch.tensor(float(gain)))
        self.semisaturation = nn.Parameter(torch.tensor(float(semisaturation)))

    def forward(
        self, energy: Float[Tensor, "movie unit *place"]
    ) -> Float[Tensor, "movie unit *place"]:
        """Normalise.

        Parameters
        ----------
        energy : Tensor (movie, unit, ...)
            Responses of 0 or more.

        Returns
        -------
        Tensor (movie, unit, ...)
            Their mean over units is below the gain.
        """
        return self.gain * energy / (energy.mean(1, keepdim=True) + self.semisaturation**2)
