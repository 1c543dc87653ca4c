"""Evidence in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from bregma.evidence import Evidence, EvidenceSet


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def in_words(evidence: EvidenceSet) -> Iterator[str]:
    """One or two sentences for each brain: what is most like it, and what is no better than chance.

    Parameters
    ----------
    evidence : EvidenceSet
        Evidence about models of one or several brains.

    Yields
    ------
    str
        Sentences.
    """
    for brain in evidence.brains:
        part = evidence.of_brain(brain)
        alpha = 1 - part[0].interval.level
        adjusted = dict(zip(part.models, part.to_frame()["p_fwe"], strict=True))
        found = [e for e in part if adjusted[e.model] < alpha]
        lost = [e.model for e in part if adjusted[e.model] >= alpha]
        if found:
            best = max(found, key=lambda e: e.score)
            yield _best(best, adjusted[best.model])
            yield from _against_others(part, best, [e.model for e in found], alpha)
        if lost:
            yield f"{_names(lost)} cannot be told from chance on {brain}."


def _best(e: Evidence, p: float) -> str:
    text = (
        f"{e.model} is most like {e.brain}: {e.score:.2f}, {e.interval.level:.0%} interval "
        f"{e.interval.low:.2f} to {e.interval.high:.2f}, {_p(p)} after correction"
    )
    if e.normalised is not None:
        text += f"; that is {e.normalised:.0%} of what the noise allows"
    return text + "."


def _against_others(
    part: EvidenceSet, best: Evidence, found: list[str], alpha: float
) -> Iterator[str]:
    """Which of the other models are surely less like the brain."""
    table = part.pairwise
    pairs = table[(table["model_a"] == best.model) | (table["model_b"] == best.model)]
    worse: list[str] = []
    open_: list[str] = []
    for row in pairs.to_dict("records"):
        other = row["model_b"] if row["model_a"] == best.model else row["model_a"]
        if other in found:
            (worse if row["p_fwe"] < alpha else open_).append(other)
    if worse:
        yield f"It is more like it than {_names(worse)}."
    if open_:
        yield f"These data cannot tell it from {_names(open_)}."
