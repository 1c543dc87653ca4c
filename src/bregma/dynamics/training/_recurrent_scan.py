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

from bregma.dynamics.training._events import events_of, weight_gradient
from bregma.dynamics.training._scan_program import keeping
from bregma.dynamics.training._scan_run import Run, ScanSettings, Tensors
from bregma.dynamics.training._scan_source import forward_kernel
from bregma.run._threads import in_threads


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
    wanted_by = settings.wanted(tensors)
    if torch.is_grad_enabled() and (weight.requires_grad or spikes.requires_grad):
        wanted_by |= {settings.names[0]}  # both are reached through the first input
    all_spikes, *found, left = _RecurrentScan.apply(
        settings, wanted_by, resting, spikes, weight, *tensors
    )
    wanted = [n for n in settings.outputs if n != "spikes"]
    outputs = {"spikes": all_spikes} | dict(zip(wanted, found[: len(wanted)], strict=True))
    return outputs, dict(zip(program.step.states, found[len(wanted) :], strict=True)), left


class _RecurrentScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, settings: ScanSettings, wanted: frozenset[str], resting: Tensor, first: Tensor,
        weight: Tensor, *tensors: Tensor,
    ) -> Any:  # fmt: skip
        n_steps, inputs = len(tensors[0]), settings.program.inputs
        # the next step sees the spikes even where the loss does not
        seen = tuple(dict.fromkeys(("spikes", *settings.outputs)))
        keep = keeping(settings.program, wanted, seen)
        run = Run(settings, keep, n_steps, tensors)
        kept, rested, left = run.kept(n_steps), run.rested(n_steps), resting.clone()
        spikes, sums, now = _forward(run, first, weight, kept, rested, left)
        run.check(0, now, lambda whole: _again(whole, resting, first, weight))
        if wanted:
            ctx.settings, ctx.keep, ctx.n_steps = settings, keep, n_steps
            read = dict(zip(inputs, tensors, strict=False)) | {inputs[0]: sums}
            ctx.save_for_backward(
                weight, spikes, rested, *(read[n] if n in keep.inputs else None for n in inputs),
                *tensors[len(inputs) :], *kept.values(),
            )  # fmt: skip
        ctx.mark_non_differentiable(left)
        ctx.set_materialize_grads(False)
        variables = [kept[n][1:] for n in settings.outputs if n != "spikes"]
        return spikes[1:], *variables, *now.values(), left

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor | None, *bars: Tensor | None) -> Any:
        settings: ScanSettings = ctx.settings
        names, states = settings.names, settings.program.step.states
        weight, spikes, rested, *saved = ctx.saved_tensors
        run = Run(settings, ctx.keep, ctx.n_steps, saved[: len(names)])
        kept = dict(zip(ctx.keep.states, saved[len(names) :], strict=True))
        main, w = names[0], weight.detach()
        variables = [n for n in settings.outputs if n != "spikes"]
        seen = zip(variables, bars, strict=False)
        given = {n: g.contiguous() for n, g in seen if g is not None}
        bar = {n: run.zeros() for n in states}
        for n, g in zip(states, bars[len(variables) :], strict=False):
            if g is not None:
                bar[n] += g
        wanted = {n for n, asked in zip(names, ctx.needs_input_grad[5:], strict=True) if asked}
        grads = {n: run.empty() for n in settings.program.inputs[1:] if n in wanted}
        grads[main] = run.overwritten(kept)
        sums = {n: run.zeros() for n in run.constants if n in wanted}
        given["spikes"] = run.zeros()[None]  # of the step that is taken, for the next come from it
        kernel = run.kernel_back(given, grads, sums)
        found = run.arguments(0, run.n_steps, kept, rested)
        found |= run.derivatives(0, run.n_steps, given, bar, grads, sums)
        arguments = kernel.collect(found)
        seen_spikes = [None] * run.n_steps if grad_spikes is None else grad_spikes.unbind()
        for k in range(run.n_steps - 1, -1, -1):
            _by_spikes(given["spikes"][0], seen_spikes[k], grads[main][k + 1 : k + 2], w)
            kernel.run(k, k + 1, *arguments, 0, run.shape[0], 0, run.shape[1])
        grad_first = grads[main][0] @ w if ctx.needs_input_grad[3] else None
        grad_weight = None
        if ctx.needs_input_grad[4]:
            grad_weight = _weight_gradient(spikes[:-1], grads[main])
        grads |= run.summed(sums) | bar
        inputs = (grads[n] if n in wanted else None for n in names)
        return None, None, None, grad_first, grad_weight, *inputs


def _forward(
    run: Run, first: Tensor, weight: Tensor, kept: Tensors, rested: Tensor, left: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """All steps: spikes, from those before the first; the summed input; variables at the end."""
    main, (n_rows, n_units) = run.settings.names[0], run.shape
    spikes = run.room(run.n_steps + 1, run.dtype)
    spikes[0] = first.detach()
    now = {n: x.clone() for n, x in run.start.items()}
    for n, x in kept.items():
        x[0] = now[n]
    sums = run.empty() if main in run.keep.inputs else run.zeros()[None]
    found = run.arguments(0, run.n_steps, kept, rested) | {
        **{f"now_{n}": x for n, x in now.items()},
        "spikes": spikes,
        "left": left,
        "weight": weight.detach().t().contiguous()[:, None],
        "sums": sums,
    }
    kernel = forward_kernel(run.settings.program, run.per_unit, run.precision, run.keep, main)
    arguments = kernel.collect(found)
    in_threads(
        lambda b: kernel.run(0, run.n_steps, *arguments, b, b + 1, 0, n_units),
        [(b,) for b in range(n_rows)],
    )
    return spikes, sums, now


def _by_spikes(out: Tensor, seen: Tensor | None, later: Tensor, weight: Tensor) -> None:
    """Derivatives by the spikes of a step: by what the loss sees, and by the next step's input."""
    if seen is None:
        seen = torch.zeros_like(out)
    if len(later):
        torch.addmm(seen, later[0], weight, out=out)
    else:
        out.copy_(seen)


def _again(run: Run, resting: Tensor, first: Tensor, weight: Tensor) -> Tensors:
    """All steps once more, with all that the run keeps."""
    kept = run.kept(run.n_steps)
    _forward(run, first, weight, kept, run.rested(run.n_steps), resting.clone())
    return kept


def _weight_gradient(before: Tensor, grad: Tensor) -> Tensor:
    """Derivative by weights (post, pre); what a user gave as first spikes may be any number."""
    events = events_of(before, most=0.25)
    if events is not None:
        return weight_gradient(events, grad).t()
    return grad.flatten(0, 1).t() @ before.flatten(0, 1)
