"""Sites of a circuit: spikes of its populations, their variables and their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
from jaxtyping import Shaped

from bregma.dynamics import Trials
from bregma.errors import CannotPerturb, UnknownName
from bregma.system._layout import Layout
from bregma.system._perturbations import Patch, Perturbation


@dataclass(frozen=True)
class CircuitSite:
    """Spikes, a variable or an input of a population.

    kind : what it is; an "expression" follows from others and can only be recorded.
    """

    population: str
    kind: Literal["spikes", "variable", "expression", "input"]
    variable: str
    size: int

    @property
    def text(self) -> str:
        """How it is written: ``"E"`` or ``"E.v"``."""
        return f"{self.population}.{self.variable}" if self.variable else self.population

    @property
    def layout(self) -> Layout:
        """Its units: ``"E/c0"``, ``"E/c1"``, ..."""
        return Layout(self.text, ("channel",), (self.size,))


def circuit_sites(trials: Trials) -> dict[str, CircuitSite]:
    """All sites of a network by name: populations first, then what is in their equations.

    Parameters
    ----------
    trials : Trials
        The network.

    Returns
    -------
    dict
        Text to site.
    """
    found = []
    for p in trials.plan.populations:
        if p.spikes:
            found.append(CircuitSite(p.name, "spikes", "", p.size))
    for p in trials.plan.populations:
        if p.step is not None:
            found += [CircuitSite(p.name, "variable", n, p.size) for n in p.step.states]
            found += [CircuitSite(p.name, "expression", n, p.size) for n in p.step.expressions]
            found += [CircuitSite(p.name, "input", n, p.size) for n in p.step.inputs if n != "t"]
    return {site.text: site for site in found}


def matching(patterns: str | Iterable[str], sites: dict[str, CircuitSite]) -> list[CircuitSite]:
    """Sites that patterns name, each once.

    Parameters
    ----------
    patterns : str or iterable of str
        ``*`` and ``?`` stand for any characters.
    sites : dict
        All sites.

    Returns
    -------
    list of CircuitSite
        In the order of the patterns.

    Raises
    ------
    UnknownName
        A pattern names nothing; the message has the nearest names.
    """
    found: dict[str, CircuitSite] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        here = {text: site for text, site in sites.items() if fnmatchcase(text, pattern)}
        if not here:
            raise UnknownName.of("site", pattern, sites)
        found |= here
    return list(found.values())


def check_possible(perturbation: Perturbation, site: CircuitSite) -> None:
    """Refuse what a site cannot take.

    Parameters
    ----------
    perturbation : Perturbation
        What is to be done.
    site : CircuitSite
        Where.

    Raises
    ------
    CannotPerturb
        The message says where it can be done.
    """
    if site.kind == "expression":
        raise CannotPerturb(
            f"{perturbation}: {site.text!r} follows from the variables and inputs of "
            f"{site.population!r}; perturb one of these"
        )
    if perturbation.additive and site.kind == "variable":
        raise CannotPerturb(
            f"{perturbation}: {site.text!r} moves by its equation; add to an input of "
            f"{site.population!r} instead, or hold it with Clamp"
        )
    if not perturbation.additive and site.kind == "input":
        raise CannotPerturb(
            f"{perturbation}: {site.text!r} is what flows in, which can be added to; to hold "
            f"something, name the population that it comes from or a variable"
        )
    over_time = not isinstance(perturbation, Patch) or perturbation.recording.has_time
    if site.kind == "variable" and not over_time:
        raise CannotPerturb(
            f"{perturbation}: a variable is replayed step by step, but the recording is not over "
            "time; record it with bin=dt"
        )


def unit_table(sites: Sequence[CircuitSite]) -> dict[str, Shaped[np.ndarray, " unit"]]:
    """Columns of the table of units over several sites.

    Parameters
    ----------
    sites : sequence of CircuitSite
        In their order.

    Returns
    -------
    dict of array
        ``unit`` (ids), ``layer`` (the site), ``kind``, ``channel`` (which unit) and
        ``population``.
    """
    columns: dict[str, Any] = {
        "unit": [site.layout.ids for site in sites],
        "layer": [[site.text] * site.size for site in sites],
        "kind": [[site.kind] * site.size for site in sites],
        "channel": [np.arange(site.size) for site in sites],
        "population": [[site.population] * site.size for site in sites],
    }
    return {name: np.concatenate(parts) for name, parts in columns.items()}
