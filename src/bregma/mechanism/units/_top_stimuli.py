"""What drives units: their strongest stimuli, and the region in each that does."""

from __future__ import annotations

from collections.abc import Sequence
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
from bregma.system._preprocess import as_stimuli

if TYPE_CHECKING:
    import plotly.graph_objects as go


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
