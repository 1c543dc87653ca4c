"""Feature visualisation: images that drive a unit, made by gradient ascent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bregma._style import figure_label, styled_figure
from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism.units._image_models import FourierImages
from bregma.mechanism.units._unit_activity import Images, UnitActivity, differentiable
from bregma.run import progress as show_progress
from bregma.run import spawn_torch
from bregma.system._quiet import undisturbed

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Visualization:
    """Images made for a unit, beside what they were made from.

    Parameters
    ----------
    unit : str
        The unit.
    images, starts : Tensor (image, channel, row, column)
        What ascent ended at and started from.
    activations, start_activations : array (image,)
        The unit's activity for both: a start that already drives the unit needs no ascent.
    trace : array (step, image)
        The activity on the way, of images as jittered.
    """

    unit: str
    images: Images
    starts: Images
    activations: Float[np.ndarray, " image"]
    start_activations: Float[np.ndarray, " image"]
    trace: Float[np.ndarray, "step image"] = field(repr=False)

    def plot(self) -> go.Figure:
        """The images below their starts, with the activity of the unit.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.
        """
        from plotly.subplots import make_subplots

        rows = (self.starts, self.start_activations), (self.images, self.activations)
        n = len(self.images)
        titles = [f"{value:.3g}" for _, values in rows for value in values]
        figure = make_subplots(2, n, subplot_titles=titles, horizontal_spacing=0.02)
        low, high = float(self.images.min()), float(self.images.max())
        for i, (images, _) in enumerate(rows, start=1):
            for j, image in enumerate(images, start=1):
                figure.add_trace(_drawn(image, low, high), i, j)
        figure = styled_figure(figure, height=360)
        figure.update_xaxes(visible=False)
        figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x")
        title = f"{figure_label(self.unit, 60)}: starts (above), ends, and activity"
        return figure.update_layout(title=title, margin={"t": 70})


def visualize(
    system: Any,
    unit: str,
    *,
    starts: Any = None,
    shape: tuple[int, int, int] | None = None,
    n: int = 1,
    model: Callable[[Images, float, float], Any] = FourierImages,
    steps: int = 256,
    rate: float = 0.05,
    jitter: int = 4,
    penalty: Callable[[Images], Tensor] | None = None,
    centred: tuple[float, float] | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    prepare: Callable[[Images], Any] | None = None,
    progress: bool = False,
    seed: int,
) -> Visualization:
    r"""Images that drive a unit, by gradient ascent on :math:`a_u(x) - R(x)` with Adam.

    Parameters
    ----------
    system : TorchSystem or torch.nn.Module
        The network; it stays as it is.
    unit : str
        Such as ``"layer3.0.conv2/c7"`` (a channel: the mean over all places), ``"fc/c3"``, or
        ``"conv1/c2/y5/x5"`` (one place of it). Sites are written as in `TorchSystem`.
    starts : Tensor or array (image, channel, row, column), optional
        Where ascent starts, one image from each: `Facets.means` gives one for each facet.
    shape : (channel, row, column), optional
        Of images that start from noise, where there are no starts.
    n : int
        How many images start from noise.
    model : callable
        ``model(starts, low, high)`` makes the parameters: `FourierImages` or `PixelImages`.
    steps : int
        Of ascent.
    rate : float
        Learning rate.
    jitter : int
        Each step sees the images shifted by up to that many pixels, at random (they wrap around).
    penalty : callable, optional
        R: of images (image, channel, row, column), one number for each; see `total_variation`.
    centred : (float, float), optional
        Weighs the gradient by a Gaussian around the centre, whose standard deviation widens from
        the first to the second share of the image over the steps: one object, not many copies.
    limits : (low, high)
        Of pixels.
    prepare : callable, optional
        Images to what the module is called with, differentiable. Not needed for a module that takes
        images between the limits, nor for a system with the preprocessing of `ImageInput`.
    progress : bool
        Show a bar where stderr is a terminal.
    seed : int
        Of noise and jitter.

    Returns
    -------
    Visualization
        Images, starts, and the activity of the unit for both.

    Raises
    ------
    InvalidArgument
        If a number is out of range, there are neither starts nor a shape, or images cannot be
        prepared.
    NotIdentifiable
        If the unit is silent at the starts, so that there is no direction to go.
    UnknownName
        If there is no such site or unit; the message has the nearest names.

    References
    ----------
    Erhan et al. (2009), Visualizing higher-layer features of a deep network.
    Nguyen, Yosinski and Clune (2016), Multifaceted feature visualization.
    Olah, Mordvintsev and Schubert (2017), Feature visualization.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU())
    >>> made = visualize(net, "1/c2", shape=(1, 12, 12), steps=30, jitter=1, seed=0)
    >>> made.images.shape, bool(made.activations > made.start_activations)
    (torch.Size([1, 1, 12, 12]), True)
    """
    low, high = limits
    if steps < 1 or jitter < 0 or n < 1 or not rate > 0 or not low < high:
        raise InvalidArgument(
            f"steps and n must be 1 or more, jitter 0 or more, the rate positive and limits "
            f"ascending, not {steps}, {n}, {jitter}, {rate} and {limits}"
        )
    if centred is not None and not 0 < centred[0] <= centred[1]:
        raise InvalidArgument(f"centred={centred} must be two ascending shares above 0")
    module, prepare = differentiable(system, prepare)
    where = next((p.device for p in module.parameters()), torch.device("cpu"))
    generator = spawn_torch(seed, "visualize")
    start = _starts(starts, shape, n, low, high, generator).to(where)
    with undisturbed(module, seed):
        activity = UnitActivity(module, unit, prepare, start)
        before = activity(start)
    made = model(start, low, high)
    adam = torch.optim.Adam(made.parameters(), lr=rate)
    trace = []
    with (
        undisturbed(module, seed),
        torch.enable_grad(),
        show_progress[Any](what=f"ascent of {unit}", total=steps, show=progress) as bar,
    ):
        for step in range(steps):
            images = made()
            if centred is not None:
                window = _window(images, centred, step / max(steps - 1, 1))
                images.register_hook(lambda slope, window=window: slope * window)
            shift = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
            reached = activity(images.roll(shift, (2, 3)))
            if step == 0:  # the unit's own gradient: a penalty has one everywhere
                [slope] = torch.autograd.grad(reached.sum(), images, retain_graph=True)
                if not slope.any():
                    raise NotIdentifiable(
                        f"{unit!r} has no gradient at the starts: it is silent there. Take the "
                        "site before its nonlinearity, or starts that drive it"
                    )
            aim = reached.sum() - (0.0 if penalty is None else penalty(images).sum())
            slopes = torch.autograd.grad(-aim, list(made.parameters()))
            for parameter, slope in zip(made.parameters(), slopes, strict=True):
                parameter.grad = slope
            adam.step()
            made.project()
            trace.append(reached.detach())
            bar.advance()
    images = made().detach()
    with undisturbed(module, seed):
        after = activity(images)
    return Visualization(
        unit, images.cpu(), start.cpu(), _numbers(after), _numbers(before),
        _numbers(torch.stack(trace)),
    )  # fmt: skip


def _starts(
    starts: Any, shape: Any, n: int, low: float, high: float, generator: torch.Generator
) -> Images:
    if starts is None:
        if shape is None:
            raise InvalidArgument("give starts=, or the shape= (channel, row, column) of images")
        noise = 0.1 * torch.randn(n, *shape, generator=generator)
        return (low + (high - low) * (0.5 + noise)).clamp(low, high)
    images = torch.as_tensor(starts).detach().float()
    if images.ndim != 4 or not len(images) or not images.isfinite().all():
        raise InvalidArgument(
            "starts must be finite images of shape (image, channel, row, column), not "
            f"{tuple(images.shape)}"
        )
    if images.min() < low or images.max() > high:
        raise InvalidArgument(
            f"starts from {images.min():.3g} to {images.max():.3g} leave the limits {low:g} to "
            f"{high:g}: give limits="
        )
    return images


def _window(images: Images, centred: tuple[float, float], share: float) -> Tensor:
    """Gaussian around the centre."""
    width = centred[0] + (centred[1] - centred[0]) * share
    rows, columns = (
        torch.linspace(-0.5, 0.5, size, device=images.device) for size in images.shape[2:]
    )
    return torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * width**2))


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def _drawn(image: Float[Tensor, "channel row column"], low: float, high: float) -> Any:
    import plotly.graph_objects as go

    shade = ((image - low) / max(high - low, 1e-12)).clamp(0, 1).numpy()
    if len(shade) == 3:
        return go.Image(z=(255 * shade.transpose(1, 2, 0)).round())
    return go.Heatmap(z=shade.mean(0), colorscale="Greys_r", zmin=0, zmax=1, showscale=False)
