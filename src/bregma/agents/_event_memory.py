"""A memory of events: written in segments, consolidated, recalled across the senses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from bregma.agents._consolidate import Consolidated, consolidate, unit_length
from bregma.errors import InvalidArgument, UnknownName

Features = Float[np.ndarray, "frame feature"]
Vector = Float[np.ndarray, " feature"]
Answer = Float[np.ndarray, " wanted"]
Consolidate = Callable[[Features], Consolidated]


@dataclass(frozen=True)
class Recall:
    """An answer of the memory.

    Parameters
    ----------
    answer : ndarray (feature,)
        What was there in the sense that was asked for.
    event : int
        Which event it comes from.
    path : {"fast", "detailed"}
        Whether the summaries of events were enough.
    confidence : float
        How much better the best summary fits than the second best, in cosine.
    comparisons : int
        How many stored features were held against the cue or gathered for the answer.
    """

    answer: Answer
    event: int
    path: Literal["fast", "detailed"]
    confidence: float
    comparisons: int


class EventMemory:
    """Events as the hippocampus may store them: compressed segments of senses that time binds.

    Every event keeps, for each sense, consolidated records with all their times, and one summary. A
    query is first held against the summaries; where two of them fit almost alike, detailed recall
    searches the records of its sense, goes to the times of the best ones, and collects what the
    other sense held around those times. The senses are never compared with each other: time alone
    binds them.

    Parameters
    ----------
    consolidate : callable, optional
        Compresses the features of an event; `bregma.agents.consolidate` by default.
    confidence : float
        Margin from which the fast path is trusted; infinity always recalls in detail.
    seeds : int
        Records that detailed recall starts from.
    reach : int
        Frames around the times of a seed that it looks at.

    Raises
    ------
    InvalidArgument
        If there are no seeds or the reach is negative.

    References
    ----------
    Lin et al. (2025), HippoMM: hippocampal-inspired multimodal memory for long audiovisual event
    understanding.

    Examples
    --------
    >>> memory = EventMemory()
    >>> sights, sounds = np.eye(4)[[0, 0, 1, 1]], np.eye(2)[[1, 1, 0, 0]]
    >>> memory.write({"sight": sights, "sound": sounds}, starts=np.array([0, 2]))
    >>> memory.recall(np.array([1.0, 0.0]), "sound", "sight").answer
    array([0., 1., 0., 0.])
    """

    def __init__(
        self,
        consolidate: Consolidate = consolidate,
        *,
        confidence: float = 0.1,
        seeds: int = 3,
        reach: int = 5,
    ) -> None:
        if seeds < 1 or reach < 0:
            raise InvalidArgument(f"seeds must be 1 or more, reach 0 or more: {seeds}, {reach}")
        self.consolidate, self.confidence = consolidate, confidence
        self.seeds, self.reach = seeds, reach
        self._senses: dict[str, _Sense] = {}

    def write(self, features: Mapping[str, Features], starts: Int[np.ndarray, " event"]) -> None:
        """Store a stream; what was stored before is forgotten.

        Parameters
        ----------
        features : mapping of str to ndarray (frame, feature)
            Every sense at the same frames.
        starts : ndarray (event,)
            First frames of events, from 0, as `event_boundaries` gives them.

        Raises
        ------
        InvalidArgument
            If there is no sense, senses differ in length, or the starts do not begin at 0 and grow.
        """
        lengths = {len(values) for values in features.values()}
        if len(lengths) != 1:
            raise InvalidArgument(f"senses need one common number of frames, not {sorted(lengths)}")
        n = lengths.pop()
        if not len(starts) or starts[0] != 0 or not (np.diff([*starts, n]) > 0).all():
            raise InvalidArgument(f"starts must grow from 0 and stay below {n}: {starts}")
        self._senses = {
            name: _Sense.of(values, starts, self.consolidate) for name, values in features.items()
        }

    @property
    def size(self) -> int:
        """How many records are stored, over all senses."""
        return sum(len(sense.records) for sense in self._senses.values())

    def recall(self, query: Vector, sense: str, wanted: str) -> Recall:
        """Ask what was there in one sense when something was there in another.

        Parameters
        ----------
        query : ndarray (feature,)
            A cue.
        sense : str
            The cue's sense.
        wanted : str
            The sense to answer in; it may be the same.

        Returns
        -------
        Recall
            The answer and how it was found.

        Raises
        ------
        UnknownName
            If there is no such sense.
        InvalidArgument
            If the cue has another size than the sense, is zero or not finite.
        """
        for name in (sense, wanted):
            if name not in self._senses:
                raise UnknownName.of("sense in memory", name, self._senses)
        cue = unit_length(query[None])[0]
        if cue.shape != self._senses[sense].records.shape[1:]:
            raise InvalidArgument(f"a cue of {len(cue)} features does not fit the sense {sense!r}")
        cosines = self._senses[sense].unit_summaries @ cue
        event = int(cosines.argmax())
        second = np.partition(cosines, -2)[-2] if len(cosines) > 1 else -1.0
        margin = float(cosines[event] - second)
        if margin >= self.confidence:
            answer = self._senses[wanted].summaries[event]
            return Recall(answer, event, "fast", margin, len(cosines))
        answer, event, searched = self._in_detail(cue, self._senses[sense], self._senses[wanted])
        return Recall(answer, event, "detailed", margin, len(cosines) + searched)

    def _in_detail(self, cue: Vector, sense: _Sense, wanted: _Sense) -> tuple[Answer, int, int]:
        """Seeds in the cue's sense; what the wanted sense held around their times, by weight."""
        cosines = sense.unit_records @ cue
        seeds = np.argsort(-cosines, kind="stable")[: self.seeds]
        weight = np.zeros(len(wanted.records))
        frames = len(wanted.owner)
        for seed in seeds:
            near = np.zeros(frames, dtype=bool)
            for t in np.flatnonzero(sense.owner == seed):
                near[max(0, t - self.reach) : t + self.reach + 1] = True
            # pattern separation: a window does not look into the next event
            near &= wanted.event[wanted.owner] == sense.event[seed]
            found = np.bincount(wanted.owner[near], minlength=len(weight))
            weight += max(float(cosines[seed]), 0.0) ** 4 * found / max(found.sum(), 1)
        if not weight.any():  # the cue resembles nothing at all
            weight[wanted.owner[sense.owner == seeds[0]]] = 1
        answer = weight @ wanted.records / weight.sum()
        searched = len(cosines) + int((weight > 0).sum())
        return answer, int(sense.event[seeds[0]]), searched


@dataclass(frozen=True)
class _Sense:
    """Records of one sense: features, the event of each, and the record of every frame."""

    records: Float[np.ndarray, "record feature"]
    event: Int[np.ndarray, " record"]
    owner: Int[np.ndarray, " frame"]
    summaries: Float[np.ndarray, "event feature"]
    unit_records: Float[np.ndarray, "record feature"]
    unit_summaries: Float[np.ndarray, "event feature"]

    @classmethod
    def of(
        cls, features: Features, starts: Int[np.ndarray, " event"], shrink: Consolidate
    ) -> _Sense:
        parts = np.split(unit_length(features), starts[1:])
        kept = [shrink(part) for part in parts]
        sizes = [len(k.features) for k in kept]
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        records = np.concatenate([k.features for k in kept])
        summaries = np.stack([k.features[k.owner].mean(0) for k in kept])
        return cls(
            records=records,
            event=np.repeat(np.arange(len(kept)), sizes),
            owner=np.concatenate([k.owner + o for k, o in zip(kept, offsets, strict=True)]),
            summaries=summaries,
            unit_records=unit_length(records),
            unit_summaries=unit_length(summaries),
        )
