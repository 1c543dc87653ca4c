"""How much like a Gabor function a receptive field is, and which one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument

BOUNDS = (0.4, 0.5)  # least width and largest frequency, in pixels and cycles per pixel


@dataclass(frozen=True)
class GaborFit:
    """The best Gabor function for every receptive field.

    Parameters
    ----------
    r2 : Tensor (field,)
        Explained share of the field's power, 0 to 1.
    frequency : Tensor (field,)
        Cycles per pixel.
    orientation : Tensor (field,)
        Direction across the stripes, 0 to pi; 0 is to the right (vertical stripes).
    across, along : Tensor (field,)
        Standard deviations of the envelope in pixels; times the frequency they are nx and ny.
    centre : Tensor (field, 2)
        Row and column of the middle.
    """

    r2: Float[Tensor, " field"]
    frequency: Float[Tensor, " field"]
    orientation: Float[Tensor, " field"]
    across: Float[Tensor, " field"]
    along: Float[Tensor, " field"]
    centre: Float[Tensor, "field 2"]


def fit_gabor(fields: Float[Tensor, "field row column"], *, steps: int = 150) -> GaborFit:
    """Fit a Gabor function to receptive fields, all of them at once.

    Phase and amplitude are solved for in closed form (the field is projected onto a cosine and a
    sine Gabor); place, envelope, frequency and orientation climb by gradient ascent from the
    field's centre of power and the peak of its spectrum.

    Parameters
    ----------
    fields : Tensor (field, row, column)
        Receptive fields, none of them zero.
    steps : int
        Steps of the ascent.

    Returns
    -------
    GaborFit
        The functions and how much they explain.

    Raises
    ------
    InvalidArgument
        If a field is zero or not finite, or there are no steps.

    References
    ----------
    Ringach (2002), Spatial structure and symmetry of simple-cell receptive fields in macaque
    primary visual cortex.
    """
    fields = fields.detach().double()
    if not fields.isfinite().all() or not (fields.flatten(1).norm(dim=1) > 0).all():
        raise InvalidArgument("receptive fields must be finite and not zero")
    if steps < 1:
        raise InvalidArgument(f"steps must be 1 or more, not {steps}")
    fields = fields / fields.flatten(1).norm(dim=1)[:, None, None]
    values = _start(fields).requires_grad_()
    optimizer = torch.optim.Adam([values], lr=0.05)
    best, kept = torch.full(fields.shape[:1], -1.0, dtype=torch.float64), values.detach().clone()
    for _ in range(steps):
        explained = _explained(fields, values)
        better = explained.detach() > best
        best = torch.where(better, explained.detach(), best)
        kept[better] = values.detach()[better]
        optimizer.zero_grad()
        (-explained.sum()).backward()
        optimizer.step()
    centre, across, along, wave = _meaning(kept)
    return GaborFit(
        r2=best,
        frequency=wave.norm(dim=1),
        orientation=torch.atan2(wave[:, 0], wave[:, 1]) % math.pi,
        across=across,
        along=along,
        centre=centre,
    )


def _meaning(values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre, both widths, and the wave vector (row, column) in cycles per pixel."""
    widths = BOUNDS[0] + values[:, 2:4].exp()
    wave = values[:, 4:6]
    length = wave.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return values[:, :2], widths[:, 0], widths[:, 1], wave * (BOUNDS[1] / length).clamp(max=1)


def _start(fields: Tensor) -> Tensor:
    _, rows, columns = fields.shape
    power = fields.square()
    at_row, at_column = torch.arange(rows).double(), torch.arange(columns).double()
    row, column = (power.sum(2) * at_row).sum(1), (power.sum(1) * at_column).sum(1)
    padded = (4 * rows, 4 * columns)
    spectrum = torch.fft.fft2(fields, s=padded).abs()[:, : 2 * rows + 1]
    peak = spectrum.flatten(1).argmax(1)
    wave = torch.stack(
        [
            torch.fft.fftfreq(padded[0])[peak // padded[1]].abs(),
            torch.fft.fftfreq(padded[1])[peak % padded[1]],
        ],
        1,
    ).double()
    width = torch.full_like(row, math.log(min(rows, columns) / 5))
    return torch.stack([row, column, width, width, wave[:, 0], wave[:, 1] + 1e-3], 1)


def _explained(fields: Tensor, values: Tensor) -> Tensor:
    """Power of the projection onto the plane of the cosine and the sine Gabor."""
    centre, across, along, wave = _meaning(values)
    _, rows, columns = fields.shape
    y = torch.arange(rows).double() - centre[:, :1]
    x = torch.arange(columns).double() - centre[:, 1:]
    unit = wave / wave.norm(dim=1, keepdim=True).clamp_min(1e-6)
    u = y[:, :, None] * unit[:, :1, None] + x[:, None] * unit[:, 1:, None]
    v = y[:, :, None] * unit[:, 1:, None] - x[:, None] * unit[:, :1, None]
    envelope = torch.exp(
        -0.5 * ((u / across[:, None, None]) ** 2 + (v / along[:, None, None]) ** 2)
    )
    phase = math.tau * u * wave.norm(dim=1)[:, None, None]
    basis = torch.stack([envelope * phase.cos(), envelope * phase.sin()], 1).flatten(2)
    gram = basis @ basis.transpose(1, 2) + 1e-9 * torch.eye(2, dtype=torch.float64)
    seen = (basis @ fields.flatten(1)[:, :, None])[:, :, 0]
    return (seen * torch.linalg.solve(gram, seen)).sum(1)
