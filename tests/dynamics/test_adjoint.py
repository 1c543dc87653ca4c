"""Symbolic reverse mode against autograd of `evaluate` and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.dynamics import models
from bregma.dynamics.language._adjoint import adjoint, adjoint_of
from bregma.dynamics.language._evaluate import evaluate, prepare
from bregma.dynamics.language._functions import spike
from bregma.dynamics.language._grammar import (
    Assignment,
    Place,
    names_of,
    parse_expression,
    parse_statements,
    symbol,
)
from bregma.dynamics.language._step import common_parts, step_of
from bregma.dynamics.language._surrogate import SURROGATES, surrogate_of
from bregma.errors import InvalidEquation


def run(program, known):
    known = dict(known)
    for a in program:
        known[a.target] = evaluate(a.value, known)
    return known


def both(program, inputs, outputs, seeds):
    """Gradients by the adjoint program and by autograd."""
    leaves = {n: v.clone().requires_grad_() for n, v in inputs.items()}
    values = run(program, leaves)
    loss = sum((seeds[n] * values[n]).sum() for n in outputs)
    theirs = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    plain = run(program, inputs) | {adjoint_of(n): seeds[n] for n in outputs}
    reverse = common_parts(adjoint(program, outputs, list(inputs)), prefix="r")
    mine = run(reverse, plain)
    zero = torch.zeros_like(next(iter(inputs.values())))
    return (
        [torch.as_tensor(mine[f"{n}__grad"]) + zero for n in inputs],
        [zero if g is None else g for g in theirs],
    )


ATOMS = st.sampled_from(["x", "y", "z", "2", "0.5"])
FORMS = [
    "exp(-({})**2)",
    "tanh({})",
    "sin({})",
    "sigmoid({})",
    "exprel({}/9)",
    "abs({})",
    "floor({})",
    "relu({})",
    "sqrt(1 + ({})**2)",
    "log(2 + ({})**2)",
    "1/(1 + ({})**2)",
    "({})**3/9",
]
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda e: st.one_of(
        st.tuples(e, st.sampled_from("+-*"), e).map(" ".join).map("({})".format),
        st.tuples(st.sampled_from(FORMS), e).map(lambda p: p[0].format(p[1])),
        st.tuples(e, e, e).map(lambda p: f"where({p[0]} > {p[1]}, {p[2]}, {p[0]})"),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS)
def test_random_programs_against_autograd(a, b, c):
    try:
        program = parse_statements(f"p = {a}; q = {b} + p*x; r = {c} + q*p")
    except InvalidEquation:
        return
    rng = np.random.default_rng(1)
    inputs = {n: torch.from_numpy(rng.uniform(0.2, 1.3, 6)) for n in "xyz"}
    seeds = {n: torch.from_numpy(rng.normal(size=6)) for n in "pr"}
    mine, theirs = both(program, inputs, ["p", "r"], seeds)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


SMOOTH = [
    "hodgkin_huxley",
    "traub_miles",
    "pinsky_rinzel",
    "wilson_cowan",
    "adex",
    "lif_conductance",
]


@pytest.mark.parametrize("name", SMOOTH)
def test_steps_of_models_against_finite_differences(name):
    n = getattr(models, name)()
    step = step_of(n)
    known = {**prepare(step.constants, n.values, 1e-5)}
    known |= {k: torch.tensor([0.0], dtype=torch.float64) for k in step.inputs}
    rng = np.random.default_rng(0)
    size = {s: 0.05 if s.startswith("v") else 1e-8 if s[:2] == "g_" else 1e-10 if s == "w" else 0.5
            for s in n.states}  # fmt: skip
    states = {
        s: torch.tensor([-0.06 if s.startswith("v") else 0.3 * size[s]]).double() for s in n.states
    }
    program = common_parts(step.advance)
    outputs = [f"{s}__next" for s in n.states]
    weights = {f"{s}__next": rng.normal() / size[s] for s in n.states}

    def loss(states):
        values = run(program, known | states)
        return sum(float(weights[o] * values[o]) for o in outputs)

    seeds = {adjoint_of(o): torch.tensor([w]) for o, w in weights.items()}
    reverse = adjoint(program, outputs, list(n.states))
    found = run(reverse, run(program, known | states) | seeds)
    for s in n.states:
        h = 1e-6 * size[s]
        up, down = (loss({**states, s: states[s] + d}) for d in (h, -h))
        assert float(found[f"{s}__grad"]) * size[s] == pytest.approx(
            (up - down) / 2 / 1e-6, rel=2e-5, abs=2e-6
        )


def test_powers_are_differentiated_at_zero():
    """SymPy's own derivative of x**k is k x**k / x."""
    program = parse_statements("p = x**k + k**x")
    inputs = {"x": torch.tensor([0.0, 0.5]).double(), "k": torch.tensor([2.0, 3.0]).double()}
    mine, theirs = both(program, inputs, ["p"], {"p": torch.ones(2).double()})
    for a, b in zip(mine, theirs, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b)


