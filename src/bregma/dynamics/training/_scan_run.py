"""The tensors of one call of a loop over time, by name, and the loops of a CPU on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bregma.dynamics.engines._threads import in_blocks
from bregma.dynamics.training._scan_program import Keeping, ScanProgram
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

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors of a call, in their order."""
        return (*self.program.inputs, *self.program.constants, *self.program.step.states)

    def wanted(self, tensors: Sequence[Tensor]) -> frozenset[str]:
        """What derivatives will be taken by."""
        if not torch.is_grad_enabled():
            return frozenset()
        return frozenset(n for n, t in zip(self.names, tensors, strict=True) if t.requires_grad)


class Run:
    """The tensors of one call, by name. An input is None where it is not read again."""

    forward_kernel: Any = staticmethod(forward_kernel)
    reverse_kernel: Any = staticmethod(reverse_kernel)

    def __init__(
        self, settings: ScanSettings, keep: Keeping, n_steps: int, tensors: Sequence[Tensor | None]
    ) -> None:
        program = settings.program
        self.settings, self.keep, self.n_steps = settings, keep, n_steps
        by_name = {
            n: x.detach().contiguous()
            for n, x in zip(settings.names, tensors, strict=True)
            if x is not None
        }
        self.inputs = {n: by_name[n] for n in program.inputs if n in by_name}
        self.constants = {n: by_name[n] for n in program.constants}
        self.start = {n: by_name[n] for n in program.step.states}
        first = self.start[program.step.states[0]]
        self.shape, self.dtype = first.shape, first.dtype
        self.per_unit = frozenset(n for n, c in self.constants.items() if c.dim())
        self.precision = str(self.dtype).removeprefix("torch.")

    def room(self, n_steps: int, dtype: torch.dtype) -> Tensor:
        """A tensor (time, batch, unit) with any content."""
        return workspace.empty((n_steps, *self.shape), dtype)

    def empty(self) -> Tensor:
        return self.room(self.n_steps, self.dtype)

    def kept(self, span: int) -> dict[str, Tensor]:
        """Room for the variables that are kept."""
        return {n: self.room(span + 1, self.dtype) for n in self.keep.states}

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
        """Steps k to stop; moves `now` and `left` on, fills `kept`, `spikes` and `rested`."""
        for n, x in kept.items():
            x[0] = now[n]
        found = self.arguments(k, stop, kept, rested) | {"left": left}
        found |= {f"now_{n}": x for n, x in now.items()}
        if spikes is not None:
            found["spikes"] = spikes
        kernel = self.forward_kernel(
            self.settings.program, self.per_unit, self.precision, self.keep
        )
        self._call(kernel, stop - k, found)

    def reverse(
        self, k: int, stop: int, kept: Tensors, rested: Tensor, given: Tensors, bar: Tensors,
        grads: Tensors, sums: Tensors,
    ) -> None:  # fmt: skip
        """Steps k to stop, backwards."""
        found = self.arguments(k, stop, kept, rested)
        found |= self.derivatives(k, stop, given, bar, grads, sums)
        self._call(self.kernel_back(given, grads, sums), stop - k, found)

    def kernel_back(self, given: Tensors, grads: Tensors, sums: Tensors) -> Any:
        """The loop back to these derivatives."""
        wanted = frozenset({*grads, *sums})
        return self.reverse_kernel(
            self.settings.program, self.per_unit, wanted, frozenset(given), self.precision,
            self.keep.after,
        )  # fmt: skip

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
        kept, rested = self.kept(span), self.rested(span)
        spikes = self.room(span, self.dtype) if self.settings.program.fires else None
        for k, stop, start, left in reversed(marks):
            now = {n: x.clone() for n, x in start.items()}
            self.forward(k, stop, now, kept, spikes, rested, left.clone())
            self.reverse(k, stop, kept, rested, given, bar, grads, sums)

    def overwritten(self, kept: Tensors) -> Tensor:
        """Where derivatives by an input go: the way back needs no value of a later step.

        Fresh memory where variables are an output, or where the way back may be taken again.
        """
        private = [n for n in kept if n not in self.settings.outputs]
        return kept[private[0]][1:] if private and not _graph_is_kept() else self.empty()

    def _call(self, kernel: Any, n_steps: int, found: Mapping[str, Any]) -> None:
        """Run a kernel on blocks; where constants are scalars, batch and unit are one axis."""
        n_rows, n_units = self.shape
        if not self.per_unit:
            n_rows, n_units = 1, n_rows * n_units
        arguments = kernel.collect(found, (n_rows, n_units))
        in_blocks(lambda *block: kernel.run(0, n_steps, *arguments, *block), n_rows, n_units)

    def check(self, k: int, now: Tensors, again: Callable[[Run], Tensors]) -> None:
        """Refuse variables that are not finite.

        Parameters
        ----------
        k : int
            First step.
        now : mapping
            The variables after the last.
        again : callable
            Repeats the steps with all variables kept, to say where.
        """
        bad = [n for n, x in now.items() if not torch.isfinite(x.sum())]
        bad = [n for n in bad if not torch.isfinite(now[n]).all()]
        if not bad:
            return
        states, names = self.settings.program.step.states, self.settings.names
        everything = Keeping(states, frozenset(), after=False)
        tensors = self.inputs | self.constants | self.start
        whole = type(self)(self.settings, everything, self.n_steps, [tensors[n] for n in names])
        kept = again(whole)
        first = {n: (~torch.isfinite(kept[n])).nonzero()[0].tolist() for n in bad}
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


def _graph_is_kept() -> bool:
    """Whether the way back that is under way may be taken again; yes where torch does not say."""
    says = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return says is None or bool(says())
