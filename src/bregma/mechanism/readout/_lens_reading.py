"""Lenses: what the model's own head reads out of the stream at each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor

from bregma._style import PALETTE, styled_figure
from bregma.errors import InvalidArgument
from bregma.evidence import Evidence
from bregma.mechanism._means import student_half
from bregma.mechanism._null_test import null_test
from bregma.mechanism.circuits._effects import nothing_learned

if TYPE_CHECKING:
    import plotly.graph_objects as go

Answers = Float[Tensor, "batch place answer"]
# From log-probabilities at a layer, those at the last one, and which inputs these are.
Keep = Callable[[Answers, Answers, slice], Any]
Read = Callable[[slice, Keep], list[list[Any]]]


@dataclass(frozen=True, eq=False)
class Lens:
    """What is read at each layer, for each input.

    Layer ``i`` is the stream before layer ``i`` of the model: 0 is the embedding, and the last one
    is the model's own answer.

    Parameters
    ----------
    values : Dataset
        Over (input, layer), and (token) where these were asked for: ``kl`` to the model's answer
        and ``entropy``, in nats; ``best``, the most probable answer; ``probability`` and ``rank``
        of the target, where 1 is the first.
    targets : array (input,) or (input, token)
        The targets.
    method : str
        What was done, in words.
    model : Any
        The network.
    read : callable
        ``read(rows, keep)`` gives, for each batch and each layer, what `keep` takes from the
        log-probabilities (input, token, answer): of one layer at a time, as they are large.
    for_twin : callable
        The same of another network, with a lens of its own.
    """

    values: xr.Dataset
    targets: Int[np.ndarray, ...]
    method: str
    model: Any = field(repr=False)
    read: Read = field(repr=False)
    for_twin: Callable[[Any], Read] = field(repr=False)

    def distribution(self, row: int) -> xr.DataArray:
        """Probabilities of all answers for one input.

        Parameters
        ----------
        row : int
            Which input.

        Returns
        -------
        DataArray (layer, token, answer)
            They sum to 1 over answers; without tokens where these were not asked for.

        Raises
        ------
        InvalidArgument
            There is no such input.
        """
        if not 0 <= row < len(self.targets):
            raise InvalidArgument(f"there is no input {row}; they are 0 to {len(self.targets) - 1}")
        [each] = self.read(slice(row, row + 1), lambda log_p, *_: log_p[0].exp().cpu().numpy())
        found = np.stack(each)
        if "token" not in self.values.dims:
            return xr.DataArray(found[:, 0], dims=("layer", "answer"))
        return xr.DataArray(found, dims=("layer", "token", "answer"))

    def to_frame(self, level: float = 0.95) -> pd.DataFrame:
        """A row for each layer (and token): means over inputs.

        Parameters
        ----------
        level : float
            Of the interval of the mean divergence (Student).

        Returns
        -------
        DataFrame
            ``kl``, ``low``, ``high``, ``entropy``, ``probability`` and ``rank`` of the target, and
            ``first``: how often it is the most probable answer.

        Raises
        ------
        InvalidArgument
            A level outside (0, 1).
        """
        half = student_half(self.values["kl"].values, level)
        mean = self.values[["entropy", "probability", "rank"]].mean("input")
        first = (self.values["rank"] == 1).mean("input")
        middle = self.values["kl"].mean("input")
        table = mean.assign(kl=middle, low=middle - half, high=middle + half, first=first)
        names = [*table.dims, "kl", "low", "high", "entropy", "probability", "rank", "first"]
        return table.to_dataframe().reset_index()[names]

    def evidence(self, *, n: int = 99, seed: int, level: float = 0.95) -> Evidence:
        """Whether targets are read before the last layer better than in twins that learned nothing.

        The score is the mean probability of the target at the layer where it is largest, before
        the last one; winners are compared with winners. Targets stay those of the trained model,
        and a tuned lens is trained anew for each twin.

        Parameters
        ----------
        n : int
            How many twins, and exchanges of targets among inputs.
        seed : int
            Of what is random.
        level : float
            Of the interval.

        Returns
        -------
        Evidence
            `null` exchanges targets, `system_null` draws the weights of the model anew.

        Raises
        ------
        NotIdentifiable
            Too few twins or inputs for the level.
        """
        # Targets change places among inputs, so that a place needs the answers that it has in any.
        columns = self.targets.reshape(len(self.targets), -1).T
        each = [np.unique(column, return_inverse=True) for column in columns]
        most = max(len(answers) for answers, _ in each)
        wanted = torch.as_tensor(np.stack([np.resize(answers, most) for answers, _ in each]))
        which = np.stack([number for _, number in each], 1)  # (input, place)

        def probability_of_target(
            found: Float[np.ndarray, "input layer place answer"], rows: Any
        ) -> Float[np.ndarray, " layer"]:
            own = np.take_along_axis(found, rows[:, None, :, None], -1)
            return own[..., 0].mean(axis=(0, 2))

        def probabilities_of_targets(log_p: Answers, *_: Any) -> Tensor:
            at = wanted.to(log_p.device).expand(len(log_p), -1, -1)
            return log_p.gather(-1, at).exp().double().cpu()

        def read(model: Any, _: Any) -> np.ndarray:
            own = self.read if model is self.model else self.for_twin(model)
            found = own(slice(None), probabilities_of_targets)
            # All but the last layer, which is the answer itself.
            return torch.cat([torch.stack(layers[:-1], 1) for layers in found]).numpy()

        probability_of_target.__name__ = f"largest mean probability of the target: {self.method}"
        return null_test(
            probability_of_target,
            self.model,
            np.arange(len(which)),
            which,
            nulls=nothing_learned,
            trace=read,
            n=n,
            level=level,
            seed=seed,
        )

    def plot(self) -> go.Figure:
        """Divergence from the model's answer by layer, or by layer and token.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.
        """
        import plotly.graph_objects as go

        mean = self.values["kl"].mean("input")
        if mean.ndim == 2:
            bar = {"title": "KL (nats)"}
            figure = go.Figure(go.Heatmap(z=mean.values, colorscale="Viridis", colorbar=bar))
            return styled_figure(figure, height=110 + 26 * len(mean), x="token", y="layer")
        table = self.to_frame()
        bars = {"type": "data", "array": table["high"] - table["kl"]}
        line = {"color": PALETTE[0]}
        figure = go.Figure(go.Scatter(x=table["layer"], y=table["kl"], error_y=bars, line=line))
        return styled_figure(figure, height=320, x="layer", y="KL to the model's answer (nats)")
