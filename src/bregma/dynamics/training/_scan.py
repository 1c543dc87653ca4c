"""A population over time with derivatives: fused loops behind one `torch.autograd.Function`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from bregma._extras import require
from bregma.dynamics.engines._threads import in_blocks
from bregma.dynamics.training._scan_program import ScanProgram
from bregma.dynamics.training._scan_source import forward_kernel, reverse_kernel
from bregma.dynamics.training._workspace import workspace
from bregma.errors import InvalidArgument, UnstableSimulation

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class ScanSettings:
    """What is the same for all steps.

    program : the step and its derivatives.
    outputs : ``"spikes"`` and variables that are wanted for every step.
    rest : for how many steps a unit is refractory after a spike.
    segment : how many steps are kept at a time for the way back; None keeps all.
    """

    program: ScanProgram
    outputs: tuple[str, ...]
    rest: int = 0
    segment: int | None = None


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
    *found, left = _Scan.apply(settings, resting, *tensors)
    n_outputs = len(settings.outputs)
    outputs = dict(zip(settings.outputs, found[:n_outputs], strict=True))
    return outputs, dict(zip(program.step.states, found[n_outputs:], strict=True)), left


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, settings: ScanSettings, resting: Tensor, *tensors: Tensor) -> Any:
        run = _run_of(settings, tensors)
        ctx.settings, ctx.spent = settings, False
        states, n_steps = settings.program.step.states, run.n_steps
        span = min(settings.segment or n_steps, n_steps)
        kept = {n: run.room(span + 1, run.dtype) for n in states}
        outputs = {n: run.empty() for n in settings.outputs if n == "spikes" or span < n_steps}
        spikes = outputs.get("spikes")
        if spikes is None and settings.program.fires:
            spikes = run.empty()
        left, rested = resting.clone(), run.rested(span)
        now, ctx.marks = dict(run.start), []
        for k in range(0, n_steps, span):
            stop = min(k + span, n_steps)
            ctx.marks.append((k, stop, now, left.clone()))
            run.forward(k, stop, now, kept, spikes, rested, left)
            for n in outputs.keys() & kept.keys():
                outputs[n][k:stop] = kept[n][1 : stop - k + 1]
            now = {n: kept[n][stop - k].clone() for n in states}
            run.check(k, stop, now, kept)
        for n in settings.outputs:
            outputs.setdefault(n, kept[n][1:] if n in kept else torch.empty(0))
        ctx.whole = span == n_steps
        saved = [*kept.values(), rested] if ctx.whole else []
        ctx.save_for_backward(*tensors, *saved)
        ctx.mark_non_differentiable(left)
        ctx.set_materialize_grads(False)
        return *(outputs[n] for n in settings.outputs), *now.values(), left

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *bars: Tensor | None) -> Any:
        settings: ScanSettings = ctx.settings
        states, asked = settings.program.step.states, ctx.needs_input_grad[2:]
        saved = list(ctx.saved_tensors)
        run = _run_of(settings, saved[: len(asked)])
        n_outputs = len(settings.outputs)
        given = {
            n: g.contiguous() for n, g in zip(settings.outputs, bars, strict=False) if g is not None
        }
        bar = {n: run.zeros() for n in states}
        for n, g in zip(states, bars[n_outputs:], strict=False):
            if g is not None:
                bar[n] += g
        wanted = {n for n, w in zip(run.names, asked, strict=True) if w}
        sums = {n: run.zeros() for n in run.constants if n in wanted}
        wanted_inputs = [n for n in run.inputs if n in wanted]
        grads = {n: run.empty() for n in wanted_inputs[1:]}
        if ctx.whole and not ctx.spent:
            kept = dict(zip(states, saved[len(run.names) :], strict=False))
            ctx.spent = states[0] not in settings.outputs
            for n in wanted_inputs[:1]:
                # the way back needs no value of a later step: their place takes the derivatives
                grads[n] = kept[states[0]][1:] if ctx.spent else run.empty()
            run.reverse(0, run.n_steps, kept, saved[-1], given, bar, grads, sums)
        else:
            grads |= {n: run.empty() for n in wanted_inputs[:1]}
            run.reverse_by_segments(ctx.marks, given, bar, grads, sums)
        grads |= run.summed(sums) | bar
        return None, None, *(grads[n] if n in wanted else None for n in run.names)


def _run_of(settings: ScanSettings, tensors: Sequence[Tensor]) -> Run:
    """The tensors of one call, with the kernels of their device."""
    if not on_gpu(tensors[0]):
        return Run(settings, tensors)
    require("triton", "gpu")
    from bregma.dynamics.training._triton_scan import DeviceRun

    return DeviceRun(settings, tensors)


def on_gpu(tensor: Tensor) -> bool:
    """Whether a tensor lies where Triton's kernels run."""
    return tensor.device.type == "cuda"


