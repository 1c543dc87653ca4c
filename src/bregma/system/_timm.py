"""Models of timm by name, with the weights of its hub or with fresh ones."""

from __future__ import annotations

import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import nn

from bregma._extras import require
from bregma.errors import MissingExtra, ModelUnavailable, UnknownName
from bregma.recording import Stimuli
from bregma.run import derive, private_randomness
from bregma.system._quiet import module_names

HUB_TIMEOUT = 5.0  # seconds to wait for an answer of the hub before it counts as unreachable
_OFFER = "for the same network with fresh weights use untrained=True (--untrained)"


def timm_model(
    name: str, *, untrained: bool, seed: int
) -> tuple[nn.Module, str, Callable[[Stimuli], torch.Tensor]]:
    """A model of timm.

    Parameters
    ----------
    name : str
        Its name there, such as ``"resnet18"``.
    untrained : bool
        Fresh weights, drawn as the model's authors do.
    seed : int
        Seed of fresh weights.

    Returns
    -------
    (torch.nn.Module, str, callable)
        The model, the site of its features, and the preprocessing that it was trained with.

    Raises
    ------
    UnknownName
        timm has no such model.
    ModelUnavailable
        The weights cannot be had here, or timm cannot be imported.
    MissingExtra
        timm is not installed.
    """
    timm = _import_timm()
    if not timm.is_model(name):
        raise UnknownName.of("timm model", name, timm.list_models())
    with private_randomness(derive(seed, "timm", name)):
        module = timm.create_model(name) if untrained else _with_weights(timm, name)
    config = timm.data.resolve_model_data_config(module)
    transform = timm.data.create_transform(**config, is_training=False)
    return module, _before_classifier(module), partial(_each, transform)


def _import_timm() -> ModuleType:
    """Import timm, also where torchvision's compiled operators do not fit this PyTorch.

    That is so wherever PyTorch is built for CPUs and torchvision for CUDA. timm needs torchvision's
    transforms only, but importing them asks for the operators to be there: they are declared,
    without anything behind them.
    """
    for _ in range(_MOST_OPERATORS):
        try:
            return require("timm", extra="models")
        except MissingExtra:
            raise
        except Exception as error:  # versions that do not fit fail in many ways
            lacking = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if lacking is None:
                break
            _declared.define(f"{lacking[1]}(Tensor x) -> Tensor")
            for name in list(sys.modules):  # half imported
                if name.partition(".")[0] in ("timm", "torchvision"):
                    del sys.modules[name]
    raise ModelUnavailable(
        "timm is installed but cannot be imported. Usually torchvision was built for another "
        "PyTorch; install the one that fits, such as: "
        "pip install torchvision --index-url https://download.pytorch.org/whl/cpu"
    )


_MOST_OPERATORS = 20
_declared = torch.library.Library("torchvision", "FRAGMENT")


def _with_weights(timm: ModuleType, name: str) -> nn.Module:
    config = timm.models.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise ModelUnavailable(f"timm has no weights for {name!r}; {_OFFER}")
    cached = _cached_weights(config)
    if cached is not None:
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": cached})
    if not _hub_answers():
        raise ModelUnavailable(
            f"the weights of {name!r} are not on this machine, and the hub cannot be reached "
            f"(or HF_HUB_OFFLINE is set); {_OFFER}"
        )
    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # the hub's client raises many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelUnavailable(
            f"the weights of {name!r} cannot be had: {reason}; {_OFFER}"
        ) from error


def _cached_weights(config: Any) -> str | None:
    """The file of weights that an earlier download left, where there is one."""
    hub = require("huggingface_hub", extra="models")
    if not config.hf_hub_id:
        return None
    for file in (config.hf_hub_filename, "model.safetensors"):
        if file:
            found = hub.try_to_load_from_cache(config.hf_hub_id, file)
            if isinstance(found, str):
                return found
    return None


def _hub_answers() -> bool:
    """Ask once and briefly: the hub's own client tries again for most of a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        urllib.request.urlopen(request, timeout=HUB_TIMEOUT).close()
    except urllib.error.HTTPError:  # it answers, whatever it says
        return True
    except (OSError, ValueError):
        return False
    return True


def _before_classifier(module: nn.Module) -> str:
    """What flows into the classifier: the features that it tells classes by."""
    find: Any = getattr(module, "get_classifier", lambda: None)
    classifier = find()
    names = [n for n, part in module_names(module).items() if n and part is classifier]
    return f"{names[0]}.input" if names else "."


def _each(transform: Callable[[Any], torch.Tensor], stimuli: Stimuli) -> torch.Tensor:
    """Apply a transform of single pictures to each image, whatever its size."""
    from PIL import Image

    pictures = (
        Image.fromarray(stimuli[[i]].images()[0]).convert("RGB") for i in range(len(stimuli))
    )
    return torch.stack([transform(picture) for picture in pictures])
