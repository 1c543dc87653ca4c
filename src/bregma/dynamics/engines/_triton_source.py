"""The launches that make up a step of a network on a GPU, and the source of their kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any

import numpy as np
import torch

from bregma.dynamics.engines import _triton_kernels as kernels
from bregma.dynamics.engines import _triton_population as population
from bregma.dynamics.engines import _triton_synapse as synapse
from bregma.dynamics.engines._cpu_part import Part
from bregma.dynamics.engines._cpu_synapse import argument_of
from bregma.dynamics.engines._triton_arrays import Fixed, Run
from bregma.dynamics.engines._triton_print import load
from bregma.dynamics.network._hold import FREE, SPIKES
from bregma.dynamics.network._network import Poisson, Spikes
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._plan_parts import Statement
from bregma.dynamics.network._state import Probe

MOST_UNITS, MOST_SYNAPSES = 1024, 256  # elements that a program of the grid takes at a time
MOST_PROGRAMS = 1024  # that share the spikes of a step

Action = Callable[[Run], None]


def block_for(n: int, most: int) -> int:
    """Elements that a program takes: a power of two."""
    return min(most, max(16, 1 << (n - 1).bit_length()))


@dataclass(frozen=True)
class Launch:
    """A generated kernel and its launch; where n is text, it is the room of that population."""

    part: Part
    n: int | str
    grid: tuple[int, ...]
    block: int


class Source:
    """Actions of a step in their order, and of each probe."""

    def __init__(self, plan: Plan, fixed: Fixed, probes: Sequence[Probe]) -> None:
        self.plan, self.fixed = plan, fixed
        self._names: dict[str, str] = {}
        made: list[Launch | Action] = []
        made += self._sums()
        made += self._variables()
        made += self._populations()
        made += self._events()
        looks = [self._look(n, probe) for n, probe in enumerate(probes)]
        module = load(self._text, str(plan.dtype), "gpu_network")
        self.step = [self._action(x, module) for x in made]
        self.holds = [
            _hold(j, f"p{self._number(h.population)}_{h.variable}", len(h.units))
            for j, h in enumerate(plan.holds)
            if h.variable != SPIKES
        ]
        self.step += [_tick, *self.holds]
        self.looks = [[self._action(x, module) for x in look] for look in looks]

    @property
    def _text(self) -> str:
        return "\n\n".join(f"@kernel__\ndef {name}{text}" for text, name in self._names.items())

    def _elements(self, part: Part, n: int) -> list[Launch | Action]:
        """A kernel over units or synapses."""
        block = block_for(n, MOST_UNITS)
        return [Launch(part, n, (-(-n // block),), block)] if n else []

    def _action(self, x: Launch | Action, module: Any) -> Action:
        if not isinstance(x, Launch):
            return x
        kernel = getattr(module, self._names[_text_of(x.part)])

        def act(run: Run) -> None:
            n = run.room[x.n] if isinstance(x.n, str) else x.n
            tensors = [run.tensor(name) for name in x.part.parameters.values()]
            kernel[x.grid](*tensors, n, BLOCK__=x.block, enable_fp_fusion=False)

        return act

    def _known(self, part: Part) -> Part:
        self._names.setdefault(_text_of(part), f"part_{len(self._names)}")
        return part

    # The parts of a step, in order

    def _sums(self) -> list[Launch | Action]:
        found: list[Launch | Action] = []
        for j, q in enumerate(self.plan.projections):
            for name in q.sums if len(q.targets) else ():
                part = self._known(synapse.sum_part(self.plan, j, name))
                found += self._elements(part, self.plan.population(q.post).size)
        return found

    def _variables(self) -> list[Launch | Action]:
        """Of projections: those of synapses first, which may read those of units."""
        found: list[Launch | Action] = []
        for j, q in enumerate(self.plan.projections):
            sizes = {"synapse": len(q.targets)}
            sizes |= {n: self.plan.population(getattr(q, n)).size for n in ("pre", "post")}
            for place, size in sizes.items():
                if place in q.advance:
                    part = self._known(synapse.advance_part(self.plan, j, place))
                    found += self._elements(part, size)
        return found

    def _number(self, name: str) -> int:
        return [p.name for p in self.plan.populations].index(name)

    def _given(self, i: int, name: str) -> list[Launch | Action]:
        """Who is to spike, and who is not."""
        found: list[Launch | Action] = [_fill(f"p{i}__given", FREE)]
        for j, h in enumerate(self.plan.holds):
            if (h.population, h.variable) == (name, SPIKES):
                found.append(_hold(j, f"p{i}__given", len(h.units)))
        return found

    def _populations(self) -> list[Launch | Action]:
        found: list[Launch | Action] = []
        for i, p in enumerate(self.plan.populations):
            holds = self.plan.holds_spikes(p.name) and not isinstance(p.source, Spikes)
            found += self._given(i, p.name) if holds else []
            if p.step is not None:
                found += self._elements(self._known(population.advance_part(self.plan, i)), p.size)
            elif isinstance(p.source, Poisson):
                found.append(_fires(i, p.size))
                found += [_impose(i, p.size)] if holds else []
            else:
                continue  # the list of given spikes is written beforehand
            if p.spikes:
                found.append(_collect(i, p.name, p.size))
        return found

    def _events(self) -> list[Launch | Action]:
        found: list[Launch | Action] = []
        for side in ("pre", "post"):
            for j, q in enumerate(self.plan.projections):
                statements = q.on_pre if side == "pre" else q.on_post
                for group in synapse.groups(self.plan, j, statements):
                    found += self._group(j, group, side)
        return found

    def _group(self, j: int, group: Sequence[Statement], side: str) -> list[Launch | Action]:
        q = self.plan.projections[j]
        source = self.plan.population(q.pre if side == "pre" else q.post)
        if group[0].kind == "unit":
            block = block_for(source.size, MOST_UNITS)
            part = self._known(synapse.units_part(self.plan, j, group, side))
            n_programs = min(MOST_PROGRAMS, -(-source.size // block))
            return [Launch(part, source.name, (n_programs,), block)]
        if not len(q.targets):
            return []
        ends = self.fixed.values[f"q{j}__{'indptr' if side == 'pre' else 'incoming'}"]
        block = block_for(int(np.diff(ends).max()), MOST_SYNAPSES)
        delays = len(self.fixed.values[f"q{j}__delays"]) if side == "pre" else 1
        grid = (min(MOST_PROGRAMS, -(-source.size // 32)), delays)
        unknown = [
            i
            for i, s in enumerate(group)
            if s.kind == "add" and self.fixed.values[synapse.bound_of(self.plan, j, side, s)][0] < 0
        ]
        found: list[Launch | Action] = []
        if unknown:
            bounds = dict.fromkeys(synapse.bound_of(self.plan, j, side, group[i]) for i in unknown)
            found += [_fill(name, 0, 1) for name in bounds]  # look anew for the largest terms
            part = self._known(synapse.rows_part(self.plan, j, group, side, unknown))
            found.append(Launch(part, source.name, grid, block))
        part = self._known(synapse.rows_part(self.plan, j, group, side))
        found.append(Launch(part, source.name, grid, block))
        for target in dict.fromkeys(s.target for s in synapse.adds(group)):
            s = next(s for s in group if s.target == target)
            owner = self.plan.population(q.pre if target.startswith("pre_") else q.post)
            names = (
                argument_of(self.plan, j, target),
                synapse.sums_of(self.plan, j, s),
                synapse.bound_of(self.plan, j, side, s),
            )
            found.append(_settle(names, owner.size))
        return found

    def _look(self, n: int, probe: Probe) -> list[Launch | Action]:
        """Copy a row of values, computed before where they are those of an expression."""
        name, found = f"w{n}__values", []
        for i, p in enumerate(self.plan.populations):
            if p.name == probe.owner:
                assert p.step is not None
                if probe.variable in p.step.states:
                    name = f"p{i}_{probe.variable}"
                else:
                    part = population.look_part(self.plan, i, probe.variable, name)
                    found = [*self._sums(), *self._elements(self._known(part), p.size)]
        for j, q in enumerate(self.plan.projections):
            if q.name == probe.owner:
                name = f"q{j}_{probe.variable}"
        return [*found, _write_down(n, name)]


def _text_of(part: Part) -> str:
    head = f"({', '.join([*part.parameters, 'n__'])}, BLOCK__: constexpr):"
    return f"{head}\n{indent(part.body, '    ')}\n"


def _fires(i: int, size: int) -> Action:
    block = block_for(size, MOST_UNITS)
    names = ("mask", "counts", "chance", "frame", "frames", "key", "base")

    def act(run: Run) -> None:
        tensors = [run.tensor(f"p{i}__{n}") for n in names]
        kernels.fires[(-(-size // block),)](*tensors, run.tensor("clock"), size, BLOCK=block)

    return act


def _impose(i: int, size: int) -> Action:
    block = block_for(size, MOST_UNITS)

    def act(run: Run) -> None:
        tensors = [run.tensor(f"p{i}__{n}") for n in ("mask", "counts", "given")]
        kernels.impose[(-(-size // block),)](*tensors, size, BLOCK=block)

    return act


def _hold(j: int, target: str, n_units: int) -> Action:
    """Set what is held, at the units that it is held in."""
    block = block_for(n_units, MOST_UNITS)
    names = ("units", "values", "first", "last", "frame", "frames")

    def act(run: Run) -> None:
        tensors = [run.tensor(target), *(run.tensor(f"h{j}__{n}") for n in names)]
        kernels.hold[(-(-n_units // block),)](*tensors, run.tensor("clock"), n_units, BLOCK=block)

    return act


def _collect(i: int, name: str, size: int) -> Action:
    block = block_for(size, MOST_UNITS)
    n_blocks = -(-size // block)
    blocks = block_for(n_blocks, 1 << 20)

    def act(run: Run) -> None:
        tensors = [run.tensor(f"p{i}__{n}") for n in ("mask", "counts", "first", "units")]
        tensors += [run.tensor("clock"), run.tensor(f"p{i}__longest")]
        kernels.collect[(n_blocks,)](*tensors, run.room[name], size, BLOCK=block, BLOCKS=blocks)

    return act


def _settle(names: Sequence[str], size: int) -> Action:
    block = block_for(size, MOST_UNITS)

    def act(run: Run) -> None:
        tensors = [run.tensor(n) for n in names]
        kernels.settle[(-(-size // block),)](*tensors, size, BLOCK=block, enable_fp_fusion=False)

    return act


def _fill(name: str, value: int, first: int | None = None) -> Action:
    """Fill a tensor, or its first elements."""

    def act(run: Run) -> None:
        run.tensor(name)[:first].fill_(value)

    return act


def _tick(run: Run) -> None:
    run.tensor("clock").add_(1)


def _write_down(n: int, name: str) -> Action:
    """Copy the values that a probe asks for."""

    def act(run: Run) -> None:
        out = run.tensor(f"w{n}__out")
        row = run.rows_written[n]
        run.rows_written[n] += 1
        torch.index_select(run.tensor(name), 0, run.tensor(f"w{n}__which"), out=out[row])

    return act
