"""What is typed on the command line as what functions take; mistakes are told before any work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bregma.errors import InvalidArgument

if TYPE_CHECKING:
    from bregma import Dissimilarity, Recording, SpikeTrains

Missing = Annotated[
    str | None,
    typer.Option(
        metavar="WHAT",
        help="Where values of the recording are missing: drop_units or drop_presentations; an "
        "error otherwise.",
        rich_help_panel="Input",
    ),
]


def reading(
    *, missing: str | None, events: list[str] | None = None, window: str | None = None
) -> dict[str, Any]:
    """Options of `bregma.read`; those that were not given are left to it."""
    options: dict[str, Any] = {}
    if events:
        if window is None:
            raise InvalidArgument("--events needs --window START:STOP, the seconds around each")
        options["events"] = events
    if window is not None:
        options["window"] = parse_window(window)
    if missing is not None:
        if missing not in ("drop_units", "drop_presentations"):
            raise InvalidArgument(f"--missing {missing}: write drop_units or drop_presentations")
        options["missing"] = missing
    return options


def check_writable(path: Path) -> None:
    """Say before a long computation that its result could not be written."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        raise InvalidArgument(f"{path} is a folder; name a file in it")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InvalidArgument(f"{path} cannot be written: {folder} is no folder that you may write")


def parse_window(text: str) -> tuple[float, float]:
    """``"-0.2:0.8"`` as two numbers."""
    try:
        start, stop = (float(part) for part in text.split(":"))
    except ValueError:
        start = stop = 0.0
    if not start < stop:
        raise InvalidArgument(f"--window {text}: write START:STOP in seconds, such as -0.2:0.8")
    return start, stop


def select_labels(
    data: Recording | Dissimilarity | SpikeTrains, wanted: list[str]
) -> Recording | Dissimilarity | SpikeTrains:
    """Keep what ``NAME=LABEL[,LABEL...]`` asks for."""
    from bregma import Dissimilarity, Recording

    if not wanted:
        return data
    if not isinstance(data, Recording | Dissimilarity):
        raise InvalidArgument("--select works on recordings and RDMs, not on spike trains")
    labels_of = data.coordinate if isinstance(data, Recording) else data.column
    labels: dict[str, list[Any]] = {}
    for text in wanted:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise InvalidArgument(f"--select {text}: write NAME=LABEL, such as area=V1")
        numeric = labels_of(name).dtype.kind in "biuf"
        try:
            parts = [float(part) if numeric else part for part in value.split(",")]
        except ValueError:
            raise InvalidArgument(f"--select {text}: the labels of {name!r} are numbers") from None
        labels.setdefault(name, []).extend(parts)
    return data.select(**labels)
