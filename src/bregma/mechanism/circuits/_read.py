"""Read a model as a stream, and make sure that it is read rightly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._families import FAMILIES
from bregma.mechanism.circuits._stream import Stream
from bregma.system import TorchSystem
from bregma.system._quiet import bare, undisturbed

N_CHECKED = 2  # inputs on which the reading is compared with the model


@contextmanager
def as_stream(model: Any, inputs: Tensor) -> Iterator[Stream]:
    """A model as a stream, without gradients and in evaluation mode; it is left as it was.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer of a known family, or something that holds one without changing it.
    inputs : Tensor (example, ...)
        Tokens or images.

    Yields
    ------
    Stream
        It uses the modules and weights of the model, and has been compared with the model itself
        on the first inputs.

    Raises
    ------
    InvalidArgument
        The model is of no known family, or does more than its family (adapters, windows, caps).
    """
    stream, module = stream_of(model), _module_of(model)
    with undisturbed(module, 0):
        _check(stream, module, inputs[:N_CHECKED])
        yield stream


def stream_of(model: Any) -> Stream:
    """A model as a stream, not compared with the model."""
    module = _module_of(model)
    for path, read in FAMILIES:
        if _has(module, path):
            return read(module)
    raise InvalidArgument(
        f"{type(module).__name__} is not read as a transformer: no part is called "
        f"{' or '.join(repr(path) for path, _ in FAMILIES)}; patch it by the names of its parts: "
        "TorchSystem(model).perturb(Patch(...))"
    )


def _module_of(model: Any) -> nn.Module:
    if isinstance(model, TorchSystem) and model.perturbations:
        raise InvalidArgument(
            f"{model.name!r} is perturbed already; give the system without perturbations"
        )
    return bare(model.module if isinstance(model, TorchSystem) else model)


def answers_of(module: nn.Module, inputs: Tensor, place: int | None) -> Float[Tensor, "b answer"]:
    """What the model itself answers, at the token where it is read."""
    out = module(inputs)
    logits = getattr(out, "logits", out)
    return logits[:, -1] if logits.ndim == 3 and place == -1 else logits


def _check(stream: Stream, module: nn.Module, inputs: Tensor) -> None:
    want = answers_of(module, inputs, stream.place).float()
    got = stream.run(stream.embed(inputs)).float()
    dtype = next(module.parameters()).dtype
    scale, near = want.abs().max().item() + 1e-12, 1e3 * torch.finfo(dtype).eps
    if want.shape != got.shape or not (want - got).abs().max().item() <= near * scale:
        off = "" if want.shape != got.shape else f" by {(want - got).abs().max().item():.2g}"
        raise InvalidArgument(
            f"{type(module).__name__} does more than transformers of its family do: its answers "
            f"differ{off} from what its heads and perceptrons give together (adapters, hooks, "
            "soft caps, attention windows?); patch it by the names of its parts: "
            "TorchSystem(model).perturb(Patch(...))"
        )


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True
