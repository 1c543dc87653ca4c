"""A bank of Gabor energy units: the standard image-computable model of V1 complex cells."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional as F

ENVELOPE = 0.56  # standard deviation in wavelengths: one octave of bandwidth
ELONGATION = 0.6  # width over length of the envelope

Image = Float[torch.Tensor, "stimulus 1 row column"]
Bank = Float[torch.Tensor, "stimulus channel row column"]


class GaborSimple(nn.Module):
    """Linear simple cells: quadrature pairs of Gabor filters on an image pyramid.

    Filters have zero mean and unit length; their envelope has one octave of bandwidth and is
    elongated along the grating, as in monkey V1. The image is halved for each coarser scale, so
    that the same small filters serve all of them; all scales look at the same places.

    Parameters
    ----------
    orientations : int
        Number of orientations, evenly over 180 degrees; 0 is a vertical grating.
    scales : int
        Number of scales, one octave apart.
    wavelength : float
        Period of the finest grating in pixels.
    stride : int
        Pixels from one place to the next, a multiple of ``2 ** (scales - 1)``; rows and columns
        of images must be multiples of it.
    """

    filters_even: torch.Tensor
    filters_odd: torch.Tensor

    def __init__(self, orientations: int, scales: int, wavelength: float, stride: int) -> None:
        super().__init__()
        self.scales, self.stride = scales, stride
        radius = math.ceil(3 * ENVELOPE * wavelength)
        # the middle of a place lies between pixels or on one: supports of both kinds are needed
        for name, half in (("filters_even", radius - 0.5), ("filters_odd", float(radius))):
            at = torch.arange(-half, half + 1, dtype=torch.float64)
            self.register_buffer(name, _gabors(at, orientations, wavelength))

    def forward(self, image: Image) -> Float[torch.Tensor, "stimulus channel place_y place_x"]:
        """Filter the image.

        Parameters
        ----------
        image : torch.Tensor
            Luminance, (stimulus, 1, row, column).

        Returns
        -------
        torch.Tensor
            (stimulus, phase x scale x orientation, row, column).
        """
        found = []
        for scale in range(self.scales):
            step = self.stride // 2**scale
            filters = self.filters_odd if step % 2 else self.filters_even
            edge = [(filters.shape[-1] - step) // 2] * 4
            padded = F.pad(image, edge, mode="replicate")  # the border of the picture is no edge
            found.append(F.conv2d(padded, filters, stride=step).unflatten(1, (2, -1)))
            image = F.avg_pool2d(image, 2) if scale + 1 < self.scales else image
        return torch.stack(found, 2).flatten(1, 3)


def _gabors(
    at: Float[torch.Tensor, " place"], orientations: int, wavelength: float
) -> Float[torch.Tensor, "filter 1 row column"]:
    """Even filters of all orientations, then odd ones."""
    y, x = torch.meshgrid(at, at, indexing="ij")
    bank = []
    for phase in (0.0, math.pi / 2):
        for k in range(orientations):
            angle = math.pi * k / orientations
            across = x * math.cos(angle) + y * math.sin(angle)
            along = -x * math.sin(angle) + y * math.cos(angle)
            width = 2 * (ENVELOPE * wavelength) ** 2
            envelope = torch.exp(-(across**2 + (ELONGATION * along) ** 2) / width)
            gabor = envelope * torch.cos(2 * math.pi * across / wavelength + phase)
            gabor = gabor - envelope * gabor.sum() / envelope.sum()  # blind to luminance
            bank.append(gabor / gabor.norm())
    return torch.stack(bank)[:, None].float()


class GaborComplex(nn.Module):
    """Complex cells: the energy of each quadrature pair, whatever the phase."""

    def forward(self, simple: Bank) -> Float[torch.Tensor, "stimulus pair row column"]:
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
    scales : int
        Number of scales, one octave apart.
    wavelength : float
        Period of the finest grating in pixels.
    stride : int
        Pixels from one place to the next.
    semisaturation : float
        Local activity at which responses are half of their maximum; by default that of a
        full-field grating of 10 % contrast.

    References
    ----------
    Adelson and Bergen (1985), J Opt Soc Am A 2:284-299 (energy).
    Jones and Palmer (1987), J Neurophysiol 58:1233-1258 (Gabor filters in cortex).
    Heeger (1992), Vis Neurosci 9:181-197 (normalisation).
    """

    def __init__(
        self,
        orientations: int = 8,
        scales: int = 4,
        wavelength: float = 4.0,
        stride: int = 8,
        semisaturation: float = 0.03,
    ) -> None:
        super().__init__()
        self.add_module("simple", GaborSimple(orientations, scales, wavelength, stride))
        self.add_module("complex", GaborComplex())
        self.add_module("normalised", ContrastNormalisation(semisaturation))