class Run:
    """The tensors of one call, by name."""

    forward_kernel: Any = staticmethod(forward_kernel)
    reverse_kernel: Any = staticmethod(reverse_kernel)

    def __init__(self, settings: ScanSettings, tensors: Sequence[Tensor]) -> None:
        program = settings.program
        self.settings = settings
        self.names = (*program.inputs, *program.constants, *program.step.states)
        by_name = dict(zip(self.names, (x.detach().contiguous() for x in tensors), strict=True))
        self.inputs = {n: by_name[n] for n in program.inputs}
        self.constants = {n: by_name[n] for n in program.constants}
        self.start = {n: by_name[n] for n in program.step.states}
        first = self.start[program.step.states[0]]
        self.shape, self.dtype = first.shape, first.dtype
        self.n_steps = len(next(iter(self.inputs.values())))
        self.per_unit = frozenset(n for n, c in self.constants.items() if c.dim())
        self.precision = str(self.dtype).removeprefix("torch.")

    def room(self, n_steps: int, dtype: torch.dtype) -> Tensor:
        """A tensor (time, batch, unit) with any content."""
        return workspace.empty((n_steps, *self.shape), dtype)

    def empty(self) -> Tensor:
        return self.room(self.n_steps, self.dtype)

    def zeros(self) -> Tensor:
        return torch.zeros_like(self.start[self.settings.program.step.states[0]])

    def rested(self, span: int) -> Tensor:
        """Room for who is refractory at each step."""
        n_steps = span if self.settings.program.rests else 0
        return self.room(n_steps, torch.uint8)

    def arguments(self, k: int, stop: int, kept: Tensors, rested: Tensor) -> dict[str, Any]:
        found = self._numbers()
        found |= {f"all_{n}": x[k:stop] for n, x in self.inputs.items()}
        found |= {f"kept_{n}": x for n, x in kept.items()}
        return found | {"rested": rested}

    def _numbers(self) -> dict[str, Any]:
        """Constants, and for how long a unit rests."""
        found: dict[str, Any] = {
            (f"all_{n}" if c.dim() else f"_{n}"): (c if c.dim() else c.numpy()[()])
            for n, c in self.constants.items()
        }
        return found | {"rest": np.int32(self.settings.rest)}

    def forward(
        self, k: int, stop: int, now: Tensors, kept: Tensors, spikes: Tensor | None,
        rested: Tensor, left: Tensor,
    ) -> None:  # fmt: skip
        """Steps k to stop, from `now`; fills `kept`, `spikes`, `rested` and `left`."""
        for n, x in now.items():
            kept[n][0] = x
        found = self.arguments(k, stop, kept, rested) | {"left": left}
        if spikes is not None:
            found["spikes"] = spikes[k:stop]
        kernel = self.forward_kernel(self.settings.program, self.per_unit, self.precision)
        self._call(kernel, stop - k, found)

    def reverse(
        self, k: int, stop: int, kept: Tensors, rested: Tensor, given: Tensors, bar: Tensors,
        grads: Tensors, sums: Tensors,
    ) -> None:  # fmt: skip
        """Steps k to stop, backwards."""
        found = self.arguments(k, stop, kept, rested)
        found |= self.derivatives(k, stop, given, bar, grads, sums)
        wanted = frozenset({*grads, *sums})
        kernel = self.reverse_kernel(
            self.settings.program, self.per_unit, wanted, frozenset(given), self.precision
        )
        self._call(kernel, stop - k, found)

    @staticmethod
    def derivatives(
        k: int, stop: int, given: Tensors, bar: Tensors, grads: Tensors, sums: Tensors
    ) -> dict[str, Tensor]:
        """Arrays of the reverse loop, under the names of its arguments."""
        return {
            **{f"given_{n}": x[k:stop] for n, x in given.items()},
            **{f"bar_{n}": x for n, x in bar.items()},
            **{f"grad_{n}": x[k:stop] for n, x in grads.items()},
            **{f"sum_{n}": x for n, x in sums.items()},
        }

    def summed(self, sums: Tensors) -> dict[str, Tensor]:
        """Derivatives by constants, of their shapes."""
        return {
            n: s.sum(tuple(range(s.dim() - self.constants[n].dim())), dtype=torch.float64).to(s)
            for n, s in sums.items()
        }

    def reverse_by_segments(
        self, marks: list[Any], given: Tensors, bar: Tensors, grads: Tensors, sums: Tensors
    ) -> None:
        """The same with the variables computed again, one segment after the other."""
        span = marks[0][1] - marks[0][0]
        kept = {n: self.room(span + 1, self.dtype) for n in bar}
        spikes = self.empty() if self.settings.program.fires else None
        rested = self.rested(span)
        for k, stop, now, left in reversed(marks):
            self.forward(k, stop, now, kept, spikes, rested, left.clone())
            self.reverse(k, stop, kept, rested, given, bar, grads, sums)

    def _call(self, kernel: Any, n_steps: int, found: Mapping[str, Any]) -> None:
        """Run a kernel on blocks; where constants are scalars, batch and unit are one axis."""
        n_rows, n_units = self.shape
        if not self.per_unit:
            n_rows, n_units = 1, n_rows * n_units
        arguments = kernel.collect(found, (n_rows, n_units))
        in_blocks(lambda *block: kernel.run(0, n_steps, *arguments, *block), n_rows, n_units)

    def check(self, k: int, stop: int, now: Tensors, kept: Tensors) -> None:
        """Refuse variables that are not finite."""
        bad = [n for n, x in now.items() if not torch.isfinite(x.sum())]
        bad = [n for n in bad if not torch.isfinite(now[n]).all()]
        if not bad:
            return
        first = {n: (~torch.isfinite(kept[n][: stop - k + 1])).nonzero()[0].tolist() for n in bad}
        name = min(first, key=lambda n: first[n])
        at, row, unit = first[name]
        step = k + max(at - 1, 0)
        where = f"at step {step} in unit {unit} of batch element {row}"
        for n, x in self.inputs.items():
            if x.dim() == 3 and not torch.isfinite(x[step, row, unit]):
                raise InvalidArgument(f"the input {n!r} is {x[step, row, unit].item()} {where}")
        if at == 0 and k == 0:
            raise InvalidArgument(
                f"the first value of {name!r} is not finite in unit {unit} of batch element {row}"
            )
        raise UnstableSimulation(
            f"{name!r} became {kept[name][at, row, unit].item()} {where}: take a shorter "
            "dt, smaller weights, or equations that cannot run away"
        )
