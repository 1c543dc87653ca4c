"""Source code of fused loops over time for GPUs: forward, and reverse from what was kept.

A program of the grid carries a block of (batch, unit) through the whole loop, with the variables in
registers. Names of the step begin with ``_`` here; ``at__`` is where the block lies in an array
(time, batch, unit), ``i__`` in one (batch, unit), ``u__`` in one (unit,).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from textwrap import indent
from typing import Any

from bregma.dynamics.engines._triton_print import TRITON, load
from bregma.dynamics.language._adjoint import adjoint_of
from bregma.dynamics.language._integrate import next_of
from bregma.dynamics.training._scan_program import (
    BAR_OF_SPIKE,
    DISTANCE,
    FIRED,
    RESTING,
    STAYS,
    Keeping,
    ScanProgram,
    backwards,
    free_names,
    gradient_of,
    out_of,
)
from bregma.dynamics.training._scan_source import code

_ONE_WHERE = "tl__.where({}, 1.0, 0.0).to(F__)"


@dataclass(frozen=True)
class Kernel:
    """A loop for GPUs, and the names of its tensors."""

    run: Any
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class _Loads:
    """How the names of a program get their values: before the loop, and at each step."""

    program: ScanProgram
    per_unit: frozenset[str]
    live: frozenset[str]

    @property
    def constants(self) -> list[str]:
        return [n for n in self.program.constants if n in self.live]

    @property
    def inputs(self) -> list[str]:
        return [n for n in self.program.inputs if n in self.live]

    @property
    def arguments(self) -> list[str]:
        return [f"all_{n}" for n in [*self.constants, *self.inputs]]

    @property
    def before(self) -> list[str]:
        places = {n: " + u__" if n in self.per_unit else "" for n in self.constants}
        return [f"_{n} = tl__.load(all_{n}{place})" for n, place in places.items()]

    @property
    def inside(self) -> list[str]:
        places = {n: "k__" if n == "t" else "at__, here__" for n in self.inputs}
        return [f"_{n} = tl__.load(all_{n} + {place})" for n, place in places.items()]


def _block(value: str) -> str:
    """A value of the loop's type, also where it is one number."""
    return f"tl__.broadcast_to({value}, (BLOCK__,))"


def _loop(
    name: str,
    arguments: Iterable[str],
    before: Sequence[str],
    inside: Sequence[str],
    after: Sequence[str],
    back: bool,
) -> str:
    last = "(tl__.to_tensor(n_steps__).to(tl__.int64) - 1)"
    index = [
        "i__ = tl__.program_id(0).to(tl__.int64) * BLOCK__ + tl__.arange(0, BLOCK__)",
        "here__ = i__ < n__",
        "u__ = i__ % n_units__",
        f"at__ = i__ + {last} * n__" if back else "at__ = i__",
    ]
    steps = "for j__ in range(n_steps__):"
    clock = ["k__ = n_steps__ - 1 - j__" if back else "k__ = j__"]
    move = ["at__ -= n__" if back else "at__ += n__"]
    return "\n".join(
        [
            "@kernel__(do_not_specialize=['n_steps__'])",
            f"def {name}({', '.join(arguments)}, n_steps__, n__, n_units__, BLOCK__: constexpr):",
            indent("\n".join([*index, *before, steps]), "    "),
            indent("\n".join([*clock, *inside, *move]), "        "),
            indent("\n".join(after), "    "),
            "",
        ]
    )


@lru_cache(maxsize=256)
def forward_kernel(
    program: ScanProgram, per_unit: frozenset[str], dtype: str, keeping: Keeping
) -> Kernel:
    """Loop with the arguments of `_scan_source.forward_kernel`, on tensors."""
    states = program.step.states
    loads = _Loads(program, per_unit, frozenset(free_names(program.value)))
    arguments = [*loads.arguments, *(f"now_{n}" for n in states)]
    arguments += [f"kept_{n}" for n in keeping.states]
    before = [*loads.before, *(f"_{n} = tl__.load(now_{n} + i__, here__)" for n in states)]
    inside, after = loads.inside, [f"tl__.store(now_{n} + i__, _{n}, here__)" for n in states]
    if program.rests:
        arguments += ["rest", "rested", "left"]
        before += ["rest__ = tl__.load(rest)", "count__ = tl__.load(left + i__, here__)"]
        inside += [
            f"_{RESTING} = {_ONE_WHERE.format('count__ > 0')}",
            "tl__.store(rested + at__, (count__ > 0).to(tl__.uint8), here__)",
        ]
        after.append("tl__.store(left + i__, count__, here__)")
    inside += code(program.advance, TRITON)
    if program.fires:
        arguments.append("spikes")
        inside += _fired(program, "count__ <= 0")
        inside.append(f"tl__.store(spikes + at__, _{FIRED}, here__)")
    if program.rests:
        inside.append(_counted(program))
    inside += code(program.reset, TRITON)
    for n in states:
        inside.append(f"_{n} = {_block(f'_{out_of(n)}')}")
    for n in keeping.states:
        kept = ("at__", next_of(n)) if keeping.after else ("at__ + n__", n)
        inside.append(f"tl__.store(kept_{n} + {kept[0]}, {_block(f'_{kept[1]}')}, here__)")
    source = _loop("forward", arguments, before, inside, after, back=False)
    return Kernel(load(source, dtype, "gpu_scan").forward, tuple(arguments))


