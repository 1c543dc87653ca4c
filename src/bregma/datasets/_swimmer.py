"""A chain of links that swims where inertia does not count, as small worms do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float

from bregma._extras import require
from bregma.errors import InvalidArgument, UnstableSimulation
from bregma.run import spawn

if TYPE_CHECKING:
    from gymnasium import Env

Batch = Float[np.ndarray, "swimmer joint"]
LIMIT_STIFFNESS = 5.0  # of the torque that pushes a joint back behind its limit


class Swimmer:
    """Planar swimmers in a viscous fluid (resistive force theory), several at once.

    Rods resist motion along themselves with the drag c_t and across with c_n, per length and
    velocity. Without inertia, drag balances the torques of the joints at every moment:
    R(q) dq/dt = Q, a linear system for all velocities. Joints have a spring, a damper, and a soft
    limit. Link 0 is the head; a swimmer goes forward, head first, by waves that run to its tail.

    Parameters
    ----------
    n_links : int
        Links, each of length 1; there is a joint between each two of them.
    drag : tuple of float
        c_t and c_n. Equal ones give no thrust.
    gear : float
        Torque of an action of 1.
    stiffness, damping : float
        Of every joint.
    limit : float, optional
        Angle where the soft limit begins: 2 pi / n_links by default.
    dt : float
        Seconds per action.
    substeps : int
        Steps of integration in it.

    Raises
    ------
    InvalidArgument
        If there are fewer than two links or a number is out of range.

    References
    ----------
    Gray and Hancock (1955), The propulsion of sea-urchin spermatozoa.

    Examples
    --------
    >>> swimmer = Swimmer(6)
    >>> angles = swimmer.reset(2, seed=0)
    >>> angles.shape, swimmer.step(np.zeros((2, 5))).shape
    ((2, 5), (2, 5))
    """

    def __init__(
        self,
        n_links: int = 6,
        *,
        drag: tuple[float, float] = (1.0, 5.0),
        gear: float = 3.0,
        stiffness: float = 1.0,
        damping: float = 0.3,
        limit: float | None = None,
        dt: float = 0.05,
        substeps: int = 2,
    ) -> None:
        if n_links < 2 or substeps < 1 or not min(*drag, dt) > 0 or min(stiffness, damping) < 0:
            raise InvalidArgument(
                "a swimmer needs 2 links or more, positive drag and dt, and no negative stiffness "
                f"or damping, not {n_links}, {drag}, {dt}, {stiffness}, {damping}"
            )
        self.n_links, self.drag, self.gear = n_links, drag, gear
        self.stiffness, self.damping, self.dt, self.substeps = stiffness, damping, dt, substeps
        self.limit = 2 * math.pi / n_links if limit is None else limit
        # dq = bend @ d(link angle); a torque turns the link behind a joint, and the one before back
        self._bend = np.eye(n_links - 1, n_links, 1) - np.eye(n_links - 1, n_links)
        self.head = np.zeros((0, 2))  # front end of link 0
        self.heading = np.zeros((0, n_links))  # of every link, from head to tail

    def reset(self, n: int = 1, *, spread: float = 0.1, seed: int) -> Batch:
        """Lay swimmers out along the x axis, heads at the origin, pointing to negative x.

        Parameters
        ----------
        n : int
            How many swimmers.
        spread : float
            Standard deviation of their joints' angles in radians.
        seed : int
            Draws the angles.

        Returns
        -------
        ndarray (swimmer, joint)
            Angles as shares of the limit, clipped to -1 to 1.
        """
        angles = spread * spawn(seed, "swimmer").standard_normal((n, self.n_links - 1))
        self.head = np.zeros((n, 2))
        self.heading = np.concatenate([np.zeros((n, 1)), np.cumsum(angles, axis=1)], axis=1)
        return self.angles

    @property
    def angles(self) -> Batch:
        """Angles of the joints as shares of the limit, clipped to -1 to 1."""
        return np.clip(np.diff(self.heading, axis=1) / self.limit, -1, 1)

    @property
    def centre(self) -> Float[np.ndarray, "swimmer 2"]:
        """Middle of the body: the mean of the middles of all links."""
        along = np.stack([np.cos(self.heading), np.sin(self.heading)], -1)
        middles = np.cumsum(along, axis=1) - along / 2
        return self.head + middles.mean(axis=1)

    def step(self, action: Batch) -> Batch:
        """Apply torques for `dt` seconds.

        Parameters
        ----------
        action : ndarray (swimmer, joint)
            Torques of -1 to 1; others are clipped.

        Returns
        -------
        ndarray (swimmer, joint)
            Angles as shares of the limit, clipped to -1 to 1.

        Raises
        ------
        InvalidArgument
            If the shape is wrong or an action is NaN.
        UnstableSimulation
            If a joint turned by more than a half turn in one step: the step is too long.
        """
        if action.shape != (len(self.head), self.n_links - 1) or np.isnan(action).any():
            raise InvalidArgument(
                f"actions need the shape {(len(self.head), self.n_links - 1)} without NaN, not "
                f"{action.shape}"
            )
        torque, h = self.gear * np.clip(action, -1, 1), self.dt / self.substeps
        for _ in range(self.substeps):  # the midpoint rule; Euler's would swim without thrust
            head, heading = self.head, self.heading
            for part in (h / 2, h):
                velocity = self.velocities(torque)
                if not (np.abs(velocity[:, 2:]) * h < math.pi).all():
                    raise UnstableSimulation("a link turned too far in one step; take a smaller dt")
                self.head = head + part * velocity[:, :2]
                self.heading = heading + part * velocity[:, 2:]
        return self.angles

    def velocities(self, torque: Batch) -> Float[np.ndarray, "swimmer coordinate"]:
        """Velocities at which drag balances torques: of the head (x, y), then turning of links.

        Parameters
        ----------
        torque : ndarray (swimmer, joint)
            Of the muscles; springs and limits come on top.

        Returns
        -------
        ndarray (swimmer, 2 + link)
            Solution of R(q) v = Q.
        """
        bent = np.diff(self.heading, axis=1)
        beyond = bent - np.clip(bent, -self.limit, self.limit)
        inner = torque - self.stiffness * bent - LIMIT_STIFFNESS * beyond
        force = np.zeros((len(bent), 2 + self.n_links))
        force[:, 2:] = inner @ self._bend
        resistance = self.resistance()
        resistance[:, 2:, 2:] += self.damping * self._bend.T @ self._bend
        return np.linalg.solve(resistance, force[..., None])[..., 0]

    def resistance(self) -> Float[np.ndarray, "swimmer coordinate coordinate"]:
        """Drag as a matrix: sum over links of J^T C J, with C the drag of one rod.

        Returns
        -------
        ndarray (swimmer, 2 + link, 2 + link)
            Symmetric and positive definite; v^T R v is the power lost to the fluid.
        """
        tangent = np.stack([np.cos(self.heading), np.sin(self.heading)], -1)  # (swimmer, link, 2)
        normal = np.stack([-tangent[..., 1], tangent[..., 0]], -1)
        n, links = self.heading.shape
        # J: the middle of link i moves with the head, the links before it, and half of itself
        lever = np.tril(np.ones((links, links)), -1) + np.eye(links) / 2
        jacobian = np.zeros((n, links, 2, 2 + links))
        jacobian[..., :2] = np.eye(2)
        jacobian[..., 2:] = np.einsum("ij,njk->nikj", lever, normal)
        along, across = self.drag
        total = np.zeros((n, 2 + links, 2 + links))
        for drag, axis in ((along, tangent), (across, normal)):
            moved = np.einsum("nik,nikc->nic", axis, jacobian)
            total += drag * np.swapaxes(moved, 1, 2) @ moved
        turning = np.arange(2, 2 + links)
        total[:, turning, turning] += across / 12  # of a rod of length 1 about its middle
        return total


def swimmer_env(n_links: int = 6, *, steps: int = 600, **settings: Any) -> Env[Any, Any]:
    """A swimmer as an environment of Gymnasium.

    Observed are the angles of the joints as shares of their limit; an action is one torque for each
    joint, -1 to 1; the reward is the way forward, in body lengths per second.

    Parameters
    ----------
    n_links : int
        Links.
    steps : int
        Actions until an episode is cut off.
    **settings
        Of `Swimmer`.

    Returns
    -------
    gymnasium.Env
        The environment.

    Raises
    ------
    MissingExtra
        If Gymnasium is not installed.
    """
    gym = require("gymnasium", "embodied")
    swimmer = Swimmer(n_links, **settings)
    joints = n_links - 1

    class SwimmerEnv(gym.Env):  # type: ignore[name-defined]
        metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
        observation_space = gym.spaces.Box(-1.0, 1.0, (joints,), np.float64)
        action_space = gym.spaces.Box(-1.0, 1.0, (joints,), np.float64)
        time = 0

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[Float[np.ndarray, " joint"], dict[str, Any]]:
            super().reset(seed=seed)
            self.time = 0
            return swimmer.reset(1, seed=int(self.np_random.integers(2**31)))[0], {}

        def step(
            self, action: Float[np.ndarray, " joint"]
        ) -> tuple[Float[np.ndarray, " joint"], float, bool, bool, dict[str, Any]]:
            before = swimmer.centre[0, 0]
            angles = swimmer.step(np.asarray(action, dtype=float)[None])[0]
            self.time += 1
            forward = (before - swimmer.centre[0, 0]) / (swimmer.dt * swimmer.n_links)
            return angles, float(forward), False, self.time >= steps, {}

    env: Env[Any, Any] = SwimmerEnv()
    return env
