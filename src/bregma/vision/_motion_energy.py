"""Motion energy: quadrature pairs of Gabor filters in space and time, the model of V1."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument

NYQUIST_SHARE = 0.25  # cycles per pixel and per frame: preferences end where aliasing begins
START_SPATIAL = 0.125  # cycles per pixel of the scale
START_TEMPORAL = (0.06, 0.18)  # cycles per frame; neighbouring directions take turns
ENVELOPE = 0.4  # standard deviation in wavelengths

Movie = Float[Tensor, "movie channel frame row column"]
Energy = Float[Tensor, "movie unit place_y place_x"]


class MotionEnergy(nn.Module):
    r"""Energy of trainable spatiotemporal Gabor pairs on a pyramid of scales.

    A unit correlates the movie with a complex Gabor in space and convolves the result with a
    complex, causal exponential in time: the squared size of the outcome is large for one direction
    and speed (temporal over spatial frequency), whatever the phase. Frequencies stay at or below
    0.25 cycles per pixel and per frame. Angles are those of the image: 0 is to the right, pi/2 is
    down, where rows grow.

    Parameters
    ----------
    units : int
        Units at every scale; their directions start evenly around the circle.
    scales : int
        How many sizes of the movie, in equal ratios from 1 to 1 / `coarsest`.
    channels : int
        Channels of the movie; each is read by units / channels units.
    frames : int
        Frames of a movie; the energy is averaged over frames with learned weights.
    taps : int
        Frames that the temporal filters reach back, themselves included.
    radius : int
        Pixels from the middle of a spatial filter to its border.
    coarsest : float
        How much smaller than the movie the last scale is.
    stride : int
        Pixels of each scale from one place of a filter to the next: energy varies so slowly that 2
        loses next to nothing.
    grid : int
        Pixels of the movie to one place of the outcome.

    Raises
    ------
    InvalidArgument
        If a number is too small, or units cannot be shared among channels.

    References
    ----------
    Adelson and Bergen (1985), Spatiotemporal energy models for the perception of motion.
    Sun et al. (2023), Modeling human visual motion processing with trainable motion energy
    sensing and a self-attention network.

    Examples
    --------
    >>> energy = MotionEnergy(units=8, scales=2, coarsest=2.0)
    >>> energy(torch.zeros(1, 1, 11, 32, 32)).shape
    torch.Size([1, 16, 4, 4])
    """

    def __init__(
        self,
        units: int = 32,
        scales: int = 8,
        *,
        channels: int = 1,
        frames: int = 11,
        taps: int = 6,
        radius: int = 7,
        coarsest: float = 16.0,
        stride: int = 1,
        grid: int = 8,
    ) -> None:
        super().__init__()
        if min(units, scales, channels, taps, radius, stride, grid) < 1 or coarsest < 1:
            raise InvalidArgument("units, scales, taps and all other sizes must be 1 or more")
        if frames < taps:
            raise InvalidArgument(f"filters of {taps} frames need movies as long, not {frames}")
        if units % channels:
            raise InvalidArgument(f"{units} units cannot be shared among {channels} channels")
        self.channels, self.frames, self.taps, self.radius = channels, frames, taps, radius
        self.stride, self.grid = stride, grid
        self.shrink = [coarsest ** (s / max(scales - 1, 1)) for s in range(scales)]
        shape = (scales, units)
        angle = torch.arange(units) * (2 * math.pi / units)
        temporal = torch.tensor(START_TEMPORAL)[torch.arange(units) % len(START_TEMPORAL)]
        width = math.log(ENVELOPE / START_SPATIAL)
        self.angle = nn.Parameter(angle.expand(shape).clone())
        self.spatial = nn.Parameter(torch.logit(torch.full(shape, START_SPATIAL / NYQUIST_SHARE)))
        self.temporal = nn.Parameter(torch.logit(temporal / NYQUIST_SHARE).expand(shape).clone())
        self.log_width = nn.Parameter(torch.full(shape, width))
        self.log_aspect = nn.Parameter(torch.zeros(shape))
        self.log_decay = nn.Parameter(torch.full(shape, math.log(taps / 2)))
        self.offset = nn.Parameter(torch.tensor(0.3))
        self.when = nn.Parameter(torch.zeros(frames - taps + 1))

    def preferences(self) -> dict[str, Float[Tensor, " unit"]]:
        """What every unit prefers, in pixels and frames of the movie, in the order of the outcome.

        Returns
        -------
        dict of str to Tensor
            ``direction`` (radians), ``spatial_frequency`` (cycles per pixel),
            ``temporal_frequency`` (cycles per frame) and ``speed`` (pixels per frame).
        """
        shrink = torch.tensor(self.shrink, device=self.angle.device)[:, None]
        spatial = NYQUIST_SHARE * self.spatial.sigmoid() / shrink
        temporal = NYQUIST_SHARE * self.temporal.sigmoid()
        found = {
            "direction": self.angle % (2 * math.pi),
            "spatial_frequency": spatial,
            "temporal_frequency": temporal,
            "speed": temporal / spatial,
        }
        return {name: value.detach().flatten() for name, value in found.items()}

    def space_filters(self, scale: int) -> Float[Tensor, "unit phase row column"]:
        """The spatial Gabor pairs of a scale: cosine and sine, blind to luminance, of unit length.

        Parameters
        ----------
        scale : int
            Which scale, 0 is the finest.

        Returns
        -------
        Tensor (unit, phase, row, column)
            Phase 0 is the cosine.
        """
        at = torch.arange(-self.radius, self.radius + 1, device=self.angle.device)
        y, x = torch.meshgrid(at, at, indexing="ij")
        angle = self.angle[scale, :, None, None]
        across = x * angle.cos() + y * angle.sin()
        along = y * angle.cos() - x * angle.sin()
        width = self.log_width[scale, :, None, None].exp()
        aspect = self.log_aspect[scale, :, None, None].exp()
        envelope = torch.exp(-0.5 * (across**2 + (aspect * along) ** 2) / width**2)
        frequency = NYQUIST_SHARE * self.spatial[scale, :, None, None].sigmoid()
        phase = 2 * math.pi * frequency * across
        cosine = envelope * phase.cos()
        share = cosine.sum((1, 2), keepdim=True) / envelope.sum((1, 2), keepdim=True)
        pair = torch.stack([cosine - share * envelope, envelope * phase.sin()], 1)
        # Together: of equal length each, the two would not be a Gabor any more.
        return pair / pair.pow(2).sum((1, 2, 3), keepdim=True).sqrt()

    def time_filters(self, scale: int) -> Float[Tensor, "unit phase lag"]:
        """The temporal pairs of a scale: cosine and sine under a decay; lag 0 is the present.

        Parameters
        ----------
        scale : int
            Which scale, 0 is the finest.

        Returns
        -------
        Tensor (unit, phase, lag)
            Phase 0 is the cosine.
        """
        lag = torch.arange(self.taps, device=self.angle.device)
        decay = torch.exp(-lag / self.log_decay[scale, :, None].exp())
        phase = 2 * math.pi * NYQUIST_SHARE * self.temporal[scale, :, None].sigmoid() * lag
        pair = torch.stack([decay * phase.cos(), decay * phase.sin()], 1)
        return pair / pair.pow(2).sum((1, 2), keepdim=True).sqrt()

    def forward(self, movie: Movie) -> Energy:
        """Measure motion.

        Parameters
        ----------
        movie : Tensor (movie, channel, frame, row, column)
            Grey levels, around 0 to 1.

        Returns
        -------
        Tensor (movie, scale x unit, place_y, place_x)
            Energy, at least the square of the offset.

        Raises
        ------
        InvalidArgument
            If the movie does not have the channels, frames and size that the units need.
        """
        self._check(movie)
        rows, columns = movie.shape[-2:]
        places = (rows // self.grid, columns // self.grid)
        found = []
        for scale, shrink in enumerate(self.shrink):
            size = (max(1, round(rows / shrink)), max(1, round(columns / shrink)))
            energy = self._energy(_resized(movie.flatten(1, 2), size), scale)
            found.append(_resized(energy, places))
        return torch.cat(found, 1)

    def _energy(self, frames: Float[Tensor, "movie image row column"], scale: int) -> Energy:
        """Even and odd outputs, squared, summed, and averaged over time."""
        edge = [self.radius] * 4
        images = frames.unflatten(1, (self.channels, self.frames)).transpose(1, 2).flatten(0, 1)
        space = self.space_filters(scale)
        seen = F.conv2d(
            F.pad(images, edge, mode="replicate"),  # zeros around would be an edge that stands
            space.flatten(0, 1)[:, None],
            stride=self.stride,
            groups=self.channels,
        )
        n, units, places = len(frames), len(space), seen.shape[-2:]
        # (unit, phase x frame, everything else): time is then one product of matrices
        seen = seen.view(n, self.frames, units, 2, -1).permute(2, 3, 1, 0, 4)
        both = torch.bmm(self._through_time(scale), seen.reshape(units, 2 * self.frames, -1))
        squared = both.square().view(units, 2, -1, n, *places).sum(1)
        mean = torch.einsum("utnyx,t->nuyx", squared, self.when.softmax(0))
        return mean + self.offset**2

    def _through_time(self, scale: int) -> Float[Tensor, "unit out in"]:
        """Convolution in time of (cosine, sine) in space with (cosine, sine) in time.

        With S the spatial and k the temporal outputs: even = Sc*kc - Ss*ks and
        odd = Sc*ks + Ss*kc, the real and imaginary part of a complex product.
        """
        cosine, sine = (self._banded(k) for k in self.time_filters(scale).unbind(1))
        even = torch.cat([cosine, -sine], -1)
        odd = torch.cat([sine, cosine], -1)
        return torch.cat([even, odd], -2)

    def _banded(self, kernel: Float[Tensor, "unit lag"]) -> Float[Tensor, "unit out frame"]:
        """Row t weighs the frames t to t + taps - 1; the last of them is the present."""
        outputs = range(self.frames - self.taps + 1)
        present_last = kernel.flip(-1)
        return torch.stack(
            [F.pad(present_last, (t, self.frames - self.taps - t)) for t in outputs], 1
        )

    def _check(self, movie: Tensor) -> None:
        wanted = (self.channels, self.frames)
        if movie.ndim != 5 or movie.shape[1:3] != wanted or not len(movie):
            raise InvalidArgument(
                f"a movie needs the shape (movie, {wanted[0]}, {wanted[1]}, row, column), not "
                f"{tuple(movie.shape)}"
            )
        if min(movie.shape[-2:]) < self.grid:
            raise InvalidArgument(f"rows and columns must be {self.grid} or more")
        if not movie.isfinite().all():
            raise InvalidArgument("the movie has values that are NaN or infinite")


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, without aliasing where the images shrink."""
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size, mode="bilinear", antialias=True)
