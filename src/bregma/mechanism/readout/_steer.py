"""Steering: a direction is added at a site while a network runs, in several doses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Num

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._activity import samples_of
from bregma.mechanism.dictionaries._loss_recovered import with_channels_last
from bregma.mechanism.readout._steering import Steering
from bregma.recording import Recording
from bregma.run import progress as show_progress
from bregma.run import spawn
from bregma.system import Add, TorchSystem
from bregma.system._preprocess import as_stimuli

Vector = Float[np.ndarray, " number"]
PerPresentation = Float[np.ndarray, " presentation"]
Rule = Callable[[Recording, Recording], Any]  # without, with the direction


def mean_difference(
    one: Recording | Num[np.ndarray, "sample number"],
    other: Recording | Num[np.ndarray, "sample_2 number"],
) -> Vector:
    """The direction from the mean of other samples to the mean of some.

    Parameters
    ----------
    one, other : Recording or array (sample, number)
        Activity with and without what the direction shall stand for. Of recordings, which have one
        layer, all positions (tokens, rows, columns) are samples.

    Returns
    -------
    array (number,)
        One number for each channel, or column.

    Raises
    ------
    InvalidArgument
        Several layers, or unlike numbers of channels.

    References
    ----------
    Marks and Tegmark (2024), The geometry of truth: emergent linear structure in large language
    model representations of true/false datasets.

    Examples
    --------
    >>> mean_difference(np.array([[1.0, 2.0], [3.0, 2.0]]), np.zeros((4, 2)))
    array([2., 2.])
    """
    a, b = _samples(one), _samples(other)
    if a.shape[1] != b.shape[1] or not (len(a) and len(b)):
        raise InvalidArgument(f"samples of the shapes {a.shape} and {b.shape} have no difference")
    return a.mean(0) - b.mean(0)


def answer_divergence(plain: Recording, steered: Recording) -> PerPresentation:
    """How far answers moved: KL(plain || steered) of softmax over channels, a mean over positions.

    Parameters
    ----------
    plain, steered : Recording
        Scores before the softmax, of the same stimuli, in one layer whose last axis they are.

    Returns
    -------
    array (presentation,)
        In nats.
    """
    p, q = (with_channels_last(r).double().log_softmax(-1) for r in (plain, steered))
    return (p.exp() * (p - q)).sum(-1).mean(-1).numpy()


def steer(
    system: TorchSystem,
    stimuli: Any,
    direction: Num[np.ndarray, " number"] | torch.Tensor,
    site: str,
    metric: Callable[[Recording], PerPresentation],
    *,
    doses: Sequence[float | int] = (1.0, 2.0, 4.0),
    neutral: Any = None,
    side: Rule = answer_divergence,
    units: Any = None,
    n_random: int = 19,
    size: int = 64,
    progress: bool = False,
    seed: int,
) -> Steering:
    """Add a direction to the activity of a site, in several doses, and random ones beside it.

    Directions are vectors: a `mean_difference`, ``Probes.direction``, a row of the decoder of a
    dictionary. Each random direction has the length of the given one, and is the same in all doses
    and for all stimuli.

    Parameters
    ----------
    system : TorchSystem
        The network; its layers are what the metric is computed from, such as the logits.
    stimuli : Stimuli, array or Tensor
        What to show.
    direction : array (number,)
        One number for each channel of the site, added at all positions, or one for each unit.
    site : str
        Where it is added.
    metric : callable
        Takes the `Recording` of the layers for some stimuli and gives one number for each. Its
        ``stimuli`` are row numbers where `stimuli` is an array.
    doses : sequence of float
        What the direction is multiplied with.
    neutral : Stimuli, array or Tensor, optional
        What should not be changed.
    side : callable
        Recordings of neutral stimuli without and with the direction to one number for each.
    units : mapping or sequence of str, optional
        Where in the site it is added, such as ``{"token": 5}``; see `Add`.
    n_random : int
        How many random directions.
    size : int
        Stimuli at a time.
    progress : bool
        Show a bar where stderr is a terminal.
    seed : int
        Of the random directions.

    Returns
    -------
    Steering
        Effects by dose.

    Raises
    ------
    InvalidArgument
        A number out of range, a direction of length 0 or of a length that fits no unit, or a metric
        that does not give one finite number for each stimulus.
    UnknownName
        No such site.

    References
    ----------
    Turner et al. (2023), Steering language models with activation engineering. Rimsky et al.
    (2024), Steering Llama 2 via contrastive activation addition.

    Examples
    --------
    >>> net = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 2))
    >>> up = net[1].weight[1].detach()  # what the second answer reads
    >>> x = np.ones((4, 3))
    >>> def second(out):
    ...     return out.values[:, 1]
    >>> found = steer(TorchSystem(net, "1"), x, up, "0", second, doses=[1, 2], seed=0)
    >>> np.allclose(found.effect.mean(0), [(up @ up).item(), 2 * (up @ up).item()])
    True
    """
    given = direction.detach().cpu() if isinstance(direction, torch.Tensor) else direction
    vector, dose = np.asarray(given, dtype=np.float64), np.asarray(doses, dtype=np.float64)
    _check(vector, dose, n_random, size, len(stimuli))
    rng = spawn(seed, "steer", "random")
    drawn = rng.standard_normal((n_random, *vector.shape))
    drawn *= np.linalg.norm(vector) / np.linalg.norm(drawn, axis=1, keepdims=True)
    perturbed = [
        system.perturb(Add(site, v, units=units, scale=float(d)))
        for v in (vector, *drawn)
        for d in dose
    ]

    def effects(plain: Recording) -> Callable[[Recording], Any]:
        before = np.asarray(metric(plain), dtype=float)
        return lambda steered: np.asarray(metric(steered), dtype=float) - before

    shown: list[tuple[Any, Any]] = [(as_stimuli(stimuli), effects)]
    if neutral is not None:
        shown.append((as_stimuli(neutral), lambda plain: partial(side, plain)))
    found = []
    n_steps = sum(-(-len(part) // size) for part, _ in shown)
    with show_progress[Any](what="steering", total=n_steps, show=progress) as bar:
        for part, compared_with in shown:
            blocks = []
            for some in part.batches(size):
                change = compared_with(system.record(some))
                each = [_checked(change(one.record(some)), len(some)) for one in perturbed]
                blocks.append(np.stack(each))
                bar.advance()
            found.append(np.concatenate(blocks, 1).reshape(1 + n_random, len(dose), -1))
    own, beside = [one[0].T for one in found], [one[1:].mean(-1) for one in found]
    return Steering(
        doses=dose,
        effect=own[0],
        random=beside[0],
        side=own[1] if neutral is not None else None,
        random_side=beside[1] if neutral is not None else None,
        name=f"adding a direction at {site}",
        system=system.name,
        seed=seed,
    )


def _samples(activity: Any) -> Float[np.ndarray, "sample number"]:
    if isinstance(activity, Recording):
        layers = samples_of(activity)
        if len(layers) > 1:
            raise InvalidArgument(f"there are several layers, {', '.join(layers)}: select one")
        [activity] = layers.values()
    values = np.asarray(activity, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise InvalidArgument(f"samples are finite and (sample, number), not {values.shape}")
    return values


def _check(vector: Any, doses: Any, n_random: int, size: int, n: int) -> None:
    if vector.ndim != 1 or not np.isfinite(vector).all() or not np.linalg.norm(vector) > 0:
        raise InvalidArgument(
            f"a direction is (number,), finite and longer than 0, not {vector.shape} of the length "
            f"{np.linalg.norm(vector):g}"
        )
    if doses.ndim != 1 or not len(doses) or not np.isfinite(doses).all() or not doses.any():
        raise InvalidArgument(f"doses must be finite and not all 0, not {doses.tolist()}")
    if n_random < 1 or size < 1 or n < 2:
        raise InvalidArgument(
            f"n_random and size must be 1 or more and stimuli 2 or more, not {n_random}, {size} "
            f"and {n}"
        )


def _checked(values: Any, n: int) -> PerPresentation:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (n,) or not np.isfinite(values).all():
        raise InvalidArgument(
            f"the metric gives the shape {values.shape} for {n} stimuli; it must give one finite "
            "number for each"
        )
    return values
