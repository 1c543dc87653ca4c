"""Effects of many changes on one measure, pair by pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from bregma._style import figure_label, styled_figure
from bregma.errors import NotIdentifiable
from bregma.evidence import Evidence
from bregma.mechanism._means import student_half
from bregma.mechanism._null_test import null_test
from bregma.system import CircuitSystem, rewired, untrained

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Effects:
    """What each of many changes does to the measure.

    Parameters
    ----------
    values : DataArray (pair, ...)
        The measure with the change less the one without; dimensions behind the pairs say what was
        changed.
    total : array (pair,)
        The same for the change of everything: what a share of 1 means.
    method : str
        What was done, in words.
    model : Any
        The network.
    again : callable
        The same analysis of another network.
    """

    values: xr.DataArray
    total: Float[np.ndarray, " pair"]
    method: str
    model: Any = field(repr=False)
    again: Callable[[Any], Effects] = field(repr=False)

    @property
    def mean(self) -> xr.DataArray:
        """Mean effects over pairs."""
        return self.values.mean("pair")

    @property
    def share(self) -> xr.DataArray:
        """Mean effects as a share of the mean total; not clipped, may be negative or above 1.

        Raises
        ------
        NotIdentifiable
            The total is not different from 0: the network does not tell the prompts apart.
        """
        total = float(self.total.mean())
        scale = np.abs(self.total).max()
        if abs(total) <= 1e-6 * scale or not scale:
            raise NotIdentifiable(
                "clean and corrupt inputs give the same answers on average, so there is nothing "
                "of which an effect could be a share; use mean, or other pairs"
            )
        return self.mean / total

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """A row for each change, largest effects first.

        Parameters
        ----------
        level : float
            Of the interval of the mean over pairs (Student).

        Returns
        -------
        DataFrame
            What was changed; ``effect``, ``low``, ``high`` and ``share``.

        Raises
        ------
        InvalidArgument
            A level outside (0, 1).
        """
        half = student_half(self.values.transpose("pair", ...).values, level)
        mean, share = self.mean, self.mean / self.total.mean()
        parts = {"effect": mean, "low": mean - half, "high": mean + half, "share": share}
        table = xr.Dataset(parts).to_dataframe().reset_index()
        order = table["effect"].abs().sort_values(ascending=False, kind="stable").index
        return table.loc[order].reset_index(drop=True)

    def evidence(
        self,
        *,
        n: int = 99,
        nulls: Callable[[Any, int], Any] | None = None,
        seed: int,
        level: float = 0.95,
    ) -> Evidence:
        """Whether the largest effect is more than that in networks that learned nothing.

        Parameters
        ----------
        n : int
            How many null networks.
        nulls : callable, optional
            ``nulls(model, seed)`` makes one; by default the weights of a network are drawn anew,
            and other pairs of units of a circuit are connected.
        seed : int
            Of what is random.
        level : float
            Of the interval.

        Returns
        -------
        Evidence
            The score is the largest absolute mean effect, in units of the measure; winners are
            compared with winners.
        """

        def largest(effects: np.ndarray) -> np.ndarray:
            return np.abs(effects.mean(axis=0))

        def effects_of(model: Any, _: Any) -> np.ndarray:
            found = self if model is self.model else self.again(model)
            return found.values.values.reshape(len(self.total), -1)

        largest.__name__ = f"largest effect of: {self.method}"
        return null_test(
            largest,
            self.model,
            np.arange(len(self.total)),
            nulls=nulls or nothing_learned,
            trace=effects_of,
            n=n,
            level=level,
            seed=seed,
        )

    def plot(self) -> go.Figure:
        """A map of shares: one panel of layers against what was changed in them.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.
        """
        import plotly.graph_objects as go

        table = self.share
        while table.ndim > 2:
            table = table.stack({f"{table.dims[1]} × {table.dims[2]}": table.dims[1:3]})
        if table.ndim == 1:
            table = table.expand_dims({"": [""]}, axis=1)
        rows, columns = table.dims
        largest = float(np.abs(table.values).max())
        figure = go.Figure(
            go.Heatmap(
                z=table.values, x=[str(x) for x in table[columns].values],
                y=[str(y) for y in table[rows].values],
                colorscale="RdBu_r", zmid=0, zmin=-largest, zmax=largest,
                colorbar_title="share",
            )
        )  # fmt: skip
        height = 110 + 26 * len(table)
        figure = styled_figure(figure, height=height, x=str(columns), y=str(rows))
        return figure.update_layout(title=figure_label(self.method, 60), margin={"t": 48})


def nothing_learned(model: Any, seed: int) -> Any:
    """The same parts, nothing learned."""
    [twin] = (rewired if isinstance(model, CircuitSystem) else untrained)(model, seeds=seed)
    return twin
