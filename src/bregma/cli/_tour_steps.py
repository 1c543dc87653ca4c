"""The steps of the tour: each is the Python that a user would write, and is shown as it stands."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bregma
from bregma.datasets import Simulated, sample_images, v1_population
from bregma.evidence import Evidence, EvidenceSet, shuffled_labels
from bregma.recording import Stimuli
from bregma.report import Section
from bregma.run import derive, spawn
from bregma.system import Ablate, System, load


@dataclass(frozen=True)
class Size:
    """How much of everything there is.

    Parameters
    ----------
    images, cells, repeats : int
        Images, simulated cells in each subject, presentations of each image.
    draws : int
        Samples of the bootstrap, and permutations.
    """

    images: int = 96
    cells: int = 300
    repeats: int = 8
    draws: int = 1000


def take_images(images: int, seed: int) -> Stimuli:
    """Real photographs and digits."""
    stimuli = sample_images(images, seed=seed, photographs=0.75)
    return stimuli


def simulate_brain(stimuli: Stimuli, cells: int, repeats: int, seed: int) -> Simulated:
    """Four animals in which V1 was recorded."""
    brain = v1_population(stimuli, n_units=cells, n_repeats=repeats, n_subjects=4, seed=seed)
    return brain


def load_models() -> dict[str, System]:
    """One model that is right and three that are not."""
    models = {"pixels": load("pixels"), "V1 bank": load("v1")}
    models |= {"trained CNN": load("cnn@relu3")}
    models |= {"untrained CNN": load("cnn@relu3", untrained=True)}
    return models


def ask(
    brain: Simulated, models: dict[str, System], stimuli: Stimuli, draws: int, seed: int
) -> EvidenceSet:
    """The main question."""
    evidence = bregma.compare(
        brain.recording, models, stimuli=stimuli, by="rsa",
        n_bootstrap=draws, n_permutations=draws, seed=seed,
    )  # fmt: skip
    return evidence


def ask_nothing(
    brain: Simulated, models: dict[str, System], stimuli: Stimuli, draws: int, seed: int
) -> EvidenceSet:
    """The same question of brains in which there is nothing to find."""
    answers = {name: model.record(stimuli) for name, model in models.items()}
    found: list[Evidence] = []
    for i in range(10):
        empty = shuffled_labels(brain.recording, seed=derive(seed, i))
        empty = empty.named(f"scrambled {i}")
        found += bregma.compare(empty, answers, n_permutations=draws, seed=seed)
    nothing = EvidenceSet(found)
    return nothing


def cut(models: dict[str, System], seed: int) -> dict[str, System]:
    """The winner, two lesions of the same size, and what each of them leaves."""
    bank = models["V1 bank"]  # 32 channels: 4 scales, each of 8 orientations
    horizontal = [c for c in range(32) if c % 8 in (2, 3, 4, 5, 6)]
    lesion = bank.perturb(Ablate("normalised", {"channel": horizontal}))
    n_cut = len(bank.units) * 20 // 32
    some = spawn(seed, "cut").choice(bank.units.index, n_cut, replace=False)
    control = bank.perturb(Ablate("normalised", list(some)))
    cut = {"intact": bank, "no horizontal": lesion}
    cut |= {"as many at random": control}
    return cut


def ask_lesions(
    brain: Simulated, cut: dict[str, System], stimuli: Stimuli, draws: int, seed: int
) -> EvidenceSet:
    """The main question again, of the winner with and without its parts."""
    after = bregma.compare(
        brain.recording, cut, stimuli=stimuli, by="rsa",
        n_bootstrap=draws, n_permutations=draws, seed=seed,
    )  # fmt: skip
    return after


def write(evidence: EvidenceSet, path: Path, sections: tuple[Section, ...]) -> Path:
    """All of it in one file."""
    page = evidence.report(path, title="The tour of bregma", sections=sections)
    return page


def code_of(step: Callable[..., Any], **numbers: object) -> str:
    """The Python inside a step, with its numbers filled in: what a user would type.

    Parameters
    ----------
    step : callable
        One of the functions above.
    **numbers : object
        Values of its parameters that are to be seen.

    Returns
    -------
    str
        The lines between its docstring and its return.
    """
    source = inspect.getsource(step)
    body = source[source.index('"""', source.index('"""') + 3) + 3 : source.rindex("return")]
    code = textwrap.dedent(body.strip("\n")).rstrip().replace("  # fmt: skip", "")
    for name, value in numbers.items():  # names that are passed on, not keywords
        code = re.sub(rf"(?<![\w.]){name}\b(?!\s*=[^=])", repr(value), code)
    return code


@dataclass(frozen=True)
class Difference:
    """How far one model is ahead of another.

    Parameters
    ----------
    value, low, high : float
        Difference of their scores, with its interval.
    p : float
        Two-sided, corrected for all pairs.
    """

    value: float
    low: float
    high: float
    p: float


def difference(evidence: EvidenceSet, a: str, b: str) -> Difference:
    """Score of model `a` minus score of model `b`.

    Parameters
    ----------
    evidence : EvidenceSet
        With tests between its models.
    a, b : str
        Two of its models.

    Returns
    -------
    Difference
        With its interval and p-value.
    """
    table = evidence.pairwise
    rows = table[table["model_a"].isin([a, b]) & table["model_b"].isin([a, b])]
    row = rows.to_dict("records")[0]
    ends = (row["low"], row["high"])
    if row["model_a"] == b:
        row["difference"], ends = -row["difference"], (-ends[1], -ends[0])
    return Difference(row["difference"], *ends, p=row["p_fwe"])
