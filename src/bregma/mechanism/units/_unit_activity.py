"""The activity of one unit of a network for images, as a function with gradients."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument, UnknownName
from bregma.system import ImageInput, TorchSystem
from bregma.system._preprocess import as_call, default_preprocess
from bregma.system._quiet import module_names
from bregma.system._site import find_sites, find_tensor
from bregma.system._tap import Enough, Taps

Images = Float[Tensor, "image channel row column"]


class UnitActivity:
    """The activity of one unit for each image; the mean over the places that its name leaves open.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    unit : str
        Its site, channel and, where one place is meant, row and column.
    prepare : callable
        Images to what the module is called with.
    start : Tensor (image, channel, row, column)
        Images that tell which units there are.

    Raises
    ------
    UnknownName
        There is no such site or unit.
    InvalidArgument
        The site is a pattern that fits several.
    """

    def __init__(
        self, module: nn.Module, unit: str, prepare: Callable[[Images], Any], start: Images
    ) -> None:
        modules = module_names(module)
        text = re.sub(r"(/[a-z]\d+)+$", "", unit)
        sites = find_sites(text, modules)
        if len(sites) > 1:
            raise InvalidArgument(f"{text!r} names {len(sites)} sites; a unit has one")
        self.site, self.module, self.prepare = sites[0], module, prepare
        self.taps = Taps(modules)
        system = TorchSystem(
            module, text, preprocess=lambda some: prepare(torch.from_numpy(some.array())),
            example=start[:2].cpu(),
        )  # fmt: skip
        ids = system.units.index.to_numpy().astype(str)
        mine = (ids == unit) | np.char.startswith(ids, f"{unit}/")
        if not mine.any():
            raise UnknownName.of("unit", unit, ids)
        self.columns = torch.from_numpy(np.flatnonzero(mine)).to(start.device)

    def __call__(self, images: Images) -> Float[Tensor, " image"]:
        found: list[Tensor] = []

        def react(place: Any, call: int, value: Any) -> None:
            if self.site.call in (None, call):
                found.append(find_tensor(value, self.site)[1])
                raise Enough

        args, named = as_call(self.prepare(images), self.module)
        with self.taps.installed([self.site.place]):
            self.taps.forward(args, named, react)
        return found[0].reshape(len(images), -1)[:, self.columns].float().mean(dim=1)


def differentiable(system: Any, prepare: Any) -> tuple[nn.Module, Callable[[Images], Any]]:
    """The network, and from images to what it is called with, with gradients.

    Parameters
    ----------
    system : TorchSystem or torch.nn.Module
        Which may have a preprocessing of its own.
    prepare : callable or None
        What to use instead of it.

    Returns
    -------
    module : torch.nn.Module
        The network.
    prepare : callable
        For tensors of images.

    Raises
    ------
    InvalidArgument
        No network, a perturbed one, or a preprocessing without gradients.
    """
    if not isinstance(system, TorchSystem):
        if not isinstance(system, nn.Module):
            raise InvalidArgument(f"a {type(system).__name__} is no TorchSystem or module")
        return system, prepare or (lambda images: images)
    if system.perturbations:
        raise InvalidArgument("the system is perturbed: visualise units of the plain one")
    if prepare is None and isinstance(system.preprocess, ImageInput):
        prepare = _with_gradients(system.preprocess)
    elif prepare is None and system.preprocess is not default_preprocess:
        raise InvalidArgument(
            f"the preprocessing of {system.name!r} has no gradient: give prepare=, a function "
            "from a tensor of images to what the module is called with"
        )
    return system.module, prepare or (lambda images: images)


def _with_gradients(given: ImageInput) -> Callable[[Images], Images]:
    """What `ImageInput` does to images, for tensors."""

    def prepare(images: Images) -> Float[Tensor, "image colour y x"]:
        if given.size is not None and images.shape[2:] != given.size:
            images = F.interpolate(images, given.size, mode="bilinear", antialias=True)
        return given.normalised(images)

    return prepare
