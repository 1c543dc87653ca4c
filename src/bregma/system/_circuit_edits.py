"""Perturbations of a circuit: what they hold and what they drive in one trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bregma.dynamics import Drive, Hold
from bregma.errors import InvalidArgument
from bregma.run import spawn
from bregma.system._circuit_sites import CircuitSite, check_possible
from bregma.system._conflicts import check_conflicts, content_key
from bregma.system._edits import Edit, check_selected
from bregma.system._perturbations import Patch, Perturbation, Target

# Steps and units of the spikes of a population in a trial
Own = Callable[[str], tuple[Int[np.ndarray, " spike"], Int[np.ndarray, " spike"]]]
LEFT_ALONE = np.nan


@dataclass(frozen=True)
class Clock:
    """Steps of a trial: how long they are, how many, and those of the window."""

    dt: float
    n_steps: int
    start: int
    stop: int

    @property
    def parts(self) -> list[tuple[int, int]]:
        """What lies before the window, the window, and what lies behind it."""
        cuts = [0, self.start, self.stop, self.n_steps]
        return [(a, b) for a, b in pairwise(cuts) if b > a]


def bound_edits(
    perturbations: Sequence[tuple[Perturbation, list[CircuitSite]]],
    mean: Callable[[CircuitSite], Float[np.ndarray, " unit"]],
) -> dict[CircuitSite, list[Edit]]:
    """What is done at each site, checked.

    Parameters
    ----------
    perturbations : sequence of (Perturbation, list of CircuitSite)
        What is done where.
    mean : callable
        Mean activity of a site without perturbations.

    Returns
    -------
    dict
        Site to edits, in an order that does not depend on that of the perturbations.

    Raises
    ------
    PerturbationConflict
        Two of them act on the same units.
    CannotPerturb
        A site cannot take a perturbation.
    """
    found: dict[CircuitSite, list[Edit]] = {}
    for perturbation, sites in perturbations:
        check_selected(perturbation, [site.layout for site in sites])
        for site in sites:
            check_possible(perturbation, site)
            layout, index = site.layout, perturbation.select(site.layout)
            if len(index):
                target = Target(layout, index, lambda site=site: mean(site), True)  # type: ignore[misc]
                edit = Edit(perturbation, layout, index, perturbation.bind(target))
                found.setdefault(site, []).append(edit)
    for site, edits in found.items():
        check_conflicts(site.layout, [(e.perturbation, e.index) for e in edits])
        edits.sort(key=lambda edit: content_key(edit.perturbation))
    return found


def drives_and_holds(
    edits: dict[CircuitSite, list[Edit]],
    label: Any,
    clock: Clock,
    own: Own,
    seed: int,
    repeat: int,
) -> tuple[list[Drive], list[Hold]]:
    """What the perturbations are in one trial.

    Parameters
    ----------
    edits : dict
        From `bound_edits`.
    label : object
        Label of the stimulus.
    clock : Clock
        Steps of the trial.
    own : callable
        Population to the spikes that it has in this trial without perturbations.
    seed, repeat : int
        What the times of spikes that are drawn follow from, with the label.

    Returns
    -------
    list of Drive, list of Hold
        For `Trials.run`.
    """
    drives, holds = [], []
    for site, here in edits.items():
        if site.kind == "input":
            drives.append(Drive(site.population, site.variable, _added(site, here, label)))
        elif site.kind == "variable":
            holds += [_held(site, edit, label, clock) for edit in here]
        else:
            priority = spawn(seed, "spikes", site.text, str(label), repeat).random(
                (clock.n_steps, site.size)
            )
            rows = _spikes(site, here, label, clock, own, priority)
            holds.append(Hold(site.population, "spikes", rows))
    return drives, holds


def _added(site: CircuitSite, edits: Sequence[Edit], label: Any) -> Float[np.ndarray, " unit"]:
    """The sum of what is added to each unit."""
    total = np.zeros(site.size)
    for edit in edits:
        total[edit.index] += edit.activity(np.asarray([label]))[0]
    return total


def _held(site: CircuitSite, edit: Edit, label: Any, clock: Clock) -> Hold:
    """The hold of a variable: at numbers, or step by step as recorded."""
    values = edit.activity(np.asarray([label]))[0]
    if values.ndim == 1:
        return Hold(site.population, site.variable, values, edit.index)
    first = _bins(edit.perturbation, clock)[0]
    if first[1] - first[0] != 1:
        raise InvalidArgument(
            f"{edit.perturbation}: a variable is replayed step by step, but the bins of the "
            f"recording are longer than dt={clock.dt:g} s; record it with bin=dt"
        )
    start, stop = (j * clock.dt for j in (first[1], first[1] + len(values)))
    return Hold(site.population, site.variable, values, edit.index, start, stop)


def _spikes(
    site: CircuitSite,
    edits: Sequence[Edit],
    label: Any,
    clock: Clock,
    own: Own,
    priority: Float[np.ndarray, "step unit"],
) -> Float[np.ndarray, "step unit"]:
    """Zeros and ones where spikes are given, NaN where a unit is left alone."""
    rows = np.full(priority.shape, LEFT_ALONE)
    extra = np.zeros(site.size)
    for edit in edits:
        rates = edit.activity(np.asarray([label]))[0]
        if edit.perturbation.additive:
            extra[edit.index] += rates
            continue
        before = np.zeros((clock.n_steps, len(edit.index)), bool)
        parts = clock.parts
        if isinstance(edit.perturbation, Patch):
            parts = (
                [(clock.start, clock.stop)] if rates.ndim == 1 else _bins(edit.perturbation, clock)
            )
            steps, units = own(site.population)
            everyone = np.zeros(priority.shape, bool)
            everyone[steps, units] = True
            before = everyone[:, edit.index]
        given = before.copy()
        for i, (a, b) in enumerate(parts):
            wanted = (rates if rates.ndim == 1 else rates[i]) * (b - a) * clock.dt
            # own spikes first, then those that are drawn
            given[a:b] = _first(priority[a:b, edit.index] - before[a:b], wanted)
        rows[:, edit.index] = given
    for a, b in clock.parts:
        rows[a:b][_first(priority[a:b], extra * (b - a) * clock.dt)] = 1
    return rows


def _first(
    order: Float[np.ndarray, "step unit"], n: Float[np.ndarray, " unit"]
) -> Bool[np.ndarray, "step unit"]:
    """The n steps of each unit that come first in an order; a step holds one spike at most."""
    rank = order.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return rank < np.rint(n)


def _bins(patch: Any, clock: Clock) -> list[tuple[int, int]]:
    """Steps of the bins of a recording over time."""
    times = patch.recording.times
    width = round((times[1] - times[0]) / clock.dt) if len(times) > 1 else 1
    first = round(float(times[0]) / clock.dt - width / 2)
    bins = [(first + i * width, first + (i + 1) * width) for i in range(len(times))]
    centres = np.array([(a + b) / 2 for a, b in bins]) * clock.dt
    if (
        width < 1
        or first < 0
        or bins[-1][1] > clock.n_steps
        or not np.allclose(centres, times, rtol=0, atol=0.25 * clock.dt)
    ):
        raise InvalidArgument(
            f"{patch}: the bins of the recording are not whole steps of {clock.dt:g} s within the "
            f"{clock.n_steps * clock.dt:g} s of a trial"
        )
    return bins
