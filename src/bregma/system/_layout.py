"""Layouts: which units an activation tensor holds, and how they are named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped
from torch import nn

from bregma.errors import InvalidArgument, UnknownName

# Axis of an activation -> the letter that stands for it in the ids of units.
LETTERS = {"channel": "c", "row": "y", "column": "x", "token": "t", "head": "h", "frame": "z"}
POSITIONS = ("row", "column", "token", "frame")

_FEATURE = ("channel",)
_TOKEN = ("token", "channel")
_LINE = ("channel", "column")
_MAP = ("channel", "row", "column")
_MAP_CHANNELS_LAST = ("row", "column", "channel")
_HEAD = ("head", "token", "channel")
_FILM = ("channel", "frame", "row", "column")
KINDS = {
    (): "feature",
    _FEATURE: "feature",
    _TOKEN: "token",
    _LINE: "line",
    _MAP: "map",
    _MAP_CHANNELS_LAST: "map",
    _HEAD: "head",
    _FILM: "film",
    ("head", "channel"): "head",
}
_LINE_MODULES = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AvgPool1d)
_LAST_AXIS_MODULES = (nn.Linear, nn.LayerNorm)
# Names under which attention modules keep the projection whose input is the heads side by side.
_AFTER_HEADS = ("proj", "out_proj", "o_proj", "c_proj", "out_lin", "wo")


@dataclass(frozen=True)
class Layout:
    """Units of one layer: the axes of its activation behind the first (stimulus) axis.

    Parameters
    ----------
    layer : str
        Name of the layer: the text of its site.
    axes : tuple of str
        What each axis is: ``channel``, ``row``, ``column``, ``token``, ``head`` or ``frame``.
    shape : tuple of int
        Length of each axis.
    n_heads : int, optional
        Number of heads that lie side by side along the channels.
    """

    layer: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    n_heads: int | None = None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(np.prod(self.shape))

    @property
    def kind(self) -> str:
        """What kind of activation it is: ``feature``, ``map``, ``token``, ``head``, ..."""
        return KINDS[self.axes]

    @cached_property
    def ids(self) -> Shaped[np.ndarray, " unit"]:
        """Names of the units, such as ``"layer1.0.conv2/c12/y3/x7"``."""
        names = [self.layer]
        for axis, length in zip(self.axes, self.shape, strict=True):
            parts = [f"/{LETTERS[axis]}{i}" for i in range(length)]
            names = [name + part for name in names for part in parts]
        return np.array(names)

    @cached_property
    def positions(self) -> dict[str, Int[np.ndarray, " unit"]]:
        """Where each unit lies: one index for each of its axes, and in which head."""
        grid = np.indices(self.shape).reshape(len(self.shape), self.n_units)
        columns = dict(zip(self.axes, grid, strict=True))
        columns.setdefault("channel", np.zeros(self.n_units, dtype=int))
        if self.n_heads is not None:
            n_channels = self.shape[self.axes.index("channel")]
            columns["head"] = columns["channel"] * self.n_heads // n_channels
        return columns

    def find(self, units: Any) -> Int[np.ndarray, " selected"]:
        """Indices of the units that a selection means.

        Parameters
        ----------
        units : None, mapping, or sequence of str
            All; those at some positions (``{"channel": [3, 5], "row": slice(0, 4)}``, both ends
            of a slice included); or those with these ids, in their order. An id without some of
            its parts means all units that have the rest: ``"conv1/c3"`` is the channel. Ids of
            other layers are passed over.

        Returns
        -------
        array of int
            Indices along the flattened axes.

        Raises
        ------
        UnknownName
            There is no such position or id; the message has the nearest ones.
        """
        if units is None:
            return np.arange(self.n_units)
        if isinstance(units, Mapping):
            return self._at(units)
        found = [self._named(unit) for unit in units if self.owns(unit)]
        index = np.concatenate(found) if found else np.arange(0)
        if len(np.unique(index)) < len(index):
            raise InvalidArgument(f"units of {self.layer!r} are selected more than once")
        return index

    def owns(self, unit: str) -> bool:
        """Whether an id is one of this layer, which need not have such a unit.

        Parameters
        ----------
        unit : str
            The id.

        Returns
        -------
        bool
            True where it begins with the name of the layer.
        """
        rest = unit.removeprefix(self.layer)
        return unit.startswith(self.layer) and re.fullmatch(r"(/[a-z]\d+)*", rest) is not None

    def _at(self, where: Mapping[str, Any]) -> Int[np.ndarray, " selected"]:
        positions = self.positions
        keep = np.ones(self.n_units, dtype=bool)
        for name, wanted in where.items():
            if name not in positions:
                raise UnknownName.of(f"position of units in {self.layer!r}", name, positions)
            here, top = positions[name], int(positions[name].max())
            if isinstance(wanted, slice):
                first = 0 if wanted.start is None else wanted.start
                last = top if wanted.stop is None else wanted.stop
                fits = (here >= first) & (here <= last)
            else:
                numbers = np.atleast_1d(np.asarray(wanted))
                outside = [n for n in numbers.tolist() if not 0 <= n <= top]
                if outside:
                    raise UnknownName(
                        f"there is no {name} {outside[0]} in {self.layer!r}; they are 0 to {top}"
                    )
                fits = np.isin(here, numbers)
            keep &= fits
        if not keep.any():
            raise InvalidArgument(f"no unit of {self.layer!r} lies at {dict(where)!r}")
        return np.flatnonzero(keep)

    def _named(self, unit: str) -> Int[np.ndarray, " selected"]:
        known = self.axes if self.n_heads is None else (*self.axes, "head")
        letters = {LETTERS[axis]: axis for axis in known}
        parts = re.findall(r"/([a-z])(\d+)", unit.removeprefix(self.layer))
        try:
            where = {letters[letter]: int(number) for letter, number in parts}
            if tuple(where) == self.axes:  # one unit: no need to look at all of them
                return np.array([np.ravel_multi_index(tuple(where.values()), self.shape)])
            return self._at(where)
        except (KeyError, ValueError):  # another letter, an index outside (UnknownName included)
            first, last = (
                "/".join(
                    [self.layer, *(f"{LETTERS[a]}{i}" for a, i in zip(self.axes, at, strict=True))]
                )
                for at in ([0] * len(self.shape), [n - 1 for n in self.shape])
            )
            raise UnknownName(
                f"there is no unit {unit!r}; those of {self.layer!r} go from {first!r} to {last!r}"
            ) from None

    def reduced(self) -> Layout:
        """The layout when positions (rows, columns, tokens, frames) are averaged away."""
        kept = [i for i, axis in enumerate(self.axes) if axis not in POSITIONS]
        axes, shape = tuple(self.axes[i] for i in kept), tuple(self.shape[i] for i in kept)
        return Layout(self.layer, axes, shape, self.n_heads)

    @property
    def position_axes(self) -> tuple[int, ...]:
        """Axes of the activation tensor (stimuli are axis 0) that are positions."""
        return tuple(i + 1 for i, axis in enumerate(self.axes) if axis in POSITIONS)


def layout_of(
    layer: str, shape: Sequence[int], module: nn.Module | None = None, heads: int | None = None
) -> Layout:
    """Layout of an activation, from its shape and from what made it.

    (stimulus, channel) are features, (stimulus, token, channel) are tokens, (stimulus, channel,
    row, column) are maps, (stimulus, channel, frame, row, column) films. Layers that work on the
    last axis (`Linear`, `LayerNorm`) have maps of (row, column, channel), layers of one dimension
    (`Conv1d`) have (channel, column), and attention modules (head, token, channel).

    Parameters
    ----------
    layer : str
        Name of the layer.
    shape : sequence of int
        Shape of the activation, stimuli first.
    module : torch.nn.Module, optional
        What gave it.
    heads : int, optional
        Number of heads of the attention module to which it belongs.

    Returns
    -------
    Layout
        The layout.

    Raises
    ------
    InvalidArgument
        More axes than there are names for.
    """
    inner = tuple(shape[1:])
    if len(inner) == 2 and isinstance(module, _LINE_MODULES):
        return Layout(layer, _LINE, inner)
    if len(inner) == 3 and heads is not None and heads == inner[0]:
        return Layout(layer, _HEAD, inner)
    if len(inner) == 3 and isinstance(module, _LAST_AXIS_MODULES):
        return Layout(layer, _MAP_CHANNELS_LAST, inner)
    axes = {0: (), 1: _FEATURE, 2: _TOKEN, 3: _MAP, 4: _FILM}.get(len(inner))
    if axes is None:
        raise InvalidArgument(
            f"layer {layer!r} gives the shape {tuple(shape)}: too many axes to name its units; "
            "bring it to (stimulus, unit) with reduce=, a function of the tensor"
        )
    side_by_side = (
        heads is not None
        and bool(inner)
        and layer.removesuffix(".input").rpartition(".")[2] in _AFTER_HEADS
        and layer.endswith(".input")
        and inner[-1] % heads == 0
        and len(inner) <= 2
    )
    return Layout(layer, axes, inner, heads if side_by_side else None)


def unit_names(layouts: Iterable[Layout]) -> list[str]:
    """Names of the columns that `unit_columns` makes.

    Parameters
    ----------
    layouts : iterable of Layout
        The layouts, in their order.

    Returns
    -------
    list of str
        The names.
    """
    layouts = list(layouts)
    places = {axis for layout in layouts for axis in layout.axes}
    if any(layout.n_heads is not None for layout in layouts):
        places.add("head")
    rest = [axis for axis in LETTERS if axis != "channel" and axis in places]
    return ["unit", "layer", "kind", "channel", *rest]


def unit_columns(layouts: Iterable[Layout]) -> dict[str, Shaped[np.ndarray, " unit"]]:
    """Columns of the table of units over several layers.

    Parameters
    ----------
    layouts : iterable of Layout
        The layers, in their order.

    Returns
    -------
    dict of array
        ``unit`` (ids), ``layer``, ``kind``, ``channel``, and those of ``row``, ``column``,
        ``token``, ``head`` and ``frame`` that apply to some layer (NaN in the others).
    """
    layouts = list(layouts)
    tables = [layout.positions for layout in layouts]
    columns: dict[str, Any] = {
        "unit": np.concatenate([layout.ids for layout in layouts]),
        "layer": np.repeat([lay.layer for lay in layouts], [lay.n_units for lay in layouts]),
        "kind": np.repeat([lay.kind for lay in layouts], [lay.n_units for lay in layouts]),
        "channel": np.concatenate([table["channel"] for table in tables]),
    }
    for name in unit_names(layouts)[len(columns) :]:
        columns[name] = np.concatenate(
            [
                table.get(name, np.full(layout.n_units, np.nan)).astype(float)
                for layout, table in zip(layouts, tables, strict=True)
            ]
        )
    return columns
