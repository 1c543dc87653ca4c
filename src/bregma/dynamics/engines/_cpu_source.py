"""Source code of a step of a network, part by part in order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from bregma.dynamics.connect._connect import FixedProbability
from bregma.dynamics.engines import _cpu_population as population
from bregma.dynamics.engines import _cpu_synapse as synapse
from bregma.dynamics.engines._cpu_drawn import names_of_drawn
from bregma.dynamics.engines._cpu_lazy import lazy_variables
from bregma.dynamics.engines._cpu_part import Part, Parts, loop
from bregma.dynamics.network._hold import SPIKES
from bregma.dynamics.network._network import Poisson
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._state import Probe


class Source:
    """Lines of the kernel, and the parts that they call."""

    head = ""

    def __init__(self, plan: Plan, probes: Sequence[Probe]) -> None:
        n = len(plan.projections)
        self.lazy = [[*lazy_variables(plan, j, probes)] for j in range(n)]
        self.plan, self.parts = plan, Parts()
        self.arguments: set[str] = set()
        self.spiking = [i for i, p in enumerate(plan.populations) if p.spikes]

    def call(self, part: Part) -> str:
        self.arguments |= {*part.parameters.values()}
        return self.parts.call(part)

    def use(self, *names: str) -> None:
        self.arguments |= {*names}

    # What several threads do otherwise, see `Together`

    def start(self) -> list[str]:
        """Lines before all others."""
        return []

    def when_read(self) -> list[str]:
        """Lines when everything has been read that populations are about to change."""
        return []

    def when_done(self) -> list[str]:
        """Lines when all variables are those at the end of a step."""
        return []

    def heard(self, i: int) -> list[str]:
        """Lines when a population has been advanced, and its spikes are in its list."""
        return [f"p{i}__first[p{i}__longest + now + 1] = p{i}__n"]

    def all_heard(self) -> list[str]:
        """Lines when all populations have been advanced."""
        return []

    def own(self, part: Part) -> Part:
        """A part that writes down spikes, or looks at those of this step."""
        return part

    def own_spikes(self, i: int) -> tuple[str, str, str]:
        """Where spikes of a population are written down; first and last one of this step."""
        return f"p{i}__units", f"p{i}__first[p{i}__longest + now]", f"p{i}__n"

    def array(self, j: int, name: str) -> str:
        """The array that a projection names."""
        return synapse.argument_of(self.plan, j, name)

    def events_of_group(self, j: int, group: list[Any], copies: list[str], call: str) -> list[str]:
        """Lines for statements that share a loop, after those that copy what they read."""
        return [*copies, call]

    def names(self, lines: Sequence[str]) -> list[str]:
        """Arguments of the kernel: everything that it does not assign itself."""
        made = {line.partition(" = ")[0].strip() for line in lines if " = " in line}
        self.use("k0", "k", "end", "dt")
        return sorted(self.arguments - (made - {"k"}))

    # The parts of a step, in order

    def room(self) -> list[str]:
        lines = []
        for i in self.spiking:
            self.use(f"p{i}__units", f"p{i}__size", f"p{i}__first", f"p{i}__longest")
            full = f"if p{i}__n + p{i}__size > p{i}__units.size:"
            lines += loop(full, ["break"])
        return lines

    def sums(self) -> list[str]:
        return [
            self.call(synapse.sum_part(self.plan, j, name))
            for j, q in enumerate(self.plan.projections)
            for name in q.sums
        ]

    def variables(self) -> list[str]:
        """Of projections: those of synapses first, which may read those of units."""
        parts = [
            synapse.advance_part(self.plan, j, place, self.lazy[j])
            for j, q in enumerate(self.plan.projections)
            for place in ("synapse", "pre", "post")
            if place in q.advance
        ]
        return [self.call(part) for part in parts if part is not None]

    def populations(self) -> list[str]:
        lines = ["t = F(k * dt)", *self.rows("k"), *self.given()]
        for i, p in enumerate(self.plan.populations):
            key = f"p{i}__key, p{i}__base"
            if p.step is None:
                lines += self.source(i, isinstance(p.source, Poisson), key)
                if self.plan.holds_spikes(p.name):
                    lines.append(self.imposed(i))
            else:
                for stream, n in enumerate(p.step.noises):
                    out = f"p{i}_{n}__noise"
                    self.use(out, f"p{i}__key", f"p{i}__base")
                    lines.append(f"kernels.normals({out}, {key}, k, {stream})")
                lines.append(self.call(population.advance_part(self.plan, i)))
                if p.spikes:
                    lines.append(self.call(self.own(population.fire_part(self.plan, i))))
            if p.spikes:
                lines += self.heard(i)
        return lines + self.all_heard()

    def source(self, i: int, at_random: bool, key: str) -> list[str]:
        """Units that spike at random, or because it is written so."""
        units, _, n = self.own_spikes(i)
        if not at_random:
            self.use(f"p{i}__planned_steps", f"p{i}__planned_units")
            arguments = f"p{i}__planned_steps, p{i}__planned_units, k, {units}, {n}"
            return [f"{n} = kernels.planned({arguments})"]
        self.use(f"p{i}__mask", f"p{i}__words", f"p{i}__chance", f"p{i}__frame")
        self.use(f"p{i}__key", f"p{i}__base")
        row = f"min(k // p{i}__frame, p{i}__chance.shape[0] - 1)"
        return [
            f"kernels.fires(p{i}__mask, p{i}__chance[{row}], {key}, k)",
            f"{n} = kernels.collect(p{i}__words, p{i}__mask, {units}, {n})",
        ]

    def rows(self, step: str) -> list[str]:
        """Values of drives at a step."""
        lines = []
        for j, d in enumerate(self.plan.drives):
            if not d.always:
                window = f"d{j}__first, d{j}__last, d{j}__frame"
                self.use(f"d{j}", *window.split(", "))
                row = f"kernels.row_of({step}, {window}, d{j}.shape[0])"
                lines.append(f"d{j}__row = d{j}[{row}]")
            elif d.values.ndim:
                self.use(f"d{j}", f"d{j}__frame")
                lines.append(f"d{j}__row = d{j}[min(({step}) // d{j}__frame, d{j}.shape[0] - 1)]")
        return lines

    def given(self) -> list[str]:
        """Who is to spike, and who is not."""
        lines = []
        for i, p in enumerate(self.plan.populations):
            if self.plan.holds_spikes(p.name):
                self.use(f"p{i}__given")
                lines.append(f"p{i}__given[:] = -1")
        return lines + self._holds({SPIKES}, "give", "k")

    def imposed(self, i: int) -> str:
        """Spikes of a source, as they are given."""
        units, first, n = self.own_spikes(i)
        arrays = f"p{i}__words, p{i}__mask, p{i}__given"
        self.use(*arrays.split(", "))
        return f"{n} = kernels.impose({arrays}, {units}, {first}, {n})"

    def holds(self, n_done: str) -> list[str]:
        """Variables that are held after some steps."""
        names = dict.fromkeys(h.variable for h in self.plan.holds)
        return self._holds({*names} - {SPIKES}, "hold", n_done)

    def _holds(self, variables: Collection[str], kernel: str, step: str) -> list[str]:
        lines = []
        for j, h in enumerate(self.plan.holds):
            if h.variable in variables:
                i = [p.name for p in self.plan.populations].index(h.population)
                target = f"p{i}__given" if h.variable == SPIKES else f"p{i}_{h.variable}"
                own = [f"h{j}__{n}" for n in ("units", "values", "first", "last", "frame")]
                self.use(target, *own)
                units, values, *window = own
                lines.append(
                    f"kernels.{kernel}({', '.join([target, units, values, step, *window])})"
                )
        return lines

    def poisson(self) -> list[str]:
        lines = []
        for j, d in enumerate(self.plan.poisson):
            i = [p.name for p in self.plan.populations].index(d.population)
            names = [
                f"p{i}_{d.variable}",
                *(f"e{j}__{n}" for n in ("numbers", "mean", "weight", "key")),
            ]
            self.use(*names, f"p{i}__base")
            lines.append(f"kernels.poisson_events({', '.join(names)}, p{i}__base, k)")
        return lines

    def events(self) -> list[str]:
        lines = []
        for side in ("pre", "post"):
            for j, q in enumerate(self.plan.projections):
                statements = q.on_pre if side == "pre" else q.on_post
                if statements:
                    lines += self.events_of(j, side, synapse.groups(self.plan, j, statements, side))
        return lines

    def events_of(self, j: int, side: str, groups: list[Any]) -> list[str]:
        """Statements at the spikes that arrive at this step."""
        q = self.plan.projections[j]
        population_name = q.pre if side == "pre" else q.post
        i = [p.name for p in self.plan.populations].index(population_name)
        spikes = f"p{i}__first[p{i}__longest + now{{}}]"
        _, first, n = self.own_spikes(i)
        lines = [f"begin = {first}", f"stop = {n}"]
        if side == "pre":
            self.use(f"q{j}__longest")
            lines = [f"begin = {spikes.format(f' - q{j}__longest')}"]
            lines += [f"stop = {spikes.format(f' - q{j}__longest + 1')}"]
            if not isinstance(q.delay, int):
                own = f"p{i}__units, q{j}__due, q{j}__place"
                self.use(*own.split(", "), f"q{j}__indptr", f"q{j}__delay")
                new = f"{spikes.format('')}, {spikes.format(' + 1')}"
                lines[1] = f"stop = {spikes.format(' + 1')}"
                lines.append(f"kernels.enter({new}, {own}, now, now, q{j}__indptr, q{j}__delay)")
        if q.drawn is not None:
            return lines + self.drawn(j, i)
        for number, group in enumerate(groups):
            copies = []
            for name in synapse.snapshots(self.plan, j, group):
                self.use(f"q{j}__before_{name}", self.array(j, name))
                copy = f"q{j}__before_{name}[:] = {self.array(j, name)}"
                copies += loop("if begin < stop:", [copy])
            last = number == len(groups) - 1
            part = synapse.events_part(self.plan, j, group, side, last, self.lazy[j])
            call = self.call(self.own(part) if side == "post" else part)
            lines += self.events_of_group(j, group, copies, call)
        return lines

    def drawn(self, j: int, i: int) -> list[str]:
        """Deliver along synapses that are drawn on the spot."""
        q, lines = self.plan.projections[j], []
        assert q.drawn is not None
        add = "add_rows" if isinstance(q.drawn.rule, FixedProbability) else "add_subsets"
        for number, s in enumerate(q.on_pre):
            own = [synapse.argument_of(self.plan, j, s.target), f"q{j}__weight{number}"]
            which = names_of_drawn(j)
            self.use(*own, f"p{i}__units", *which)
            arguments = [*own, f"p{i}__units", "begin", "stop", *which]
            lines.append(f"drawn.{add}({', '.join(arguments)})")
        return lines

    def probes(self, probes: Sequence[Probe]) -> list[str]:
        lines = []
        for n, probe in enumerate(probes):
            look, values = [], self.variable(probe)
            if values is None:
                i = [p.name for p in self.plan.populations].index(probe.owner)
                values = f"w{n}__values"
                look = ["t = F((k + 1) * dt)", *self.rows("k + 1"), *self.sums()]
                look.append(self.call(population.look_part(self.plan, i, probe.variable, values)))
            self.use(values, f"w{n}__every", f"w{n}__which", f"w{n}__out")
            row = f"(k + 1) // w{n}__every - k0 // w{n}__every - 1"
            look.append(f"kernels.write_down(w{n}__out, {row}, {values}, w{n}__which)")
            lines += loop(f"if (k + 1) % w{n}__every == 0:", look)
        return lines

    def variable(self, probe: Probe) -> str | None:
        """Array of what a probe looks at, None where it is an expression."""
        for i, p in enumerate(self.plan.populations):
            if p.name == probe.owner:
                assert p.step is not None
                return f"p{i}_{probe.variable}" if probe.variable in p.step.states else None
        j = [q.name for q in self.plan.projections].index(probe.owner)
        return f"q{j}_{probe.variable}"
