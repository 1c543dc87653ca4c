"""Systems by name: built-in ones, models of timm, and factories in the user's own files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bregma.errors import InvalidArgument, ModelUnavailable, UnknownName
from bregma.recording import Stimuli
from bregma.system._cnn import SIDE, trained_cnn, untrained_cnn
from bregma.system._factory import call_factory
from bregma.system._gabor import GaborBank
from bregma.system._nulls import untrained as untrained_twins
from bregma.system._preprocess import ImageInput
from bregma.system._system import System
from bregma.system._timm import timm_model
from bregma.system._torch import TorchSystem

Layers = str | tuple[str, ...]


def load(spec: str, *, untrained: bool = False, seed: int = 0) -> System:
    """A system by name.

    Parameters
    ----------
    spec : str
        One of

        - ``"pixels"``: the colours of the image at 32 x 32 places;
        - ``"v1"``: a bank of contrast-normalised Gabor energy units;
        - ``"cnn"``: a small convolutional network that has learned to read scikit-learn's digits
          (trained on first use, in a few seconds);
        - ``"timm:NAME"``: a model of timm with the weights of its hub, such as
          ``"timm:resnet18"``;
        - ``"FILE.py:FACTORY"``: what the function or class FACTORY in that file gives when it is
          called without arguments: a `torch.nn.Module` or a `System`. **This runs the file.**

        ``"@SITES"`` behind any of them says what to record (patterns, separated by commas), as in
        ``"timm:resnet18@layer3,layer4.*.conv2"``. By default it is what goes into the classifier
        of a timm model, the rectified stages of the CNN, the output of all others.
    untrained : bool
        Leave out what was learned: fresh weights.
    seed : int
        Seed of fresh weights.

    Returns
    -------
    System
        The system, named like `spec`.

    Raises
    ------
    UnknownName
        No such system, model, function or site; the message has the nearest names.
    ModelUnavailable
        The weights cannot be had here, or the file does not give a model.
    MissingExtra
        timm is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma import Stimuli
    >>> from bregma.system import load
    >>> images = Stimuli(np.zeros((2, 64, 48, 3), np.uint8))
    >>> load("v1").record(images)
    Recording('v1', 2 presentations of 2 stimuli, 8192 units)
    """
    own = re.fullmatch(r"(?P<file>.+\.py):(?P<factory>\w+)(@(?P<sites>.*))?", spec)
    name, _, sites = spec.partition("@")
    sites = own["sites"] or "" if own else sites
    layers = tuple(site.strip() for site in sites.split(",") if site.strip()) or None
    label = f"{spec} (untrained, seed {seed})" if untrained else spec
    if own:
        file = Path(own["file"]).expanduser()
        return _own(file, own["factory"], layers, untrained, seed, spec)
    if name in BUILT_IN:
        return BUILT_IN[name](layers, untrained, seed, label)
    if name.startswith("timm:"):
        module, features, preprocess = timm_model(
            name.removeprefix("timm:"), untrained=untrained, seed=seed
        )
        return _images(module, layers or features, label, preprocess)
    raise UnknownName.of("system", name, [*BUILT_IN, "timm:resnet18", "file.py:factory"])


def _pixels(layers: Layers | None, untrained: bool, seed: int, name: str) -> TorchSystem:
    _nothing_learned("pixels", untrained)
    return _images(nn.Identity(), layers or ".", name, ImageInput((32, 32)))


def _v1(layers: Layers | None, untrained: bool, seed: int, name: str) -> TorchSystem:
    _nothing_learned("v1", untrained)
    return _images(GaborBank(), layers or "normalised", name, ImageInput((128, 128), grey=True))


def _cnn(layers: Layers | None, untrained: bool, seed: int, name: str) -> TorchSystem:
    module = untrained_cnn(seed) if untrained else trained_cnn(seed)
    return _images(module, layers or "relu*", name, ImageInput((SIDE, SIDE), grey=True))


BUILT_IN: dict[str, Callable[..., TorchSystem]] = {"pixels": _pixels, "v1": _v1, "cnn": _cnn}


def _images(module: nn.Module, layers: Layers, name: str, preprocess: Any) -> TorchSystem:
    example = Stimuli(np.zeros((2, 32, 32, 3), np.uint8), kind="image")
    return TorchSystem(module, layers, preprocess=preprocess, name=name, example=example)


def _nothing_learned(name: str, untrained: bool) -> None:
    if untrained:
        raise InvalidArgument(f"nothing in {name!r} is learned: it has no untrained version")


def _own(
    file: Path, factory: str, layers: Layers | None, untrained: bool, seed: int, name: str
) -> System:
    made = call_factory(file, factory, seed=seed)
    if isinstance(made, nn.Module):
        made = TorchSystem(made, layers or ".", name=name)
    if layers is None and not untrained:
        return made
    if not isinstance(made, TorchSystem):
        raise ModelUnavailable(
            f"{file.name}:{factory} gives a {type(made).__name__}, which is recorded as it is: "
            "leave away the sites behind '@', and untrained="
        )
    made = made.with_layers(layers or made.layers)
    return untrained_twins(made, seeds=seed)[0] if untrained else made
