"""Clamping activity inside a network while it learns: optogenetics across training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bregma.errors import InvalidArgument, PerturbationConflict, UnknownName
from bregma.system._quiet import module_names

INPUT = ".input"


class Moment:
    """One call of the network, as a clamp sees it.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    args, named : tuple, dict
        What it was called with.
    run : callable
        ``run(site)`` gives the activity of a site in an unperturbed pass.

    Attributes
    ----------
    now : dict
        Activity in this very pass of the sites that the clamps read (``reads=``), under the clamps.
    """

    def __init__(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        named: dict[str, Any],
        run: Callable[[str], Tensor],
    ) -> None:
        self.module, self.args, self.named = module, args, named
        self.now: dict[str, Tensor] = {}
        self._run = run
        self._first: dict[str, Tensor] = {}

    def first(self, site: str) -> Tensor:
        """Activity of a site in a pass of the same inputs without any clamp.

        Derivatives flow back through that pass; detach it where they should not.

        Parameters
        ----------
        site : str
            Its name.

        Returns
        -------
        Tensor
            The activity.

        Raises
        ------
        UnknownName
            If the network has no such site.
        InvalidArgument
            If the site does not run or gives no tensor.
        """
        if site not in self._first:
            self._first[site] = self._run(site)
        return self._first[site]


@dataclass(frozen=True, eq=False)
class TrainingClamp:
    """What is held at which value, at every step of training.

    Parameters
    ----------
    site : str
        Dotted name of a part of the network: the first tensor that it gives, or with ``.input``
        behind it the first one that it gets.
    value : float, Tensor or callable
        What it is held at, broadcast to its activity; ``value(here, moment)`` computes it from the
        activity of this pass, the inputs (``moment.args``), an unperturbed first pass
        (``moment.first(site)``) or other sites of this pass (``moment.now[site]``).
    mask : Tensor, optional
        True, broadcast to the activity, where it is held; everywhere without one.
    reads : tuple of str
        Sites that run before this one and whose activity in this pass the value needs.

    References
    ----------
    Singh, Moskovitz, Hill, Chan and Saxe (2024), What needs to go right for an induction head? A
    mechanistic study of in-context learning circuits and their formation.
    """

    site: str
    value: float | int | Tensor | Callable[[Tensor, Moment], Tensor]
    mask: Tensor | None = None
    reads: tuple[str, ...] = ()


@contextmanager
def clamped(module: nn.Module, *clamps: TrainingClamp) -> Iterator[nn.Module]:
    """Hold named activity inside a network at given values while it runs and learns.

    Every call of the network inside the ``with`` is clamped, so that any training loop trains it
    under the clamp. Derivatives flow through what is not held, and through values that are computed
    from activity or parameters; what is held at a constant stops them, and what lies before it
    learns only by other paths. `TorchSystem.perturb` does the same to a network that is recorded.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    *clamps : TrainingClamp
        What is held at which value; their order has no meaning.

    Yields
    ------
    torch.nn.Module
        The same network; it is as before after the ``with``, but for what it learned.

    Raises
    ------
    UnknownName
        If it has no such site; the message has the nearest names.
    PerturbationConflict
        If two clamps hold the same elements.
    InvalidArgument
        If a value or a mask does not fit the activity.

    References
    ----------
    Singh, Moskovitz, Hill, Chan and Saxe (2024), What needs to go right for an induction head? A
    mechanistic study of in-context learning circuits and their formation.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> silent = TrainingClamp("1", 0.0, mask=torch.tensor([True, False, False]))
    >>> with clamped(net, silent):
    ...     net(torch.ones(4, 2)).sum().backward()
    >>> net[2].weight.grad[0, 0].item(), net[0].weight.grad[0].tolist()  # nothing learns from it
    (0.0, [0.0, 0.0])
    """
    parts = module_names(module)
    grouped: dict[str, list[TrainingClamp]] = {}
    for clamp in clamps:
        grouped.setdefault(clamp.site, []).append(clamp)
    for site, several in grouped.items():
        _check_apart(site, several)
    calls: list[Moment | None] = []  # that run now; None on top while a first pass runs

    def begin(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not calls or calls[-1] is not None:
            calls.append(Moment(module, args, named, partial(first_pass, args, named)))

    def end(*_: Any) -> None:
        if calls and calls[-1] is not None:
            calls.pop()

    def first_pass(args: tuple[Any, ...], named: dict[str, Any], site: str) -> Tensor:
        found: list[Tensor] = []
        hook = _at(parts, site, found.append)
        calls.append(None)
        try:
            module(*args, **named)
        finally:
            calls.pop()
            hook.remove()
        if not found:
            raise InvalidArgument(f"{site!r} does not run, so that it has no activity")
        return found[0]

    def hold(site: str, activity: Tensor) -> Tensor | None:
        moment = calls[-1] if calls else None
        return None if moment is None else _held(grouped[site], activity, moment)

    def note(site: str, activity: Tensor) -> None:
        if calls and (moment := calls[-1]) is not None:
            moment.now[site] = activity

    hooks = [
        module.register_forward_pre_hook(begin, with_kwargs=True, prepend=True),
        module.register_forward_hook(end, always_call=True),
    ]
    try:
        hooks += [_at(parts, site, partial(hold, site)) for site in grouped]
        # Later hooks see what earlier ones made of the activity.
        hooks += [_at(parts, s, partial(note, s)) for s in {s for c in clamps for s in c.reads}]
        yield module
    finally:
        for hook in hooks:
            hook.remove()


def _at(
    parts: dict[str, nn.Module], site: str, change: Callable[[Tensor], Tensor | None]
) -> RemovableHandle:
    """Let a function see, and perhaps exchange, the activity of a site."""
    name = site.removesuffix(INPUT)
    if not name or name not in parts:
        raise UnknownName.of("site", site, [name for name in parts if name])

    def exchanged(given: Any) -> Any:
        several = isinstance(given, tuple | list) and len(given) > 0
        first = given[0] if several else given
        if not isinstance(first, Tensor):
            raise InvalidArgument(f"{site!r} has no tensor first but a {type(first).__name__}")
        now = change(first)
        if now is None or not several:
            return now
        return type(given)((now, *given[1:]))

    if site.endswith(INPUT):
        return parts[name].register_forward_pre_hook(lambda _, args: exchanged(args))
    return parts[name].register_forward_hook(lambda _, __, out: exchanged(out))


def _check_apart(site: str, clamps: list[TrainingClamp]) -> None:
    for i, one in enumerate(clamps):
        for two in clamps[:i]:
            if one.mask is None or two.mask is None or bool((one.mask & two.mask).any()):
                raise PerturbationConflict(
                    f"two clamps hold the same elements of {site!r}; give them masks that do not "
                    "overlap"
                )


def _held(clamps: list[TrainingClamp], activity: Tensor, moment: Moment) -> Tensor:
    out = activity
    for clamp in clamps:
        value = clamp.value(activity, moment) if callable(clamp.value) else clamp.value
        value = torch.as_tensor(value, dtype=activity.dtype, device=activity.device)
        mask = torch.tensor(True) if clamp.mask is None else clamp.mask
        mask = mask.to(activity.device)
        try:
            shape = torch.broadcast_shapes(activity.shape, value.shape, mask.shape)
        except RuntimeError:
            shape = None
        if shape != activity.shape:
            raise InvalidArgument(
                f"{clamp.site!r} has activity of shape {tuple(activity.shape)}; a value of shape "
                f"{tuple(value.shape)} and a mask of shape {tuple(mask.shape)} do not fit it"
            )
        out = torch.where(mask, value, out)
    return out
