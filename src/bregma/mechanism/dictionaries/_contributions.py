"""What adds to a number that is read from the stream of a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Something that writes to the stream of a transformer.

    Parameters
    ----------
    kind : str
        ``"feature"`` of a transcoder, ``"head"``, ``"embed"``, ``"rest"`` (what a perceptron
        writes beside the features of its transcoder) or ``"bias"``.
    layer, token, index : int
        Where: of a head, the token it reads; the number of the feature or head; -1 for none.
    """

    kind: str
    layer: int = -1
    token: int = -1
    index: int = -1

    def __str__(self) -> str:
        at = "" if self.token < 0 else f" @{self.token}"
        number = "" if self.index < 0 else f" {self.index}"
        return f"{'' if self.layer < 0 else f'{self.layer}.'}{self.kind}{number}{at}"


@dataclass(frozen=True)
class Contributions:
    """What each part adds to a reading.

    Parameters
    ----------
    kind, layer, token, index : array (part,)
        Which part; see `Part`.
    value : array (part,)
        What it adds.
    """

    kind: Shaped[np.ndarray, " part"]
    layer: Int[np.ndarray, " part"]
    token: Int[np.ndarray, " part"]
    index: Int[np.ndarray, " part"]
    value: Float[np.ndarray, " part"]

    @property
    def total(self) -> float:
        """The reading."""
        return float(self.value.sum())

    def largest(self, n: int) -> list[tuple[Part, float]]:
        """Those that add or take away most.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        list of (Part, float)
            The largest first; parts that add nothing are left out.
        """
        order = np.argsort(-np.abs(self.value), kind="stable")[:n]
        parts = (
            Part(str(self.kind[i]), int(self.layer[i]), int(self.token[i]), int(self.index[i]))
            for i in order
        )
        values = map(float, self.value[order])
        return [(part, value) for part, value in zip(parts, values, strict=True) if value != 0]

    def to_frame(self) -> pd.DataFrame:
        """As a table.

        Returns
        -------
        pandas.DataFrame
            One row per part, the largest value first.
        """
        frame = pd.DataFrame({f.name: getattr(self, f.name) for f in fields(self)})
        return frame.sort_values("value", ascending=False, key=abs, ignore_index=True)


def made(
    kind: str, layer: int, token: Any, index: Any, value: Float[Tensor, "*part"]
) -> Contributions:
    """Contributions of parts of one kind in one layer.

    Parameters
    ----------
    kind : str
        As in `Part`.
    layer : int
        Of all of them.
    token, index : int or array (part,)
        Of each, or of all.
    value : Tensor (part,) or ()
        What each adds.

    Returns
    -------
    Contributions
        As many as there are values.
    """
    values = np.atleast_1d(value.detach().cpu().double().numpy())
    layers, tokens, indices = (
        np.broadcast_to(np.asarray(x, dtype=np.int64), values.shape) for x in (layer, token, index)
    )
    return Contributions(np.full(len(values), kind, dtype="U8"), layers, tokens, indices, values)


def joined(parts: Sequence[Contributions]) -> Contributions:
    """Contributions one after another.

    Parameters
    ----------
    parts : sequence of Contributions
        At least one.

    Returns
    -------
    Contributions
        All of them.
    """
    return Contributions(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Contributions))
    )
