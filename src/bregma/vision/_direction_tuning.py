"""Direction tuning of units: pattern or component motion, and how strongly."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument, NotIdentifiable


def direction_index(tuning: Float[Tensor, "unit direction"]) -> Float[Tensor, " unit"]:
    """Opponency of units: best minus opposite response, over their sum.

    Parameters
    ----------
    tuning : Tensor (unit, direction)
        Responses of 0 or more to directions evenly around the circle; an even number of them.

    Returns
    -------
    Tensor (unit,)
        0 is blind to direction, 1 answers one direction only.

    Raises
    ------
    InvalidArgument
        If the number of directions is odd, or a unit is silent.
    """
    n = tuning.shape[1]
    if n % 2 or not (tuning.amax(1) > 0).all():
        raise InvalidArgument("an even number of directions and active units are needed")
    best = tuning.argmax(1, keepdim=True)
    there, back = tuning.gather(1, best), tuning.gather(1, (best + n // 2) % n)
    return ((there - back) / (there + back))[:, 0]


def direction_vector(
    responses: Float[Tensor, "movie unit"], preferred: Float[Tensor, " unit"]
) -> Float[Tensor, " movie"]:
    """Direction that a population stands for: the angle of its vector sum.

    Parameters
    ----------
    responses : Tensor (movie, unit)
        Responses of 0 or more.
    preferred : Tensor (unit,)
        Preferred directions in radians.

    Returns
    -------
    Tensor (movie,)
        Direction in radians, 0 to 2 pi.
    """
    x, y = responses @ preferred.cos(), responses @ preferred.sin()
    return torch.atan2(y, x) % (2 * math.pi)


def pattern_index(
    gratings: Float[Tensor, "unit direction"],
    plaids: Float[Tensor, "unit direction"],
    *,
    angle: float = 2 * math.pi / 3,
) -> tuple[Float[Tensor, " unit"], Float[Tensor, " unit"]]:
    r"""How well each unit follows the pattern and the components of a plaid.

    The pattern prediction is the tuning for gratings; the component prediction is its sum at both
    components. Rp = (rp - rc rpc) / sqrt((1 - rc^2)(1 - rpc^2)) with rp and rc the correlations of
    the responses to plaids with the predictions and rpc that between them; Rc likewise; both are
    Fisher transformed and scaled by sqrt(directions - 3).

    Parameters
    ----------
    gratings, plaids : Tensor (unit, direction)
        Responses to directions evenly around the circle, of a grating and of the whole plaid.
    angle : float
        Between the components, in radians: a whole, even number of steps of direction.

    Returns
    -------
    pattern, component : Tensor (unit,)
        Zp and Zc; their difference above 1.28 makes a pattern cell, below -1.28 a component cell.

    Raises
    ------
    InvalidArgument
        If the shapes differ, or no directions lie at the components.
    NotIdentifiable
        If a unit answers all directions alike.

    References
    ----------
    Movshon et al. (1985), The analysis of moving visual patterns.
    Smith, Majaj and Movshon (2005), Dynamics of motion signaling by neurons in macaque area MT.
    """
    if gratings.shape != plaids.shape:
        raise InvalidArgument(f"shapes differ: {tuple(gratings.shape)}, {tuple(plaids.shape)}")
    n = gratings.shape[1]
    half = angle / 2 / (2 * math.pi / n)
    if n < 4 or not np.isclose(half, round(half)):
        raise InvalidArgument(f"with {n} directions no grating lies {angle / 2:g} rad off a plaid")
    turn = round(half)
    components = gratings.roll(turn, 1) + gratings.roll(-turn, 1)
    if (torch.stack([gratings, plaids, components]).std(2) < 1e-12).any():
        raise NotIdentifiable("a unit answers all directions alike")
    r_pattern, r_component = _correlation(plaids, gratings), _correlation(plaids, components)
    r_both = _correlation(gratings, components)
    scale = math.sqrt(n - 3)
    return (
        scale * _partial(r_pattern, r_component, r_both).atanh(),
        scale * _partial(r_component, r_pattern, r_both).atanh(),
    )


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def _partial(r: Tensor, other: Tensor, between: Tensor) -> Tensor:
    """Correlation with one prediction beyond the other one; a perfect one stays finite."""
    rest = ((1 - other**2) * (1 - between**2)).clamp_min(1e-12).sqrt()
    return ((r - other * between) / rest).clamp(-1 + 1e-6, 1 - 1e-6)
