"""A long stream of sights and sounds whose events are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bregma.datasets._digits import PIXELS, read_digits
from bregma.errors import InvalidArgument
from bregma.run import spawn


@dataclass(frozen=True)
class EventStream:
    """Two channels over time, and the events that made them.

    Parameters
    ----------
    vision : ndarray (frame, row, column)
        Pictures with noise.
    audio : ndarray (frame, code)
        Sounds with noise.
    starts : ndarray (event,)
        First frame of every event; the first one is 0.
    scene, sound : ndarray (event,)
        Which picture and which sound an event has. Sounds are never heard again, scenes may be
        seen again.
    scenes : ndarray (scene, row, column)
        The pictures without noise.
    sounds : ndarray (sound, code)
        The sounds without noise.
    """

    vision: Float[np.ndarray, "frame row column"]
    audio: Float[np.ndarray, "frame code"]
    starts: Int[np.ndarray, " event"]
    scene: Int[np.ndarray, " event"]
    sound: Int[np.ndarray, " event"]
    scenes: Float[np.ndarray, "scene row column"]
    sounds: Float[np.ndarray, "sound code"]

    def __len__(self) -> int:
        return len(self.vision)

    @property
    def chance(self) -> float:
        """Share of questions for the scene of a sound that the most frequent scene answers."""
        return float(np.bincount(self.scene).max() / len(self.scene))

    def boundary_f1(self, found: Int[np.ndarray, " boundary"], tolerance: int = 3) -> float:
        """How well the borders between events were found.

        Parameters
        ----------
        found : ndarray (boundary,)
            First frames of segments; frame 0 does not count.
        tolerance : int
            Frames that a border may be off. Every border is counted once.

        Returns
        -------
        float
            Harmonic mean of precision and recall.
        """
        left = [int(t) for t in found if t > 0]
        true, n_found = [int(t) for t in self.starts[1:]], len(left)
        hits = 0
        for t in true:
            near = min(left, key=lambda other: abs(other - t), default=None)
            if near is not None and abs(near - t) <= tolerance:
                hits += 1
                left.remove(near)
        return 2 * hits / (n_found + len(true)) if n_found + len(true) else 1.0


def event_stream(
    n_events: int = 40,
    *,
    shortest: int = 15,
    longest: int = 60,
    fade: int = 5,
    repeated: float = 0.2,
    noise: float = 0.3,
    sound_noise: float = 1.0,
    seed: int,
) -> EventStream:
    """Events of one picture and one sound each; a handwritten digit is the picture.

    Parameters
    ----------
    n_events : int
        How many events.
    shortest, longest : int
        Frames of an event.
    fade : int
        Frames over which both channels blend from one event into the next; 1 is a hard cut.
    repeated : float
        Share of events whose picture was seen before, with another sound, and not just before.
    noise, sound_noise : float
        Standard deviations of the noise of pixels (whose range is 0 to 1) and of sound codes (whose
        standard deviation is 1).
    seed : int
        Draws everything.

    Returns
    -------
    EventStream
        The stream with its truth.

    Raises
    ------
    InvalidArgument
        If there are fewer than 3 events or more than digits, or a number is out of range.

    Examples
    --------
    >>> stream = event_stream(seed=0)
    >>> stream.vision.shape[1:], stream.audio.shape[1:], len(stream.starts), len(stream.scenes)
    ((8, 8), (32,), 40, 32)
    """
    pictures = read_digits()[0].reshape(-1, PIXELS, PIXELS)
    if not 3 <= n_events <= len(pictures) or not 1 <= fade <= shortest <= longest:
        raise InvalidArgument(
            f"n_events must be from 3 to {len(pictures)} and 1 <= fade <= shortest <= longest, not "
            f"{n_events}, {fade}, {shortest}, {longest}"
        )
    if not 0 <= repeated <= 0.5 or not min(noise, sound_noise) >= 0:
        raise InvalidArgument("repeated must be from 0 to 0.5, noise 0 or more")
    rng = spawn(seed, "events")
    n_scenes = n_events - round(repeated * n_events)
    scenes = pictures[rng.choice(len(pictures), n_scenes, replace=False)]
    sounds = rng.standard_normal((n_events, 32))
    scene = _order(n_events, n_scenes, rng)
    lengths = rng.integers(shortest, longest + 1, n_events)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    event = np.repeat(np.arange(n_events), lengths)
    vision, audio = scenes[scene][event], sounds[event]
    for t in starts[1:]:  # blend around the border
        for k in range(fade - 1):
            at = t - (fade - 1) // 2 + k
            share = (k + 1) / fade
            before, after = event[t - 1], event[t]
            vision[at] = (1 - share) * scenes[scene[before]] + share * scenes[scene[after]]
            audio[at] = (1 - share) * sounds[before] + share * sounds[after]
    return EventStream(
        vision=vision + noise * rng.standard_normal(vision.shape),
        audio=audio + sound_noise * rng.standard_normal(audio.shape),
        starts=starts,
        scene=scene,
        sound=np.arange(n_events),
        scenes=scenes,
        sounds=sounds,
    )


def _order(n_events: int, n_scenes: int, rng: np.random.Generator) -> Int[np.ndarray, " event"]:
    """Every scene once, some of them twice, never one after itself."""
    again = rng.choice(n_scenes, n_events - n_scenes, replace=False)
    while True:
        order = rng.permutation(np.concatenate([np.arange(n_scenes), again]))
        if (order[1:] != order[:-1]).all():
            return order
