"""Give a projection its numbers, and its text the meaning that it has between two neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import sympy
import torch

from bregma.dynamics.connect._connect_given import FromMatrix, FromTable
from bregma.dynamics.connect._shuffle import Rewired, Shuffled
from bregma.dynamics.language import _units
from bregma.dynamics.language._equations import with_units
from bregma.dynamics.language._evaluate import evaluate, prepare
from bregma.dynamics.language._grammar import Assignment, Place, names_of, parse_expression, symbol
from bregma.dynamics.language._integrate import advance
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._step import Constants, Hoist, Program
from bregma.dynamics.language._synapse import Synapse
from bregma.dynamics.network._merge import carried
from bregma.dynamics.network._network import Network, Projection
from bregma.dynamics.network._plan_parts import Array, ProjectionPlan, Statement, sized
from bregma.dynamics.network._plan_severed import scaled, without
from bregma.dynamics.network._severed import Severed
from bregma.dynamics.randomness import _random
from bregma.errors import InvalidArgument
from bregma.run import derive

GIVEN = (FromMatrix, FromTable, Rewired, Shuffled)  # rules with numbers of their synapses


def projection_plan(
    p: Projection, network: Network, dt: float, seed: int, dtype: np.dtype
) -> ProjectionPlan:
    pre, post = network.populations[p.pre], network.populations[p.post]
    key = derive(seed, "projection", p.label)
    indptr, targets = p.rule.rows(pre.size, post.size, key, 0, pre.size)
    sources = np.repeat(np.arange(pre.size), np.diff(indptr))
    names = _Names(p, pre.neuron, post.neuron)
    p.synapse.check_units(names.dimensions)

    given = p.rule.values(0, pre.size) if isinstance(p.rule, GIVEN) else {}

    def drawn(value: Any, what: str) -> Array:
        """One number, or one for each synapse."""
        synapses = _Synapses(sources, targets, given, derive(key, what))
        return synapses.numbers(value, f"{what} of {p.label}")

    def among(change: Severed) -> Array:
        return change.among(sources, targets, (pre.size, post.size))

    synapse = scaled(p.synapse, p.severed, drawn, among)
    if synapse is not p.synapse:
        p = replace(p, synapse=synapse)
        names = _Names(p, pre.neuron, post.neuron)
    delay = np.round(drawn(p.delay, "delay") / dt).astype(np.int32)
    if (delay < 0).any():
        raise InvalidArgument(f"the delay of {p.label} must not be negative")
    if delay.ndim and len(delay) and (delay == delay[0]).all():
        delay = delay[0]
    numbers = {f"syn_{n}": drawn(v, n) for n, v in p.synapse.values.items()}
    numbers |= {n: np.asarray(v, np.float64) for n, v in names.parameters().items()}
    fixed = {n: v for n, v in numbers.items() if v.ndim}
    scalars = {n: v for n, v in numbers.items() if not v.ndim}
    sizes = {"pre": pre.size, "post": post.size, "synapse": len(targets)}
    variables = {}
    for name in names.states:
        place = p.synapse.place_of(name)
        first = drawn(p.synapse.init.get(name, 0.0), f"{name} at the beginning")
        if place != "synapse" and first.ndim:
            raise InvalidArgument(f"{name!r} of {p.label} is shared by synapses: give one number")
        variables[names.own(name)] = np.broadcast_to(first, (sizes[place],)).astype(dtype)
    if delay.ndim and any(p.synapse.place_of(n) == "pre" for n in names.states):
        raise InvalidArgument(
            f"{p.label} has delays that differ between synapses, so a variable marked (pre) has no "
            "single value for all of them; leave the mark out"
        )

    hoist = Hoist({*variables, *fixed, *names.changing})
    programs, linear = _advance(p.synapse, names, hoist)
    on_pre = _statements(p, names, p.synapse.pre_statements, "pre", hoist)
    on_post = _statements(p, names, p.synapse.post_statements, "post", hoist)
    sums = {n: hoist.expression(names.renamed(e)) for n, e in p.synapse.sums.items()}
    constants = prepare(Constants(linear, hoist.found), scalars, dt)
    whole = ProjectionPlan(
        name=p.label,
        pre=p.pre,
        post=p.post,
        indptr=indptr,
        targets=targets,
        delay=delay if delay.ndim else int(delay),
        variables=variables,
        fixed={n: v.astype(dtype) for n, v in fixed.items()},
        constants={n: v.numpy().astype(dtype) for n, v in constants.items()},
        advance=programs,
        on_pre=on_pre,
        on_post=on_post,
        sums=sums,
        carried=names.carried,
    )
    gone = np.zeros(len(targets), bool)
    for change in p.severed:
        if not change.name:
            gone |= among(change)
    return without(whole, gone)


class _Names:
    """What the names in a synapse's text mean: which array on which side."""

    def __init__(self, p: Projection, pre: Any, post: Any) -> None:
        self.synapse, self.label, self.sides = p.synapse, p.label, {"pre": pre, "post": post}
        self.carried = carried(p)
        self.states = [n for n in p.synapse.states if n not in self.carried]
        self.map: dict[str, str] = {}
        own = {*p.synapse.states, *p.synapse.values}
        for name in p.synapse.used | set(p.synapse.states):
            if name in own:
                self.map[name] = self.own(name) if name in p.synapse.states else f"syn_{name}"
                continue
            for place in ("pre", "post"):
                if name.endswith(f"_{place}") and name[: -len(place) - 1] in self._neuron(place):
                    self.map[name] = f"{place}_n_{name[: -len(place) - 1]}"
            if name not in self.map and name in self._neuron("post"):
                self.map[name] = f"post_n_{name}"

    def own(self, name: str) -> str:
        if name in self.carried:
            return f"post_n_{self.carried[name]}"
        place = self.synapse.place_of(name)
        return f"{'syn' if place == 'synapse' else place}_{name}"

    def _neuron(self, place: str) -> set[str]:
        neuron = self.sides[place]
        return (
            {*neuron.states, *neuron.values, *neuron.expressions}
            if isinstance(neuron, Neuron)
            else set()
        )

    @property
    def changing(self) -> set[str]:
        """Arrays of neurons that change."""
        found = set()
        for name in self._arrays:
            place, _, of = name.partition("_n_")
            if of not in self.sides[place].values:
                found.add(name)
        return found

    @property
    def _arrays(self) -> set[str]:
        """Arrays of neurons that the text mentions, itself or in their expressions."""
        found = set()
        for array in self.map.values():
            place, _, of = array.partition("_n_")
            if of and place in self.sides:
                inside = self.sides[place].expressions.get(of, symbol(of))
                found |= {f"{place}_n_{n}" for n in names_of([inside])}
        return found

    @property
    def dimensions(self) -> dict[str, Any]:
        found = {}
        for name, array in self.map.items():
            place, _, of = array.partition("_n_")
            if of and place in self.sides:
                found[name] = self.sides[place].dimensions.get(of)
        return found

    def parameters(self) -> dict[str, Any]:
        """Parameters of the neurons that the text mentions."""
        found = {}
        for array in self._arrays:
            place, _, of = array.partition("_n_")
            if of in self.sides[place].values:
                found[array] = self.sides[place].values[of]
        return found

    def renamed(self, expression: sympy.Expr, place: Place | None = None) -> sympy.Expr:
        """An expression in names of arrays; expressions of neurons are written out."""
        expression = with_units(expression, self.map)
        for name in sorted(names_of([expression]) - {"dt", "t"}):
            if name not in self.map and name not in self.synapse.lines:
                self._unknown(name, place)
        new = expression.xreplace({symbol(n): symbol(a) for n, a in self.map.items()})
        for side, neuron in self.sides.items():
            if isinstance(neuron, Neuron):
                arrays = {symbol(n): symbol(f"{side}_n_{n}") for n in neuron.names}
                new = new.xreplace(
                    {arrays[symbol(n)]: e.xreplace(arrays) for n, e in neuron.expressions.items()}
                )
        return new

    def scalar(self, array: str) -> bool:
        """Whether a name stands for one number, the same everywhere."""
        values = {**self.parameters(), **{f"syn_{n}": v for n, v in self.synapse.values.items()}}
        return (
            array in values and np.ndim(values[array]) == 0 and not isinstance(values[array], str)
        )

    def target(self, s: Assignment) -> str:
        if s.target not in self.map:
            self._unknown(s.target, s.place)
        return self.map[s.target]

    def _unknown(self, name: str, place: Place | None) -> None:
        there = sorted({*self.synapse.states, *self.synapse.values})
        there += [f"{n}_{side}" for side in ("pre", "post") for n in sorted(self._neuron(side))]
        reason = (
            f"{name!r} in {self.label} has no value; known here: {', '.join(there) or 'nothing'}"
        )
        text = place or Place(self.synapse.on_pre or self.synapse.on_post)
        text.fail(reason)


