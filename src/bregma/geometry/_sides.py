"""The two sides of a comparison: whatever the user has, as recordings or dissimilarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bregma.errors import InvalidArgument
from bregma.recording import Dissimilarity, Recording, SpikeTrains, Stimuli, read
from bregma.system import System, load, untrained

Data = Recording | Dissimilarity


@dataclass(frozen=True)
class Side:
    """One model (or one layer of it) as data, and the twins that know nothing."""

    name: str
    data: Data
    twins: tuple[Data, ...] = ()


def as_stimuli(stimuli: Any) -> Stimuli | None:
    """Stimuli from a folder, a file, an array, or as they are."""
    if stimuli is None or isinstance(stimuli, Stimuli):
        return stimuli
    if isinstance(stimuli, str | Path):
        return Stimuli.from_images(stimuli)
    return Stimuli(stimuli)


def as_data(what: Any, stimuli: Stimuli | None, role: str) -> Data:
    """A recording or dissimilarities from a path, a system, or as they are."""
    if isinstance(what, str | Path):
        what = read(what)
    if isinstance(what, SpikeTrains):
        raise InvalidArgument(
            f"the {role} is spike trains without trials; cut them around events first: "
            "spikes.around(events, window, bin) gives a Recording"
        )
    if isinstance(what, System):
        return record(what, stimuli, role)
    if not isinstance(what, Recording | Dissimilarity):
        raise InvalidArgument(
            f"the {role} is a {type(what).__name__}; a Recording, a Dissimilarity, a System or "
            "the path of a file is needed"
        )
    return what


def record(system: System, stimuli: Stimuli | None, role: str) -> Recording:
    """Show the stimuli to a system."""
    if stimuli is None:
        raise InvalidArgument(
            f"the {role} {system.name!r} must be shown something: give stimuli= "
            "(on the command line: --images)"
        )
    return system.record(stimuli)


def as_models(models: Any, stimuli: Stimuli | None, *, n_twins: int, seed: int) -> list[Side]:
    """Every model, or layer of a model, with its name and its twins."""
    if isinstance(models, Mapping):
        pairs = [(str(name), model) for name, model in models.items()]
    else:
        if isinstance(models, str | Path) or not isinstance(models, Sequence):
            models = [models]
        pairs = [(_name_of(model), model) for model in models]
    sides: list[Side] = []
    for name, model in pairs:
        if isinstance(model, str) and not Path(model.partition("::")[0]).exists():
            model = load(model)
        sides += _layers(name, model, stimuli, n_twins, seed)
    twice = {s.name for s in sides if [t.name for t in sides].count(s.name) > 1}
    if twice:
        raise InvalidArgument(
            f"models need distinct names, but {sorted(twice)} repeat; "
            "give a mapping from names to models"
        )
    return sides


def _name_of(model: Any) -> str:
    if isinstance(model, str):
        path, _, key = model.partition("::")
        return key or (Path(path).stem if Path(path).exists() else path)
    name = getattr(model, "name", None) or getattr(model, "stem", None)
    return str(name) if name else "model"


def _layers(name: str, model: Any, stimuli: Stimuli | None, n_twins: int, seed: int) -> list[Side]:
    data = as_data(model, stimuli, "model")
    twins: list[Data] = []
    if isinstance(model, System) and n_twins and _has_weights(model):
        seeds = range(seed, seed + n_twins)
        twins = [record(twin, stimuli, "model") for twin in untrained(model, seeds=seeds)]
    if isinstance(data, Recording) and "layer" in data.units and data.units["layer"].nunique() > 1:
        per_twin = [t.split("layer") for t in twins if isinstance(t, Recording)]
        return [
            Side(f"{name}/{layer}", part, tuple(t[layer] for t in per_twin))
            for layer, part in data.split("layer").items()
        ]
    if isinstance(data, Dissimilarity) and _is_family(data):
        return [Side(str(label), data.select(name=label)) for label in data.column("name").tolist()]
    return [Side(name, data, tuple(twins))]


def _is_family(rdms: Dissimilarity) -> bool:
    """Whether the RDMs are different models by name, and not measurements of one."""
    if rdms.n_rdms == 1 or "name" not in rdms.rdms or "subject" in rdms.rdms:
        return False
    return bool(rdms.rdms["name"].is_unique)


def _has_weights(system: Any) -> bool:
    module = getattr(system, "module", None)
    return module is not None and any(True for _ in module.parameters())


def at_shared_stimuli(brain: Data, sides: Sequence[Side]) -> tuple[Data, list[Side]]:
    """Brain and models at the stimuli that all of them have, in the order of the brain."""
    everything = [brain, *(side.data for side in sides), *(t for s in sides for t in s.twins)]
    if len({data.stimuli.dtype.kind == "U" for data in everything}) > 1:  # 7 and "7" are one
        everything = [_with_text_labels(data) for data in everything]
    shared = set.intersection(*({*data.stimuli.tolist()} for data in everything))
    order = [s for s in dict.fromkeys(everything[0].stimuli.tolist()) if s in shared]
    if len(order) < 2:
        raise InvalidArgument(
            f"brain and models share {len(order)} stimuli: "
            + "; ".join(
                f"{name!r} has {np.unique(data.stimuli)[:3].tolist()} ..."
                for name, data in zip(["brain", *(s.name for s in sides)], everything, strict=False)
            )
            + ". The labels of the stimuli must name them alike"
        )
    placed = iter([data.select_stimuli(order) for data in everything])
    first = next(placed)
    datas = [next(placed) for _ in sides]
    return first, [
        Side(side.name, data, tuple(next(placed) for _ in side.twins))
        for side, data in zip(sides, datas, strict=True)
    ]


def _with_text_labels(data: Data) -> Data:
    labels = data.stimuli.astype(str)
    if isinstance(data, Recording):
        return data.assign(stimulus=labels)
    return Dissimilarity(
        data.values, stimuli=labels, rdms=data.rdms, measure=data.measure, name=data.name
    )
