"""The interface of everything that can be driven with stimuli and recorded."""

from __future__ import annotations

import pandas as pd

# Python 3.11's own isinstance() with a protocol evaluates properties: `units` may need a run.
from typing_extensions import Protocol, runtime_checkable

from bregma.recording import Recording, Stimuli
from bregma.system._perturbations import Perturbation


@runtime_checkable
class System(Protocol):
    """Something that answers stimuli: a network, a simulated circuit, a brain on record.

    Three laws hold for every kind of system: without perturbations it is itself; a unit patched
    with its own recorded activity is itself; ablating equals clamping to the stated baseline.
    """

    @property
    def name(self) -> str:
        """Name of the system, used in tables and figures."""

    @property
    def units(self) -> pd.DataFrame:
        """Table of the units, indexed by their ids; columns as ``layer``, ``kind``, ``channel``."""

    def record(self, stimuli: Stimuli, /) -> Recording:
        """Show stimuli and record the units.

        Parameters
        ----------
        stimuli : Stimuli
            What to show.

        Returns
        -------
        Recording
            One presentation for each stimulus, in their order.
        """

    def perturb(self, *perturbations: Perturbation) -> System:
        """The same system under perturbations; this one stays as it is.

        Parameters
        ----------
        *perturbations : Perturbation
            What to do to it; their order has no meaning.

        Returns
        -------
        System
            The perturbed system.

        Raises
        ------
        PerturbationConflict
            Two of them act on the same units.
        CannotPerturb
            The system has nothing to act on.
        """
