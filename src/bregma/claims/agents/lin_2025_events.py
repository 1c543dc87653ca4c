"""Memory for streams of sight and sound: cut into events, compress, recall across the senses."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.ndimage import uniform_filter1d

from bregma.agents import Consolidated, EventMemory, consolidate, event_boundaries
from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import EventStream, event_stream
from bregma.run import derive, spawn

SAME = 0.3  # cosine from which two features are one record
CLIP = 7  # frames that a feature is the mean of


@claim(
    paper=Paper(
        "HippoMM: hippocampal-inspired multimodal memory for long audiovisual event understanding",
        "Yueqian Lin, Qinsi Wang, Hancheng Ye, Yuzhe Fu, Hai Li, Yiran Chen",
        2025,
        arxiv="2504.10739",
    ),
    sentence="A stream that is cut where it changes, compressed within events and bound by time "
    "answers questions across the senses from a small store.",
    systems="an event memory on pictures and sounds with noise, cross-fades and repeated pictures",
    controls={
        "f1_fixed": "as many windows of equal length",
        "answers_frames": "as many single frames, evenly over time",
        "answers_uniform": "as many clips of seven frames, evenly over time",
        "answers_random": "random frames of every event instead of consolidated records",
        "answers_shifted": "sounds shifted in time against the pictures",
        "answers_single": "an index of pictures alone, asked with sounds",
    },
    expects=[
        Expect(
            measure="answers",
            above="answers_frames",
            by=0.15,
            says="which scene was on when a sound was heard: 15 points above as many single frames",
            paper="78.2 against 64.2 % for the best earlier system on real video",
        ),
        Expect(measure="answers", above=0.9, says="90 % of these questions are answered right"),
        Expect(
            measure="f1",
            above="f1_fixed",
            by=0.4,
            says="events are found, by 0.4 of F1 better than windows of equal length",
        ),
        Expect(measure="f1", above=0.85, says="F1 of the borders of events is 0.85"),
        Expect(
            measure="answers",
            above="answers_uniform",
            says="and better than as many clips at even distances, which no event guides",
        ),
        Expect(
            measure="answers",
            above="answers_random",
            says="records that are merged are better than random frames of the same number",
        ),
        Expect(
            measure="answers",
            above="answers_shifted",
            by=0.7,
            says="time binds: with shifted sounds nothing is left",
        ),
        Expect(
            measure="answers",
            above="answers_single",
            by=0.7,
            says="one index of one sense cannot answer across senses",
        ),
        Expect(
            measure="answers",
            above="answers_everything",
            times=0.95,
            says="consolidation costs at most 5 % of the answers",
        ),
        Expect(measure="compression", above=10.0, says="and makes the store ten times smaller"),
        Expect(measure="fast_share", above=0.5, says="half of the questions close on summaries"),
        Expect(
            measure="fast_saving",
            above=2.5,
            says="which takes 2.5 times fewer comparisons than detailed recall",
            paper="20.4 s instead of 112.5 s per answer",
        ),
        Expect(
            measure="answers_dual",
            above="answers",
            times=0.95,
            says="and costs at most 5 % of the answers",
        ),
    ],
    smoke={"n_events": 12, "noise": 0.5, "sound_noise": 2.0},
    check={"n_events": 40, "noise": 0.5, "sound_noise": 2.0},
    full={"n_events": 400, "noise": 0.5, "sound_noise": 2.0},
    equations=[
        r"\text{cut where } \mathrm{SSIM}(\bar f_{t-w:t}, \bar f_{t:t+w}) < \theta",
        r"\text{keep } i \text{ if } \max_j \cos(e_i, e_j) < \gamma",
        r"\text{answer} = \sum_{j: t_j \in [t - d, t + d]} w_j e_j^{\text{other sense}}",
    ],
    use="""
import numpy as np
from bregma.agents import EventMemory, event_boundaries

