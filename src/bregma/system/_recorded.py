"""RecordedSystem: a system of which only a recording is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bregma.errors import CannotPerturb, UnknownName
from bregma.recording import Recording, Stimuli
from bregma.system._perturbations import Perturbation


class RecordedSystem:
    """Something that was recorded before, such as a brain: it knows its answers by heart.

    Parameters
    ----------
    recording : Recording
        The answers, with or without repeats.
    name : str, optional
        Name for tables and figures; the recording's own by default.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma import Recording
    >>> from bregma.system import RecordedSystem
    >>> it = Recording.from_array(np.eye(3), presentation=["cat", "dog", "car"])
    >>> RecordedSystem(it).record(["car", "cat"]).stimuli
    array(['car', 'cat'], dtype='<U3')
    """

    def __init__(self, recording: Recording, *, name: str | None = None) -> None:
        self.recording = recording
        self.name = name or recording.name or "recording"

    @property
    def units(self) -> pd.DataFrame:
        """Table of the units, as in the recording."""
        return self.recording.units

    def record(self, stimuli: Any) -> Recording:
        """Look the answers to some stimuli up.

        Parameters
        ----------
        stimuli : Stimuli or sequence
            Stimuli, or just their labels.

        Returns
        -------
        Recording
            All presentations of these stimuli, in the order of the stimuli and then as recorded.

        Raises
        ------
        UnknownName
            A stimulus that was never shown; the message names it.
        """
        labels = stimuli.ids if isinstance(stimuli, Stimuli) else np.asarray(stimuli)
        shown = self.recording.stimuli
        known = set(shown.tolist())
        missing = [label for label in labels.tolist() if label not in known]
        if missing:
            some = ", ".join(map(repr, missing[:5])) + (" ..." if len(missing) > 5 else "")
            raise UnknownName(
                f"{self.name!r} was never shown {len(missing)} of the {len(labels)} stimuli: "
                f"{some}. {UnknownName.of('stimulus', missing[0], known)}"
            )
        rows = np.concatenate([np.flatnonzero(shown == label) for label in labels.tolist()])
        data = self.recording.data.isel(presentation=rows).rename(self.name)
        return Recording(
            data, measured_in=self.recording.measured_in, sessions=self.recording.sessions
        )

    def perturb(self, *perturbations: Perturbation) -> RecordedSystem:
        """Refuse: there is nothing left to act on; without perturbations it is the system itself.

        Parameters
        ----------
        *perturbations : Perturbation
            What to do to it.

        Returns
        -------
        RecordedSystem
            Itself, where nothing is to be done.

        Raises
        ------
        CannotPerturb
            Always, where anything is to be done.
        """
        if perturbations:
            raise CannotPerturb(
                f"{self.name!r} is a recording: how it would have answered under "
                f"{perturbations[0]} was never measured. Perturb a system that runs (TorchSystem), "
                "or record the perturbed brain and load that recording; to leave units out of an "
                "analysis, select the others: recording.select(...)"
            )
        return self

    def __repr__(self) -> str:
        return f"RecordedSystem({self.name!r}, {self.recording!r})"
