"""Finding what drives each unit most, in one pass over the stimuli."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma.errors import InvalidArgument
from bregma.mechanism.units._positions import Group, grouped
from bregma.mechanism.units._top_stimuli import TopStimuli
from bregma.mechanism.units._upper_quantile import UpperQuantile
from bregma.recording import Recording, Stimuli
from bregma.run import progress as show_progress
from bregma.system import System
from bregma.system._preprocess import as_stimuli

PIECE = 256  # presentations of a recording that are read at once


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
