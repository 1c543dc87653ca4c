"""Running a network without leaving a trace in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from bregma.errors import InvalidArgument
from bregma.run import private_randomness
from bregma.run._evaluating import evaluating


@contextmanager
def undisturbed(module: nn.Module, seed: int) -> Iterator[None]:
    """Put a network into evaluation mode without gradients, and leave it exactly as it was.

    Buffers that the network writes to are put back, and so are training flags and the global
    generators.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    seed : int
        Seed of what the network itself draws at random.
    """
    parts = list(module.modules())
    buffers = [dict(part._buffers) for part in parts]
    copies = [
        {name: buffer.clone() for name, buffer in own.items() if buffer is not None}
        for own in buffers
    ]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(evaluating(module))
        stack.enter_context(private_randomness(seed))
        if any(_is_compiled(part) for part in parts):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        try:
            yield
        finally:
            for part, own, copied in zip(parts, buffers, copies, strict=True):
                part._buffers.clear()
                part._buffers.update(own)
                for name, before in copied.items():
                    if not torch.equal(own[name], before):  # type: ignore[arg-type]
                        own[name].copy_(before)  # type: ignore[union-attr]


def bare(module: Any) -> nn.Module:
    """The network inside wrappers for compilation and parallel training.

    Parameters
    ----------
    module : torch.nn.Module
        The network, perhaps wrapped by `torch.compile`, `DataParallel` or
        `DistributedDataParallel`.

    Returns
    -------
    torch.nn.Module
        The network itself.

    Raises
    ------
    InvalidArgument
        It is no module, is scripted, or its parameters have no shape yet.
    """
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner  # of torch.compile
        else:
            break
    if not isinstance(module, nn.Module):
        raise InvalidArgument(f"a torch.nn.Module is needed, not a {type(module).__name__}")
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise InvalidArgument(
            "scripted or traced modules do not let anybody listen to their parts: give the module "
            "from before torch.jit"
        )
    if any(nn.parameter.is_lazy(p) for p in (*module.parameters(), *module.buffers())):
        raise InvalidArgument(
            "some layers are lazy and have no weights yet: run the network once on data first"
        )
    return module


def module_names(module: nn.Module) -> dict[str, nn.Module]:
    """All parts of a network by their dotted names; the network itself is ``""``.

    Parameters
    ----------
    module : torch.nn.Module
        The network.

    Returns
    -------
    dict of torch.nn.Module
        Parts under each of their names, those inside compiled parts without ``_orig_mod``.
    """
    return {
        ".".join(piece for piece in name.split(".") if piece != "_orig_mod"): part
        for name, part in module.named_modules(remove_duplicate=False)
    }


def _is_compiled(part: nn.Module) -> bool:
    return "_orig_mod" in part._modules or getattr(part, "_compiled_call_impl", None) is not None
