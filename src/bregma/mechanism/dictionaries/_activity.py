"""Where the samples of a dictionary come from: systems, recordings, arrays, one's own batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Num

from bregma.errors import InvalidArgument
from bregma.recording import Recording
from bregma.system import System

# What one piece of a stream holds: samples of one activity, of a pair, or of several by name.
Activity = Any
Samples = dict[str, Num[np.ndarray, "sample number"]]
Source = Callable[[torch.Generator], Iterable[Any]]

X, Y = "x", "y"
PIECE = 4096  # samples of an array or presentations of a recording that are taken at once


@dataclass(frozen=True)
class ActivityStream:
    """The activity of a system, computed piece by piece while a dictionary is trained on it.

    Stimuli come in another random order in each epoch. One sample is one position (token, row and
    column, frame) or one time bin of the answer to one stimulus; each layer is an activity of its
    own, named like the layer.

    Parameters
    ----------
    system : System
        What to record: its layers are the activities that learners can ask for.
    stimuli : Stimuli, array or Tensor
        What to show.
    size : int
        Stimuli per piece; a piece of all activities has to fit into memory.

    Examples
    --------
    >>> from bregma import TorchSystem
    >>> from bregma.mechanism import ActivityStream
    >>> net = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 8))
    >>> stream = ActivityStream(TorchSystem(net, ["0", "1"]), np.arange(10).reshape(2, 5) % 9)
    >>> {name: x.shape for name, x in stream(torch.Generator())[0]().items()}
    {'0': (10, 4), '1': (10, 8)}
    """

    system: System
    stimuli: Any
    size: int = 64

    def __post_init__(self) -> None:
        if self.size < 1 or len(self.stimuli) < 1:
            raise InvalidArgument(f"size={self.size} must be 1 or more, and so the stimuli")

    def __call__(self, generator: torch.Generator) -> Sequence[Callable[[], Samples]]:
        """One epoch.

        Parameters
        ----------
        generator : torch.Generator
            Draws the order of the stimuli.

        Returns
        -------
        sequence of callable
            Each records one piece and gives its samples by layer.
        """
        order = torch.randperm(len(self.stimuli), generator=generator)
        return [partial(self._piece, part.numpy()) for part in order.split(self.size)]

    def _piece(self, rows: Int[np.ndarray, " row"]) -> Samples:
        return samples_of(self.system.record(self.stimuli[rows]))


def samples_of(recording: Recording) -> Samples:
    """Samples by layer: one row for each presentation and position, or for each time bin.

    Parameters
    ----------
    recording : Recording
        Activity; units of a ``layer`` at the same row, column, token and frame are one sample.

    Returns
    -------
    dict of array (sample, number)
        By the names of the layers; ``"x"`` where units have no layer.

    Raises
    ------
    InvalidArgument
        If the positions of a layer have unlike numbers of units.

    Examples
    --------
    >>> counts = Recording.from_array(np.ones((2, 50, 7)), time=np.arange(50) / 100)
    >>> samples_of(counts)["x"].shape
    (100, 7)
    """
    values, units = recording.values, recording.units
    if "layer" not in units:
        return {X: values.reshape(-1, values.shape[-1])}
    found = {}
    for layer in dict.fromkeys(units["layer"]):
        mine = np.flatnonzero((units["layer"] == layer).to_numpy())
        columns = [c for c in ("row", "column", "token", "frame") if c in units]
        table = np.nan_to_num(units[columns].to_numpy(dtype=float)[mine], nan=-1)
        _, position = np.unique(table, axis=0, return_inverse=True)
        each = np.bincount(position.ravel())
        if len(set(each.tolist())) > 1:
            raise InvalidArgument(
                f"positions of layer {layer!r} have {each.min()} to {each.max()} units; give a "
                "recording with all units of each position"
            )
        mine = mine[np.argsort(position.ravel(), kind="stable")]
        found[str(layer)] = values[..., mine].reshape(-1, each[0])
    return found


def as_source(activity: Activity) -> Source:
    """Give arrays, pairs and recordings the form of a source.

    Parameters
    ----------
    activity : array, Tensor, pair of them, mapping of them, Recording or callable
        Samples, or a function of a generator that gives an epoch of pieces.

    Returns
    -------
    callable
        Takes a generator; gives pieces, or functions that make them.

    Raises
    ------
    InvalidArgument
        If it is something else.
    """
    if callable(activity):
        return activity
    if isinstance(activity, Recording):
        return partial(_pieces, activity.n_presentations, partial(_of_recording, activity))
    parts = named(activity)
    n = len(next(iter(parts.values())))
    return partial(_pieces, n, lambda rows: {name: part[rows] for name, part in parts.items()})


def _of_recording(recording: Recording, rows: slice) -> Samples:
    data = recording.data.isel(presentation=rows)
    return samples_of(Recording(data, measured_in=recording.measured_in))


def _pieces(
    n: int, take: Callable[[slice], Samples], generator: torch.Generator
) -> list[Callable[[], Samples]]:
    order = torch.randperm(-(-n // PIECE), generator=generator).tolist()
    return [partial(take, slice(i * PIECE, (i + 1) * PIECE)) for i in order]


def named(piece: Any) -> Samples:
    """Samples by name, checked.

    Parameters
    ----------
    piece : array, Tensor, pair, or mapping of them
        One activity is ``"x"``, the second of a pair ``"y"``.

    Returns
    -------
    dict of array (sample, number)
        float32, all of one length.

    Raises
    ------
    InvalidArgument
        If shapes do not fit or something is not finite.
    """
    if isinstance(piece, tuple | list) and len(piece) == 2:
        piece = {X: piece[0], Y: piece[1]}
    parts = piece if isinstance(piece, Mapping) else {X: piece}
    out = {}
    for name, part in parts.items():
        if isinstance(part, torch.Tensor):
            part = part.detach().cpu().float().numpy()
        values = np.asarray(part, dtype=np.float32)
        if values.ndim != 2 or 0 in values.shape:
            raise InvalidArgument(
                f"activity {name!r} has the shape {values.shape}; it must be (sample, number), "
                "with at least one of both"
            )
        if not np.isfinite(values.sum()) and not np.isfinite(values).all():
            raise InvalidArgument(f"activity {name!r} holds NaN or infinity")
        out[str(name)] = values
    if len({len(values) for values in out.values()}) != 1:
        shapes = {name: values.shape for name, values in out.items()}
        raise InvalidArgument(f"activities need the same number of samples, not {shapes}")
    return out


def made(pieces: Iterable[Any], skip: int) -> Iterator[Samples]:
    """Samples of pieces; those that are skipped are not computed where they are functions.

    Parameters
    ----------
    pieces : iterable
        Pieces, or functions that make them.
    skip : int
        How many to leave out at the beginning.

    Yields
    ------
    dict of array
        By name.
    """
    for number, piece in enumerate(pieces):
        if number >= skip:
            yield named(piece() if callable(piece) else piece)