rng = np.random.default_rng(0)
frames, embedded = rng.random((60, 16, 16)), rng.standard_normal((60, 8))  # yours: video,
sound = rng.standard_normal((60, 12))                                      # and embeddings
starts = event_boundaries(frames, window=5, threshold=0.7, shortest=10)
memory = EventMemory(confidence=0.1)
memory.write({"vision": embedded, "audio": sound}, starts)
recall = memory.recall(sound[30], "audio", "vision")
recall.answer, recall.event, recall.path, recall.confidence
""",
    area=("hippocampus",),
    seeds=(1, 2, 3, 4, 5, 6, 7, 8),
)
def events(*, seed: int, n_events: int, noise: float, sound_noise: float) -> Measures:
    """Write one stream in several ways, and ask each memory for the scene of every sound."""
    stream = event_stream(
        n_events, noise=noise, sound_noise=sound_noise, seed=derive(seed, "stream")
    )
    n, mean = len(stream), stream.vision.mean(axis=0)
    senses = {
        "vision": uniform_filter1d((stream.vision - mean).reshape(n, -1), CLIP, axis=0),
        "audio": uniform_filter1d(stream.audio, CLIP, axis=0),
    }
    starts = event_boundaries(stream.vision, threshold=0.6, window=7, shortest=10)
    even = np.linspace(0, n, len(starts), endpoint=False).astype(int)

    detailed = EventMemory(partial(consolidate, similarity=SAME), confidence=np.inf)
    detailed.write(senses, starts)
    dual = EventMemory(partial(consolidate, similarity=SAME), confidence=0.1)
    dual.write(senses, starts)
    everything = EventMemory(_keep_all, confidence=np.inf)
    everything.write(senses, starts)
    rng = spawn(seed, "random")
    share = detailed.size / everything.size
    random = EventMemory(lambda part: _keep_random(part, share, rng), confidence=np.inf)
    random.write(senses, starts)
    shifted = EventMemory(partial(consolidate, similarity=SAME), confidence=np.inf)
    shifted.write(senses | {"audio": np.roll(senses["audio"], n // 2, axis=0)}, starts)
    at = np.linspace(0, n - 1, round(detailed.size / 2)).astype(int)
    uniform, frames = (EventMemory(_keep_all, confidence=np.inf, seeds=1, reach=0) for _ in "12")
    uniform.write({name: sense[at] for name, sense in senses.items()}, np.arange(len(at)))
    single = {"vision": (stream.vision - mean).reshape(n, -1)[at], "audio": stream.audio[at]}
    frames.write(single, np.arange(len(at)))

    slow = [detailed.recall(sound, "audio", "vision") for sound in stream.sounds]
    quick = [dual.recall(sound, "audio", "vision") for sound in stream.sounds]
    fast = [recall for recall in quick if recall.path == "fast"]
    right = np.array([_scene(stream, recall.answer) for recall in quick]) == stream.scene
    surest = np.argsort([-recall.confidence for recall in quick])
    padded = np.pad(stream.sounds, ((0, 0), (0, senses["vision"].shape[1] - 32)))
    return {
        "f1": stream.boundary_f1(starts),
        "f1_fixed": stream.boundary_f1(even),
        "answers": _answered(detailed, stream, stream.sounds, "audio"),
        "answers_dual": float(right.mean()),
        "answers_everything": _answered(everything, stream, stream.sounds, "audio"),
        "answers_random": _answered(random, stream, stream.sounds, "audio"),
        "answers_uniform": _answered(uniform, stream, stream.sounds, "audio"),
        "answers_frames": _answered(frames, stream, stream.sounds, "audio"),
        "answers_shifted": _answered(shifted, stream, stream.sounds, "audio"),
        "answers_single": _answered(detailed, stream, padded, "vision"),
        "chance": stream.chance,
        "compression": everything.size / detailed.size,
        "fast_share": len(fast) / len(quick),
        "fast_saving": float(
            np.mean([recall.comparisons for recall in slow])
            / np.mean([recall.comparisons for recall in fast or slow])
        ),
        "answers against acceptance": Curve(
            np.arange(1, len(quick) + 1) / len(quick),
            np.cumsum(right[surest]) / np.arange(1, len(quick) + 1),
            "share of questions, surest first",
            "answered right",
        ),
    }


def _answered(memory: EventMemory, stream: EventStream, cues: np.ndarray, sense: str) -> float:
    answers = [memory.recall(cue, sense, "vision").answer for cue in cues]
    return float(np.mean([_scene(stream, a) for a in answers] == stream.scene))


def _scene(stream: EventStream, answer: np.ndarray) -> int:
    """The clean picture that an answer resembles most."""
    pictures = (stream.scenes - stream.vision.mean(axis=0)).reshape(len(stream.scenes), -1)
    return int((pictures @ answer / np.linalg.norm(pictures, axis=1)).argmax())


def _keep_all(part: np.ndarray) -> Consolidated:
    return Consolidated(part, np.arange(len(part)))


def _keep_random(part: np.ndarray, share: float, rng: np.random.Generator) -> Consolidated:
    """Single frames at random; every frame belongs to the nearest of them in time."""
    kept = np.sort(rng.choice(len(part), max(1, round(share * len(part))), replace=False))
    owner = np.abs(np.arange(len(part))[:, None] - kept).argmin(axis=1)
    return Consolidated(part[kept], owner)
