"""Source code of fused loops over time: forward, and reverse from the variables that were kept.

A loop goes over time outside and over a block of (batch, unit) inside, so that the variables of the
block stay in the fastest cache. Names of the program begin with ``_`` here, all others do not:
``k`` counts steps, ``b`` rows of the batch, ``u`` units of the block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from textwrap import indent
from typing import Any

from torch import Tensor

from bregma.dynamics.engines._compile import load
from bregma.dynamics.language._adjoint import adjoint_of
from bregma.dynamics.language._grammar import Assignment, names_of, symbol
from bregma.dynamics.language._integrate import next_of
from bregma.dynamics.language._print import NUMBA, Dialect, write_program
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

BLOCK = ("first_row", "last_row", "first_unit", "last_unit")
_SPIKE_OR_NOT = "F(1.0) if {} else F(0.0)"


@dataclass(frozen=True)
class Kernel:
    """A compiled loop, and the names of its arguments before the block."""

    run: Any
    arguments: tuple[str, ...]

    def collect(self, found: Mapping[str, Any], shape: tuple[int, int] | None = None) -> list[Any]:
        """The arguments in their order, as NumPy arrays whose last two axes have this shape."""
        collected = []
        for name in self.arguments:
            x = found[name]
            if isinstance(x, Tensor):
                x = x.view(*x.shape[:-2], *shape) if shape and x.dim() > 1 else x
                x = x.numpy()
            collected.append(x)
        return collected


@dataclass(frozen=True)
class _Names:
    """How the names of a program are loaded in the loop.

    kept : names of which there is an array (time, batch, unit), with the name of its variable.
    """

    program: ScanProgram
    per_unit: frozenset[str]
    live: frozenset[str]
    kept: Mapping[str, str]

    @property
    def inputs(self) -> list[str]:
        return [n for n in self.program.inputs if n in self.live and n != "t"]

    @property
    def states(self) -> list[str]:
        return [n for n in self.kept if n in self.live]

    @property
    def arguments(self) -> list[str]:
        """Clock, constants, inputs, variables."""
        clock = ["all_t"] if "t" in self.live else []
        constants = [n for n in self.program.constants if n in self.live]
        return [
            *clock,
            *(f"all_{n}" if n in self.per_unit else f"_{n}" for n in constants),
            *(f"all_{n}" for n in self.inputs),
            *(f"kept_{self.kept[n]}" for n in self.states),
        ]

    @property
    def before(self) -> list[str]:
        """Lines before the loop over units."""
        return [
            *(f"row_{n} = all_{n}[k, b, first_unit:last_unit]" for n in self.inputs),
            *(f"row_{n} = kept_{self.kept[n]}[k, b, first_unit:last_unit]" for n in self.states),
        ]

    @property
    def once(self) -> list[str]:
        """Lines before all loops."""
        arrays = [n for n in self.program.constants if n in self.live & self.per_unit]
        return [f"row_{n} = all_{n}[first_unit:last_unit]" for n in arrays]

    @property
    def loads(self) -> list[str]:
        """Lines in the innermost loop."""
        arrays = [n for n in self.program.constants if n in self.live & self.per_unit]
        return [f"_{n} = row_{n}[u]" for n in [*arrays, *self.inputs, *self.states]]


def code(program: Iterable[Assignment], dialect: Dialect = NUMBA) -> list[str]:
    """Lines of a program, its names with an underscore before them."""
    lines = []
    for a in program:
        marked = {symbol(n): symbol(f"_{n}") for n in names_of([a.value])}
        new = replace(a, target=f"_{a.target}", value=a.value.xreplace(marked))
        lines += write_program([new], dialect)
    return lines


def _loop(
    name: str,
    arguments: Collection[str],
    names: _Names,
    steps: str,
    rows: Collection[str],
    body: Collection[str],
) -> str:
    clock = ["_t = all_t[k]"] if "t" in names.live else []
    parts = [
        f"@kernel\ndef {name}(first_step, last_step, {', '.join([*arguments, *BLOCK])}):",
        *(f"    {line}" for line in names.once),
        f"    for k in {steps}:",
        *(f"        {line}" for line in clock),
        "        for b in range(first_row, last_row):",
        indent("\n".join([*names.before, *rows]), " " * 12),
        "            for u in range(last_unit - first_unit):",
        indent("\n".join([*names.loads, *body]), " " * 16),
    ]
    return "\n".join(parts) + "\n"


@lru_cache(maxsize=256)
def forward_kernel(
    program: ScanProgram, per_unit: frozenset[str], dtype: str, keeping: Keeping,
    recurrent: str | None = None,
) -> Kernel:  # fmt: skip
    """Loop over time from ``now_<variable>`` (batch, unit), which has the last values in the end.

    It fills ``kept_<variable>`` (time + 1, batch, unit): with the variables before each step and,
    at last, after all; or with those after the advance, and the last place stays as it is. It also
    fills ``spikes`` and ``rested``, 1 where a unit was refractory (time, batch, unit), and counts
    down ``left``, the steps for which a unit is still refractory (batch, unit). Where an input is
    `recurrent`, the rows of ``weight`` (unit, 1, unit) of the units that fired in the step before
    are added to it; ``spikes`` has one step more then, whose first is given, and a block has all
    units. The sums lie in ``sums`` (time, batch, unit), of one step where nobody reads them again.
    """
    states = program.step.states
    live = free_names(program.value) | set(states)
    names = _Names(program, per_unit, frozenset(live), {})
    arguments = [*names.arguments, *(f"now_{n}" for n in states)]
    arguments += [f"kept_{n}" for n in keeping.states]
    at = "k" if keeping.after else "k + 1"
    rows = [f"row_{n} = now_{n}[b, first_unit:last_unit]" for n in states]
    rows += [f"to_{n} = kept_{n}[{at}, b, first_unit:last_unit]" for n in keeping.states]
    body = [f"_{n} = row_{n}[u]" for n in states]
    if program.rests:
        arguments += ["rest", "rested", "left"]
        rows += [
            "row_rested = rested[k, b, first_unit:last_unit]",
            "row_left = left[b, first_unit:last_unit]",
        ]
        body += [
            "count = row_left[u]",
            "row_rested[u] = count > 0",
            f"_{RESTING} = {_SPIKE_OR_NOT.format('count > 0')}",
        ]
    body += code(program.advance)
    if program.fires:
        at = "k" if recurrent is None else "k + 1"
        arguments.append("spikes")
        rows.append(f"row_spikes = spikes[{at}, b, first_unit:last_unit]")
        body += [*_fired(program, "count <= 0"), f"row_spikes[u] = _{FIRED}"]
    if recurrent is not None:
        arguments += ["weight", "sums"]
        rows += [
            f"total = sums[{'k' if recurrent in keeping.inputs else '0'}, b]",
            f"total[:] = row_{recurrent}",
            "add_rows(total, weight, 0, np.nonzero(spikes[k, b])[0])",
            f"row_{recurrent} = total",
        ]
    if program.rests:
        body.append(_counted(program))
    body += code(program.reset)
    for n in states:
        body.append(f"row_{n}[u] = _{out_of(n)}")
        if n in keeping.states:
            body.append(f"to_{n}[u] = _{next_of(n) if keeping.after else out_of(n)}")
    source = _loop("forward", arguments, names, "range(first_step, last_step)", rows, body)
    if recurrent is not None:
        source = f"from bregma.dynamics.engines._event_kernels import add_rows\n\n{source}"
    return Kernel(load(source, dtype, "scan").forward, tuple(arguments))


def _fired(program: ScanProgram, may: str) -> list[str]:
    condition = f"_{DISTANCE} > F(0.0)"
    if program.rests:
        condition = f"({condition}) & ({may})"
    return [f"_{FIRED} = {_SPIKE_OR_NOT.format(condition)}"]


def _counted(program: ScanProgram) -> str:
    one, zero, fired = "np.int32(1)", "np.int32(0)", f"_{FIRED} > F(0.0)"
    if program.step.refractory_while is None:
        return f"row_left[u] = rest if {fired} else (count - {one} if count > 0 else {zero})"
    stays = f"(count > 0) & (_{STAYS} > F(0.5))"
    return f"row_left[u] = {one} if {fired} else ({one} if {stays} else {zero})"


@lru_cache(maxsize=256)
def reverse_kernel(
    program: ScanProgram,
    per_unit: frozenset[str],
    wanted: frozenset[str],
    given: frozenset[str],
    dtype: str,
    after: bool,
) -> Kernel:
    """Loop back over time from derivatives by outputs to those by inputs, constants and the start.

    ``kept_<variable>`` is as the loop forward has filled it, `after` the advance or before.
    ``bar_<variable>`` (batch, unit) holds the derivatives by the variables after the last step, and
    in the end by those before the first. ``given`` names outputs whose derivatives ``given_<name>``
    (time, batch, unit) come in, with all steps or the one that is taken; those by inputs fill
    ``grad_<input>``; those by constants are added to ``sum_<constant>`` (batch, unit), to be summed
    outside.
    """
    step = program.step
    wanted_inputs = [n for n in program.inputs if n in wanted]
    wanted_constants = [n for n in program.constants if n in wanted]
    found = backwards(program, [*wanted_inputs, *wanted_constants], given, after)
    live = found.live
    kept = {next_of(n) if after else n: n for n in step.states}
    names = _Names(program, per_unit, live, kept)
    arguments, rows, body = names.arguments, [], []
    if RESTING in live or (FIRED in live and program.rests):
        arguments.append("rested")
        rows.append("row_rested = rested[k, b, first_unit:last_unit]")
        body.append(f"_{RESTING} = {_SPIKE_OR_NOT.format('row_rested[u] != 0')}")
    body += code(found.advance)
    body += _fired(program, f"_{RESTING} < F(0.5)") if FIRED in live else []
    body += code(found.reset)
    for n in sorted(given):
        arguments.append(f"given_{n}")
        rows.append(f"row_given_{n} = given_{n}[k % len(given_{n}), b, first_unit:last_unit]")
    for n in step.states:
        arguments.append(f"bar_{n}")
        rows.append(f"row_bar_{n} = bar_{n}[b, first_unit:last_unit]")
        more = f" + row_given_{n}[u]" if n in given else ""
        body.append(f"_{adjoint_of(out_of(n))} = row_bar_{n}[u]{more}")
    if "spikes" in given:
        body.append(f"_{BAR_OF_SPIKE} = row_given_spikes[u]")
    body += code(found.back)
    for n in wanted_inputs:
        arguments.append(f"grad_{n}")
        rows.append(f"row_grad_{n} = grad_{n}[k, b, first_unit:last_unit]")
        body.append(f"row_grad_{n}[u] = _{gradient_of(n)}")
    for n in wanted_constants:
        arguments.append(f"sum_{n}")
        rows.append(f"row_sum_{n} = sum_{n}[b, first_unit:last_unit]")
        body.append(f"row_sum_{n}[u] += _{gradient_of(n)}")
    body += [f"row_bar_{n}[u] = _{gradient_of(n)}" for n in step.states]
    source = _loop(
        "reverse", arguments, names, "range(last_step - 1, first_step - 1, -1)", rows, body
    )
    return Kernel(load(source, dtype, "scan").reverse, tuple(arguments))
