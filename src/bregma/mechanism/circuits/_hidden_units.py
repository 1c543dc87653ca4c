"""Hidden units of any layers of any network, read and exchanged while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.mechanism._clamped import Moment, TrainingClamp, clamped
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._read import answers_of
from bregma.system._quiet import bare, module_names, undisturbed
from bregma.system._site import find_sites

Activity = Float[Tensor, "example token neuron"]
Chosen = Float[Tensor, "example token 1"]
Scaled = Float[Tensor, "step example token neuron"]
Numbers = Int[Tensor, " example"]
Change = Callable[[Activity], Activity]


class HiddenUnits:
    """A network whose hidden units are read and exchanged as (example, token, neuron).

    It reads nothing but the sites; `opened` makes one.
    """

    def __init__(
        self, module: nn.Module, sites: tuple[str, ...], token: int | None, steps: int
    ) -> None:
        self.module, self.sites, self.token, self.steps = module, sites, token, steps

    def activity(self, x: Tensor) -> list[Activity]:
        """Of all sites, in an unperturbed pass."""
        heard: dict[str, list[Tensor]] = {site: [] for site in self.sites}

        def listen(site: str, here: Tensor, _: Moment) -> Tensor:
            heard[site].append(here)
            return here

        with clamped(self.module, *(TrainingClamp(s, partial(listen, s)) for s in self.sites)):
            self.module(x)
        for site, calls in heard.items():
            if len(calls) != 1:
                raise InvalidArgument(f"{site!r} must run once for each input, not {len(calls)} x")
        found = [self._tokens(site, heard[site][0], len(x)) for site in self.sites]
        for site, part in zip(self.sites, found, strict=True):
            if not part.isfinite().all():
                raise InvalidArgument(f"the activity of {site!r} is not finite for these inputs")
        if len({part.shape[1] for part in found}) > 1:
            raise InvalidArgument(
                f"layers of {[part.shape[1] for part in found]} tokens or places have no neurons "
                "at all of them at once: give token=, or layers of one size"
            )
        return found

    def ramp(self, w: Activity, neuron: Numbers | None = None) -> Scaled:
        """On the way from zero to its activity: the whole layer, or one neuron of each input."""
        share = torch.arange(1, self.steps + 1, device=w.device, dtype=w.dtype) / self.steps
        share = share[:, None, None, None]
        if neuron is None:
            return share * w
        chosen = torch.zeros_like(w).scatter(2, _index(w, neuron), 1.0)
        return w * (1 - chosen + share * chosen)

    def slopes(
        self, x: Tensor, y: Numbers, scaled: Sequence[Scaled], first: int = 0
    ) -> list[Activity]:
        """Gradient of the answers' probability by the sites' activity, mean over steps."""
        leaves = [part.flatten(0, 1).detach().requires_grad_() for part in scaled]
        rows = x.repeat(self.steps, *[1] * (x.ndim - 1))
        with torch.enable_grad():
            p = self.probabilities(rows, [partial(_instead, leaf) for leaf in leaves], first)
            if int(y.min()) < 0 or int(y.max()) >= p.shape[1]:
                raise InvalidArgument(
                    f"answers are numbers from 0 to {p.shape[1] - 1}, not from {int(y.min())} to "
                    f"{int(y.max())}"
                )
            asked = p.gather(1, y.repeat(self.steps)[:, None]).sum()
            slopes = torch.autograd.grad(asked, leaves, allow_unused=True)
        if slopes[-1] is None:
            site = self.sites[first + len(leaves) - 1]
            raise InvalidArgument(f"{site!r} does not act on the answer")
        # Earlier layers may act through later ones alone, which are held.
        filled = [
            torch.zeros_like(leaf) if s is None else s
            for s, leaf in zip(slopes, leaves, strict=True)
        ]
        return [s.unflatten(0, (self.steps, -1)).mean(0) for s in filled]

    def probabilities(
        self, x: Tensor, changes: Sequence[Change], first: int = 0
    ) -> Float[Tensor, "example answer"]:
        """Of the answers, with changed activity at the sites from the first on."""

        def change(site: str, how: Change, here: Tensor, _: Moment) -> Tensor:
            return self._put(here, how(self._tokens(site, here, len(x))))

        sites = self.sites[first : first + len(changes)]
        clamps = [
            TrainingClamp(site, partial(change, site, how))
            for site, how in zip(sites, changes, strict=True)
        ]
        with clamped(self.module, *clamps):
            return answers_of(self.module, x, place=-1).softmax(-1)

    def _tokens(self, site: str, here: Tensor, n: int) -> Activity:
        if here.ndim < 2 or len(here) != n:
            raise InvalidArgument(
                f"{site!r} must give a row for each input, not the shape {tuple(here.shape)}"
            )
        if self.token is None:
            # Channels are the second axis of maps (convolutions), the last one elsewhere.
            x = here.movedim(1, -1) if here.ndim > 3 else here
            return x.reshape(n, -1, x.shape[-1])
        if here.ndim != 3 or not -here.shape[1] <= self.token < here.shape[1]:
            raise InvalidArgument(
                f"{site!r} of the shape {tuple(here.shape)} has no neurons of token {self.token}"
            )
        return here[:, self.token, None]

    def _put(self, here: Tensor, w: Activity) -> Tensor:
        if self.token is not None:
            out = here.clone()
            out[:, self.token] = w[:, 0]
            return out
        if here.ndim > 3:
            return w.reshape(len(here), *here.shape[2:], -1).movedim(-1, 1)
        return w.reshape(here.shape)


@contextmanager
def opened(
    model: nn.Module, layers: str | Sequence[str], token: int | None, steps: int
) -> Iterator[HiddenUnits]:
    if steps < 1:
        raise InvalidArgument(f"steps must be 1 or more, not {steps}")
    module = bare(model)
    sites = tuple(str(site) for site in find_sites(layers, module_names(module)))
    with undisturbed(module, 0):
        yield HiddenUnits(module, sites, token, steps)


def parts_of(
    module: nn.Module, inputs: Any, answers: Any, size: int, n: int | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Inputs and answers in batches, where the network is."""
    where = next((p.device for p in module.parameters()), torch.device("cpu"))
    x, y = torch.as_tensor(inputs).to(where), torch.as_tensor(answers).to(where)
    if not len(x) or y.shape != (len(x),) or y.is_floating_point() or n not in (None, len(x)):
        raise InvalidArgument(
            f"inputs, the numbers of their answers and paths must be as many, 1 or more: not "
            f"{len(x)}, {tuple(y.shape)} of {y.dtype}" + ("" if n is None else f" and {n}")
        )
    return [(x[rows], y[rows].long()) for rows in batches(len(x), size)]


def one_of(w: Activity, neuron: Numbers) -> Chosen:
    """One neuron of each input."""
    return w.gather(2, _index(w, neuron))


def scaled(factor: float | int, neuron: Numbers, w: Activity) -> Activity:
    """One neuron of each input made weaker or stronger."""
    return w.scatter(2, _index(w, neuron), factor * one_of(w, neuron))


def _index(w: Activity, neuron: Numbers) -> Int[Tensor, "example token 1"]:
    return neuron[:, None, None].expand(-1, w.shape[1], 1)


def _instead(leaf: Activity, _: Activity) -> Activity:
    return leaf
