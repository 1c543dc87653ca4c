"""A population over time with derivatives: fused loops behind one `torch.autograd.Function`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from bregma._extras import require
from bregma.dynamics.training._scan_program import Keeping, keeping
from bregma.dynamics.training._scan_run import Run, ScanSettings, Tensors
from bregma.run._device import on_gpu


def scan(
    settings: ScanSettings,
    inputs: Mapping[str, Float[Tensor, "time ..."]],
    constants: Mapping[str, Float[Tensor, ...]],
    start: Mapping[str, Float[Tensor, "batch unit"]],
    resting: Int[Tensor, "batch unit"],
) -> tuple[dict[str, Tensor], dict[str, Tensor], Shaped[Tensor, "batch unit"]]:
    """Run a population over time, in float32 or float64, on the CPU or a CUDA device.

    Parameters
    ----------
    settings : ScanSettings
        What to run.
    inputs : mapping
        Input to its values (time, batch, unit); ``"t"`` (time,).
    constants : mapping
        Constant to a tensor of shape () or (unit,), of the type of the inputs.
    start : mapping
        Variable to its first values.
    resting : tensor of int32
        For how many steps each unit is still refractory.

    Returns
    -------
    (dict, dict, tensor)
        Outputs (time, batch, unit); variables at the end; `resting` then. Derivatives flow from
        all but the last to inputs, constants and the start.

    Raises
    ------
    UnstableSimulation
        Where a variable stops being finite, with step and unit.
    InvalidArgument
        Where an input that is not finite is the reason.
    """
    program = settings.program
    tensors = [
        *(inputs[n] for n in program.inputs),
        *(constants[n] for n in program.constants),
        *(start[n] for n in program.step.states),
    ]
    *found, left = _Scan.apply(settings, settings.wanted(tensors), resting, *tensors)
    n_outputs = len(settings.outputs)
    outputs = dict(zip(settings.outputs, found[:n_outputs], strict=True))
    return outputs, dict(zip(program.step.states, found[n_outputs:], strict=True)), left


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, settings: ScanSettings, wanted: frozenset[str], resting: Tensor, *tensors: Tensor
    ) -> Any:
        n_steps, n_inputs = len(tensors[0]), len(settings.program.inputs)
        keep = keeping(settings.program, wanted, settings.outputs)
        run = _run_of(settings, keep, n_steps, tensors)
        # to compute a segment again takes the inputs: no gain where no more than that is kept
        gain = len(keep.states) + len(keep.inputs) > n_inputs
        span = min(settings.segment or n_steps, n_steps) if gain else n_steps
        outputs = {n: run.empty() for n in settings.outputs if n == "spikes" or span < n_steps}
        spikes = outputs.get("spikes")
        if spikes is None and settings.program.fires:
            spikes = run.empty()
        kept, left, rested = run.kept(span), resting.clone(), run.rested(span)
        now, marks = _copies(run.start), []
        for k in range(0, n_steps, span):
            stop = min(k + span, n_steps)
            marks.append((k, stop, _copies(now), left.clone()))
            fired = None if spikes is None else spikes[k:stop]
            run.forward(k, stop, now, kept, fired, rested, left)
            for n in outputs.keys() & kept.keys():
                outputs[n][k:stop] = kept[n][1 : stop - k + 1]
            run.check(k, now, partial(_again, mark=marks[-1]))
        outputs |= {n: kept[n][1:] for n in settings.outputs if n not in outputs}
        if wanted:
            whole = span == n_steps
            ctx.settings, ctx.keep, ctx.n_steps = settings, keep, n_steps
            ctx.marks = None if whole else marks
            read = [
                x if n in keep.inputs or not whole else None
                for n, x in zip(settings.program.inputs, tensors, strict=False)
            ]
            saved = [*kept.values(), rested] if whole else []
            ctx.save_for_backward(*read, *tensors[n_inputs:], *saved)
        ctx.mark_non_differentiable(left)
        ctx.set_materialize_grads(False)
        return *(outputs[n] for n in settings.outputs), *now.values(), left

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor | None) -> Any:
        settings: ScanSettings = ctx.settings
        names, states = settings.names, settings.program.step.states
        asked, saved = ctx.needs_input_grad[3:], ctx.saved_tensors
        run = _run_of(settings, ctx.keep, ctx.n_steps, saved[: len(names)])
        kept = dict(zip(ctx.keep.states, saved[len(names) :], strict=False))
        n_outputs = len(settings.outputs)
        given = {
            n: g.contiguous() for n, g in zip(settings.outputs, bars, strict=False) if g is not None
        }
        bar = {n: run.zeros() for n in states}
        for n, g in zip(states, bars[n_outputs:], strict=False):
            if g is not None:
                bar[n] += g
        wanted = {n for n, w in zip(names, asked, strict=True) if w}
        sums = {n: run.zeros() for n in run.constants if n in wanted}
        wanted_inputs = [n for n in settings.program.inputs if n in wanted]
        grads = {n: run.overwritten(kept) for n in wanted_inputs[:1]}
        grads |= {n: run.empty() for n in wanted_inputs[1:]}
        if ctx.marks is None:
            run.reverse(0, run.n_steps, kept, saved[-1], given, bar, grads, sums)
        else:
            run.reverse_by_segments(ctx.marks, given, bar, grads, sums)
        grads |= run.summed(sums) | bar
        return None, None, None, *(grads[n] if n in wanted else None for n in names)


def _copies(tensors: Tensors) -> dict[str, Tensor]:
    return {n: x.clone() for n, x in tensors.items()}


def _again(run: Run, mark: tuple[int, int, Tensors, Tensor]) -> Tensors:
    """Some steps once more, with all that the run keeps."""
    k, stop, start, left = mark
    kept = run.kept(stop - k)
    spikes = run.room(stop - k, run.dtype) if run.settings.program.fires else None
    run.forward(k, stop, _copies(start), kept, spikes, run.rested(stop - k), left.clone())
    return kept


def _run_of(
    settings: ScanSettings, keep: Keeping, n_steps: int, tensors: Sequence[Tensor | None]
) -> Run:
    """The tensors of one call, with the kernels of their device."""
    start = tensors[-1]
    if start is None or not on_gpu(start):
        return Run(settings, keep, n_steps, tensors)
    require("triton", "gpu")
    from bregma.dynamics.training._triton_scan import DeviceRun

    return DeviceRun(settings, keep, n_steps, tensors)
