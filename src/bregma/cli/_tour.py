"""`bregma tour`: the main job from beginning to end, with nothing to download."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bregma.cli._tour_steps import Size
    from bregma.datasets import Simulated
    from bregma.evidence import EvidenceSet


def tour(
    report: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to write the HTML report.")
    ] = Path("bregma-tour.html"),
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in a browser.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="What all randomness follows from.")] = 0,
) -> None:
    """Watch bregma at work: images, a brain, four models, evidence, a lesion, a report."""
    from bregma.cli._arguments import check_writable
    from bregma.cli._show import say, written

    check_writable(report)
    began = time.monotonic()
    toured = walk(report, seed=seed)
    say()
    say(
        f"That took {time.monotonic() - began:.0f} s. Now with your own data: bregma compare --help"
    )
    written(report=toured.report)
    if open_report:
        webbrowser.open(toured.report.absolute().as_uri())


@dataclass(frozen=True)
class Toured:
    """What the tour found.

    Parameters
    ----------
    brain : Simulated
        The recording with its truth.
    evidence, nothing, after : EvidenceSet
        About the four models; about the same models of scrambled brains; about the winner with
        and without lesions.
    report : Path
        The HTML file.
    """

    brain: Simulated
    evidence: EvidenceSet
    nothing: EvidenceSet
    after: EvidenceSet
    report: Path


def walk(path: Path, *, seed: int, size: Size | None = None) -> Toured:
    """Go through all steps, tell and show each.

    Parameters
    ----------
    path : Path
        Where to write the report.
    seed : int
        What all randomness follows from.
    size : Size, optional
        How much of everything; what the command does where it is not given.

    Returns
    -------
    Toured
        What came out.
    """
    from bregma.cli import _tour_steps as steps
    from bregma.cli._show import say, show
    from bregma.report import summary

    size = size or steps.Size()
    n, draws = size.images, size.draws
    say("bregma puts brains and networks into one coordinate system.", style="bold")
    say("The tour does its main job once, on data made here, so that the right answer is known.")

    _tell(
        "1. Images",
        "Patches of two photographs and handwritten digits; they come with scikit-learn.",
        steps.take_images, images=n, seed=seed,
    )  # fmt: skip
    stimuli = steps.take_images(n, seed)
    say(repr(stimuli), style="cyan")

    _tell(
        "2. A brain",
        "Four simulated animals look at the images, each with other cells of a V1-like area: Gabor "
        "cells of known orientation, frequency and place, whose spike counts are as noisy as those "
        "in cortex. A Recording carries the labels of everything.",
        steps.simulate_brain, cells=size.cells, repeats=size.repeats, seed=seed,
    )  # fmt: skip
    brain = steps.simulate_brain(stimuli, size.cells, size.repeats, seed)
    say(repr(brain.recording), style="cyan")

    _tell(
        "3. Four models",
        "Only one is right: a bank of Gabor filters, the textbook's V1. The others are the pixels, "
        "a network that has learned to read digits (on its first use, which takes some seconds), "
        "and the same network before it learned anything.",
        steps.load_models,
    )  # fmt: skip
    models = steps.load_models()
    say(", ".join(f"{name}: {len(m.units):,} units" for name, m in models.items()), style="cyan")

    _tell(
        "4. The question",
        "Which of them represents the images as the brain does? Representational similarity "
        "analysis compares how unlike each pair of images is, in the brain and in the model. Every "
        "score comes with its interval, its null and the ceiling that the noise sets.",
        steps.ask, draws=draws, seed=seed,
    )  # fmt: skip
    evidence = steps.ask(brain, models, stimuli, draws, seed)
    show(evidence)
    say()
    for sentence in summary(evidence):
        say(sentence, style="green")

    _tell(
        "5. Is it real?",
        "The same question of ten brains whose answers were exchanged between images at random. "
        "There is nothing to find in them: scores must be about 0, and p below 0.05 must be as "
        "rare as 0.05 says.",
        steps.ask_nothing, draws=draws, seed=seed,
    )  # fmt: skip
    nothing = steps.ask_nothing(brain, models, stimuli, draws, seed)
    show(_null_table(evidence, nothing))
    say()
    say(_nothing(nothing), style="green")

    _tell(
        "6. Which of its units make it so?",
        "A System can be perturbed. One lesion takes out the winner's units for stripes within "
        "45 degrees of horizontal; the other takes out as many units, wherever they are. The "
        "network itself is not changed.",
        steps.cut, steps.ask_lesions, draws=draws, seed=seed,
    )  # fmt: skip
    cut = steps.cut(models, seed)
    after = steps.ask_lesions(brain, cut, stimuli, draws, seed)
    show(after)
    say()
    say(_lesion(after), style="green")

    _tell(
        "7. The report",
        "Scores, ceilings, nulls, the representations with the images in them, all settings and "
        "the sources to cite, in one file that needs no network.",
        steps.write,
    )  # fmt: skip
    page = steps.write(evidence, path, _sections(nothing, after))
    return Toured(brain, evidence, nothing, after, page)


def _tell(title: str, text: str, *parts: Callable[..., Any], **numbers: object) -> None:
    """Heading, a sentence or two, and the Python that does it."""
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.syntax import Syntax

    from bregma.cli._show import say, show
    from bregma.cli._tour_steps import code_of

    say()
    show(Rule(title, align="left"))
    say(text)
    code = "\n".join(code_of(part, **numbers) for part in parts)
    shown = Syntax(code, "python", background_color="default", word_wrap=True)
    show(Padding(shown, (1, 0, 1, 2)))


def _null_table(evidence: EvidenceSet, nothing: EvidenceSet) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("model", "score", "scores of scrambled brains", "of them p < 0.05"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, scores, p in _by_model(nothing):
        ends = f"{min(scores):.3f} to {max(scores):.3f}"
        table.add_row(name, f"{evidence[name].score:.3f}", ends, f"{sum(x < 0.05 for x in p)}")
    return table


def _by_model(nothing: EvidenceSet) -> list[tuple[str, list[float], list[float]]]:
    """Scores and p-values of each model, over the brains."""
    return [
        (
            name,
            [e.score for e in nothing if e.model == name],
            [e.p_value for e in nothing if e.model == name],
        )
        for name in nothing.models
    ]


def _nothing(nothing: EvidenceSet) -> str:
    count = sum(e.p_value < 0.05 for e in nothing)
    mean = sum(e.score for e in nothing) / len(nothing)
    least = nothing.to_frame()["p_fwe"].min()
    return (
        f"{count} of {len(nothing)} p-values lie below 0.05, where {0.05 * len(nothing):.0f} are "
        f"expected, and the mean score is {mean:.3f}. Corrected for {len(nothing)} tests the "
        f"smallest is p = {least:.2g}."
    )


def _lesion(after: EvidenceSet) -> str:
    from bregma.cli._tour_steps import difference

    intact, lesion, control = after.models
    d = difference(after, control, lesion)
    changes = [100 * (after[name].score / after[intact].score - 1) for name in (lesion, control)]
    return (
        "Without the units for horizontal stripes the match changes by "
        f"{changes[0]:+.1f} %; without as many units at random by {changes[1]:+.1f} %. The "
        f"difference between the two lesions is {d.value:.3f}, interval {d.low:.3f} to "
        f"{d.high:.3f}, corrected p = {d.p:.2g}."
    )


def _sections(nothing: EvidenceSet, after: EvidenceSet) -> tuple[Any, Any]:
    """What the report shows beside the evidence."""
    import pandas as pd

    from bregma.report import Section

    lesions = [
        {"name": e.model, "value": e.score, "low": e.interval.low, "high": e.interval.high}
        for e in after
    ]
    nulls = [
        {"name": name, "value": sum(scores) / len(scores), "low": min(scores), "high": max(scores)}
        for name, scores, _ in _by_model(nothing)
    ]
    axis = "RDM correlation with the brain"
    return (
        Section(
            title="A lesion of the winner",
            text=(
                "One lesion takes out the units that see horizontal stripes, the other as many "
                "units at random.",
                _lesion(after),
            ),
            bars=pd.DataFrame(lesions),
            axis=axis,
        ),
        Section(
            title="Brains with nothing to find",
            text=(
                "The same question of ten brains whose answers were exchanged between images: "
                "means and ranges over these brains.",
                _nothing(nothing),
            ),
            bars=pd.DataFrame(nulls),
            axis=axis,
        ),
    )
