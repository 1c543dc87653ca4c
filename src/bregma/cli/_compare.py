"""`bregma compare`: is this network like this brain, how sure are we, and is it real?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bregma.cli._arguments import Missing, check_writable, reading, select_labels
from bregma.errors import InvalidArgument

_INPUT, _METHOD, _INFERENCE, _OUTPUT = "Input", "Method", "Inference", "Output"


def compare(
    brain: Annotated[
        str,
        typer.Argument(
            metavar="BRAIN", help="A recording or a file of RDMs; FILE::KEY picks an array in it."
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="pixels, v1, cnn, timm:NAME\\[@LAYERS], FILE.py:FACTORY\\[@LAYERS], or a file "
            "that can be read, such as FILE::KEY.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|FILE",
            help="What was shown: a folder of images, or a file with an array of them.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LABEL",
            help="Keep only this part of the brain, such as area=V1 or area=V1,V2; repeatable.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Event around which a continuous recording is cut; repeatable.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="START:STOP",
            help="Seconds around each event, such as -0.2:0.8.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    missing: Missing = None,
    untrained: Annotated[
        bool,
        typer.Option(
            "--untrained",
            help="Use the named networks with random weights.",
            rich_help_panel=_INPUT,
        ),
    ] = False,
    by: Annotated[
        str,
        typer.Option(
            metavar="METHOD",
            help="rsa, cka, ridge, procrustes, svcca or decoding.",
            rich_help_panel=_METHOD,
        ),
    ] = "rsa",
    distance: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How RDMs are made: correlation, euclidean, cosine, mahalanobis, crossnobis, "
            "poisson-kl.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    comparison: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How RDMs are compared: pearson, spearman, tau-a, rho-a, cosine, "
            "whitened-cosine, whitened-correlation.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    each: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="One comparison for each label of this coordinate of the units, such as area.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    replicates: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Coordinate whose labels are separate measurements of the same thing; subject, "
            "or else session, where it is not given.",
            rich_help_panel=_METHOD,
        ),
    ] = None,
    over: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="What intervals and tests generalise to: subject,stimulus or one of them.",
            rich_help_panel=_INFERENCE,
        ),
    ] = "subject,stimulus",
    twins: Annotated[
        int,
        typer.Option(
            min=0, help="Untrained twins of each network, as a null.", rich_help_panel=_INFERENCE
        ),
    ] = 0,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Bootstrap samples.", rich_help_panel=_INFERENCE)
    ] = 1000,
    permutations: Annotated[
        int, typer.Option(min=1, help="Permutations of the labels.", rich_help_panel=_INFERENCE)
    ] = 1000,
    level: Annotated[
        float, typer.Option(help="Level of the intervals.", rich_help_panel=_INFERENCE)
    ] = 0.95,
    seed: Annotated[
        int,
        typer.Option(min=0, help="What all randomness follows from.", rich_help_panel=_INFERENCE),
    ] = 0,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an HTML report.", rich_help_panel=_OUTPUT),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the evidence as JSON.", rich_help_panel=_OUTPUT),
    ] = None,
) -> None:
    """Is this network like this brain, how sure are we, and is it real?

    Gives each model a score with its interval, null and noise ceiling.

    [dim]bregma compare 92_brainRDMs.mat pixels v1 cnn --images 92_images.mat --report r.html[/]
    """
    for path in (report, json):
        if path is not None:
            check_writable(path)
    import bregma
    from bregma._files import atomic_write_text
    from bregma.cli._decode import decode
    from bregma.cli._show import say, show, written
    from bregma.report import summary

    options = reading(missing=missing, events=events, window=window)
    data = select_labels(bregma.read(brain, **options), select or [])
    if by == "decoding":
        if models or each:
            raise InvalidArgument("--by decoding asks about the brain alone: no MODEL, no --each")
        decode(
            data,
            distance=distance,
            n_permutations=permutations,
            level=level,
            seed=seed,
            report=report,
            out=json,
        )
        return
    evidence = bregma.compare(
        data,
        [_model(spec, untrained, seed) for spec in models or []],
        by=by,
        stimuli=None if images is None else bregma.Stimuli.from_images(images),
        distance=distance,
        comparison=comparison,
        each=each,
        replicates=replicates,
        over=over.split(","),
        twins=twins,
        n_bootstrap=bootstrap,
        n_permutations=permutations,
        level=level,
        seed=seed,
        progress=True,
    )
    if report is not None:  # before anything is printed: who reads that may leave early
        evidence.report(report)
    if json is not None:
        atomic_write_text(json, evidence.to_json())
    show(evidence)
    if twins and not any(e.system_null for e in evidence):
        say("No twins: nothing in these models is learned, so none can be untrained.")
    say()
    for sentence in summary(evidence):
        say(sentence)
    written(report=report, evidence=json)


def _model(spec: str, untrained: bool, seed: int) -> Any:
    """What `bregma.compare` takes for a model: the text, or the network with random weights."""
    if spec.endswith(".py"):
        raise InvalidArgument(
            f"{spec}: which function of it makes the network? Write {spec}:FACTORY"
        )
    if not untrained or Path(spec.partition("::")[0]).exists():
        return spec
    from bregma.system import load

    return load(spec, untrained=True, seed=seed)
