"""From movies to optic flow: V1 energy, MT integration, and a read-out of velocity."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.vision._divisive_normalisation import DivisiveNormalisation
from bregma.vision._motion_energy import MotionEnergy
from bregma.vision._motion_integration import MotionIntegration, Responses
from bregma.vision._second_order import SecondOrderMotion

Movies = Float[Tensor, "movie frame row column"]
Activities = Float[Tensor, "iteration movie unit place_y place_x"]
Flows = Float[Tensor, "iteration movie 2 place_y place_x"]


def endpoint_error(
    flow: Float[Tensor, "*any 2 row column"], target: Float[Tensor, "*any 2 row column"]
) -> Float[Tensor, "*any row column"]:
    """Distance between two velocities at every place.

    Parameters
    ----------
    flow, target : Tensor (..., 2, row, column)
        Velocities (to the right, down) in pixels per frame.

    Returns
    -------
    Tensor (..., row, column)
        Pixels per frame.
    """
    # the square root has no derivative at 0
    return ((flow - target).square().sum(-3) + 1e-8).sqrt()


def sequence_loss(
    flows: Flows, target: Float[Tensor, "movie 2 place_y place_x"], gamma: float = 0.8
) -> Float[Tensor, ""]:
    """End-point error of all iterations; earlier ones count less.

    Parameters
    ----------
    flows : Tensor (iteration, movie, 2, place_y, place_x)
        Estimates.
    target : Tensor (movie, 2, place_y, place_x)
        True flow.
    gamma : float
        Weight of an iteration relative to the next one.

    Returns
    -------
    Tensor
        Weighted mean, in pixels per frame.

    Raises
    ------
    InvalidArgument
        If gamma is not above 0 and at most 1.
    """
    if not 0 < gamma <= 1:
        raise InvalidArgument(f"gamma must be above 0 and at most 1, not {gamma}")
    age = torch.arange(len(flows), device=flows.device).flip(0)
    errors = endpoint_error(flows, target.expand_as(flows)).mean((1, 2, 3))
    return (gamma**age * errors).sum() / (gamma**age).sum()


class MotionFlow(nn.Module):
    """Optic flow from luminance, as V1 and MT may see it.

    Parameters
    ----------
    energy : MotionEnergy
        The V1 stage, with one channel.
    integration : MotionIntegration
        The MT stage, for as many units as V1 has over all scales.

    References
    ----------
    Sun et al. (2023), Modeling human visual motion processing with trainable motion energy
    sensing and a self-attention network.

    Examples
    --------
    >>> v1 = MotionEnergy(units=8, scales=2, coarsest=2.0)
    >>> model = MotionFlow(v1, MotionIntegration(16, iterations=3))
    >>> model(torch.rand(1, 11, 32, 32)).shape
    torch.Size([3, 1, 2, 4, 4])
    """

    def __init__(self, energy: MotionEnergy, integration: MotionIntegration) -> None:
        super().__init__()
        self.energy, self.integration = energy, integration
        self.normalise = DivisiveNormalisation()
        self.decode = nn.Conv2d(integration.features.out_channels, 2, 1)

    def v1(self, movie: Movies) -> Responses:
        """Normalised motion energy.

        Parameters
        ----------
        movie : Tensor (movie, frame, row, column)
            Grey levels, around 0 to 1.

        Returns
        -------
        Tensor (movie, unit, place_y, place_x)
            Responses of V1 units.
        """
        return self.normalise(self.energy(movie[:, None]))

    def mt(self, v1: Responses) -> Activities:
        """What the MT units do with it.

        Parameters
        ----------
        v1 : Tensor (movie, unit, place_y, place_x)
            Responses of V1 units.

        Returns
        -------
        Tensor (iteration, movie, unit, place_y, place_x)
            Responses of MT units after every iteration.
        """
        return self.integration(v1)

    def read_out(self, mt: Activities) -> Flows:
        """Velocity as a weighted sum of MT responses.

        Parameters
        ----------
        mt : Tensor (iteration, movie, unit, place_y, place_x)
            Responses of MT units.

        Returns
        -------
        Tensor (iteration, movie, 2, place_y, place_x)
            Velocity (to the right, down) in pixels per frame.
        """
        return self.decode(mt.flatten(0, 1)).unflatten(0, mt.shape[:2])

    def forward(self, movie: Movies) -> Flows:
        """Estimate flow.

        Parameters
        ----------
        movie : Tensor (movie, frame, row, column)
            Grey levels, around 0 to 1.

        Returns
        -------
        Tensor (iteration, movie, 2, place_y, place_x)
            Velocity (to the right, down) in pixels per frame; the last iteration is the answer.
        """
        return self.read_out(self.mt(self.v1(movie)))


class DualPathFlow(MotionFlow):
    """Optic flow from luminance and from texture: two paths that meet before integration.

    The energies of both paths are fused by two layers of 1 x 1 convolutions and a square. The first
    path is detached there: it learns only through its own flow, `first_order`.

    Parameters
    ----------
    energy : MotionEnergy
        The first-order path, with one channel.
    second : SecondOrderMotion
        The second-order path, on the same grid.
    integration : MotionIntegration
        The MT stage, for as many units as `energy` has over all scales.

    References
    ----------
    Sun et al. (2025), Machine learning modelling for multi-order human visual motion processing.
    """

    def __init__(
        self, energy: MotionEnergy, second: SecondOrderMotion, integration: MotionIntegration
    ) -> None:
        super().__init__(energy, integration)
        self.second = second
        units = energy.angle.numel()
        both = units + second.energy.angle.numel()
        self.normalise_second = DivisiveNormalisation()
        self.fuse = nn.Sequential(nn.Conv2d(both, both, 1), nn.ReLU(), nn.Conv2d(both, units, 1))

    def sense(self, movie: Movies) -> Responses:
        """Normalised energies of both paths, before they meet.

        Parameters
        ----------
        movie : Tensor (movie, frame, row, column)
            Grey levels, around 0 to 1.

        Returns
        -------
        Tensor (movie, unit, place_y, place_x)
            Units of the first path, detached, then those of the second one.
        """
        second = self.normalise_second(self.second(movie[:, None]))
        return torch.cat([self.v1(movie).detach(), second], 1)

    def estimate(self, sensed: Responses) -> Flows:
        """Fuse the paths, integrate, and read the flow out.

        Parameters
        ----------
        sensed : Tensor (movie, unit, place_y, place_x)
            From `sense`.

        Returns
        -------
        Tensor (iteration, movie, 2, place_y, place_x)
            Velocity (to the right, down) in pixels per frame.
        """
        return self.read_out(self.mt(self.fuse(sensed).square()))

    def first_order(self, movie: Movies) -> Flows:
        """Flow from the first path alone, for its auxiliary loss.

        Parameters
        ----------
        movie : Tensor (movie, frame, row, column)
            Grey levels, around 0 to 1.

        Returns
        -------
        Tensor (iteration, movie, 2, place_y, place_x)
            Velocity (to the right, down) in pixels per frame.
        """
        return super().forward(movie)

    def forward(self, movie: Movies) -> Flows:
        return self.estimate(self.sense(movie))
