"""Second-order motion: first what is there (texture, contrast), then how that moves."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.vision._motion_energy import MotionEnergy, Movie

Features = Float[Tensor, "movie feature frame place_y place_x"]


class SecondOrderMotion(nn.Module):
    """A nonlinear stage of features, then motion energy on each of them.

    Motion of contrast or texture whose luminance has no net motion energy is invisible to any
    linear filter followed by energy; after a nonlinearity it is ordinary motion.

    Parameters
    ----------
    features : Module
        From movies to feature movies: `RectifiedContrast`, `TextureFeatures` or one's own.
    energy : MotionEnergy
        With as many channels as there are features; its grid counts in places of the features.

    References
    ----------
    Chubb and Sperling (1988), Drift-balanced random stimuli: a general basis for studying
    non-Fourier motion perception.
    Sun et al. (2025), Machine learning modelling for multi-order human visual motion processing.
    """

    def __init__(self, features: nn.Module, energy: MotionEnergy) -> None:
        super().__init__()
        self.features, self.energy = features, energy

    def forward(self, movie: Movie) -> Float[Tensor, "movie unit place_y place_x"]:
        """Measure motion of features.

        Parameters
        ----------
        movie : Tensor (movie, channel, frame, row, column)
            Grey levels, around 0 to 1.

        Returns
        -------
        Tensor (movie, unit, place_y, place_x)
            Motion energy.
        """
        return self.energy(self.features(movie))


class RectifiedContrast(nn.Module):
    """Local contrast: distance of a pixel from the mean of its surround; nothing is learned.

    Parameters
    ----------
    rectify : Module, optional
        What follows the subtraction: the absolute value by default. ``nn.Identity()`` makes the
        stage linear, the control without which a nonlinear path shows nothing.
    width : int
        Side of the surround in pixels, odd.

    Raises
    ------
    InvalidArgument
        If the width is even or below 3.
    """

    def __init__(self, rectify: nn.Module | None = None, width: int = 3) -> None:
        super().__init__()
        if width < 3 or not width % 2:
            raise InvalidArgument(f"the surround needs an odd width of 3 or more, not {width}")
        self.rectify = _Absolute() if rectify is None else rectify
        self.surround = nn.AvgPool2d(width, 1, width // 2, count_include_pad=False)

    def forward(self, movie: Movie) -> Features:
        """Measure contrast.

        Parameters
        ----------
        movie : Tensor (movie, channel, frame, row, column)
            Grey levels.

        Returns
        -------
        Tensor (movie, channel, frame, row, column)
            Contrast.
        """
        frames = movie.flatten(1, 2)
        return self.rectify(frames - self.surround(frames)).view_as(movie)


class _Absolute(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


class TextureFeatures(nn.Module):
    """Learned features: a shallow residual network over space and time, then a sigmoid.

    Parameters
    ----------
    features : int
        How many feature movies come out.
    channels : int
        Channels of the movie.
    width : int
        Feature movies inside.
    stride : int
        Pixels to one place of the features; time keeps its frames.

    Raises
    ------
    InvalidArgument
        If one of the numbers is below 1.

    References
    ----------
    Sun et al. (2025), Machine learning modelling for multi-order human visual motion processing.
    """

    def __init__(
        self, features: int, *, channels: int = 1, width: int = 16, stride: int = 2
    ) -> None:
        super().__init__()
        if min(features, channels, width, stride) < 1:
            raise InvalidArgument("features, channels, width and stride must be 1 or more")
        self.stem = nn.Conv3d(channels, width, (1, 5, 5), (1, stride, stride), (0, 2, 2))
        self.residual = nn.Sequential(
            nn.ReLU(), nn.Conv3d(width, width, 3, padding=1), nn.ReLU(), nn.Conv3d(width, width, 1)
        )
        self.out = nn.Conv3d(width, features, 3, padding=1)
        self.normalise = nn.InstanceNorm3d(features, affine=True)  # else sigmoids start flat

    def forward(self, movie: Movie) -> Features:
        """Extract features.

        Parameters
        ----------
        movie : Tensor (movie, channel, frame, row, column)
            Grey levels, around 0 to 1.

        Returns
        -------
        Tensor (movie, feature, frame, place_y, place_x)
            Between 0 and 1.
        """
        seen = self.stem(movie)
        return self.normalise(self.out(torch.relu(seen + self.residual(seen)))).sigmoid()
