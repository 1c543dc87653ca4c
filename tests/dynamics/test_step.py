"""The intermediate form: constants change no values, and shared parts keep the order."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_unit import evaluate_first, simulate

from bregma.dynamics import models
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
from bregma.dynamics.language._integrate import advance, noise_of
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._step import Hoist, common_parts, step_of
from bregma.errors import InvalidArgument, InvalidEquation

ALL = [getattr(models, name) for name in models.__all__]


def numbers(names, seed=0, low=0.2, high=1.5):
    rng = np.random.default_rng(seed)
    return {n: torch.from_numpy(rng.uniform(low, high, 5)) for n in sorted(names)}


def run(program, known):
    known = dict(known)
    for a in program:
        known[a.target] = evaluate(a.value, known)
    return known


@pytest.mark.parametrize("model", ALL, ids=lambda m: m.__name__)
def test_constants_and_shared_parts_change_no_values(model):
    """The step with its names against the step written out, at five states."""
    n = model()
    dt = 1e-4
    step = step_of(n)
    made = advance(n.rates, n.amplitudes, varying=step.inputs, held=n.held, method=n.method)
    rng = np.random.default_rng(0)
    states = {}
    for name in n.states:
        v = float(evaluate_first(n, name))
        around = v + 0.1 * (abs(v) + 1e-3) * rng.uniform(-1, 1, 5)
        states[name] = torch.from_numpy(around)
    states |= numbers(map(noise_of, step.noises)) | numbers(step.inputs, low=0, high=0.01)
    parameters = {k: torch.as_tensor(v, dtype=torch.float64) for k, v in n.values.items()}
    plain = dict(parameters) | {"dt": torch.tensor(dt, dtype=torch.float64)}
    linear = made.linear
    if linear.states:  # the exponential of the matrix, once more
        a = np.array(
            [
                [float(evaluate(e, plain)) for e in linear.matrix.row(i)]
                for i in range(linear.matrix.rows)
            ]
        )
        m = len(a)
        block = np.block([[a, np.eye(m)], [np.zeros((m, 2 * m))]]) * dt
        whole = scipy.linalg.expm(block)
        for i, to in enumerate(linear.states):
            for j, source in enumerate(linear.states):
                plain[linear.propagator(to, source)] = torch.tensor(whole[i, j])
                plain[linear.integral(to, source)] = torch.tensor(whole[i, m + j])
    expected = run(made.program, plain | states)
    for program in (step.advance, common_parts(step.advance)):
        found = run(program, {**prepare(step.constants, parameters, dt), **states})
        for s in n.states:
            np.testing.assert_allclose(
                found[f"{s}__next"], expected[f"{s}__next"] + torch.zeros(5), rtol=1e-9, atol=1e-15
            )


@pytest.mark.parametrize("model", ALL, ids=lambda m: m.__name__)
def test_steps_know_all_their_names(model):
    step = step_of(model())
    known = {*step.states, *step.inputs, *map(noise_of, step.noises), *step.constants.names}
    for a in step.advance:
        assert names_of([a.value]) <= known
        known.add(a.target)
    rest = [*(a.value for a in step.reset), *step.expressions.values()]
    assert names_of([*rest, step.distance, step.refractory_while]) <= known
    assert {f"{s}__next" for s in step.states} <= known


def test_names_without_a_value_are_pointed_at():
    n = Neuron("# I is an input\ndv/dt = (E - v + I)/tau", params={"tau": 1.0})
    with pytest.raises(InvalidEquation, match=r"undefined: E, I\)") as caught:
        step_of(n)
    assert caught.value.number == 2
    assert caught.value.line[caught.value.column] == "E"
    with pytest.raises(InvalidEquation) as caught:
        step_of(n, ["E"])
    assert caught.value.line[caught.value.column :].startswith("I)")
    assert step_of(n, ["I", "E"]).inputs == ("E", "I")
    n = Neuron("dv/dt = -v", spike="v > theta", reset="v = v_r")
    with pytest.raises(InvalidEquation) as caught:
        step_of(n, ["v_r"])
    assert caught.value.line == "v > theta"


def test_what_can_be_fed():
    n = Neuron("dv/dt = -v + A + w\nw = 2*v")
    with pytest.raises(InvalidArgument, match="'v' has an equation"):
        step_of(n, ["v"])
    with pytest.raises(InvalidArgument, match="'w' has an equation"):
        step_of(n, ["w"])
    with pytest.raises(InvalidArgument, match="'A' is a unit"):
        step_of(n, ["A"])
    assert step_of(Neuron("dv/dt = -v + A\nA (input)"), ["A"]).inputs == ("A",)


def test_time_is_an_input_where_anything_uses_it():
    assert step_of(Neuron("dv/dt = -v + t")).inputs == ("t",)
    assert step_of(Neuron("dv/dt = -v", spike="v > 1", reset="v = t")).inputs == ("t",)
    assert step_of(Neuron("dv/dt = -v", spike="v > t")).inputs == ("t",)
    assert step_of(Neuron("dv/dt = -v", spike="v > 1", refractory="v > t")).inputs == ("t",)
    assert step_of(Neuron("dv/dt = -v")).inputs == ()
    r = simulate(Neuron("dv/dt = t"), 1.0, 0.1)
    assert r["v"][-1, 0] == pytest.approx(0.45)  # the time at the beginning of a step


def test_resets_run_in_order_on_new_values():
    n = Neuron("dv/dt = 10\ndw/dt = 0", spike="v > 0.95", reset="w += v; v = w; v *= 2; w = v")
    r = simulate(n, 0.1, 0.1)
    assert r["w"][0, 0] == r["v"][0, 0] == pytest.approx(2.0)


def test_a_distance_in_either_direction():
    for text in ("x > 1", "1 < x", "x >= 1", "2*x - 1 > 1"):
        r = simulate(Neuron("dx/dt = 1", spike=text, reset="x = 0"), 1.2, 0.1)
        assert len(r.spikes[0]) == 1
    r = simulate(Neuron("dx/dt = -1", spike="x < -0.55", reset="x = 0"), 1.0, 0.1)
    assert len(r.spikes[0]) == 1


def test_shared_parts_keep_the_order():
    text = "a = exp(x*y) + 1; b = exp(x*y)*a; c = where(exp(x*y) > a, sin(x*y), b) + sin(x*y)"
    program = parse_statements(text)
    found = common_parts(program)
    assert len(found) > 3
    known = {"x", "y"}
    for a in found:
        assert names_of([a.value]) <= known
        known.add(a.target)
    values = numbers(["x", "y"])
    for name in "abc":
        torch.testing.assert_close(run(found, values)[name], run(program, values)[name])


def test_surrogates_stay_whole():
    x = symbol("x")
    surrogate = parse_expression("exp(-y*y)", Place(""))
    e = spike(x * symbol("y") - 1, surrogate) + x * symbol("y")
    found = common_parts([Assignment("s", e, Place("")), Assignment("r", surrogate + 1, Place(""))])
    kept = [s for a in found if hasattr(a.value, "atoms") for s in a.value.atoms(spike)]
    assert [s.args[1] for s in kept] == [surrogate]


@pytest.mark.parametrize("text", ["a = x; a = 2*a", "b = a; a = 1", "a = b; c = a; b = 2"])
def test_names_that_change_within_a_program(text):
    with pytest.raises(ValueError, match="changes within the program"):
        common_parts(parse_statements(text))


ATOMS = st.sampled_from(["x", "y", "k", "m", "2", "0.5", "dt"])
FORMS = ["exp(-({})**2)", "tanh({})", "sigmoid({})", "abs({})", "sqrt(1 + ({})**2)"]
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda e: st.one_of(
        st.tuples(e, st.sampled_from("+-*/"), e).map(" ".join).map("({})".format),
        st.tuples(st.sampled_from(FORMS), e)
        .map(lambda p: p[0].format(p[1])),
        st.tuples(e, e, e).map(lambda p: f"where({p[0]} > {p[1]}, {p[2]}, {p[0]})"),
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=80)
@given(EXPRESSIONS)
def test_naming_constants_changes_nothing(text):
    try:
        e = parse_expression(text, Place(text))
    except InvalidEquation:
        return
    hoist = Hoist({"x", "y"})
    named = hoist.expression(e)
    assert not names_of(hoist.found.values()) & {"x", "y"}
    assert names_of([named]) <= {"x", "y", *hoist.found}
    values = numbers(["x", "y", "k", "m", "dt"])
    constants = {n: evaluate(c, values) for n, c in hoist.found.items()}
    found = evaluate(named, values | constants) + torch.zeros(5)
    torch.testing.assert_close(found, evaluate(e, values) + torch.zeros(5), equal_nan=True)
