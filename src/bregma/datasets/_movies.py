"""Moving patterns of physiology: gratings, plaids, dots, noise and motion of contrast.

Angles are radians in the image: 0 is to the right, pi/2 is down, where rows grow. Velocities are
pixels per frame. Grey levels are from 0 to 1 around a mean of 0.5.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

Movie = Float[Tensor, "frame row column"]


def drifting_grating(
    direction: float,
    *,
    spatial_frequency: float = 0.125,
    temporal_frequency: float = 0.125,
    contrast: float = 1.0,
    phase: float = 0.0,
    size: int = 64,
    frames: int = 11,
) -> Movie:
    """A sine wave that drifts across itself.

    Parameters
    ----------
    direction : float
        Where it moves, in radians.
    spatial_frequency, temporal_frequency : float
        Cycles per pixel and per frame; its speed is the latter over the former.
    contrast : float
        From 0 to 1.
    phase : float
        Of the middle of the first frame, in radians.
    size, frames : int
        Rows and columns, and frames.

    Returns
    -------
    Tensor (frame, row, column)
        Grey levels.

    Raises
    ------
    InvalidArgument
        If the size is below 1, or the contrast outside 0 to 1.

    Examples
    --------
    >>> drifting_grating(0.0, size=8, frames=2).shape
    torch.Size([2, 8, 8])
    """
    if min(size, frames) < 1 or not 0 <= contrast <= 1:
        raise InvalidArgument("size and frames must be 1 or more, the contrast from 0 to 1")
    at, t = torch.arange(size) - (size - 1) / 2, torch.arange(frames)[:, None, None]
    across = at * math.cos(direction) + at[:, None] * math.sin(direction)  # from the middle
    wave = 2 * math.pi * (spatial_frequency * across - temporal_frequency * t) + phase
    return 0.5 + 0.5 * contrast * wave.cos()


def plaid(
    direction: float,
    *,
    angle: float = 2 * math.pi / 3,
    spatial_frequency: float = 0.125,
    temporal_frequency: float = 0.125,
    contrast: float = 1.0,
    size: int = 64,
    frames: int = 11,
) -> Movie:
    """Two gratings at once, seen as one pattern whose velocity satisfies both (intersection).

    Parameters
    ----------
    direction : float
        Where the pattern moves, in radians; its speed is that of a component over cos(angle / 2).
    angle : float
        Between the directions of the components, below pi.
    spatial_frequency, temporal_frequency : float
        Of each component, cycles per pixel and per frame.
    contrast : float
        Of both together.
    size, frames : int
        Rows and columns, and frames.

    Returns
    -------
    Tensor (frame, row, column)
        Grey levels.

    Raises
    ------
    InvalidArgument
        If the angle is not between 0 and pi.
    """
    if not 0 < angle < math.pi:
        raise InvalidArgument(f"the angle must be between 0 and pi, not {angle}")
    one, other = (
        drifting_grating(
            direction + side * angle / 2,
            spatial_frequency=spatial_frequency,
            temporal_frequency=temporal_frequency,
            contrast=contrast,
            size=size,
            frames=frames,
        )
        for side in (-1, 1)
    )
    return (one + other) / 2


def random_dots(
    direction: float,
    *,
    speed: float = 1.0,
    coherence: float = 1.0,
    reverse: bool = False,
    density: float = 0.02,
    size: int = 64,
    frames: int = 11,
    seed: int,
) -> Movie:
    """Black and white dots that move over a torus.

    Parameters
    ----------
    direction : float
        Where dots move, in radians.
    speed : float
        Pixels per frame.
    coherence : float
        Share of dots that move together; the others jump to a new place at every frame.
    reverse : bool
        Turn black to white and back at every frame (reverse phi): people see the dots go backwards.
    density : float
        Dots per pixel.
    size, frames : int
        Rows and columns, and frames.
    seed : int
        Draws places and colours.

    Returns
    -------
    Tensor (frame, row, column)
        Grey levels.

    Raises
    ------
    InvalidArgument
        If there would be no dot, or the coherence is outside 0 to 1.
    """
    n = round(density * size * size)
    if n < 1 or frames < 1 or not 0 <= coherence <= 1:
        raise InvalidArgument(f"{n} dots, {frames} frames, coherence {coherence}: nothing to see")
    generator = spawn_torch(seed, "dots")
    start = torch.rand(n, 2, generator=generator) * size
    sign = torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1
    together = torch.rand(n, generator=generator) < coherence
    step = speed * torch.tensor([math.sin(direction), math.cos(direction)])
    movie = torch.full((frames, size, size), 0.5)
    at = torch.arange(size) + 0.5
    for t in range(frames):
        jumped = torch.rand(n, 2, generator=generator) * size
        place = torch.where(together[:, None], (start + t * step) % size, jumped)
        gap = (at - place[:, :, None] + size / 2) % size - size / 2  # (dot, row or column, pixel)
        row, column = torch.exp(-0.5 * gap**2).unbind(1)
        flip = -1.0 if reverse and t % 2 else 1.0
        movie[t] += 0.5 * flip * torch.einsum("d,dy,dx->yx", sign, row, column)
    return movie.clamp(0, 1)


def drifting_noise(
    direction: float, *, speed: float = 1.0, size: int = 64, frames: int = 11, seed: int
) -> Movie:
    """Smooth noise on a torus that moves as a whole.

    Parameters
    ----------
    direction : float
        Where it moves, in radians.
    speed : float
        Pixels per frame.
    size, frames : int
        Rows and columns, and frames.
    seed : int
        Draws the noise.

    Returns
    -------
    Tensor (frame, row, column)
        Grey levels.
    """
    texture = smooth_noise(size, seed=seed)
    fy = torch.fft.fftfreq(size)[:, None]
    fx = torch.fft.fftfreq(size)
    shift = fx * math.cos(direction) + fy * math.sin(direction)
    t = torch.arange(frames)[:, None, None]
    moved = torch.fft.fft2(texture) * torch.exp(-2j * math.pi * speed * t * shift)
    return torch.fft.ifft2(moved).real.clamp(0, 1)


def smooth_noise(size: int, *, scale: float = 1.5, seed: int) -> Float[Tensor, "row column"]:
    """Gaussian noise on a torus, smoothed.

    Parameters
    ----------
    size : int
        Rows and columns.
    scale : float
        Standard deviation of the smoothing in pixels.
    seed : int
        Draws the noise.

    Returns
    -------
    Tensor (row, column)
        Mean 0.5, standard deviation 0.17, between 0 and 1.
    """
    white = torch.randn(size, size, generator=spawn_torch(seed, "noise"))
    squared = torch.fft.fftfreq(size)[:, None] ** 2 + torch.fft.fftfreq(size) ** 2
    low_pass = torch.exp(-2 * (math.pi * scale) ** 2 * squared)
    smooth = torch.fft.ifft2(torch.fft.fft2(white) * low_pass).real
    smooth = (smooth - smooth.mean()) / smooth.std()
    return (0.5 + 0.17 * smooth).clamp(0, 1)


def contrast_modulation(
    direction: float,
    *,
    spatial_frequency: float = 0.0625,
    temporal_frequency: float = 0.125,
    depth: float = 1.0,
    size: int = 64,
    frames: int = 11,
    seed: int,
) -> Movie:
    """A drifting wave of contrast on noise that is new at every frame: second-order motion.

    Drift-balanced: pixels are independent and their signs fair, so that the expected Fourier energy
    is the same for opposite directions, whatever linear filter comes first (Chubb and Sperling).

    Parameters
    ----------
    direction : float
        Where the contrast moves, in radians.
    spatial_frequency, temporal_frequency : float
        Of the modulation, cycles per pixel and per frame.
    depth : float
        Of the modulation, 0 to 1.
    size, frames : int
        Rows and columns, and frames.
    seed : int
        Draws noise and phase.

    Returns
    -------
    Tensor (frame, row, column)
        Grey levels.

    Raises
    ------
    InvalidArgument
        If the depth is outside 0 to 1.

    References
    ----------
    Chubb and Sperling (1988), Drift-balanced random stimuli: a general basis for studying
    non-Fourier motion perception.
    """
    if not 0 <= depth <= 1:
        raise InvalidArgument(f"the depth must be from 0 to 1, not {depth}")
    generator = spawn_torch(seed, "contrast")
    phase = float(torch.rand((), generator=generator)) * 2 * math.pi
    wave = drifting_grating(
        direction,
        spatial_frequency=spatial_frequency,
        temporal_frequency=temporal_frequency,
        contrast=depth,
        phase=phase,
        size=size,
        frames=frames,
    )
    sign = torch.randint(0, 2, (frames, size, size), generator=generator) * 2.0 - 1
    return 0.5 + 0.5 * wave * sign
