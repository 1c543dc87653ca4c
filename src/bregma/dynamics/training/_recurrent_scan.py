"""A population whose spikes come back to it one step later: fused loops, forward and backward.

Forward, each thread takes whole sequences of the batch, and a step adds up the weights of the units
that fired. Backward, every unit has a derivative at every step, so that a step is a dense product.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from bregma.dynamics.engines._threads import in_threads
from bregma.dynamics.training._events import events_of, weight_gradient
from bregma.dynamics.training._scan import Run, ScanSettings
from bregma.dynamics.training._scan_source import forward_kernel, reverse_kernel
from bregma.dynamics.training._workspace import workspace


def recurrent_scan(
    settings: ScanSettings,
    inputs: Mapping[str, Float[Tensor, "time ..."]],
    constants: Mapping[str, Float[Tensor, ...]],
    start: Mapping[str, Float[Tensor, "batch unit"]],
    resting: Int[Tensor, "batch unit"],
    spikes: Float[Tensor, "batch unit"],
    weight: Float[Tensor, "unit unit"],
) -> tuple[dict[str, Tensor], dict[str, Tensor], Shaped[Tensor, "batch unit"]]:
    """Run a population over time, its spikes of the step before added to its first input.

    Parameters
    ----------
    settings : ScanSettings
        What to run.
    inputs, constants, start, resting
        As for `scan`.
    spikes : tensor
        Who fired before the first step.
    weight : tensor (post, pre)
        What the spike of one unit adds to the input of another.

    Returns
    -------
    (dict, dict, tensor)
        As for `scan`; ``"spikes"`` is always among the outputs.
    """
    program = settings.program
    tensors = [
        *(inputs[n] for n in program.inputs),
        *(constants[n] for n in program.constants),
        *(start[n] for n in program.step.states),
    ]
    all_spikes, *found, left = _RecurrentScan.apply(settings, resting, spikes, weight, *tensors)
    wanted = [n for n in settings.outputs if n != "spikes"]
    outputs = {"spikes": all_spikes} | dict(zip(wanted, found[: len(wanted)], strict=True))
    return outputs, dict(zip(program.step.states, found[len(wanted) :], strict=True)), left


class _RecurrentScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, settings: ScanSettings, resting: Tensor, first: Tensor, weight: Tensor,
        *tensors: Tensor,
    ) -> Any:  # fmt: skip
        run = Run(settings, tensors)
        states, n_steps = settings.program.step.states, run.n_steps
        kept = {n: workspace.empty((n_steps + 1, *run.shape), run.dtype) for n in states}
        for n, x in run.start.items():
            kept[n][0] = x
        spikes = workspace.empty((n_steps + 1, *run.shape), run.dtype)
        spikes[0] = first.detach()
        current = run.empty()
        current.copy_(run.inputs[run.names[0]])
        run.inputs[run.names[0]] = current
        left, rested = resting.clone(), run.rested(n_steps)
        found = run.arguments(0, n_steps, kept, rested) | {
            "spikes": spikes,
            "left": left,
            "weight": weight.detach().t().contiguous()[:, None],
        }
        kernel = forward_kernel(
            settings.program, run.per_unit, run.precision, recurrent=run.names[0]
        )
        arguments = kernel.collect(found)
        n_rows, n_units = run.shape
        in_threads(
            lambda b: kernel.run(0, n_steps, *arguments, b, b + 1, 0, n_units),
            [(b,) for b in range(n_rows)],
        )
        end = {n: x[n_steps].clone() for n, x in kept.items()}
        run.check(0, n_steps, end, kept)
        ctx.settings, ctx.current = settings, current
        ctx.save_for_backward(weight, spikes, rested, *tensors, *kept.values())
        ctx.mark_non_differentiable(left)
        ctx.set_materialize_grads(False)
        variables = [kept[n][1:] for n in settings.outputs if n != "spikes"]
        return spikes[1:], *variables, *end.values(), left

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, *bars: Tensor | None) -> Any:
        settings: ScanSettings = ctx.settings
        states = settings.program.step.states
        weight, spikes, rested, *saved = ctx.saved_tensors
        run = Run(settings, saved[: -len(states)])
        main, n_steps = run.names[0], run.n_steps
        run.inputs[main] = ctx.current
        kept = dict(zip(states, saved[-len(states) :], strict=True))
        variables = [n for n in settings.outputs if n != "spikes"]
        seen = zip(variables, bars, strict=False)
        given = {n: g.contiguous() for n, g in seen if g is not None}
        given["spikes"] = run.empty()
        if grad_spikes is None:
            given["spikes"].zero_()
        else:
            given["spikes"].copy_(grad_spikes)
        bar = {n: torch.zeros(run.shape, dtype=run.dtype) for n in states}
        for n, g in zip(states, bars[len(variables) :], strict=False):
            if g is not None:
                bar[n] += g
        wanted = {n for n, w in zip(run.names, ctx.needs_input_grad[4:], strict=True) if w} | {main}
        grads = {n: run.empty() for n in run.inputs if n in wanted}
        sums = {n: torch.zeros(run.shape, dtype=run.dtype) for n in run.constants if n in wanted}
        kernel = reverse_kernel(
            settings.program, run.per_unit, frozenset({*grads, *sums}), frozenset(given),
            run.precision,
        )  # fmt: skip
        found = run.arguments(0, n_steps, kept, rested)
        arguments = kernel.collect(found | run.derivatives(0, n_steps, given, bar, grads, sums))
        w = weight.detach()
        for k in range(n_steps - 1, -1, -1):
            kernel.run(k, k + 1, *arguments, 0, run.shape[0], 0, run.shape[1])
            if k:
                given["spikes"][k - 1].addmm_(grads[main][k], w)
        grad_first = grads[main][0] @ w if ctx.needs_input_grad[2] else None
        grad_weight = None
        if ctx.needs_input_grad[3]:
            grad_weight = _weight_gradient(spikes[:-1], grads[main])
        grads |= run.summed(sums) | bar
        asked = zip(run.names, ctx.needs_input_grad[4:], strict=True)
        inputs = (grads[n] if asked_for else None for n, asked_for in asked)
        return None, None, grad_first, grad_weight, *inputs


def _weight_gradient(before: Tensor, grad: Tensor) -> Tensor:
    """Derivative by weights (post, pre); what a user gave as first spikes may be any number."""
    events = events_of(before, most=0.25)
    if events is not None:
        return weight_gradient(events, grad).t()
    return grad.flatten(0, 1).t() @ before.flatten(0, 1)
