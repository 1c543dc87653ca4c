"""Lines of a model: order, circles, flags, units, and where messages point."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.dynamics.language._equations import parse_equations
from bregma.dynamics.language._neuron import FLAGS, Neuron
from bregma.errors import BregmaError, InvalidArgument, InvalidEquation


def lines(text):
    return parse_equations(text, FLAGS)


def refused(text, **options):
    with pytest.raises(InvalidEquation) as caught:
        Neuron(text, **options)
    error = caught.value
    width = str(error).splitlines()[-1].count("^")
    return error, error.line[error.column : error.column + width]


def test_lines_of_all_kinds():
    found = {
        x.name: x
        for x in lines(
            """
            dv/dt = (E - v + R*I)/tau : volt (unless refractory)  # the membrane; leaky
            I = g*(E -
                   v) : amp; g : siemens (input, shared)
            E
            dx/dt = -x/tau_x
            """
        )
    }
    assert [(n, x.kind) for n, x in found.items()] == [
        ("v", "differential"), ("g", "declared"), ("E", "declared"), ("x", "differential"),
        ("I", "expression"),
    ]  # fmt: skip
    assert found["v"].flags == {"unless refractory"}
    assert found["g"].flags == {"input", "shared"}
    assert found["x"].dimension is None
    assert str(found["I"].value) == "g*(E - v)"


def test_expressions_come_after_what_they_are_made_of():
    names = [
        x.name
        for x in lines("c = b + a\nb = 2*a\nd = c\na = x\ndx/dt = d")
        if x.kind == "expression"
    ]
    assert names.index("a") < names.index("b") < names.index("c") < names.index("d")
    n = Neuron("c = b + a\nb = 2*a\na = x\ndx/dt = c")
    assert str(n.rates["x"]) == "3*x"


@pytest.mark.parametrize("text", ["a = a", "a = b\nb = a", "a = b\nb = c + 1\nc = 2*a\ndx/dt = a"])
def test_circles(text):
    error, _ = refused(text)
    assert "in a circle: " in error.reason
    assert " -> " in error.reason


@pytest.mark.parametrize(
    ("text", "pointed_at", "reason"),
    [
        ("dv/dt = -v\n  dv/dt = v", "dv/dt = v", "defined twice"),
        ("dv/dt = -v : mv", "mv", "no unit 'mv'"),
        ("dv/dt = -v : ", ":", "a unit is expected"),
        ("dv/dt = -v : volt (unless resting)", "unless resting", "none of"),
        ("dv/dt = v > 1", " v > 1", "a number is needed"),
        ("dv/dt = -v\n t = 3", "t", "meaning of its own"),
        ("dv/dt = -v\n exp = 3", "exp", "meaning of its own"),
        ("dF/dt = 1", "F", "meaning of its own"),
        ("dv__x/dt = 1", "v__x", "two in a row"),
        ("dv/dt", "dv/dt", "missing its right side"),
        ("3 = v", "3", "a line is"),
        ("dv/dt = -v\nv + w = 3", "v + w", "a line is"),
        ("dv/dt = -v (input)", "dv/dt = -v (input)", "no meaning for 'v'"),
        ("dx/dt = 1\ny (unless refractory)", "y (unless refractory)", "no meaning for 'y'"),
        ("dv/dt = (E - v)/tau\ntau : s\nE : volt\n", None, None),
    ],
)
def test_messages_point_at_the_place(text, pointed_at, reason):
    if reason is None:
        Neuron(text)
        return
    error, place = refused(text)
    assert reason in error.reason
    assert place == pointed_at
    assert error.line == text.split("\n")[error.number - 1]


UNITS = "tau : s\nE : volt\nR : ohm\nI : amp\n"


@pytest.mark.parametrize(
    "line",
    [
        "dv/dt = (E - v + R*I)/tau : volt",
        "dv/dt = (-65*mV - v + R*0.1*nA)/(20*ms) : volt",
        "dv/dt = where(v > E, E - v, 0)/tau : volt",
        "dv/dt = E/tau*exp(-v/E)*tanh(R*I/v) : volt",
        "dv/dt = sqrt(v**2 + E**2)/tau : volt",
        "dv/dt = abs(v - E)*sign(v - E)/tau : volt",
        "dv/dt = max(v, E)/tau + clip(v, 0, E)/tau : volt",
        "dv/dt = (v/E)**2.5*E/dt*sin(2*pi*t/tau) : volt",
        "dv/dt = anything*(E - v) : volt",
        "dv/dt = 0 : volt",
    ],
)
def test_right_units(line):
    Neuron(UNITS + line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("dv/dt = E - v : volt", "must be that per time"),
        ("dv/dt = (E - v + I)/tau : volt", "I is in nA"),
        ("dv/dt = (E + 1)/tau : volt", "a plain number"),
        ("dv/dt = E/tau*exp(v) : volt", "a plain number is needed"),
        ("dv/dt = where(v > tau, E, v)/tau : volt", "in ms"),
        ("dv/dt = where(v > E, E, tau)/tau : volt", "in ms"),
        ("dv/dt = E**v/tau : volt", "a plain number is needed"),
        ("dv/dt = E/tau*sin(t) : volt", "a plain number is needed"),
        ("x = E + tau", "in ms"),
        ("x = E : amp", "in nA"),
        ("dv/dt = (E - v)/tau + max(v, tau) : volt", "in ms"),
    ],
)
def test_wrong_units(line, reason):
    error, place = refused(UNITS + line)
    assert "units do not match" in error.reason
    assert reason in error.reason
    assert place == line.split("=")[1].split(":")[0].strip()
    assert error.number == 5


def test_lines_that_explode_when_they_are_written_out():
    text = "a0 = x + sin(x)\n" + "\n".join(
        f"a{i} = a{i - 1}*(1 + sin(a{i - 1}))" for i in range(1, 60)
    )
    error, _ = refused(text + "\ndx/dt = a59")
    assert "too long" in error.reason
    error, _ = refused("\n".join(f"a{i}" for i in range(400)))
    assert "at most" in error.reason


WORDS = st.sampled_from(
    ["dv/dt", "dw/dt", "v", "w", "x", "=", "==", ":", "volt", "mV", "1", "2.5", "(", ")", "+", "-",
     "*", "/", "**", "(input)", "(shared)", "(unless refractory)", "\n", ";", "#", "exp", "where",
     "<", "and", ",", "tau", "s", "t", "dt", "'", "µ"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=25).map(" ".join))


@settings(deadline=None, max_examples=200)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_texts_are_models_or_refused(equations, spike, reset, value):
    """Nothing but errors of bregma comes out."""
    attempts = [
        {"equations": equations},
        {"equations": "dv/dt = -v : volt", "spike": spike, "reset": reset},
        {"equations": "dv/dt = (E - v)/s : volt", "params": {"E": value}, "init": {"v": value}},
        {"equations": "dv/dt = -v", "noise": {"v": value}, "spike": "v > 1", "refractory": value},
        {"equations": "dv/dt = -v", "spike": "v > 1", "surrogate": value, "method": value},
    ]
    for options in attempts:
        with suppress(BregmaError):
            assert Neuron(**options).names


def test_flags_without_a_meaning():
    with pytest.raises(InvalidArgument, match="refractory= is 0"):
        Neuron("dv/dt = -v (unless refractory)", spike="v > 1")
    with pytest.raises(InvalidArgument, match="there is no spike="):
        Neuron("dv/dt = -v (unless refractory)")


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("dv/dt = -v\nda/dt = k*(v - a) (shared)\nk", {}),
        ("da/dt = -k*a (shared)\nk", {}),
        ("da/dt = -k*a (shared)", {"params": {"k": [1.0, 2.0]}}),
        ("da/dt = -a (shared)", {"noise": {"a": "1"}}),
        ("da/dt = -a (shared)", {"spike": "a > 1", "reset": "a = 0"}),
        ("da/dt = -a (shared)", {"init": {"a": "rand"}}),
        ("da/dt = -a (shared)", {"init": {"a": [1.0, 2.0]}}),
        ("dv/dt = -v\nc = 2*v (shared)", {}),
        ("dv/dt = -v/k\nk (shared)", {"params": {"k": [1.0, 2.0]}}),
    ],
)
def test_what_is_shared_is_made_of_what_is_shared(text, options):
    with pytest.raises(InvalidArgument, match=r"\(shared\)"):
        Neuron(text, **options)


def test_shared_lines():
    Neuron(
        "da/dt = (b - a)/tau + sin(t/s) (shared)\nb = 2*a + x (shared)\n"
        "x (input, shared)\ntau (shared)",
        params={"tau": 2.0},
        init={"a": "tau/2"},
    )
