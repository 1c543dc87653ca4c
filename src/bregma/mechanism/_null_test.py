"""Is a finding about a network more than what comes out of a network that learned nothing?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.evidence import Arrangements, Evidence, Interval, Null, arrangements
from bregma.evidence._permutation import check_arrangements
from bregma.mechanism._means import check_level
from bregma.mechanism._traces import recalibrate, traces_of
from bregma.run import derive, spawn
from bregma.system import rewired, shuffled, untrained

NULLS: dict[str, tuple[Callable[..., list[Any]], str]] = {
    "untrained": (untrained, "the learned weights with freshly drawn ones"),
    "shuffled": (shuffled, "the weights with each other, within each tensor"),
    "rewired": (rewired, "the connections of each unit with others"),
}
NO_CEILING = "a finding about a network has no ceiling: nothing in it is noise of a measurement"


def null_test(
    estimator: Any,
    system: Any,
    inputs: Any,
    targets: Any = None,
    *,
    nulls: str | Callable[[Any, int], Any] | Sequence[Any] = "untrained",
    trace: Callable[[Any, Any], Any] | None = None,
    n: int = 99,
    level: float = 0.95,
    seed: int,
) -> Evidence:
    """Test a finding about a network against networks in which it cannot be.

    An explanation is an estimate: a number computed from the traces that inputs leave in a network.
    The same number is computed (1) with the targets exchanged among the inputs: is there any
    information? and (2) in null systems: did learning put it there? Random networks keep much of
    their input, so that (1) calls nearly everything significant; the finding is about the *network*
    only where (2) does too. An estimator that gives one score for each of many candidates (units,
    heads, features) stands for the best of them, in the nulls as well: the winner is compared with
    winners, and no correction for the number of candidates is needed.

    The interval is that of resampled inputs: random halves without replacement, whose scores vary
    as much as those of new samples of full size do, and in which no input can be on both sides of a
    split into training and test.

    Parameters
    ----------
    estimator : callable or scikit-learn estimator
        ``estimator(traces, targets)`` gives a score, or an array of scores of candidates; larger
        means more of what is claimed. Without targets it is ``estimator(traces)``. With ``fit`` it
        is cross-validated, and its score taken.
    system : System or torch.nn.Module
        The network; of a module the output is taken. It stays as it is.
    inputs : Stimuli or array (example, ...)
        What it is shown.
    targets : array (example, ...), optional
        What the finding relates the traces to, such as labels.
    nulls : {"untrained", "shuffled", "rewired"}, callable or sequence
        How null systems are made (see `bregma.system`; their norm layers measure their statistics
        anew), ``nulls(system, seed)`` that makes one, or the null systems themselves.
    trace : callable, optional
        ``trace(system, inputs)`` gives an array with one row for each input, such as saliency
        maps or effects of patching; by default the recorded activity.
    n : int
        How many null systems, exchanges of targets and resamples of inputs, each.
    level : float
        Level of the interval; 1 - `level` is the level that p-values have to be able to reach.
    seed : int
        Of everything random.

    Returns
    -------
    Evidence
        `null` holds the exchanged targets and `system_null` the null systems, with a p-value each;
        without targets both hold the null systems.

    Raises
    ------
    NotIdentifiable
        If so few null systems cannot reach the level, or there are too few inputs.
    InvalidArgument
        If lengths do not fit, or a trace or a score is not finite.
    UnknownName
        If there are no null systems of that name.
    CannotPerturb
        If the system has no weights that could be drawn anew.

    References
    ----------
    Méloux, Dirupo, Portet and Peyrard (2025), The dead salmons of AI interpretability.

    Examples
    --------
    >>> import torch
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from bregma.datasets import digits
    >>> _, test = digits(seed=0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(64, 24), torch.nn.ReLU())
    >>> [random] = untrained(net, seeds=7)
    >>> x, y = test.inputs[:400], test.targets[:400]
    >>> found = null_test(RidgeClassifier(), random, x, y, n=19, seed=0)
    >>> found.p_value, found.system_null.p_value > 0.05  # decodable, and not because of learning
    (0.05, True)
    """
    n_null = len(nulls) if isinstance(nulls, Sequence) and not isinstance(nulls, str) else n
    check_reachable(min(n, n_null), level)
    score, name = _score_of(estimator)

    def observe(one: Any) -> Any:
        found = (
            traces_of(one, inputs, seed=seed) if trace is None else np.asarray(trace(one, inputs))
        )
        if len(found) != len(inputs):
            raise InvalidArgument(f"{len(found)} rows of traces for {len(inputs)} inputs")
        if not np.isfinite(found).all():
            raise InvalidArgument(f"the traces of {_name(one)} hold numbers that are not finite")
        return found

    traces = observe(system)
    order = _orders(len(traces), n, seed)
    wanted = None if targets is None else np.asarray(targets)
    if wanted is not None and len(wanted) != len(traces):
        raise InvalidArgument(f"{len(wanted)} targets for {len(traces)} inputs")
    if wanted is not None:
        what = f"the targets of {len(traces)} inputs can be exchanged"
        check_arrangements(order.n_arrangements, 1 - level, what, "Give more inputs")

    found, candidates = score(traces, wanted, _name(system))
    twins, exchanged = _null_systems(nulls, system, inputs, n, seed)
    of_systems = Null.of(
        found,
        [score(observe(twin), wanted, f"null system {i}")[0] for i, twin in enumerate(twins)],
        exchanged=exchanged,
    )
    of_data = of_systems
    if wanted is not None:
        of_data = Null.of(
            found,
            [score(traces, wanted[row], "exchanged targets")[0] for row in order.order],
            exchanged="the targets with each other, among all inputs",
            n_arrangements=order.n_arrangements,
            exact=order.exact,
        )
    best = f"the best of {candidates} candidates of " if candidates > 1 else ""
    return Evidence(
        question=f"{name} in {_name(system)}",
        brain="the claimed structure" if wanted is None else "targets",
        model=_name(system),
        score=found,
        null=of_data,
        system_null=of_systems,
        interval=_interval(found, _halves(score, traces, wanted, n, seed), level),
        method=f"{best}{name}",
        n={"inputs": len(traces), "candidates": candidates, "null systems": of_systems.values.size},
        ceiling_reason=NO_CEILING,
        settings={"nulls": exchanged, "n": n, "level": level},
        seed=seed,
        citations=("meloux2025deadsalmons", "phipson2010permutation"),
    )


def check_reachable(n: int, level: float) -> None:
    """Refuse fewer null systems than the level needs."""
    check_level(level)
    if 1 / (1 + n) > (1 - level) * (1 + 1e-9):
        needed = math.ceil(1 / (1 - level) - 1e-9) - 1
        raise NotIdentifiable(
            f"{n} null systems reach p = {1 / (1 + n):.3g} at best; the asked level needs "
            f"{1 - level:.3g}. Use at least {needed}"
        )


Score = Callable[[Any, Any, str], tuple[float, int]]


def _score_of(estimator: Any) -> tuple[Score, str]:
    """From traces, targets and where they are from to the best score and the number of them."""
    if hasattr(estimator, "fit"):
        from sklearn.model_selection import cross_val_score

        name = f"cross-validated {type(estimator).__name__}"

        def estimate(traces: Any, *targets: Any) -> Any:
            return cross_val_score(estimator, traces, *targets).mean()
    else:
        name = getattr(estimator, "__name__", type(estimator).__name__)
        estimate = estimator

    def score(traces: Any, targets: Any, where: str) -> tuple[float, int]:
        given = (traces,) if targets is None else (traces, targets)
        found = np.asarray(estimate(*given), dtype=np.float64)
        if found.size == 0 or not np.isfinite(found).all():
            raise InvalidArgument(
                f"{name} gives {'no score' if found.size == 0 else found.min()} for {where}; every "
                "null needs finite scores: give a smallest one where there is nothing to find"
            )
        return float(found.max()), found.size

    return score, name


def _null_systems(
    nulls: Any, system: Any, inputs: Any, n: int, seed: int
) -> tuple[Iterator[Any], str]:
    """The null systems, one at a time, and what was exchanged with what."""
    if isinstance(nulls, str):
        if nulls not in NULLS:
            raise UnknownName.of("null of systems", nulls, NULLS)
        make, exchanged = NULLS[nulls]

        def twins() -> Iterator[Any]:
            for i in range(n):
                [twin] = make(system, seeds=derive(seed, "null system", i))
                recalibrate(twin, inputs)
                yield twin

        return twins(), exchanged
    if callable(nulls):
        made = (nulls(system, derive(seed, "null system", i)) for i in range(n))
        return made, f"the network with those of {getattr(nulls, '__name__', 'a given function')}"
    return iter(nulls), f"the network with {len(nulls)} given ones"


def _orders(n_inputs: int, n: int, seed: int) -> Arrangements:
    if n_inputs < 4:
        raise NotIdentifiable(f"{n_inputs} inputs are too few to be resampled; at least 4")
    return arrangements(n_inputs, n, seed=derive(seed, "targets"))


def _halves(score: Score, traces: Any, targets: Any, n: int, seed: int) -> list[float]:
    """Scores of random halves of the inputs."""
    rng, some = spawn(seed, "halves"), []
    for _ in range(n):
        rows = rng.choice(len(traces), len(traces) // 2, replace=False)
        some.append(
            score(traces[rows], None if targets is None else targets[rows], "half of the inputs")[0]
        )
    return some


def _interval(score: float, halves: Sequence[float], level: float) -> Interval:
    # The mean of n / 2 of n numbers, drawn without replacement, varies by s^2 / n about their mean:
    # exactly as much as the mean of n new ones.
    half = float(stats.t.ppf((1 + level) / 2, len(halves) - 1) * np.std(halves, ddof=1))
    kind = f"score ± t × standard deviation over {len(halves)} random halves of the inputs"
    return Interval(score - half, score + half, level, kind)


def _name(system: Any) -> str:
    return str(getattr(system, "name", type(system).__name__))
