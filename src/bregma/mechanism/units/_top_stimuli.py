"""What drives a unit: its strongest stimuli, and the region in each that does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch.nn import functional as F

from bregma._style import figure_label, styled_figure
from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.units._exemplars import Exemplars
from bregma.mechanism.units._positions import Group, grouped
from bregma.mechanism.units._upper_quantile import UpperQuantile
from bregma.recording import Recording, Stimuli
from bregma.run import progress as show_progress
from bregma.system import System
from bregma.system._preprocess import as_stimuli

if TYPE_CHECKING:
    import plotly.graph_objects as go

PIECE = 256  # presentations of a recording that are read at once


@dataclass(frozen=True)
class TopStimuli:
    """The stimuli that drive each unit most, strongest first.

    Parameters
    ----------
    units : DataFrame
        The units, by id; a channel of a map is one unit.
    rows : array of int (unit, rank)
        Which stimuli they are: rows of what was shown.
    stimuli : array (unit, rank)
        Their labels.
    activations : array (unit, rank)
        The unit's largest activity in each, over all places.
    thresholds : array (unit,)
        The unit's high quantile over all stimuli and places.
    level : float
        Which quantile.
    maps : sequence of (array (rank, ...) or None)
        The unit's activity at each place in each stimulus; None where it has no places.
    """

    units: pd.DataFrame
    rows: Int[np.ndarray, "unit rank"]
    stimuli: np.ndarray
    activations: Float[np.ndarray, "unit rank"]
    thresholds: Float[np.ndarray, " unit"]
    level: float
    maps: Sequence[Any] = field(repr=False)

    def __len__(self) -> int:
        return len(self.units)

    def index(self, unit: str) -> int:
        """Number of a unit.

        Parameters
        ----------
        unit : str
            Its id.

        Returns
        -------
        int
            Its row in `units`.

        Raises
        ------
        UnknownName
            No such unit; the message has the nearest ids.
        """
        found = np.flatnonzero(self.units.index.astype(str) == str(unit))
        if not len(found):
            raise UnknownName.of("unit", unit, self.units.index)
        return int(found[0])

    def masks(self, unit: str, size: tuple[int, int] | None = None) -> Bool[np.ndarray, "rank ..."]:
        """Where a unit is above its threshold, in each of its stimuli.

        Parameters
        ----------
        unit : str
            Its id.
        size : (rows, columns), optional
            Of the images: the map is interpolated to it (bilinear), then cut. Without it the
            places are those of the unit.

        Returns
        -------
        array of bool (rank, ...)
            The region. A unit without places has the whole stimulus.

        Raises
        ------
        InvalidArgument
            Of a unit whose places are no rows and columns, regions of images were asked for.
        """
        i = self.index(unit)
        found = self.maps[i]
        if found is None:
            return np.ones((self.rows.shape[1], *(size or ())), dtype=bool)
        if size is not None:
            if found.ndim != 3:
                raise InvalidArgument(
                    f"places of {unit!r} have the shape {found.shape[1:]}: no rows and columns of "
                    "an image; leave size= out"
                )
            wide = torch.from_numpy(np.array(found, dtype=np.float32))[:, None]
            wide = F.interpolate(wide, size, mode="bilinear", align_corners=False)
            found = wide[:, 0].numpy()
        return np.asarray(found > self.thresholds[i])

    def exemplars(
        self, stimuli: Any, unit: str, *, n: int | None = None, size: tuple[int, int] | None = None
    ) -> Exemplars:
        """The pictures of a unit with their regions.

        Parameters
        ----------
        stimuli : Stimuli, array or list of image files
            What was shown: images.
        unit : str
            Its id.
        n : int, optional
            How many of the strongest; all of them by default.
        size : (rows, columns), optional
            Resize the pictures to this; needed where they differ in size.

        Returns
        -------
        Exemplars
            Pictures and regions of one size.

        Raises
        ------
        InvalidArgument
            The stimuli are not those that were shown, or no images.
        """
        shown = as_stimuli(stimuli)
        rows = self.rows[self.index(unit)][:n]
        if rows.max() >= len(shown):
            raise InvalidArgument(
                f"stimulus {rows.max()} of {unit!r} is not among the {len(shown)} given ones: "
                "give all that were shown, in their order"
            )
        images = shown[rows.tolist()].images(size)
        return Exemplars(str(unit), images, self.masks(unit, images.shape[1:3])[: len(rows)])

    def to_frame(self) -> pd.DataFrame:
        """A row for each unit and rank.

        Returns
        -------
        DataFrame
            ``unit``, ``rank`` (from 1), ``stimulus``, ``activation`` and the unit's ``threshold``.
        """
        n_units, k = self.rows.shape
        return pd.DataFrame(
            {
                "unit": np.repeat(self.units.index.to_numpy(), k),
                "rank": np.tile(np.arange(1, k + 1), n_units),
                "stimulus": self.stimuli.ravel(),
                "activation": self.activations.ravel(),
                "threshold": np.repeat(self.thresholds, k),
            }
        )

    def plot(
        self,
        stimuli: Any,
        units: Sequence[str] | None = None,
        *,
        n: int = 8,
        size: tuple[int, int] | None = None,
    ) -> go.Figure:
        """A row of pictures for each unit, dark outside the region that drives it.

        Parameters
        ----------
        stimuli : Stimuli, array or list of image files
            What was shown: images.
        units : sequence of str, optional
            Which ones; the first ten by default.
        n : int
            Pictures of each.
        size : (rows, columns), optional
            Resize the pictures to this; needed where they differ in size.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.
        """
        import plotly.graph_objects as go

        chosen = list(self.units.index[:10] if units is None else units)
        strips = [self.exemplars(stimuli, unit, n=n, size=size).picture(n) for unit in chosen]
        gap = np.full((6, *strips[0].shape[1:]), 255, dtype=np.uint8)
        figure = go.Figure(go.Image(z=np.concatenate([p for s in strips for p in (s, gap)])))
        figure = styled_figure(figure, height=60 + sum(len(strip) + 6 for strip in strips))
        middles = np.cumsum([len(strip) + 6 for strip in strips]) - (len(strips[0]) + 6) / 2
        figure.update_xaxes(visible=False)
        return figure.update_yaxes(
            tickvals=middles.tolist(), ticktext=[figure_label(unit) for unit in chosen],
            showgrid=False, zeroline=False,
        )  # fmt: skip


def top_stimuli(
    source: Any,
    stimuli: Any = None,
    *,
    k: int = 15,
    level: float = 0.99,
    most: int = 100_000,
    batch_size: int = 32,
    progress: bool = False,
    seed: int = 0,
) -> TopStimuli:
    r"""The stimuli that drive each unit most, and where in them.

    A channel of a map (or of tokens) is one unit: its activation by a stimulus is the largest over
    all places, and the region that drives it is where the map, interpolated to the image, exceeds
    the unit's own quantile over all stimuli and places, :math:`P(a > \theta) = 1 - level`. One
    pass; memory holds a batch, the maps of the k best stimuli, and the tail of the quantile.

    Parameters
    ----------
    source : System or Recording
        A system is shown the stimuli, batch by batch. Of a recording of neurons (or of a network)
        repeats are averaged.
    stimuli : Stimuli, array, torch.Tensor or list of image files, optional
        What to show; not needed with a recording.
    k : int
        Stimuli to keep for each unit.
    level : float
        Which quantile makes the threshold.
    most : int
        Numbers of a unit from which its quantile is taken, drawn at random where there are more.
    batch_size : int
        Stimuli at a time.
    progress : bool
        Show a bar where stderr is a terminal.
    seed : int
        Of the draw for quantiles.

    Returns
    -------
    TopStimuli
        Labels, activations, thresholds and maps.

    Raises
    ------
    InvalidArgument
        If k or the level is out of range, stimuli are missing, or a recording has a time axis.

    References
    ----------
    Bau et al. (2017), Network dissection: quantifying interpretability of deep visual
    representations.
    Hernandez et al. (2022), Natural language descriptions of deep visual features.

    Examples
    --------
    >>> from bregma import Recording
    >>> neurons = Recording.from_array([[1.0, 5.0], [4.0, 2.0], [3.0, 0.0]], unit=["a", "b"])
    >>> top_stimuli(neurons, k=2).stimuli.tolist()
    [[1, 2], [0, 1]]
    """
    if k < 1 or not 0 < level < 1 or most < 1 or batch_size < 1:
        raise InvalidArgument(
            f"k, most and batch_size must be 1 or more and the level in (0, 1), not {k}, {most}, "
            f"{batch_size} and {level}"
        )
    if isinstance(source, Recording):
        labels, batches = _of_recording(source)
        images = stimuli is not None and as_stimuli(stimuli).kind == "image"
    elif isinstance(source, System):
        if stimuli is None:
            raise InvalidArgument(f"{source.name!r} is a system: give the stimuli to show it")
        shown = as_stimuli(stimuli)
        labels, images = shown.ids, shown.kind == "image"
        batches = _of_system(source, shown, batch_size)
    else:
        raise InvalidArgument(
            f"a {type(source).__name__} is neither System nor Recording: TorchSystem(module, "
            "layers) or Recording.from_array(values) make one of it"
        )
    k = min(k, len(labels))
    bests: list[_Best] = []
    with show_progress[Any](what="stimuli", total=len(labels), show=progress) as bar:
        for start, part in batches:
            if not bests:
                groups = grouped(part.units, images=images)
                bests = [
                    _Best(group, len(labels), k, level=level, most=most, seed=seed)
                    for group in groups
                ]
            values = part.values.astype(np.result_type(part.values, np.float32), copy=False)
            for best in bests:
                best.add(start, values)
            bar.advance(part.n_presentations)
    rows = np.concatenate([best.rows for best in bests])
    return TopStimuli(
        units=pd.concat([best.group.named for best in bests]),
        rows=rows,
        stimuli=labels[rows],
        activations=np.concatenate([best.peaks for best in bests]),
        thresholds=np.concatenate([best.quantile.value for best in bests]),
        level=level,
        maps=[one for best in bests for one in best.shaped()],
    )


def _of_recording(recording: Recording) -> tuple[Any, Iterator[tuple[int, Recording]]]:
    if recording.has_time:
        raise InvalidArgument(
            "which stimulus drives a unit most depends on when: average over a window first, "
            "recording.mean_time((start, stop))"
        )
    means = recording
    if len(recording.unique_stimuli) < recording.n_presentations:
        means = recording.average_repeats()

    def pieces() -> Iterator[tuple[int, Recording]]:
        for start in range(0, means.n_presentations, PIECE):
            part = means.data.isel(presentation=slice(start, start + PIECE))
            yield start, Recording(part)

    return means.stimuli, pieces()


def _of_system(
    system: System, stimuli: Stimuli, batch_size: int
) -> Iterator[tuple[int, Recording]]:
    for start in range(0, len(stimuli), batch_size):
        part = stimuli[start : start + batch_size]
        _, pieces = _of_recording(system.record(part))
        yield from ((start + first, piece) for first, piece in pieces)


class _Best:
    """The best stimuli of a group of units so far."""

    def __init__(
        self, group: Group, n_stimuli: int, k: int, *, level: float, most: int, seed: int
    ) -> None:
        n_units, n_places = group.columns.shape
        self.group = group
        self.quantile = UpperQuantile(n_stimuli, n_places, level, most=most, seed=seed)
        self.peaks = np.full((n_units, k), -np.inf)
        self.rows = np.full((n_units, k), -1)
        self.maps: Any = np.zeros((n_units, k, n_places), np.float32) if group.shape else None

    def add(self, start: int, values: Float[np.ndarray, "stimulus number"]) -> None:
        here = self.group.take(values)
        self.quantile.add(start, here)
        k, unit = self.peaks.shape[1], np.arange(len(self.peaks))[:, None]
        peaks = np.concatenate([self.peaks, here.max(axis=2).T], axis=1)
        rows = np.broadcast_to(start + np.arange(len(here)), (len(unit), len(here)))
        rows = np.concatenate([self.rows, rows], axis=1)
        order = np.argsort(-peaks, axis=1, kind="stable")[:, :k]  # of equal ones the first shown
        self.peaks, self.rows = peaks[unit, order], rows[unit, order]
        if self.maps is not None:
            kept = self.maps[unit, np.minimum(order, k - 1)]
            new = here[np.maximum(order - k, 0), unit]
            self.maps = np.where((order < k)[..., None], kept, new).astype(np.float32)

    def shaped(self) -> list[Any]:
        """The maps of each unit, place by place."""
        if self.maps is None:
            return [None] * len(self.peaks)
        return list(self.maps.reshape(*self.peaks.shape, *self.group.shape))
