"""What a run starts from, what is looked at meanwhile and what it gives, for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bregma._files import atomic_path
from bregma.dynamics.network._plan import Plan
from bregma.errors import InvalidArgument

Array = np.ndarray


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on, beside the plan.

    Parameters
    ----------
    step : int
        How many steps are done.
    values : mapping
        Name to array: ``E.v`` (unit,) for variables of a population; ``E.refractory`` (unit,)
        int32, for how many more steps, or 0 and 1 where a condition rules; ``E.recent`` (delay,
        unit) bool, who spiked in the steps before, oldest first, as far back as the longest delay;
        ``E->I.syn_w`` and the like for variables of projections.
    """

    step: int
    values: Mapping[str, Array]

    def save(self, path: str | Path) -> Path:
        """Write it to a file, which is replaced in one step if it exists.

        Parameters
        ----------
        path : str or Path
            Ending in ``.npz``.

        Returns
        -------
        Path
            Where it was written.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise InvalidArgument(f"{path.name}: a state is written to .npz")
        arrays: dict[str, Any] = {
            f"value_{i}": value for i, value in enumerate(self.values.values())
        }
        with atomic_path(path) as part:
            np.savez(part, step=self.step, names=np.array([*self.values], dtype=str), **arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> State:
        """Read what `save` wrote; nothing in the file is run.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        State
            The state, bit for bit.

        Raises
        ------
        InvalidArgument
            The file is not there, or is none that `save` wrote.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                names = arrays["names"].tolist()
                values = {name: arrays[f"value_{i}"] for i, name in enumerate(names)}
                return cls(int(arrays["step"]), values)
        except Exception as error:  # zipfile and NumPy raise many kinds on damaged files
            raise InvalidArgument(f"{path} holds no state of a simulation ({error})") from error


@dataclass(frozen=True)
class Probe:
    """What to write down at every `every`-th step.

    owner : a population or projection; variable : a variable or expression of it (of a projection:
    the name of an array of the plan); units : which, all where it is None.
    """

    owner: str
    variable: str
    units: Array | None = None
    every: int = 1


@dataclass(frozen=True)
class Outcome:
    """What an engine gives back after some steps.

    spikes : population -> (steps, units), int64 and int32, sorted by step and unit; a spike of
    step k happened at time (k + 1) dt.
    traces : one array (sample, unit) for each probe: values after the steps k with
    (k + 1) % every == 0.
    state : where the next run goes on.
    """

    spikes: Mapping[str, tuple[Array, Array]]
    traces: tuple[Array, ...]
    state: State


def width_of(plan: Plan, probe: Probe) -> int:
    """How many values a probe writes down each time.

    Parameters
    ----------
    plan : Plan
        What is run.
    probe : Probe
        What is written down.

    Returns
    -------
    int
        Number of units or synapses.
    """
    if probe.units is not None:
        return len(probe.units)
    for q in plan.projections:
        if q.name == probe.owner:
            return len(q.variables[probe.variable])
    return plan.population(probe.owner).size


def initial_state(plan: Plan) -> State:
    """State before the first step.

    Parameters
    ----------
    plan : Plan
        What will be run.

    Returns
    -------
    State
        First values of all variables; nobody is refractory, and nothing is under way.
    """
    values: dict[str, Array] = {}
    for p in plan.populations:
        values |= {f"{p.name}.{n}": v.copy() for n, v in p.initial.items()}
        values[f"{p.name}.refractory"] = np.zeros(p.size, np.int32)
        longest = max((q.longest_delay for q in plan.projections if q.pre == p.name), default=0)
        values[f"{p.name}.recent"] = np.zeros((longest, p.size), bool)
    for q in plan.projections:
        values |= {f"{q.name}.{n}": v.copy() for n, v in q.variables.items()}
    return State(0, values)
