"""Rules of connection that know where units are: in space, or on a ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64

from bregma.dynamics.connect import _connect_kernels as kernels
from bregma.dynamics.connect import _space_kernels as space_kernels
from bregma.dynamics.connect._connect import (
    Rows,
    Rule,
    check_probability,
    check_slice,
    empty_rows,
    excluded,
)
from bregma.errors import InvalidArgument, UnknownName

Profile = Literal["gaussian", "exponential", "disc"]
_PROFILES = {
    "gaussian": space_kernels.GAUSSIAN,
    "exponential": space_kernels.EXPONENTIAL,
    "disc": space_kernels.DISC,
}


def grid_positions(
    n_rows: int, n_columns: int, *, spacing: float = 1.0
) -> Float64[np.ndarray, "unit 2"]:
    """Positions of units on a rectangular grid, row by row.

    A torus is this grid with the period ``(n_columns * spacing, n_rows * spacing)``.

    Parameters
    ----------
    n_rows, n_columns : int
        Size of the grid.
    spacing : float
        Distance of neighbours.

    Returns
    -------
    array (unit, 2)
        x (along a row) and y of each unit, from 0.

    Raises
    ------
    InvalidArgument
        If the grid has no unit, or the spacing is not positive.
    """
    if n_rows < 1 or n_columns < 1 or not 0 < spacing < np.inf:
        raise InvalidArgument(
            f"a grid needs rows, columns and a positive spacing, not {n_rows} x {n_columns} "
            f"at {spacing}"
        )
    y, x = np.divmod(np.arange(n_rows * n_columns), n_columns)
    return np.stack([x, y], axis=1) * float(spacing)


@dataclass(frozen=True, eq=False)
class Spatial(Rule):
    """Each pair of units is connected with a probability that falls with their distance d.

    The profile f is exp(-d^2 / (2 scale^2)) for ``"gaussian"``, exp(-d / scale) for
    ``"exponential"``, and 1 up to d = scale, then 0, for ``"disc"``. Nothing is cut off. The time
    for a unit grows with the synapses that it makes and with the logarithm of `n_post`.

    Parameters
    ----------
    profile : {"gaussian", "exponential", "disc"}
        How the probability falls.
    scale : float
        In units of the positions.
    p_max : float
        Probability at distance 0.
    pre, post : array (unit, axis)
        Positions of both populations, in any number of dimensions.
    period : sequence of float, optional
        Length of space along each axis after which it begins anew; positions then lie between
        0 and the period.
    self_connections : bool
        Whether a unit may target itself; False is for a population connected with itself.

    Raises
    ------
    UnknownName
        If there is no such profile.
    InvalidArgument
        If the scale is not positive, `p_max` is no probability, positions are not finite, differ
        in their number of axes, or lie outside the period; from `rows`, if the sizes are not
        those of the positions.
    """

    profile: Profile
    scale: float
    p_max: float
    pre: Float[np.ndarray, "pre axis"]
    post: Float[np.ndarray, "post axis"]
    period: Sequence[float] | None = None
    self_connections: bool = True

    def __post_init__(self) -> None:
        if self.profile not in get_args(Profile):
            raise UnknownName.of("profile", self.profile, get_args(Profile))
        if not (self.scale > 0 and 0 < self.scale**2 < np.inf):
            raise InvalidArgument(
                f"scale must be positive, and its square neither 0 nor infinite; not {self.scale}"
            )
        check_probability(self.p_max, "p_max")
        for name in ("pre", "post"):
            places = np.array(getattr(self, name), dtype=np.float64, order="C")
            places.flags.writeable = False
            object.__setattr__(self, name, places)
        if self.pre.shape[1] != self.post.shape[1]:
            raise InvalidArgument(
                f"pre has {self.pre.shape[1]} axes and post {self.post.shape[1]}; they must agree"
            )
        if self.period is not None and len(self.period) != self.pre.shape[1]:
            raise InvalidArgument(
                f"period has {len(self.period)} entries for {self.pre.shape[1]} axes"
            )
        if not (self._period() > 0).all():
            raise InvalidArgument(f"period must be positive, not {self.period}")
        for name, places in (("pre", self.pre), ("post", self.post)):
            if not np.isfinite(places).all():
                raise InvalidArgument(f"positions of {name} are NaN or infinite")
            if self.period is not None and not ((places >= 0) & (places < self._period())).all():
                raise InvalidArgument(f"positions of {name} are not between 0 and the period")

    @cached_property
    def _tree(self) -> tuple[np.ndarray, ...]:
        return space_kernels.box_tree(self.post)

    def _period(self) -> Float64[np.ndarray, " axis"]:
        given = np.inf if self.period is None else np.asarray(self.period, np.float64)
        return np.broadcast_to(given, self.pre.shape[1]).copy()

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        if (n_pre, n_post) != (len(self.pre), len(self.post)):
            raise InvalidArgument(
                f"there are positions of {len(self.pre)} and {len(self.post)} units, but "
                f"{n_pre} and {n_post} units to connect"
            )
        excluded(self.self_connections, n_pre, n_post)
        if self.p_max == 0:
            return empty_rows(first, last)
        # how many synapses there will be is unknown: the room for them grows
        capacity = 64 * (last - first)
        return Rows(*space_kernels.spatial_rows(
            key, first, last, self.pre, self.post, self._period(), self._tree,
            _PROFILES[self.profile], float(self.scale), float(self.p_max),
            self.self_connections, capacity,
        ))  # fmt: skip


@dataclass(frozen=True)
class SmallWorld(Rule):
    """A ring on which each unit targets its k nearest neighbours, some exchanged for any unit.

    The directed form of the graph of Watts and Strogatz: each synapse is moved with probability
    `p` to a target that the unit does not have yet, all equally likely. Every unit keeps k targets.

    Parameters
    ----------
    k : int
        Targets of each unit, half on each side; an even number.
    p : float
        Probability that a synapse is moved.

    Raises
    ------
    InvalidArgument
        If `k` is odd or negative, or `p` is no probability; from `rows`, if the sizes differ or
        there are not more than `k` units.

    References
    ----------
    Watts and Strogatz (1998), Collective dynamics of 'small-world' networks.
    """

    k: int
    p: float

    def __post_init__(self) -> None:
        check_probability(self.p, "p")
        if self.k < 0 or self.k % 2:
            raise InvalidArgument(f"k must be an even number, 0 or more, not {self.k}")

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        excluded(False, n_pre, n_post)
        if self.k >= n_pre > 0:
            raise InvalidArgument(f"{self.k} neighbours need a ring of more than {n_pre} units")
        return Rows(*kernels.small_world_rows(key, first, last, n_pre, self.k, float(self.p)))
