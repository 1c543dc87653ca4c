"""Edits: perturbations bound to units of one layer, and what they make of its activity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from bregma.errors import InvalidArgument, UnknownName, nearest
from bregma.system._layout import Layout
from bregma.system._perturbations import Activity, Perturbation


@dataclass(frozen=True)
class Edit:
    """A perturbation bound to the units of one layer."""

    perturbation: Perturbation
    layout: Layout
    index: Int[np.ndarray, " selected"]
    activity: Activity


def apply_edits(edits: Sequence[Edit], tensor: torch.Tensor, stimuli: Any) -> torch.Tensor:
    """A new tensor with other activity in the selected units; all other bits stay."""
    layout = edits[0].layout
    if tensor.shape != (len(stimuli), *layout.shape):
        raise InvalidArgument(
            f"layer {layout.layer!r} gives the shape {tuple(tensor.shape)} for {len(stimuli)} "
            f"stimuli, and {layout.shape} for each of the first ones: its units are not the same "
            "for all stimuli and cannot be perturbed; bring all to one size with preprocess="
        )
    flat = tensor.reshape(len(stimuli), -1).clone()
    added: dict[str, Any] = {}
    for edit in edits:
        index = torch.from_numpy(edit.index).to(flat.device)
        values = edit.activity(stimuli)
        if not edit.perturbation.additive:
            flat[:, index] = torch.from_numpy(np.array(values)).to(flat)
            continue
        if not added:
            added = {"sum": np.zeros((len(stimuli), flat.shape[1])), "where": []}
        added["sum"][:, edit.index] += values
        added["where"].append(edit.index)
    if added:
        where = np.unique(np.concatenate(added["where"]))
        index = torch.from_numpy(where).to(flat.device)
        # in float64, so that the sum is rounded once, to the type of the layer
        total = flat[:, index].cpu().double() + torch.from_numpy(added["sum"][:, where])
        flat[:, index] = total.to(flat)
    changed = torch.empty_like(tensor)  # keeps the strides: later kernels depend on them
    return changed.copy_(flat.reshape(tensor.shape))


def check_selected(perturbation: Perturbation, layouts: Sequence[Layout]) -> None:
    """Refuse a perturbation that selects nothing, or units that none of its layers has."""
    if not layouts:
        raise InvalidArgument(f"{perturbation}: none of its sites runs or gives a tensor")
    if isinstance(perturbation.units, tuple):
        for unit in perturbation.units:
            if not any(layout.owns(unit) for layout in layouts):
                raise UnknownName(
                    f"there is no unit {unit!r} for {perturbation}; ids begin with the name of the "
                    f"layer: nearest are {listed(nearest(unit, [x.layer for x in layouts]))}"
                )
    if not any(len(perturbation.select(layout)) for layout in layouts):
        raise UnknownName(f"{perturbation}: the recording has no units of {listed(layouts)}")


def listed(things: Sequence[Any]) -> str:
    """Names of layouts, sites or texts, for a message."""
    names = [repr(getattr(thing, "layer", None) or str(thing)) for thing in things]
    return ", ".join(names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")
