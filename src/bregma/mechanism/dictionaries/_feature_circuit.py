"""The strongest paths of features and heads that lead to a feature, and the graph they form."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._contributions import Part
from bregma.mechanism.dictionaries._feature_attribution import (
    FOLLOWED,
    FeatureTrace,
    StreamReading,
)

Path = tuple[Part, ...]


@dataclass(frozen=True)
class FeatureCircuit:
    """Paths that lead to a feature in one input.

    Parameters
    ----------
    target : Part
        The feature.
    drive : float
        What it is driven by in all, biases included.
    paths : dict of tuple of Part to float
        From the target back to what it is driven by -> what comes to the target along the path.
        All beginnings of a path are in it as well.
    """

    target: Part
    drive: float
    paths: dict[Path, float]

    @property
    def edges(self) -> dict[tuple[Part, Part], float]:
        """(sender, receiver) -> the sum over the paths that come from the sender to it."""
        found: dict[tuple[Part, Part], float] = {}
        for path, value in self.paths.items():
            edge = (path[-1], path[-2])
            found[edge] = found.get(edge, 0.0) + value
        return found

    @property
    def explained(self) -> float:
        """Share of the drive that comes directly from parts of the circuit."""
        return sum(value for path, value in self.paths.items() if len(path) == 2) / self.drive

    def to_frame(self) -> pd.DataFrame:
        """The graph as a table.

        Returns
        -------
        pandas.DataFrame
            One row per edge: ``sender``, ``receiver``, ``value``; the largest first.
        """
        rows = [(str(a), str(b), value) for (a, b), value in self.edges.items()]
        frame = pd.DataFrame(rows, columns=["sender", "receiver", "value"])
        return frame.sort_values("value", ascending=False, key=abs, ignore_index=True)


def feature_circuit(
    trace: FeatureTrace, layer: int, token: int, feature: int, *, width: int = 8, depth: int = 3
) -> FeatureCircuit:
    """Search the strongest paths to a feature, from it backwards.

    Starting with the feature, the parts are found that add most to what the ends of the paths are
    driven by; of all of these, the `width` with the largest contributions to the target (of either
    sign) are kept and followed on, `depth` times (beam search).

    Parameters
    ----------
    trace : FeatureTrace
        The input.
    layer, token, feature : int
        The target; tokens may be counted from the end.
    width : int
        Paths that are kept at each length.
    depth : int
        Edges of the longest path.

    Returns
    -------
    FeatureCircuit
        Paths and graph.

    Raises
    ------
    InvalidArgument
        If a number is below 1, or there is no such feature, or nothing drives it.
    UnknownName
        If the layer has no transcoder.

    References
    ----------
    Dunefsky, Chlenski and Nanda (2024), Transcoders find interpretable LLM feature circuits.
    """
    if min(width, depth) < 1:
        raise InvalidArgument(f"width={width} and depth={depth} must be 1 or more")
    reading = trace.reading(layer, token, feature)
    target = Part("feature", layer, reading.token, feature)
    drive = trace.contributions(reading).total
    if drive == 0:
        raise InvalidArgument(f"{target} is driven by nothing in this input")
    ends: dict[Path, StreamReading] = {(target,): reading}
    kept: dict[Path, float] = {}
    for _ in range(depth):
        found: dict[Path, float] = {
            (*path, part): value
            for path, end in ends.items()
            for part, value in trace.contributions(end).largest(width)
        }
        best = sorted(found, key=lambda path: -abs(found[path]))[:width]
        kept |= {path: found[path] for path in best}
        ends = {
            path: trace.behind(ends[path[:-1]], path[-1])
            for path in best
            if path[-1].kind in FOLLOWED
        }
    return FeatureCircuit(target, drive, kept)
