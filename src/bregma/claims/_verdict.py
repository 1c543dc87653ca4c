"""Verdicts: effects against the control over seeds, with their interval; never a bare number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from bregma.claims._claim import PILOT, Claim
from bregma.claims._expect import Expect
from bregma.claims._result import Result
from bregma.evidence import Interval

Word = Literal["holds", "partly", "fails", "crashed", "open"]
WORDS: tuple[Word, ...] = ("holds", "partly", "fails", "crashed", "open")
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One expectation and what came out.

    Parameters
    ----------
    expect : Expect
        The expectation.
    measured, reference : Float[np.ndarray, "seed"]
        The measure, and what it is held against.
    direction : Interval
        How far the measure lies beyond its reference, on average over seeds.
    size : Interval
        How far it lies beyond the asked bound.
    effect_size : float or None
        Mean over standard deviation of the difference to the reference; None where the seeds
        do not differ.
    verdict : str
        ``holds``: the interval of the size lies beyond the bound. ``partly``: only the mean does,
        or only the direction is clear. ``fails``: neither.
    """

    expect: Expect
    measured: Float[np.ndarray, " seed"]
    reference: Float[np.ndarray, " seed"]
    direction: Interval
    size: Interval
    effect_size: float | None
    verdict: Word


def student_interval(samples: Float[np.ndarray, " seed"]) -> Interval:
    """Student's interval of a mean.

    A bootstrap of three seeds can only re-arrange three numbers and covers 75 %, so it is not
    used here.

    Parameters
    ----------
    samples : Float[np.ndarray, "seed"]
        Two or more.

    Returns
    -------
    Interval
        At 95 %.
    """
    n = len(samples)
    reach = stats.t.ppf((1 + LEVEL) / 2, n - 1) * samples.std(ddof=1) / np.sqrt(n)
    mean = samples.mean()
    return Interval(mean - reach, mean + reach, LEVEL, f"Student, {n} seeds")


def judge(claim: Claim, result: Result) -> Sequence[Judged]:
    """Hold what came out against what was expected.

    Parameters
    ----------
    claim : Claim
        The claim.
    result : Result
        What came out; the pilot seed does not count.

    Returns
    -------
    sequence of Judged
        One for each expectation; none where fewer than two seeds have run.
    """
    seeds = [run.measures for s, run in result.runs.items() if s != PILOT and not run.error]
    if len(seeds) < 2:
        return ()
    return tuple(_judge(expect, seeds) for expect in claim.expects)


def _judge(expect: Expect, seeds: Sequence[Mapping[str, float]]) -> Judged:
    both = np.array([expect.of(measures) for measures in seeds])  # (seed, direction | size)
    direction, size = student_interval(both[:, 0]), student_interval(both[:, 1])
    spread = both[:, 0].std(ddof=1)
    verdict: Word = "fails"
    if size.low > 0:
        verdict = "holds"
    elif both[:, 1].mean() > 0 or direction.low > 0:
        verdict = "partly"
    against = expect.reference
    return Judged(
        expect=expect,
        measured=np.array([measures[expect.measure] for measures in seeds]),
        reference=np.array(
            [float(m[against] if isinstance(against, str) else against) for m in seeds]
        ),
        direction=direction,
        size=size,
        effect_size=float(both[:, 0].mean() / spread) if spread > 0 else None,
        verdict=verdict,
    )


def verdict(claim: Claim, result: Result | None) -> Word:
    """One word on a claim.

    Parameters
    ----------
    claim : Claim
        The claim.
    result : Result or None
        What came out.

    Returns
    -------
    str
        ``holds`` where every expectation does; ``fails`` where the first one, the centre of the
        claim, does; ``partly`` between; ``crashed`` where a seed did; ``open`` where a seed of
        the verdict has not run with this code.
    """
    if result is None or result.digest != claim.digest(result.budget):
        return "open"
    if any(run.error for run in result.runs.values()):
        return "crashed"
    judged = judge(claim, result)
    if not judged or not set(claim.seeds) <= set(result.runs):
        return "open"
    if all(part.verdict == "holds" for part in judged):
        return "holds"
    return "fails" if judged[0].verdict == "fails" else "partly"
