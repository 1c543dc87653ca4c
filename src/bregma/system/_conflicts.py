"""Perturbations side by side: which ones collide, and the order in which sums are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from bregma.errors import PerturbationConflict
from bregma.recording import Recording
from bregma.system._layout import Layout
from bregma.system._perturbations import Patch, Perturbation


def content_key(perturbation: Perturbation) -> str:
    """Hash of what a perturbation does; sums are taken in its order, whatever was declared first.

    Parameters
    ----------
    perturbation : Perturbation
        Any perturbation.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(type(perturbation).__name__.encode(), digest_size=16)
    for part in fields(perturbation):  # type: ignore[arg-type]
        value = getattr(perturbation, part.name)
        if isinstance(value, Recording):
            value = value.content_hash()
        elif isinstance(value, torch.Tensor | np.ndarray | list):
            array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
            value = (array.shape, array.dtype.str, array.tobytes())
        digest.update(f"{part.name}={value!r};".encode())
    return digest.hexdigest()


def check_conflicts(
    layout: Layout, selected: Iterable[tuple[Perturbation, Int[np.ndarray, " _"]]]
) -> None:
    """Refuse perturbations of the same units, unless all of them add to the activity.

    Parameters
    ----------
    layout : Layout
        The layer.
    selected : iterable of (Perturbation, array)
        The perturbations of this layer with the units that they select.

    Raises
    ------
    PerturbationConflict
        The message names the two and a unit.
    """
    parties: list[Perturbation] = []
    owner = np.full(layout.n_units, -1)
    for perturbation, index in selected:
        for i in index[owner[index] >= 0]:
            other = parties[owner[i]]
            if not (other.additive and perturbation.additive):
                raise _conflict(other, perturbation, repr(str(layout.ids[i])))
        owner[index] = len(parties)
        parties.append(perturbation)


def check_certain_conflict(one: Perturbation, other: Perturbation, layers: list[str]) -> None:
    """Refuse what must collide whatever the layers look like, before anything is run.

    Parameters
    ----------
    one, other : Perturbation
        Two perturbations.
    layers : list of str
        The sites that both of them name.

    Raises
    ------
    PerturbationConflict
        The message names the two.
    """
    if not layers or (one.additive and other.additive):
        return
    mine = tuple(layer + end for layer in layers for end in "/#")
    everything = [p.units is None and not isinstance(p, Patch) for p in (one, other)]
    some = [_named(p, mine) for p in (one, other)]
    if all(everything) or (any(everything) and any(some)):
        raise _conflict(one, other, f"units of {layers[0]!r}")
    there = set(some[1])
    if both := [unit for unit in some[0] if unit in there]:
        raise _conflict(one, other, repr(both[0]))


def _named(perturbation: Perturbation, beginnings: tuple[str, ...]) -> list[Any]:
    """Units that a perturbation surely selects in these layers."""
    if isinstance(perturbation.units, Mapping):
        return [perturbation]  # some unit, or it is an error
    return [unit for unit in perturbation.units or () if unit.startswith(beginnings)]


def _conflict(one: Perturbation, other: Perturbation, where: str) -> PerturbationConflict:
    return PerturbationConflict(
        f"{one} and {other} both act on {where}; which one should hold is not said: leave one "
        "out, or select other units"
    )
