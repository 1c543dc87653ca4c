"""The section on geometry: RDMs as maps and as points in the plane."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from bregma.errors import InvalidArgument
from bregma.recording import Dissimilarity, Stimuli

from ._figures import embedding, in_the_plane, order_of, rdm_map, turned_to, unique_labels
from ._tables import number

THUMBNAIL_PIXELS = 40


def geometry_section(
    rdms: Sequence[Dissimilarity],
    stimuli: Stimuli | None,
    categories: Mapping[Any, str] | None,
    place: Callable[[go.Figure], int],
) -> dict[str, Any] | None:
    """Figures and captions of all RDMs; None where there are none."""
    if not rdms:
        return None
    for rdm in rdms:
        if not rdm.name:
            raise InvalidArgument("every RDM of a report needs a name: rdm.named('IT')")
    shown = rdms[0].stimuli
    kinds = None
    if categories is not None:
        kinds = [str(categories.get(stimulus, "other")) for stimulus in shown.tolist()]
    order = order_of(shown, kinds)
    labels = unique_labels([shown[i] for i in order])
    kinds = None if kinds is None else [kinds[i] for i in order]
    wanted = [shown[i] for i in order]
    pictures = _pictures(stimuli, wanted)
    maps, target = [], None
    for rdm in rdms:
        one = rdm.mean() if rdm.n_rdms > 1 else rdm
        square = one.select_stimuli(wanted).square()[0]
        points, fit = in_the_plane(square)
        if target is None:
            spread = float(np.sqrt((points**2).sum(1).mean()))
            target = points / spread if spread > 0 else points
        points = turned_to(points, target)
        maps.append(
            {
                "name": rdm.name,
                "note": _note(rdm),
                "map": place(rdm_map(square, labels, kinds)),
                "embedding": place(
                    embedding(points, labels, kinds, None if pictures is None else pictures[0])
                ),
                "fit": number(fit, ".2f"),
            }
        )
    return {
        "maps": maps,
        "n_shown": len(order),
        "n_stimuli": len(shown),
        "by_category": kinds is not None,
        "thumbnails": [] if pictures is None else pictures[1],
    }


def _note(rdm: Dissimilarity) -> str:
    return f"mean of {rdm.n_rdms} RDMs, {rdm.measure}" if rdm.n_rdms > 1 else rdm.measure


def _pictures(stimuli: Stimuli | None, wanted: list[Any]) -> tuple[list[int], list[str]] | None:
    """For each wanted stimulus the number of its thumbnail, and the thumbnails."""
    if stimuli is None or stimuli.kind != "image":
        return None
    ids = {stimulus: i for i, stimulus in enumerate(stimuli.ids.tolist())}
    if any(stimulus not in ids for stimulus in wanted):
        return None
    return list(range(len(wanted))), stimuli.select(wanted).thumbnails(THUMBNAIL_PIXELS)