def _advance(synapse: Synapse, names: _Names, hoist: Hoist) -> tuple[dict[str, Program], Any]:
    """One step of the variables of a synapse, by the place where they are kept."""
    rates = {names.own(n): names.renamed(synapse.rates[n]) for n in names.states}
    rates = {n: f for n, f in rates.items() if f != 0}
    made = advance(rates, {}, varying={*names.changing}, held=(), method="auto")
    programs: dict[str, Program] = {}
    for place, prefix in (("pre", "pre_"), ("post", "post_"), ("synapse", "syn_")):
        mine = [a for a in made.program if a.target.startswith(prefix)]
        used = names_of([a.value for a in mine]) & {
            n for n in names.map.values() if not names.scalar(n)
        }
        if place != "synapse" and any(not n.startswith(prefix) for n in used):
            raise InvalidArgument(
                f"a variable of {names.label} marked ({place}) must depend on that side only"
            )
        if mine:
            programs[place] = hoist.program(mine)
    return programs, made.linear


def _statements(
    p: Projection, names: _Names, statements: tuple[Assignment, ...], side: str, hoist: Hoist
) -> tuple[Statement, ...]:
    """What each statement does: to the unit that fired, to each synapse, or to other units."""
    found = []
    arrays = {n for n in names.map.values() if not names.scalar(n)}
    added = {names.target(s) for s in statements if _adds(names.target(s), side)}
    for s in statements:
        target, value = names.target(s), names.renamed(s.value, s.place)
        if _adds(target, side):
            increment = sympy.expand(value - symbol(target))
            if not s.adds or names_of([increment]) & added:
                s.place.fail(
                    f"many synapses change {s.target!r} at once, so it can only grow (+= or -=), "
                    "by something that they do not change"
                )
            found.append(Statement("add", target, hoist.expression(increment)))
        elif target.startswith("syn_"):
            found.append(Statement("synapse", target, hoist.expression(value)))
        else:
            other = {n for n in names_of([value]) & arrays if not n.startswith(f"{side}_")}
            if other:
                s.place.fail(
                    f"{s.target!r} belongs to the unit that fired, so it cannot depend on single "
                    f"synapses or on the other side ({', '.join(sorted(other))})"
                )
            found.append(Statement("unit", target, hoist.expression(value)))
    return tuple(found)


def _adds(target: str, side: str) -> bool:
    """Whether many events may change this array at once."""
    return "_n_" in target or target.partition("_")[0] not in ("syn", side)


class _Synapses(NamedTuple):
    """Ends of synapses, numbers that came with them, and the key of those that are drawn."""

    sources: Array
    targets: Array
    given: Mapping[str, Array]
    key: int

    def numbers(self, value: Any, what: str) -> Array:
        """One number, an array of one for each synapse, or what an expression of them gives."""
        if not isinstance(value, str) or _units.is_quantity(value):
            return sized(_units.quantity(value)[0], len(self.targets), what)
        expression = with_units(parse_expression(value, Place(value)), self.given)
        draw = {"rand": (_random.uniform, 0), "randn": (_random.normal, 1)}
        known = {n: torch.from_numpy(np.array(v)) for n, v in self.given.items()}
        for name in names_of([expression]) - set(known):
            if name not in draw:
                there = ", ".join([*draw, *known])
                raise InvalidArgument(f"{what}: {name!r} in {value!r} is none of {there}")
            function, stream = draw[name]
            drawn = function(self.key, self.sources, self.targets, stream)
            known[name] = torch.from_numpy(drawn)
        return sized(evaluate(expression, known), len(self.targets), what)
