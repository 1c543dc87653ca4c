"""What a finding is computed from: the activity of a network, one row for each input."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bregma.errors import InvalidArgument
from bregma.run._evaluating import evaluating
from bregma.system import System, TorchSystem
from bregma.system._preprocess import as_call, as_stimuli
from bregma.system._quiet import undisturbed

MOST = 512  # inputs from which statistics of norm layers are measured


def traces_of(system: Any, inputs: Any, *, seed: int) -> Float[np.ndarray, "example unit"]:
    """Activity of a system, or the output of a module, flattened to one row for each input."""
    if isinstance(system, System):
        found = np.asarray(system.record(inputs).values)
    else:
        args, named = as_call(_as_given(inputs), system)
        with undisturbed(system, seed):
            out = system(*args, **named)
        if not isinstance(out, torch.Tensor):
            raise InvalidArgument(
                f"{type(system).__name__} gives a {type(out).__name__}, not one tensor: name the "
                "part to look at (TorchSystem(module, layers)) or say how to read it (trace=)"
            )
        found = out.double().cpu().numpy()
    return found.reshape(len(found), -1).astype(np.float64, copy=False)


def recalibrate(twin: Any, inputs: Any) -> None:
    """Measure the running statistics of norm layers anew, in place: other weights, other means."""
    module = twin.module if isinstance(twin, TorchSystem) else twin
    if not isinstance(module, nn.Module):
        return
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    few = inputs[:MOST]
    given = twin.preprocess(as_stimuli(few)) if isinstance(twin, TorchSystem) else _as_given(few)
    args, named = as_call(given, module)
    # A layer is measured just before it runs: those behind it see what it then gives.
    hooks = [norm.register_forward_pre_hook(_measure) for norm in norms]
    try:
        with torch.no_grad(), evaluating(module):
            module(*args, **named)
    finally:
        for hook in hooks:
            hook.remove()


def _measure(norm: nn.Module, args: tuple[Any, ...]) -> None:
    x = args[0]
    over = [0, *range(2, x.ndim)]
    norm.running_mean.copy_(x.mean(over))  # type: ignore[operator]
    norm.running_var.copy_(x.var(over, correction=0))  # type: ignore[operator]


def _as_given(inputs: Any) -> Any:
    return inputs if isinstance(inputs, torch.Tensor | tuple | dict) else torch.as_tensor(inputs)
