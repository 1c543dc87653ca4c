"""A first look at a network: how often each site runs, and what tensor flows there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.recording import Stimuli
from bregma.run._private import reseed
from bregma.system._layout import Layout, layout_of
from bregma.system._site import Place, Site, find_tensor
from bregma.system._tap import Taps, to_numbers

Reduce = str | Callable[[Tensor], Tensor] | None
Call = tuple[tuple[Any, ...], dict[str, Any]]  # what a network is called with
Feed = Callable[[Stimuli], Call]
Moment = tuple[Place, int, tuple[Any, ...]]  # a place, the number of the call, the element
PROBE = 2  # stimuli shown to learn the shapes: with one, the axis of stimuli could be any


@dataclass(frozen=True)
class Found:
    """A tensor that the probe found at one call of a site."""

    layout: Layout  # of what is read there
    positions: tuple[int, ...]  # axes over which "mean" and "max" go
    path: tuple[Any, ...]  # where it lies in what the module gives
    dtype: torch.dtype

    def named(self, site: Site) -> Found:
        """The same under the text of a site."""
        return replace(self, layout=replace(self.layout, layer=str(site)))


@dataclass
class Heard:
    """What the probe heard: calls of each place, and the tensor at each call of each site."""

    calls: Counter[Place] = field(default_factory=Counter)
    read: dict[Site, Found] = field(default_factory=dict)
    edit: dict[Site, Found] = field(default_factory=dict)
    kept: dict[Moment, Tensor] = field(default_factory=dict)  # what is read of the first batch
    is_doubtful: bool = False  # a tensor has a second axis as long as that of the stimuli


@dataclass(frozen=True)
class Probe:
    """A look at a network without perturbations, at what there is to read and to change.

    Parameters
    ----------
    modules : mapping of str to torch.nn.Module
        Parts of the network by name.
    feed : callable
        Stimuli to what the network is called with.
    sites, changed : sequence of Site
        What will be read, and what will be changed.
    certain : collection of Site
        Those that must give a tensor.
    reduce : None, "mean", "max" or callable
        What to make of each activation that is read.
    seed : int
        Seed of what the network itself draws at random.
    """

    modules: Mapping[str, nn.Module]
    feed: Feed
    sites: Sequence[Site]
    changed: Sequence[Site]
    certain: Collection[Site]
    reduce: Reduce
    seed: int

    def hear(self, stimuli: Stimuli, batch_size: int) -> Heard:
        """Show the first stimuli and note shapes and numbers of calls.

        The pass goes to the end of the network, as nobody knows yet what runs twice. What is read
        of a whole batch is kept, so that it need not be shown again; two stimuli are shown where
        passes end early, and where the axis of stimuli could be taken for another.

        Parameters
        ----------
        stimuli : Stimuli
            All of them.
        batch_size : int
            How many at a time.

        Returns
        -------
        Heard
            What flowed.
        """
        n, least = min(batch_size, len(stimuli)), min(PROBE, len(stimuli))
        as_sure = n == least  # as with two stimuli
        may_keep = not self.changed and n >= least and n * self._behind() <= PROBE
        if may_keep and (as_sure or self._lacks(n)):
            called_with = self.feed(stimuli[:n])
            if as_sure or not _has_axis(called_with, n):
                heard = self._listen(called_with, n, keep=True)
                if as_sure or not heard.is_doubtful:
                    return heard
        return self._listen(self.feed(stimuli[:least]), least, keep=False)

    def _behind(self) -> float:
        """Share of the parts that are registered, and so as a rule run, behind the last site."""
        wanted = {site.module for site in self.sites}
        for after, name in enumerate(reversed(list(self.modules))):
            pieces = name.split(".")
            around = {".".join(pieces[:depth]) for depth in range(len(pieces) + 1)}
            if not wanted.isdisjoint(around):
                return after / len(self.modules)
        return 0.0

    def _lacks(self, n: int) -> bool:
        """Whether no axis of a weight has a length that many stimuli could be taken for."""
        weights = (
            weight
            for module in self.modules.values()
            for weight in (*module._parameters.values(), *module._buffers.values())
        )
        return not any(n in weight.shape for weight in weights if weight is not None)

    def _listen(self, called_with: Call, n: int, *, keep: bool) -> Heard:
        heard = Heard()

        def react(place: Place, call: int, value: Any) -> None:
            heard.calls[place] = call + 1
            for wanted, found, reduce in (
                (self.sites, heard.read, self.reduce),
                (self.changed, heard.edit, None),
            ):
                for site in wanted:
                    if site.place != place or site.call not in (None, call):
                        continue
                    try:
                        path, tensor = find_tensor(value, site)
                    except InvalidArgument:
                        if site in self.certain:
                            raise
                        continue
                    found[site.at(call)], values = self._learn(site, path, tensor, n, reduce)
                    heard.is_doubtful |= n in tensor.shape[1:]
                    if keep:
                        heard.kept[place, call, site.element] = values.clone()

        taps = Taps(self.modules)
        with taps.installed(list(dict.fromkeys(s.place for s in (*self.sites, *self.changed)))):
            reseed(self.seed, 0)  # as for the first batch
            taps.forward(*called_with, react)
        return heard

    def _learn(
        self, site: Site, path: tuple[Any, ...], tensor: Tensor, n: int, reduce: Reduce
    ) -> tuple[Found, Tensor]:
        if callable(reduce):
            values = reduced(tensor, reduce, ())
            _check_rows(site, values, n, "after reduce= ")
            layout = layout_of(str(site), values.shape)
            return Found(layout, (), path, to_numbers(values).dtype), values
        _check_rows(site, tensor, n)
        module, heads = self.modules[site.module], self._heads(site.module)
        layout = layout_of(str(site), tensor.shape, module, heads)
        over = layout.position_axes
        kept = layout if reduce is None else layout.reduced()
        values = reduced(tensor, reduce, over)
        return Found(kept, over, path, to_numbers(tensor).dtype), values

    def _heads(self, name: str) -> int | None:
        """Number of heads of a module or of the one around it, where that is an attention."""
        for module in (self.modules[name], self.modules.get(name.rpartition(".")[0])):
            for attribute in ("num_heads", "num_attention_heads", "n_head", "n_heads"):
                if isinstance(n := getattr(module, attribute, None), int) and n > 0:
                    return n
        return None


def _has_axis(called_with: Call, n: int) -> bool:
    """Whether a stimulus has an axis of a length."""
    args, kwargs = called_with
    given = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    return any(n in value.shape[1:] for value in given)


def reduced(tensor: Tensor, reduce: Reduce, over: tuple[int, ...]) -> Tensor:
    """What is read of an activation.

    Parameters
    ----------
    tensor : torch.Tensor
        The activation, stimuli first.
    reduce : None, "mean", "max" or callable
        What to make of it.
    over : tuple of int
        Axes over which "mean" and "max" go.

    Returns
    -------
    torch.Tensor
        The activation itself, or a new tensor.

    Raises
    ------
    InvalidArgument
        The function gives no tensor.
    """
    if callable(reduce):
        values = reduce(tensor.clone())  # it may write to what it is given
        if not isinstance(values, Tensor):
            raise InvalidArgument(f"reduce= gives a {type(values).__name__}, not a tensor")
        return values
    if reduce is None or not over:
        return tensor
    return (torch.mean if reduce == "mean" else torch.amax)(to_numbers(tensor), over)


def _check_rows(site: Site, tensor: Tensor, n_stimuli: int, when: str = "") -> None:
    if tensor.is_complex():
        raise InvalidArgument(
            f"site {str(site)!r} gives complex numbers; bring them to real ones with reduce="
        )
    if tensor.ndim == 0 or tensor.shape[0] != n_stimuli:
        raise InvalidArgument(
            f"site {str(site)!r} {when}gives the shape {tuple(tensor.shape)} for {n_stimuli} "
            "stimuli; its first axis must be the stimuli: leave this site out, choose another "
            "element of it (such as 'name[1]'), or turn it with reduce=, a function of the tensor"
        )
