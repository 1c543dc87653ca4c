"""Scenes of textured objects that move, with the flow that is true: that of the objects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from bregma.datasets._movies import smooth_noise
from bregma.errors import InvalidArgument
from bregma.run import derive, spawn_torch


@dataclass(frozen=True)
class Scenes:
    """Movies with their true flow.

    Parameters
    ----------
    movies : Tensor (movie, frame, row, column)
        Grey levels from 0 to 1.
    flow : Tensor (movie, 2, row, column)
        Velocity (to the right, down) in the middle frame, in pixels per frame.
    objects : Tensor (movie, row, column)
        Which object covers a pixel in the middle frame; 0 is the background.
    """

    movies: Float[Tensor, "movie frame row column"]
    flow: Float[Tensor, "movie 2 row column"]
    objects: Float[Tensor, "movie row column"]

    def __len__(self) -> int:
        return len(self.movies)

    def flow_on(self, grid: int) -> Float[Tensor, "movie 2 place_y place_x"]:
        """Mean flow of blocks of pixels.

        Parameters
        ----------
        grid : int
            Side of a block.

        Returns
        -------
        Tensor (movie, 2, place_y, place_x)
            Velocity in pixels per frame.
        """
        return F.avg_pool2d(self.flow, grid)


def moving_scenes(
    n: int,
    *,
    objects: int = 1,
    radius: float = 0.3,
    glossy: float = 0.0,
    speed: float = 2.0,
    noise: float = 0.0,
    size: int = 64,
    frames: int = 11,
    label_surface: bool = False,
    seed: int,
) -> Scenes:
    """Discs of texture that move over a moving background of texture.

    A matt object carries its texture along. A glossy one is covered by highlights that come and go
    at random while it moves: the object moves, the light on it does not.

    Parameters
    ----------
    n : int
        How many scenes.
    objects : int
        Discs in a scene; 0 is a background that moves as a whole.
    radius : float
        Greatest radius of a disc as a share of the image; the smallest is half of it.
    glossy : float
        Share of objects that are glossy.
    speed : float
        Greatest speed in pixels per frame; the background moves at up to half of it.
    noise : float
        Standard deviation of noise that is new at every pixel and frame: it makes motion uncertain
        at every place, so that places have to help each other.
    size, frames : int
        Rows and columns, and frames.
    label_surface : bool
        Give as true flow of a glossy object that of the light on it, which stands still, instead
        of the object's: a control.
    seed : int
        Draws textures, places, velocities and highlights.

    Returns
    -------
    Scenes
        Movies with their flow.

    Raises
    ------
    InvalidArgument
        If there are no scenes, or a share is outside 0 to 1.

    Examples
    --------
    >>> scenes = moving_scenes(2, size=32, seed=0)
    >>> scenes.movies.shape, scenes.flow_on(8).shape
    (torch.Size([2, 11, 32, 32]), torch.Size([2, 2, 4, 4]))
    """
    if n < 1 or objects < 0 or not 0 <= glossy <= 1 or not (radius > 0 and noise >= 0):
        raise InvalidArgument(
            f"n must be 1 or more, objects and noise 0 or more, glossy from 0 to 1 and the radius "
            f"positive, not {n}, {objects}, {noise}, {glossy}, {radius}"
        )
    discs = _Discs(objects, radius, glossy, speed, label_surface)
    made = [_scene(discs, size, frames, derive(seed, "scene", k)) for k in range(n)]
    movies, flow, cover = (torch.stack(parts) for parts in zip(*made, strict=True))
    static = noise * torch.randn(movies.shape, generator=spawn_torch(seed, "noise"))
    return Scenes((movies + static).clamp(0, 1), flow, cover)


class _Discs(NamedTuple):
    number: int
    radius: float
    glossy: float
    speed: float
    label_surface: bool


def _scene(discs: _Discs, size: int, frames: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = spawn_torch(seed, "places")
    time = torch.arange(frames) - (frames - 1) / 2  # the middle frame is time 0
    velocity = _velocity(discs.speed / 2, generator)
    movie = _moving_texture(velocity, time, size, derive(seed, "background"))
    flow = velocity[:, None, None].expand(2, size, size).clone()
    cover = torch.zeros(size, size)
    at = torch.arange(size) + 0.5
    for number in range(1, discs.number + 1):
        velocity = _velocity(discs.speed, generator)
        middle = (0.25 + 0.5 * torch.rand(2, generator=generator)) * size
        share, draw = torch.rand(2, generator=generator).tolist()
        radius = discs.radius * (0.5 + 0.5 * share) * size
        shiny = draw < discs.glossy
        if shiny:
            surface = _highlights(frames, size, derive(seed, "light", number))
        else:
            surface = _moving_texture(velocity, time, size, derive(seed, "object", number))
        centre = middle + time[:, None] * velocity  # (frame, x and y)
        x, y = (at - centre[:, :1]), (at - centre[:, 1:])
        distance = (x[:, None, :] ** 2 + y[:, :, None] ** 2).sqrt()
        inside = (radius - distance + 0.5).clamp(0, 1)  # soft over one pixel
        movie = movie + inside * (surface - movie)
        here = inside[frames // 2] > 0.5
        seen = torch.zeros(2) if shiny and discs.label_surface else velocity
        flow = torch.where(here, seen[:, None, None], flow)
        cover = torch.where(here, float(number), cover)
    return movie, flow, cover


def _velocity(most: float, generator: torch.Generator) -> Float[Tensor, " 2"]:
    """(x, y), of a speed up to `most`, evenly over the disc of velocities."""
    angle, r = torch.rand(2, generator=generator)
    return most * r.sqrt() * torch.stack([(2 * math.pi * angle).cos(), (2 * math.pi * angle).sin()])


def _moving_texture(
    velocity: Float[Tensor, " 2"], time: Float[Tensor, " frame"], size: int, seed: int
) -> Float[Tensor, "frame row column"]:
    """A texture on a torus, shifted exactly."""
    texture = smooth_noise(size, seed=seed)
    frequency = torch.fft.fftfreq(size)
    shift = frequency * velocity[0] + frequency[:, None] * velocity[1]
    phase = torch.exp(-2j * math.pi * time[:, None, None] * shift)
    return torch.fft.ifft2(torch.fft.fft2(texture) * phase).real.clamp(0, 1)


def _highlights(frames: int, size: int, seed: int) -> Float[Tensor, "frame row column"]:
    """Light that glitters: other spots at every frame, with the mean of a texture."""
    return torch.stack([smooth_noise(size, scale=0.7, seed=derive(seed, t)) for t in range(frames)])