def _fired(program: ScanProgram, may: str) -> list[str]:
    condition = f"{_block(f'_{DISTANCE}')} > 0.0"
    if program.rests:
        condition = f"({condition}) & ({may})"
    return [f"_{FIRED} = {_ONE_WHERE.format(condition)}"]


def _counted(program: ScanProgram) -> str:
    if program.step.refractory_while is None:
        after, left = "rest__", "tl__.maximum(count__ - 1, 0)"
    else:
        after, left = "1", f"tl__.where((count__ > 0) & (_{STAYS} > 0.5), 1, 0)"
    return f"count__ = tl__.where(_{FIRED} > 0.5, {after}, {left}).to(tl__.int32)"


@lru_cache(maxsize=256)
def reverse_kernel(
    program: ScanProgram,
    per_unit: frozenset[str],
    wanted: frozenset[str],
    given: frozenset[str],
    dtype: str,
    after: bool,
) -> Kernel:
    """Loop back with the arguments of `_scan_source.reverse_kernel`, on tensors."""
    states = program.step.states
    wanted_inputs = [n for n in program.inputs if n in wanted]
    wanted_constants = [n for n in program.constants if n in wanted]
    found = backwards(program, [*wanted_inputs, *wanted_constants], given, after)
    loads = _Loads(program, per_unit, found.live)
    kept = {next_of(n) if after else n: n for n in states}
    live = {name: n for name, n in kept.items() if name in found.live}
    arguments = [*loads.arguments, *(f"kept_{n}" for n in live.values())]
    before = list(loads.before)
    inside = [
        *loads.inside,
        *(f"_{name} = tl__.load(kept_{n} + at__, here__)" for name, n in live.items()),
    ]
    ends: list[str] = []
    if RESTING in found.live or (FIRED in found.live and program.rests):
        arguments.append("rested")
        inside.append(f"_{RESTING} = {_ONE_WHERE.format('tl__.load(rested + at__, here__) != 0')}")
    inside += code(found.advance, TRITON)
    inside += _fired(program, f"_{RESTING} < 0.5") if FIRED in found.live else []
    inside += code(found.reset, TRITON)
    for n in sorted(given):
        arguments.append(f"given_{n}")
        inside.append(f"given_{n}__ = tl__.load(given_{n} + at__, here__)")
    for n in states:
        arguments.append(f"bar_{n}")
        before.append(f"bar_{n}__ = tl__.load(bar_{n} + i__, here__)")
        more = f" + given_{n}__" if n in given else ""
        inside.append(f"_{adjoint_of(out_of(n))} = bar_{n}__{more}")
    if "spikes" in given:
        inside.append(f"_{BAR_OF_SPIKE} = given_spikes__")
    inside += code(found.back, TRITON)
    for n in wanted_inputs:
        arguments.append(f"grad_{n}")
        inside.append(f"tl__.store(grad_{n} + at__, {_block(f'_{gradient_of(n)}')}, here__)")
    for n in wanted_constants:
        arguments.append(f"sum_{n}")
        before.append(f"sum_{n}__ = tl__.load(sum_{n} + i__, here__)")
        inside.append(f"sum_{n}__ += {_block(f'_{gradient_of(n)}')}")
        ends.append(f"tl__.store(sum_{n} + i__, sum_{n}__, here__)")
    for n in states:
        inside.append(f"bar_{n}__ = {_block(f'_{gradient_of(n)}')}")
        ends.append(f"tl__.store(bar_{n} + i__, bar_{n}__, here__)")
    source = _loop("reverse", arguments, before, inside, ends, back=True)
    return Kernel(load(source, dtype, "gpu_scan").reverse, tuple(arguments))
