"""Patching and ablation of named parts of any system: a network or a spiking circuit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._contrast import Metric, Pairs, ends, logit_difference, others
from bregma.mechanism.circuits._effects import Effects
from bregma.recording import Recording, Stimuli
from bregma.run import progress as show_progress
from bregma.system import Ablate, CircuitSystem, Clamp, Patch, Perturbation
from bregma.system._preprocess import as_stimuli

# A site, the activity that was recorded there, and which of its units -> what is done to them.
Change = Callable[[str, Recording, Any], Perturbation]


def patch_units(
    system: Any,
    pairs: Pairs,
    sites: str | Sequence[str],
    answers: str,
    *,
    by: str | None = None,
    answer_units: dict[str, Any] | None = None,
    direction: str = "denoise",
    metric: Metric = logit_difference,
    progress: bool = False,
) -> Effects:
    """Give each part of a system its activity for the other input, one at a time.

    It is what `patch` does for transformers, for any module whose parts have names, and for
    simulated circuits, where spikes are replayed one by one, in the window that is recorded. The
    whole system runs once for each part.

    Parameters
    ----------
    system : TorchSystem or CircuitSystem
        Without perturbations.
    pairs : Contrast or PromptPairs
        Clean and corrupt inputs and their answers.
    sites : str or sequence of str
        What is patched; patterns as for `TorchSystem`.
    answers : str
        The site whose units answer: ``right`` and ``wrong`` of the pairs are their numbers.
    by : str, optional
        A column of the units, such as ``"channel"``, ``"head"``, ``"token"``: the units of a site
        that share its value are patched together. All of a site by default.
    answer_units : dict, optional
        Which units of that site answer, such as ``{"token": 7}``; all by default.
    direction : {"denoise", "noise"}
        Clean activity into the corrupt run (what is enough for the answer?), or corrupt activity
        into the clean one (what is needed?).
    metric : callable
        Answers (pair, answer) and their pairs to one number each.
    progress : bool
        Show a bar where stderr is a terminal.

    Returns
    -------
    Effects
        (pair, site, ...); the total is the difference between the runs.

    Raises
    ------
    InvalidArgument
        A perturbed system, no such column of the units, or sites that have other values of it.
    UnknownName
        A site that is not there; the message has the nearest names.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from bregma import TorchSystem
    >>> from bregma.mechanism import Contrast
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> shown = np.eye(4, dtype="f4")
    >>> pairs = Contrast(shown, shown[::-1].copy(), [0] * 4, [1] * 4)
    >>> dict(patch_units(TorchSystem(net), pairs, "1", "2", by="channel").values.sizes)
    {'pair': 4, 'site': 1, 'channel': 3}
    """
    base, source, kind = ends(pairs, direction)
    again = partial(
        patch_units, pairs=pairs, sites=sites, answers=answers, by=by, answer_units=answer_units,
        direction=direction, metric=metric,
    )  # fmt: skip
    ask = _Asked(system, answers, answer_units, pairs, metric)
    shown, other = (as_stimuli(np.asarray(x)) for x in (base, source))
    given = ask.activity(sites, other, shown)
    values, before = ask.each(given, by, lambda site, part, _: Patch(site, part), shown, progress)
    name = f"patching of each {by or 'site'} ({kind})"
    return Effects(values, ask.measured(system, other) - before, name, system, again)


def ablate_units(
    system: Any,
    pairs: Pairs,
    sites: str | Sequence[str],
    answers: str,
    *,
    by: str | None = None,
    answer_units: dict[str, Any] | None = None,
    baseline: str = "mean",
    metric: Metric = logit_difference,
    seed: int = 0,
    progress: bool = False,
) -> Effects:
    """Take each part of a system out of the clean run, one at a time.

    Parameters
    ----------
    system, pairs, sites, answers, by, answer_units, metric, progress
        As for `patch_units`. Corrupt inputs are shown for the total alone.
    baseline : {"mean", "zero", "resample"}
        What comes instead: its mean over the inputs; nothing; or its activity for another input,
        drawn at random.
    seed : int
        Draws the other inputs.

    Returns
    -------
    Effects
        Negative where the part helps. The total is the measure of corrupt less that of clean
        inputs.

    Raises
    ------
    InvalidArgument
        As for `patch_units`, or there is no such baseline.
    UnknownName
        A site that is not there; the message has the nearest names.
    """
    order = others(baseline, len(pairs), seed).tolist()

    def change(site: str, part: Recording, units: Any) -> Perturbation:
        if baseline == "resample":
            return Patch(site, part)
        if baseline == "zero":
            return Ablate(site, units)
        over_time = part.mean_time() if part.has_time else part
        return Clamp(site, over_time.values.mean(0), units)

    again = partial(
        ablate_units, pairs=pairs, sites=sites, answers=answers, by=by, answer_units=answer_units,
        baseline=baseline, metric=metric, seed=seed,
    )  # fmt: skip
    ask = _Asked(system, answers, answer_units, pairs, metric)
    clean, corrupt = (as_stimuli(np.asarray(x)) for x in (pairs.clean, pairs.corrupt))
    given = ask.activity(sites, clean[order], clean)
    values, before = ask.each(given, by, change, clean, progress)
    name = f"ablation of each {by or 'site'} ({baseline})"
    return Effects(values, ask.measured(system, corrupt) - before, name, system, again)


class _Asked:
    """A system, and what is read from its answers."""

    def __init__(
        self, system: Any, answers: str, units: dict[str, Any] | None, pairs: Pairs, metric: Metric
    ) -> None:
        if system.perturbations:
            raise InvalidArgument(
                f"{system.name!r} is perturbed already; give the system without perturbations"
            )
        self.system, self.answers, self.units = system, answers, units or {}
        self.pairs, self.metric = pairs, metric

    def activity(self, sites: str | Sequence[str], source: Stimuli, shown: Stimuli) -> Recording:
        """What the sites do for the source, with the labels of what is shown."""
        # Spikes are replayed one by one.
        how = {"bin": self.system.clock.dt} if isinstance(self.system, CircuitSystem) else {}
        found = self.system.with_layers(sites).record(source, **how)
        return found.assign(stimulus=shown.ids)

    def measured(self, system: Any, shown: Stimuli) -> Float[np.ndarray, " pair"]:
        answers = system.with_layers(self.answers).record(shown).select(**self.units)
        tensor: Tensor = torch.as_tensor(answers.values)
        return self.metric(tensor, self.pairs).double().numpy()

    def each(
        self, given: Recording, by: str | None, change: Change, shown: Stimuli, progress: bool
    ) -> tuple[xr.DataArray, Float[np.ndarray, " pair"]]:
        """What the measure gains by changes of each part, and the measure before."""
        sites, values = _parts(given, by)
        before = self.measured(self.system, shown)
        found = []
        with show_progress[Any](
            what="perturbing", total=len(sites) * len(values), show=progress
        ) as bar:
            for site in sites:
                for value in values:
                    units = None if by is None else {by: value}
                    part = given.select(layer=site, **(units or {}))
                    changed = self.system.perturb(change(site, part, units))
                    found.append(self.measured(changed, shown) - before)
                    bar.advance()
        dims = ("pair", "site") if by is None else ("pair", "site", by)
        shape = (len(shown), len(sites)) if by is None else (len(shown), len(sites), len(values))
        coords = {"pair": np.arange(len(shown)), "site": sites}
        if by is not None:
            coords[by] = values
        array = xr.DataArray(np.stack(found, 1).reshape(shape), dims=dims, coords=coords)
        return array, before


def _parts(given: Recording, by: str | None) -> tuple[list[str], list[Any]]:
    """The sites, and the values of a column that all of them have."""
    units = given.units
    sites = list(dict.fromkeys(units["layer"]))
    if by is None:
        return sites, [None]
    if by not in units:
        raise InvalidArgument(
            f"units have no column {by!r}; there are {', '.join(map(repr, units.columns))}"
        )
    values = {site: np.unique(units.loc[units["layer"] == site, by]).tolist() for site in sites}
    for site in sites[1:]:
        if values[site] != values[sites[0]]:
            raise InvalidArgument(
                f"{sites[0]!r} has {len(values[sites[0]])} values of {by!r} and {site!r} has "
                f"{len(values[site])} or others; give them one at a time"
            )
    return sites, values[sites[0]]
