"""Perturb a network: each function gives a new one and leaves the old one as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bregma.dynamics.language import _units
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.network._hold import SPIKES, Hold, chosen_units
from bregma.dynamics.network._network import Drive, Network, Population, Projection
from bregma.dynamics.network._severed import Severed
from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import SpikeTrains

Time = float | str


def silence(
    network: Network,
    population: str,
    units: Any = None,
    *,
    start: Time = 0.0,
    stop: Time | None = None,
) -> Network:
    """Units whose spikes nobody hears of: neither their synapses nor a recording.

    Their variables go on by their equations, with resets and refractory time as ever, so that a
    silent unit stays in the range in which it was before.

    Parameters
    ----------
    network : Network
        The old network.
    population : str
        Whose units.
    units : array of int, optional
        Which ones; all by default.
    start, stop : float or str
        The window of time, without end where `stop` is None.

    Returns
    -------
    Network
        The new network.

    Examples
    --------
    >>> from bregma.dynamics import Network, Poisson, Population, silence, simulate
    >>> noise = Network({"P": Population(Poisson("100 Hz"), 20)})
    >>> simulate(silence(noise, "P"), "100 ms", seed=0).spikes["P"].n_spikes
    0
    """
    return _holding(network, Hold(population, SPIKES, 0, units, start, stop))


def replay(
    network: Network,
    population: str,
    trains: SpikeTrains,
    units: Any = None,
    *,
    start: Time = 0.0,
    stop: Time | None = None,
) -> Network:
    """Units that spike at given times and at no others.

    Reset and refractory time follow a given spike as they follow an own one, so that a unit that
    replays its own spikes is as it was.

    Parameters
    ----------
    network : Network
        The old network.
    population : str
        Whose units.
    trains : SpikeTrains
        The times; the order of its units is that of `units`.
    units : array of int, optional
        Which units; all by default.
    start, stop : float or str
        The window of time; outside of it the units are left alone.

    Returns
    -------
    Network
        The new network.
    """
    return _holding(network, Hold(population, SPIKES, trains, units, start, stop))


def clamp(
    network: Network,
    population: str,
    variable: str,
    values: Any,
    units: Any = None,
    *,
    start: Time = 0.0,
    stop: Time | None = None,
    frame: Time | None = None,
) -> Network:
    """A variable that has given values at the beginning of each step.

    Parameters
    ----------
    network : Network
        The old network.
    population, variable : str
        Which variable of which population.
    values : float, str or array
        One number, one for each of the units, or (frame, unit) over time.
    units : array of int, optional
        Which units; all by default.
    start, stop : float or str
        The window of time, without end where `stop` is None.
    frame : float or str, optional
        How long each row of values over time lasts, one step by default.

    Returns
    -------
    Network
        The new network.
    """
    return _holding(network, Hold(population, variable, values, units, start, stop, frame))


def stimulate(
    network: Network,
    population: str,
    variable: str,
    values: Any,
    units: Any = None,
    *,
    start: Time = 0.0,
    stop: Time | None = None,
    frame: Time = "1 ms",
) -> Network:
    """A current, or another input, that is added to some units for some time.

    Parameters
    ----------
    network : Network
        The old network.
    population, variable : str
        Which input of which population.
    values : float, str or array
        One number, one for each of the units, or (frame, unit) over time.
    units : array of int, optional
        Which units; all by default.
    start, stop : float or str
        The window of time, without end where `stop` is None.
    frame : float or str
        How long each row of values over time lasts.

    Returns
    -------
    Network
        The new network.
    """
    size = _population(network, population).size
    chosen = chosen_units(units, size, f"population {population!r}")
    given = np.asarray(_units.quantity(values)[0], dtype=np.float64)
    if given.ndim and given.shape[-1] != len(chosen):
        raise InvalidArgument(
            f"values of shape {given.shape} do not fit {len(chosen)} units of {population!r}"
        )
    everywhere = np.zeros((*given.shape[:-1], size))
    everywhere[..., chosen] = given
    drive = Drive(population, variable, everywhere, frame, start, stop)
    return replace(network, drives=(*network.drives, drive))


def cut(network: Network, projection: str, pre: Any = None, post: Any = None) -> Network:
    """A network without the synapses from some units to some units.

    All other synapses are the same as before, with the same weights and delays.

    Parameters
    ----------
    network : Network
        The old network.
    projection : str
        Its name.
    pre, post : array of int, optional
        Units on both sides; all by default.

    Returns
    -------
    Network
        The new network.
    """
    return _severed(network, projection, Severed(pre, post))


def scale(
    network: Network,
    projection: str,
    factor: float,
    pre: Any = None,
    post: Any = None,
    *,
    name: str = "w",
) -> Network:
    """Other weights between some units and some units.

    Parameters
    ----------
    network : Network
        The old network.
    projection : str
        Its name.
    factor : float
        What the weights are multiplied with; of weights that change, the first values.
    pre, post : array of int, optional
        Units on both sides; all by default.
    name : str
        What the weight is called in the text of the synapse.

    Returns
    -------
    Network
        The new network.
    """
    if not np.isfinite(factor):
        raise InvalidArgument(f"factor={factor} is not finite")
    synapse = _projection(network, projection).synapse
    known = [*synapse.values, *synapse.states]
    if name not in known:
        raise UnknownName.of(f"weight of {projection!r}", name, known)
    return _severed(network, projection, Severed(pre, post, name, float(factor)))


def add_noise(network: Network, population: str, noise: Mapping[str, str | float]) -> Network:
    """White noise in the rates of variables of a population.

    Parameters
    ----------
    network : Network
        The old network.
    population : str
        Whose variables.
    noise : mapping
        Variable to amplitude, as for `Neuron`; it takes the place of noise that this variable had.

    Returns
    -------
    Network
        The new network.
    """
    old = _population(network, population)
    if not isinstance(old.neuron, Neuron):
        raise InvalidArgument(f"{population!r} has no equations that noise could be added to")
    neuron = replace(old.neuron, noise={**old.neuron.noise, **noise})
    new = {population: replace(old, neuron=neuron)}
    return replace(network, populations={**network.populations, **new})


def _holding(network: Network, hold: Hold) -> Network:
    size = _population(network, hold.population).size
    chosen_units(hold.units, size, f"population {hold.population!r}")
    return replace(network, holds=(*network.holds, hold))


def _severed(network: Network, projection: str, change: Severed) -> Network:
    old = _projection(network, projection)
    for units, side in ((change.pre, old.pre), (change.post, old.post)):
        chosen_units(units, network.populations[side].size, f"population {side!r}")
    new = replace(old, severed=(*old.severed, change))
    return replace(network, projections=tuple(new if p is old else p for p in network.projections))


def _population(network: Network, name: str) -> Population:
    if name not in network.populations:
        raise UnknownName.of("population", name, network.populations)
    return network.populations[name]


def _projection(network: Network, name: str) -> Projection:
    there = {p.label: p for p in network.projections}
    if name not in there:
        raise UnknownName.of("projection", name, there)
    return there[name]
