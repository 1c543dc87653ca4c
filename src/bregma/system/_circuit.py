"""CircuitSystem: a simulated network of neurons as a system that can be recorded and perturbed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from bregma.dynamics import Drive, Network, Poisson, Simulation, Trials
from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import Recording, Stimuli
from bregma.run import progress as show_progress
from bregma.system._circuit_edits import Clock, bound_edits, drives_and_holds
from bregma.system._circuit_sites import CircuitSite, circuit_sites, matching, unit_table
from bregma.system._edits import Edit
from bregma.system._perturbations import Perturbation
from bregma.system._preprocess import as_stimuli

# What 1 becomes (spikes per second, or the unit of an input), or a function of one stimulus
Shown = float | Callable[[Any], Any]


class CircuitSystem:
    """A network of neurons that is shown stimuli, each in a trial of its own.

    A trial begins with the first values of the network. Sites are populations (``"E"``: their
    spikes) and what is in their equations (``"E.v"``). What perturbations mean:

    - of spikes, values are rates in spikes per second, and each part of the trial (before, in and
      behind the window) gets as many spikes as that makes, at steps that are drawn. `Ablate` and
      `Clamp` put them in place of the unit's own, and 0 or less is none. `Patch` replays a
      recording bin by bin: own spikes of the unperturbed trial stay where they were, as far as
      the recording has as many, what is too much is left out and what lacks is drawn. With bins
      of one step that is replay spike by spike. `Add` and `Noise` give spikes in addition; none
      can be taken away. Behind a spike that is given the unit is reset; of own spikes that are
      not to be, nobody hears.
    - a variable is held by `Ablate`, `Clamp` and `Patch` (of a recording with ``bin=dt``): it has
      that value at the beginning of each step.
    - an input is added to by `Add` and `Noise`: a current.

    Parameters
    ----------
    network : Network
        The circuit.
    shows : mapping
        Where stimuli go in: a population of `Poisson` units, whose rates they become, or an input
        such as ``"E.I"``; and how: what the number 1 becomes, or a function of one stimulus. A
        stimulus is an array (unit,), or (frame, unit) over time; an image is its grey values
        between 0 and 1, row by row.
    duration : float
        Seconds of a trial.
    seed : int
        What connections and first values follow from.
    sites : str or iterable of str, optional
        What to record, patterns included; the spikes of all populations by default.
    window : (start, stop), optional
        Seconds of the trial that are recorded; all by default.
    frame : float
        Seconds that a frame of a stimulus over time lasts; the last one stays.
    dt : float
        Seconds per step.
    engine : str
        What runs it, as for `bregma.dynamics.simulate`.
    dtype : {"float32", "float64"}
        Precision of variables.
    name : str
        Name for tables and figures.

    Raises
    ------
    UnknownName
        A site or population that the network does not have; the message has the nearest names.
    InvalidArgument
        A window outside of the trial.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma.dynamics import Network, Poisson, Population
    >>> from bregma.system import CircuitSystem
    >>> retina = Network({"R": Population(Poisson(0), 4)})
    >>> system = CircuitSystem(retina, {"R": 100.0}, 1.0, seed=0, dt=1e-3)
    >>> system.record(np.eye(4)).values.argmax(1)
    array([0, 1, 2, 3])
    """

    name: str
    perturbations: tuple[Perturbation, ...]

    def __init__(
        self,
        network: Network,
        shows: Mapping[str, Shown],
        duration: float,
        *,
        seed: int,
        sites: str | Iterable[str] | None = None,
        window: tuple[float, float] | None = None,
        frame: float = 0.01,
        dt: float = 1e-4,
        engine: str = "auto",
        dtype: str = "float32",
        name: str = "circuit",
    ) -> None:
        self.network, self.shows, self.seed = network, dict(shows), seed
        self.duration, self.frame, self.name = duration, frame, name
        self.settings: dict[str, Any] = {"dt": dt, "engine": engine, "dtype": dtype}
        start, stop = (0.0, duration) if window is None else window
        self.clock = Clock(dt, *(round(t / dt) for t in (duration, start, stop)))
        if not 0 <= self.clock.start < self.clock.stop <= self.clock.n_steps:
            raise InvalidArgument(
                f"the window {start:g} to {stop:g} s does not lie in a trial of {duration:g} s"
            )
        self.perturbations = ()
        self._trials = Trials(_with_inputs(network, self.shows), seed=seed, **self.settings)
        self._known = circuit_sites(self._trials)
        spiking = [text for text, site in self._known.items() if site.kind == "spikes"]
        self._recorded = _recordable(matching(spiking if sites is None else sites, self._known))

    def sites(self) -> list[str]:
        """Names of all parts that can be recorded or perturbed.

        Returns
        -------
        list of str
            Populations that spike, then variables, expressions and inputs.
        """
        return list(self._known)

    @property
    def units(self) -> pd.DataFrame:
        """Table of the units, with ``layer`` (the site), ``kind``, ``channel``, ``population``."""
        columns = unit_table(self._recorded)
        ids = pd.Index(columns.pop("unit"), name="unit")
        return pd.DataFrame(columns, index=ids)

    def record(
        self,
        stimuli: Any,
        *,
        repeats: int = 1,
        bin: float | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> Recording:
        """Show stimuli and record the units.

        Parameters
        ----------
        stimuli : Stimuli, array, torch.Tensor or list of image files
            What to show.
        repeats : int
            How often each stimulus is shown, each time with noise of its own.
        bin : float, optional
            Seconds of a bin, for a recording over time; one value for the window by default.
        seed : int
            What the noise follows from, with the label of the stimulus and the repeat.
        progress : bool
            Show a bar where stderr is a terminal.

        Returns
        -------
        Recording
            Rates in spikes per second and means of variables, one presentation for each stimulus
            and repeat, with the table of the stimuli; units named like ``"E/c12"``.

        Raises
        ------
        InvalidArgument
            A stimulus that does not fit, a bin that does not divide the window.
        UnstableSimulation
            A variable became NaN or infinite.
        PerturbationConflict
            Two perturbations act on the same units.
        """
        stimuli = as_stimuli(stimuli)
        width = self._bin_steps(bin)
        if repeats < 1:
            raise InvalidArgument(f"repeats must be 1 or more, not {repeats}")
        for perturbation in self.perturbations:
            perturbation.check(stimuli.ids)
        edits = self._bound(stimuli, repeats, seed)
        n_bins = (self.clock.stop - self.clock.start) // width
        n_units = sum(site.size for site in self._recorded)
        values = np.empty((len(stimuli) * repeats, n_bins, n_units))
        with show_progress[Any](
            what=f"recording {self.name}", total=len(values), show=progress
        ) as bar:
            for i, shown in enumerate(stimuli.batches(1)):
                for repeat in range(repeats):
                    result = self._trial(shown, repeat, seed, edits)
                    values[i * repeats + repeat] = self._measured(result, width)
                    bar.advance()
        return self._recording(values, stimuli, repeats, None if bin is None else width)

    def perturb(self, *perturbations: Perturbation) -> CircuitSystem:
        """The same circuit under perturbations; this one stays as it is.

        Parameters
        ----------
        *perturbations : Perturbation
            What to do to it, in addition to what is done already; their order has no meaning.

        Returns
        -------
        CircuitSystem
            The perturbed system.

        Raises
        ------
        UnknownName
            A site or unit that the circuit does not have; the message has the nearest names.
        PerturbationConflict
            Two of them act on the same units.
        CannotPerturb
            A site cannot take it, such as an addition to a variable.
        """
        other = copy(self)
        other.perturbations = (*self.perturbations, *perturbations)
        bound_edits(other._where(), lambda site: np.zeros(site.size))
        if perturbations:
            other.name = f"{self.name} with " + " and ".join(
                f"{type(p).__name__}({p.site})" for p in perturbations
            )
        return other

    def with_layers(self, layers: str | Iterable[str]) -> CircuitSystem:
        """The same system with other sites to record.

        Parameters
        ----------
        layers : str or iterable of str
            Sites to record.

        Returns
        -------
        CircuitSystem
            The other system; it shares the network.

        Raises
        ------
        UnknownName
            A site that the circuit does not have; the message has the nearest names.
        InvalidArgument
            An input, which cannot be recorded.
        """
        other = copy(self)
        other._recorded = _recordable(matching(layers, self._known))
        return other

    def with_network(self, network: Network, name: str) -> CircuitSystem:
        """The same stimuli, sites and perturbations with another network of that shape.

        Parameters
        ----------
        network : Network
            The other network.
        name : str
            Its name.

        Returns
        -------
        CircuitSystem
            The other system.
        """
        other = copy(self)
        other.network, other.name = network, name
        other._trials = Trials(_with_inputs(network, self.shows), seed=self.seed, **self.settings)
        return other

    def __repr__(self) -> str:
        return f"CircuitSystem({self.name!r}, {self.network!r})"

    # Perturbations

    def _where(self) -> list[tuple[Perturbation, list[CircuitSite]]]:
        return [(p, matching(p.site, self._known)) for p in self.perturbations]

    def _bound(self, stimuli: Stimuli, repeats: int, seed: int) -> dict[CircuitSite, list[Edit]]:
        def mean(site: CircuitSite) -> Float[np.ndarray, " unit"]:
            plain = self._plain()
            plain._recorded = [site]
            return plain.record(stimuli, repeats=repeats, seed=seed).values.mean(axis=0)

        return bound_edits(self._where(), mean)

    def _plain(self) -> CircuitSystem:
        """The circuit without perturbations."""
        plain = copy(self)
        plain.perturbations = ()
        return plain

    # A trial

    def _trial(
        self, shown: Stimuli, repeat: int, seed: int, edits: dict[CircuitSite, list[Edit]]
    ) -> Simulation:
        label = shown.ids[0]
        sources, drives = self._inputs(shown)

        def own(population: str) -> tuple[Int[np.ndarray, " spike"], Int[np.ndarray, " spike"]]:
            plain = self._plain()._trial(shown, repeat, seed, {})
            return self._spikes(plain, population)

        more, holds = drives_and_holds(edits, label, self.clock, own, seed, repeat)
        record: dict[str, list[str]] = {}
        for site in self._recorded:
            if site.variable:
                record.setdefault(site.population, []).append(site.variable)
        return self._trials.run(
            self.duration,
            trial=[str(label), repeat, seed],
            sources=sources,
            drives=[*drives, *more],
            holds=holds,
            record=record,
        )

    def _inputs(self, shown: Stimuli) -> tuple[dict[str, Poisson], list[Drive]]:
        """What one stimulus becomes at each place where it goes in."""
        if shown.kind == "image":
            image = shown.images()[0].mean(axis=-1) / 255
            stimulus = image.ravel()
        else:
            stimulus = np.asarray(shown.array()[0])
            if stimulus.ndim > 2:  # frames of images
                stimulus = stimulus.reshape(len(stimulus), -1)
        sources, drives = {}, []
        for target, how in self.shows.items():
            values = how(stimulus) if callable(how) else stimulus * how
            population, _, variable = target.partition(".")
            if variable:
                drives.append(Drive(population, variable, values, self.frame))
            else:
                sources[population] = Poisson(values, self.frame)
        return sources, drives

    # What is recorded

    def _bin_steps(self, bin: float | None) -> int:
        n, dt = self.clock.stop - self.clock.start, self.clock.dt
        if bin is None:
            return n
        width = round(bin / dt)
        if width < 1 or n % width or abs(width * dt / bin - 1) > 1e-6:
            raise InvalidArgument(
                f"bin={bin} s does not divide the window of {n} steps of {dt:g} s"
            )
        return width

    def _spikes(self, result: Simulation, population: str) -> tuple[Any, Any]:
        trains = result.spikes[population]
        steps = np.round(trains.times / self.clock.dt).astype(np.int64) - 1
        return steps, trains.unit_index

    def _measured(self, result: Simulation, width: int) -> Float[np.ndarray, "time unit"]:
        start, stop = self.clock.start, self.clock.stop
        n_bins, parts = (stop - start) // width, []
        for site in self._recorded:
            if site.variable:
                values = result.traces[site.text].values[0, start:stop]
                parts.append(values.reshape(n_bins, width, -1).mean(axis=1, dtype=np.float64))
                continue
            steps, units = self._spikes(result, site.population)
            inside = (steps >= start) & (steps < stop)
            cell = (steps[inside] - start) // width * site.size + units[inside]
            counts = np.bincount(cell, minlength=n_bins * site.size).reshape(n_bins, site.size)
            parts.append(counts / (width * self.clock.dt))
        return np.concatenate(parts, axis=1)

    def _recording(
        self, values: Float[np.ndarray, "presentation time unit"], stimuli: Stimuli, repeats: int,
        width: int | None,
    ) -> Recording:  # fmt: skip
        units = unit_table(self._recorded)
        row = np.repeat(np.arange(len(stimuli)), repeats)
        ids = stimuli.ids[row]
        shows: dict[str, Any] = {"presentation": ids, "stimulus": ids}
        if repeats > 1:
            number = np.tile(np.arange(repeats), len(stimuli))
            shows["presentation"] = [f"{x}#{r}" for x, r in zip(ids, number, strict=True)]
            shows["repeat"] = number
        for column in stimuli.table:
            name = f"stimulus_{column}" if column in units or column in shows else str(column)
            shows[name] = stimuli.table[column].to_numpy()[row]
        time = None
        if width is not None:
            bins = np.arange(values.shape[1])
            time = (self.clock.start + (bins + 0.5) * width) * self.clock.dt
        only_spikes = all(site.kind == "spikes" for site in self._recorded)
        return Recording.from_array(
            values[:, 0] if time is None else values,
            unit=units,
            presentation=shows,
            time=time,
            measured_in="spikes/s" if only_spikes else None,
            name=self.name,
        )


def _recordable(sites: list[CircuitSite]) -> list[CircuitSite]:
    for site in sites:
        if site.kind == "input":
            raise InvalidArgument(f"{site.text!r} is an input, which cannot be recorded")
    return sites


def _with_inputs(network: Network, shows: Mapping[str, Shown]) -> Network:
    """The network, in which every place where stimuli go in can be driven."""
    drives: Sequence[Any] = network.drives
    for target in shows:
        population, _, variable = target.partition(".")
        if population not in network.populations:
            raise UnknownName.of("population to show stimuli to", population, network.populations)
        if variable:
            drives = [*drives, Drive(population, variable, 0.0)]
        elif not isinstance(network.populations[population].neuron, Poisson):
            inputs = [f"{population}.{n}" for n in sorted(network.populations[population].names)]
            raise InvalidArgument(
                f"{population!r} has equations: show stimuli to one of its inputs, such as "
                f"{', '.join(inputs[:3]) or 'none'}"
            )
    return replace(network, drives=tuple(drives))
