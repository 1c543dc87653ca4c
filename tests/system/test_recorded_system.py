"""RecordedSystem: answers that are looked up."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.errors import CannotPerturb, UnknownName
from bregma.recording import Recording, Stimuli
from bregma.system import Ablate, RecordedSystem, System

BRAIN = Recording.from_array(
    np.arange(12.0).reshape(6, 2),
    unit=["a", "b"],
    presentation={
        "presentation": range(6),
        "stimulus": ["cat", "dog", "cat", "car", "dog", "cat"],
        "repeat": [0, 0, 1, 0, 1, 2],
    },
    measured_in="spikes/s",
    name="IT",
)


def test_answers_come_in_the_order_of_the_stimuli():
    system = RecordedSystem(BRAIN)
    answers = system.record(["dog", "cat"])
    assert answers.stimuli.tolist() == ["dog", "dog", "cat", "cat", "cat"]
    assert answers.values[:, 0].tolist() == [2, 8, 0, 4, 10]
    assert answers.measured_in == "spikes/s"
    assert answers.name == system.name == "IT"
    stimuli = Stimuli(np.zeros((1, 3)), stimulus=["car"])
    assert system.record(stimuli).values.tolist() == [[6, 7]]


def test_it_is_a_system():
    system = RecordedSystem(BRAIN, name="monkey IT")
    assert isinstance(system, System)
    assert system.units.index.tolist() == ["a", "b"]
    assert system.record(["car"]).name == "monkey IT"
    assert "monkey IT" in repr(system)
    assert RecordedSystem(BRAIN.named(None)).name == "recording"


def test_lazy_recordings_stay_lazy():
    pytest.importorskip("dask")
    answers = RecordedSystem(BRAIN.chunk(presentation=1)).record(["car", "dog"])
    assert answers.data.chunks is not None
    assert answers.values[:, 0].tolist() == [6, 2, 8]


def test_sessions_travel_along():
    import pandas as pd

    sessions = pd.DataFrame({"animal": ["m1"]}, index=["s1"])
    recording = Recording(BRAIN.data, sessions=sessions)
    assert RecordedSystem(recording).record(["car"]).coordinate("animal").tolist() == ["m1", "m1"]


def test_stimuli_that_were_never_shown_are_named():
    with pytest.raises(
        UnknownName, match="'IT' was never shown 2 of the 3 stimuli: 'cow', 'dogs'.*nearest"
    ):
        RecordedSystem(BRAIN).record(["cow", "cat", "dogs"])


def test_perturbations_are_refused():
    system = RecordedSystem(BRAIN)
    with pytest.raises(CannotPerturb, match="recording.select"):
        system.perturb(Ablate("a"))
    assert system.perturb() is system
