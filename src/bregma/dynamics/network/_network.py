"""Network: populations of neurons, what connects them and what drives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bregma.dynamics.connect._connect import Rule
from bregma.dynamics.language import _units
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._synapse import Synapse
from bregma.dynamics.network._hold import SPIKES, Hold
from bregma.dynamics.network._severed import Severed
from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import SpikeTrains


@dataclass(frozen=True, eq=False)
class Poisson:
    """Units that fire at random, independently of each other.

    Parameters
    ----------
    rate : float, str or array
        Spikes per second: one number, text such as ``"10 Hz"``, one number for each unit, or an
        array (frame, unit) that changes over time: images turned into rates.
    frame : float or str
        How long each row of a rate that changes lasts; the last row stays.
    """

    rate: Any
    frame: float | str = "1 ms"

    @property
    def rates(self) -> np.ndarray:
        """Spikes per second, shape (), (unit,) or (frame, unit)."""
        value = np.asarray(_units.quantity(self.rate)[0], dtype=np.float64)
        if not (np.isfinite(value).all() and (value >= 0).all()):
            raise InvalidArgument("rates must be finite numbers of 0 or more spikes per second")
        return value


@dataclass(frozen=True, eq=False)
class Spikes:
    """Units that fire at given times.

    Parameters
    ----------
    trains : SpikeTrains
        When; the order of its units is that of the population.
    """

    trains: SpikeTrains


@dataclass(frozen=True, eq=False)
class Population:
    """Units of one kind.

    Parameters
    ----------
    neuron : Neuron, Poisson or Spikes
        What they are.
    size : int
        How many.
    """

    neuron: Neuron | Poisson | Spikes
    size: int

    def __post_init__(self) -> None:
        if not isinstance(self.size, int | np.integer) or self.size < 1:
            raise InvalidArgument(
                f"the size of a population is a whole number above 0, not {self.size!r}"
            )
        if isinstance(self.neuron, Spikes) and self.neuron.trains.n_units != self.size:
            raise InvalidArgument(
                f"the population has {self.size} units, its spike trains have "
                f"{self.neuron.trains.n_units}"
            )
        if isinstance(self.neuron, Poisson):
            shape = self.neuron.rates.shape
            if shape and shape[-1] != self.size:
                raise InvalidArgument(f"rates of shape {shape} do not fit {self.size} units")

    @property
    def names(self) -> frozenset[str]:
        """Every name in its equations."""
        return self.neuron.names if isinstance(self.neuron, Neuron) else frozenset()

    @property
    def spikes(self) -> bool:
        """Whether its units can spike."""
        return not isinstance(self.neuron, Neuron) or self.neuron.spike is not None


@dataclass(frozen=True, eq=False)
class Projection:
    """Synapses of one kind from one population to another.

    Parameters
    ----------
    pre, post : str
        Names of the populations.
    synapse : Synapse
        What the synapses do.
    rule : Rule
        Who is connected, such as `FixedProbability`.
    delay : float, str or array
        From spike to arrival: seconds, text such as ``"1.5 ms"``, an expression as in the params
        of `Synapse`, or one number for each synapse. Rounded to whole steps; 0 arrives at the end
        of the step of the spike.
    name : str, optional
        Name of the projection; ``"pre->post"`` by default.
    severed : sequence of Severed
        Synapses that are cut or scaled, see `cut` and `scale`.
    """

    pre: str
    post: str
    synapse: Synapse
    rule: Rule
    delay: Any = 0.0
    name: str = ""
    severed: Sequence[Severed] = ()

    @property
    def label(self) -> str:
        """The name."""
        return self.name or f"{self.pre}->{self.post}"


@dataclass(frozen=True, eq=False)
class Drive:
    """An input from outside that is known beforehand.

    Parameters
    ----------
    population, variable : str
        Which input (a name in the equations that nothing else gives a value) of which population.
    values : float, str or array
        One number, one for each unit, or (frame, unit) over time.
    frame : float or str
        How long each row of values over time lasts; the last row stays.
    start, stop : float or str
        The window of time in which it acts; without end where `stop` is None. Rows count from
        its start.
    """

    population: str
    variable: str
    values: Any
    frame: float | str = "1 ms"
    start: float | str = 0.0
    stop: float | str | None = None


@dataclass(frozen=True, eq=False)
class PoissonDrive:
    """Many Poisson sources for each unit, independent of those of other units.

    Parameters
    ----------
    population, variable : str
        Which variable of which population grows by `weight` at each event.
    rate : float or str
        Events per second and unit, all its sources together.
    weight : float or str
        How much the variable grows.
    """

    population: str
    variable: str
    rate: Any
    weight: Any


@dataclass(frozen=True, eq=False)
class Network:
    """Populations, the projections between them, and what drives them.

    Parameters
    ----------
    populations : mapping
        Name to `Population`.
    projections : sequence of Projection
        Events of a step are delivered in this order.
    drives : sequence of Drive or PoissonDrive
        What comes from outside.
    holds : sequence of Hold
        Variables and spikes that are as one says, see `clamp` and `silence`.

    Raises
    ------
    UnknownName
        A population or variable that does not exist; the message offers the nearest names.
    InvalidArgument
        Names that are used twice, or populations that cannot spike before a synapse with events.

    Examples
    --------
    >>> from bregma.dynamics import Drive, FixedProbability, Network, Neuron, Population, Projection
    >>> from bregma.dynamics import Synapse
    >>> lif = Neuron("dv/dt = (I - v)/tau", spike="v > 1", reset="v = 0", params={"tau": "20 ms"})
    >>> kick = Synapse(on_pre="v += w", params={"w": 0.05})
    >>> Network({"E": Population(lif, 100)},
    ...         [Projection("E", "E", kick, FixedProbability(0.1))], [Drive("E", "I", 1.2)])
    Network(E: 100 units; E->E; 1 drive)
    """

    populations: Mapping[str, Population]
    projections: Sequence[Projection] = ()
    drives: Sequence[Drive | PoissonDrive] = field(default=())
    holds: Sequence[Hold] = ()

    def __post_init__(self) -> None:
        if not self.populations:
            raise InvalidArgument("a network needs at least one population")
        for name in self.populations:
            if not str(name).isidentifier():
                raise InvalidArgument(f"the name of a population is one word, not {name!r}")
        labels = [p.label for p in self.projections]
        for label in labels:
            if labels.count(label) > 1:
                raise InvalidArgument(f"two projections are called {label!r}; give them name=")
        for p in self.projections:
            for side in (p.pre, p.post):
                if side not in self.populations:
                    raise UnknownName.of(f"population for {p.label}", side, self.populations)
            for side, text in ((p.pre, p.synapse.on_pre), (p.post, p.synapse.on_post)):
                if text and not self.populations[side].spikes:
                    raise InvalidArgument(
                        f"{p.label} waits for spikes of {side!r}, which has no spike="
                    )
        for d in self.drives:
            if d.population not in self.populations:
                raise UnknownName.of("population to drive", d.population, self.populations)
            names = self.populations[d.population].names
            if d.variable not in names:
                raise UnknownName.of(
                    f"name to drive in {d.population!r}", d.variable, sorted(names)
                )

        for h in self.holds:
            if h.population not in self.populations:
                raise UnknownName.of("population to hold", h.population, self.populations)
            held = self.populations[h.population]
            known = [*held.neuron.states] if isinstance(held.neuron, Neuron) else []
            known += [SPIKES] if held.spikes else []
            if h.variable not in known:
                raise UnknownName.of(f"variable to hold in {h.population!r}", h.variable, known)

    def fed(self, population: str) -> set[str]:
        """Inputs of a population that drives or sums over synapses give a value.

        Parameters
        ----------
        population : str
            Its name.

        Returns
        -------
        set of str
            Names of inputs.
        """
        found = {
            d.variable for d in self.drives if d.population == population and isinstance(d, Drive)
        }
        for p in self.projections:
            if p.post == population:
                found |= set(p.synapse.summed)
        return found

    def __repr__(self) -> str:
        parts = [", ".join(f"{n}: {p.size} units" for n, p in self.populations.items())]
        parts += [", ".join(p.label for p in self.projections)] if self.projections else []
        n = len(self.drives)
        parts += [f"{n} drive{'s' if n > 1 else ''}"] if n else []
        return f"Network({'; '.join(parts)})"
