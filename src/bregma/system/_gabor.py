"""A bank of Gabor energy units: the standard image-computable model of V1 complex cells."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional as F

Image = Float[torch.Tensor, "stimulus 1 row column"]
Bank = Float[torch.Tensor, "stimulus channel row column"]


class GaborSimple(nn.Module):
    """Linear simple cells: quadrature pairs of Gabor filters.

    Filters have zero mean and unit length; their envelope has one octave of bandwidth and is
    elongated along the grating, as in monkey V1.

    Parameters
    ----------
    orientations : int
        Number of orientations, evenly over 180 degrees; 0 is a vertical grating.
    wavelengths : tuple of float
        Periods of the gratings in pixels.
    stride : int
        Pixels from one place to the next.
    """

    filters: torch.Tensor

    def __init__(self, orientations: int, wavelengths: tuple[float, ...], stride: int) -> None:
        super().__init__()
        self.stride = stride
        sigma = [0.56 * wavelength for wavelength in wavelengths]  # one octave of bandwidth
        self.radius = math.ceil(3 * max(sigma))
        at = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        y, x = torch.meshgrid(at, at, indexing="ij")
        bank = []
        for phase in (0.0, math.pi / 2):  # even filters first, then the odd ones
            for wavelength, s in zip(wavelengths, sigma, strict=True):
                for k in range(orientations):
                    angle = math.pi * k / orientations
                    across = x * math.cos(angle) + y * math.sin(angle)
                    along = -x * math.sin(angle) + y * math.cos(angle)
                    envelope = torch.exp(-(across**2 + (0.6 * along) ** 2) / (2 * s**2))
                    grating = torch.cos(2 * math.pi * across / wavelength + phase)
                    gabor = envelope * grating
                    gabor = gabor - envelope * gabor.sum() / envelope.sum()  # blind to luminance
                    bank.append(gabor / gabor.norm())
        self.register_buffer("filters", torch.stack(bank)[:, None].float())

    def forward(self, image: Image) -> Bank:
        """Filter the image.

        Parameters
        ----------
        image : torch.Tensor
            Luminance, (stimulus, 1, row, column).

        Returns
        -------
        torch.Tensor
            (stimulus, phase x wavelength x orientation, row, column).
        """
        edge = [self.radius] * 4
        padded = F.pad(image, edge, mode="replicate")  # the border of the picture is no edge
        return F.conv2d(padded, self.filters, stride=self.stride)


class GaborComplex(nn.Module):
    """Complex cells: the energy of each quadrature pair, whatever the phase."""

    def forward(self, simple: Bank) -> Bank:
        """Combine the pairs.

        Parameters
        ----------
        simple : torch.Tensor
            Even and odd responses behind each other.

        Returns
        -------
        torch.Tensor
            (stimulus, wavelength x orientation, row, column), 0 or more.
        """
        even, odd = simple.chunk(2, dim=1)
        return torch.sqrt(even**2 + odd**2)


class ContrastNormalisation(nn.Module):
    """Divide each response by the activity of all orientations and scales around it.

    Parameters
    ----------
    semisaturation : float
        Local activity at which the response is half of its maximum.
    width : int
        Side of the neighbourhood, in places.
    """

    def __init__(self, semisaturation: float, width: int = 3) -> None:
        super().__init__()
        self.semisaturation, self.width = semisaturation, width

    def forward(self, energy: Bank) -> Bank:
        """Normalise.

        Parameters
        ----------
        energy : torch.Tensor
            Responses of 0 or more.

        Returns
        -------
        torch.Tensor
            The same shape, between 0 and the number of channels.
        """
        pool = F.avg_pool2d(
            energy.mean(1, keepdim=True), self.width, 1, self.width // 2, count_include_pad=False
        )
        return energy / (self.semisaturation + pool)


class GaborBank(nn.Sequential):
    """V1 as a bank of contrast-normalised Gabor energy units; nothing in it is learned.

    Parameters
    ----------
    orientations : int
        Number of orientations.
    wavelengths : tuple of float
        Periods of the gratings in pixels.
    stride : int
        Pixels from one place to the next.
    semisaturation : float
        Local activity at which responses are half of their maximum.

    References
    ----------
    Adelson and Bergen (1985), J Opt Soc Am A 2:284-299 (energy).
    Jones and Palmer (1987), J Neurophysiol 58:1233-1258 (Gabor filters in cortex).
    Heeger (1992), Vis Neurosci 9:181-197 (normalisation).
    """

    def __init__(
        self,
        orientations: int = 8,
        wavelengths: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0),
        stride: int = 8,
        semisaturation: float = 0.1,
    ) -> None:
        super().__init__()
        self.add_module("simple", GaborSimple(orientations, wavelengths, stride))
        self.add_module("complex", GaborComplex())
        self.add_module("normalised", ContrastNormalisation(semisaturation))
