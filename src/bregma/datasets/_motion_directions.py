"""Which way does it move? Moving patterns as a task."""

from __future__ import annotations

import math
from typing import Literal

import torch

from bregma.datasets._movies import (
    contrast_modulation,
    drifting_grating,
    drifting_noise,
    random_dots,
)
from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

Pattern = Literal["grating", "noise", "dots", "contrast"]


def motion_directions(
    pattern: Pattern,
    n: int,
    *,
    n_directions: int = 8,
    size: int = 64,
    frames: int = 11,
    reverse: bool = False,
    seed: int,
) -> Task:
    """Which way does it move? Movies of one kind in directions evenly around the circle.

    Parameters
    ----------
    pattern : {"grating", "noise", "dots", "contrast"}
        Luminance moves in the first three, contrast in the last one.
    n : int
        How many movies; directions take turns.
    n_directions : int
        How many directions; class k is the angle 2 pi k / n_directions.
    size, frames : int
        Rows and columns, and frames.
    reverse : bool
        Whether dots change their sign at every frame; the answer is still where they go.
    seed : int
        Draws what varies: phases, noise, speeds of 0.75 to 1.5 pixels per frame.

    Returns
    -------
    Task
        Inputs (movie, frame, row, column).

    Raises
    ------
    InvalidArgument
        If there is no such pattern, if others than dots are to be reversed, or fewer movies than
        directions are asked for.

    Examples
    --------
    >>> task = motion_directions("contrast", 16, size=16, seed=0)
    >>> task.inputs.shape, task.chance
    (torch.Size([16, 11, 16, 16]), 0.125)
    """
    if reverse and pattern != "dots":
        raise InvalidArgument(f"only dots are reversed, not {pattern!r}")
    if n < n_directions or n_directions < 2:
        raise InvalidArgument(f"{n} movies are too few for {n_directions} directions")
    generator = spawn_torch(seed, "directions")
    draws = torch.rand(n, 2, generator=generator).tolist()
    seeds = torch.randint(0, 2**31, (n,), generator=generator).tolist()
    movies = []
    for k, ((u, v), own) in enumerate(zip(draws, seeds, strict=True)):
        direction, speed = 2 * math.pi * (k % n_directions) / n_directions, 0.75 + 0.75 * u
        shape = {"size": size, "frames": frames}
        if pattern == "grating":
            movie = drifting_grating(
                direction, temporal_frequency=speed / 8, phase=2 * math.pi * v, **shape
            )
        elif pattern == "noise":
            movie = drifting_noise(direction, speed=speed, seed=own, **shape)
        elif pattern == "dots":
            movie = random_dots(direction, speed=speed, reverse=reverse, seed=own, **shape)
        elif pattern == "contrast":
            movie = contrast_modulation(direction, temporal_frequency=speed / 12, seed=own, **shape)
        else:
            raise InvalidArgument(f"{pattern!r} is none of grating, noise, dots and contrast")
        movies.append(movie)
    targets = torch.arange(n) % n_directions
    chance = float(targets.bincount().max()) / n
    return Task(torch.stack(movies), targets, n_directions, chance=chance)