def test_far_arguments_give_no_nan():
    program = parse_statements(
        "p = sigmoid(x) + tanh(x) + exprel(-x) + where(x > 0, sqrt(abs(x)), 0)"
    )
    inputs = {"x": torch.tensor([-400.0, -1e-12, 0.0, 400.0]).double()}
    mine, theirs = both(program, inputs, ["p"], {"p": torch.ones(4).double()})
    assert torch.isfinite(mine[0]).all()
    assert torch.isfinite(theirs[0]).all()
    torch.testing.assert_close(mine, theirs)


def test_passing_through():
    program = parse_statements("p = 2*x")
    made = adjoint(program, ["p", "y"], ["x", "y", "z"])
    known = {adjoint_of("p"): 3.0, adjoint_of("y"): 5.0, "x": 1.0, "y": 1.0}
    found = run(made, known)
    assert [float(found[f"{n}__grad"]) for n in "xyz"] == [6.0, 5.0, 0.0]


@pytest.mark.parametrize("name", [*SURROGATES, "fast_sigmoid(3)", "1/(1 + abs(x))**2"])
def test_a_spike_has_the_derivative_of_its_surrogate(name):
    distance = symbol("v") - 1
    e = spike(distance, surrogate_of(name, distance))
    program = (Assignment("s", e, Place("")),)
    inputs = {"v": torch.linspace(0.2, 1.8, 9).double() + 0.01}
    mine, theirs = both(program, inputs, ["s"], {"s": torch.ones(9).double()})
    torch.testing.assert_close(mine, theirs)
    assert run(program, inputs)["s"].tolist() == (inputs["v"] > 1).double().tolist()
    x = np.linspace(-200, 200, 2_000_001)
    slope = evaluate(surrogate_of(name, symbol("x")), {"x": torch.from_numpy(x)})
    if name in ("atan", "sigmoid", "gaussian", "triangle"):  # these are densities
        assert np.trapezoid(slope, x) == pytest.approx(1, abs=2e-3)
    assert float(slope[len(x) // 2]) == slope.max()


def test_conditions_with_names_have_no_derivative():
    program = common_parts(parse_statements("p = where(x > y, x, 0); q = where(x > y, y*p, 1)"))
    assert any(not hasattr(a.value, "is_Add") or a.value.is_Relational for a in program)
    inputs = {"x": torch.tensor([0.0, 2.0]).double(), "y": torch.tensor([1.0, 1.0]).double()}
    mine, theirs = both(program, inputs, ["q"], {"q": torch.ones(2).double()})
    torch.testing.assert_close(mine, theirs)


def test_names_are_those_asked_for():
    made = adjoint(parse_statements("p = x*y"), ["p"], ["y"])
    assert made[-1].target == "y__grad"
    assert names_of([a.value for a in made]) <= {"x", adjoint_of("p"), *(a.target for a in made)}
    assert parse_expression("1", Place("1")) == 1
