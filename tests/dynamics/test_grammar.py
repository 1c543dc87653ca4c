"""The grammar: what is read, what is refused and where the message points; nothing is run."""

from __future__ import annotations

import math
import pathlib

import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.language._functions import FUNCTIONS
from bregma.dynamics.language._grammar import Place, parse_expression, parse_statements
from bregma.errors import BregmaError, InvalidEquation


def read(text):
    return parse_expression(text, Place(text))


def outcome(function, text):
    """What it returns, or the error of bregma that it raises."""
    try:
        return function(text)
    except BregmaError as error:
        return error


def value(text, **names):
    return float(evaluate(read(text), names))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2**3**2", 512.0),
        ("2^3^2", 512.0),
        ("-x**2", -9.0),
        ("1/2", 0.5),
        ("x - y - 1", -2.0),
        ("x/y/2", 3 / 8),
        ("exp(x) - exp(x)", 0.0),
        ("abs(-x) + sign(-y) + sign(x - x)", 2.0),
        ("min(x, y) + 10*max(x, y)", 43.0),
        ("where(x > y, 1, 2)", 2.0),
        ("where(x > y or not x > 1, 1, where(y <= 4 and x >= 3, 7, 8))", 7.0),
        ("where(1 < x < 4, 1, 0)", 1.0),
        ("clip(x, 0, 1) + clip(-x, 0, 1) + clip(x/6, 0, 1)", 1.5),
        ("relu(x) + relu(-x) + step(x) + step(0*x)", 4.0),
        ("sigmoid(x)", 1 / (1 + math.exp(-3))),
        ("exprel(x)", math.expm1(3) / 3),
        ("exprel(x - 3)", 1.0),
        ("floor(-x/2)", -2.0),
        ("sqrt(2)*sin(pi/4)", 1.0),
        ("tanh(x) + cos(y) + log(x)", math.tanh(3) + math.cos(4) + math.log(3)),
        ("sqrt(x**2) + sqrt((-x)**2)", 6.0),
        ("τ_m", 5.0),
        ("(x\n + y)", 7.0),
        ("0x10 + 1_000", 1016.0),
    ],
)
def test_what_an_expression_means(text, expected):
    assert value(text, x=3.0, y=4.0, τ_m=5.0) == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_constants_keep_all_their_digits():
    assert value("sqrt(2)") == math.sqrt(2)
    assert value("exp(-1)") == pytest.approx(math.exp(-1), rel=2e-16)
    assert value("0.1") == 0.1
    assert value("1e-300") == 1e-300


@pytest.mark.parametrize(
    ("text", "pointed_at", "reason"),
    [
        ("x/(y - y)", "x/(y - y)", "divides by zero"),
        ("a + foo(x)", "foo", "no function 'foo'"),
        ("x + exp(1, 2)", "exp(1, 2)", "takes 1 arguments, not 2"),
        ("x + exp", "exp", "is a function"),
        ("(x > 1) + 1", "x > 1", "a number is needed here"),
        ("not x", "x", "a condition is needed here"),
        ("a + x.y", "x.y", "attribute has no meaning"),
        ("a*'x'", "'x'", "constant has no meaning"),
        ("x == 1", "x == 1", "compared with"),
        ("2*3j", "3j", "constant has no meaning"),
        ("a + log(-1)", "log(-1)", "not a finite, real number"),
        ("1 + sqrt(0 - 2)", "sqrt(0 - 2)", "not a finite, real number"),
        ("1e400*x", "1e400", "not a finite, real number"),
        ("x + 10**300*10**300", "10**300", "powers above 64"),
        ("x**65", "x**65", "powers above 64"),
        ("0**x", "0**x", "not defined"),
        ("exp(x=1)", "exp(x=1)", "by name"),
        ("a + x__y", "x__y", "two in a row"),
        ("τ_m + μ.x*2", "μ.x", "attribute has no meaning"),
        ("x^2 + y.z^2", "y.z", "attribute has no meaning"),
        ("   x if y else z", "x if y else z", "ifexp has no meaning"),
        ("where(x, 1, 2)", "x", "a condition is needed"),
        ("x @ y", "x @ y", "operators are"),
        ("True", "True", "conditions are written"),
    ],
)
def test_messages_point_at_the_place(text, pointed_at, reason):
    with pytest.raises(InvalidEquation, match=".*") as caught:
        read(text)
    error = caught.value
    assert reason in error.reason
    width = str(error).splitlines()[-1].count("^")
    assert error.line[error.column : error.column + width] == pointed_at


def test_messages_point_at_the_line():
    text = "v = v_r  # after a spike; v = 2\nw = w + + * b; u += 1"
    with pytest.raises(InvalidEquation) as caught:
        parse_statements(text)
    assert caught.value.number == 2
    assert caught.value.line == text.split("\n")[1]
    assert caught.value.line[caught.value.column] == "*"


def test_long_lines_are_shown_around_the_mistake():
    text = "x + " * 300 + "foo(1)"
    with pytest.raises(InvalidEquation) as caught:
        read("(" + "x + " * 30 + "y)*(" + "x + " * 30 + "foo(1))")
    assert len(caught.value.line) <= 120
    assert caught.value.line[caught.value.column :].startswith("foo")
    with pytest.raises(InvalidEquation):
        read(text)


def test_statements():
    found = parse_statements("v = v_r; w += b  # v += 1; x = 2\n\n u -= (a +\n b); g *= 2; h /= 4")
    assert [(s.target, str(s.value), s.adds) for s in found] == [
        ("v", "v_r", False), ("w", "b + w", True), ("u", "-a - b + u", True),
        ("g", "2*g", False), ("h", "h/4", False),
    ]  # fmt: skip
    assert str(found[1].increment) == "b"


@pytest.mark.parametrize(
    "text", ["v", "1 = 2", "v + 1 = 2", "v = x > 1", "exp = 2", "v__k = 1", "if = 1", "v /= 0", "="]
)
def test_statements_that_are_none(text):
    with pytest.raises(InvalidEquation):
        parse_statements(text)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9", "((9**64)**64)**64", "((2*x)**64)**64", "((((2*x)**64)**60)**50)**60",
        "(" * 500 + "x" + ")" * 500, "-" * 5000 + "x", "exp(" * 80 + "x" + ")" * 80,
        "exp(exp(exp(exp(9.0))))", "+".join(["x"] * 5000), "*".join(["(a+b)"] * 3000),
        "(1/3)**64**64", "floor(exp(700))", "sin(1e300)*cos(10**60)", "x" * 20_000,
        " and ".join(["x > 1"] * 400), "where(x > 1, " * 60 + "1" + ", 2)" * 60,
        "1" * 5000, "0." + "1" * 5000, "x**(y**(z**(x**(y**(z**(x**2))))))",
    ],
)  # fmt: skip
def test_hard_texts_come_to_an_end(text):
    """Without limits they take hours, all the memory, or all of Python's stack."""
    assert len(str(outcome(read, text))) < 1000


def test_nothing_in_a_text_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in (
        "__import__('os').system('touch run')", "open('run', 'w')", "exec('1')", "eval('1')",
        "(lambda: open('run', 'w'))()", "[open('run', 'w') for x in (1,)]", "f'{open(1)}'",
        "x.__class__.__mro__", "exp(open('run', 'w'))",
    ):  # fmt: skip
        with pytest.raises(InvalidEquation):
            read(text)
        with pytest.raises(InvalidEquation):
            parse_statements(f"v = {text}")
    assert not list(pathlib.Path(tmp_path).iterdir())


WORDS = st.sampled_from(
    [*FUNCTIONS, "x", "y", "mV", "t", "dt", "rand", "pi", "and", "or", "not", "if", "lambda", "=",
     "1", "2.5", "1e9", "0", "64", "(", ")", ",", "+", "-", "*", "/", "**", "^", "<", ">", "<=",
     ":", ";", "\n", "#", " ", "é", "µ", "'", '"', "\\", ".", "[", "]", "{", "}", "@", "\x00",
     "\ud800"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=25).map(" ".join))


@settings(deadline=None, max_examples=80)
@given(TEXTS)
def test_texts_are_read_or_refused(text):
    """Nothing but errors of bregma comes out, and they point inside the line."""
    for function in (read, parse_statements):
        found = outcome(function, text)
        if isinstance(found, InvalidEquation):
            assert 0 <= found.column <= len(found.line)


@st.composite
def expressions(draw, depth=4):
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(["x", "y", "2", "0.5", "pi", "3"]))
    name = draw(st.sampled_from(["+", "-", "*", "/", "**", *FUNCTIONS]))
    if name not in FUNCTIONS:
        return f"({draw(expressions(depth - 1))} {name} {draw(expressions(depth - 1))})"
    n_arguments = FUNCTIONS[name][0]
    arguments = [draw(expressions(depth - 1)) for _ in range(n_arguments)]
    if name == "where":
        arguments[0] = f"{arguments[0]} < {draw(expressions(depth - 1))}"
    return f"{name}({', '.join(arguments)})"


@settings(deadline=None, max_examples=50)
@given(expressions())
@example("where(x < log(sign(x)), x, x)")
def test_well_formed_expressions_are_read(text):
    """They are refused only where they have no real value."""
    found = outcome(read, text)
    if isinstance(found, InvalidEquation):
        why = ("real", "zero", "large", "defined", "power", "deeply")
        assert any(w in found.reason for w in why)
    else:
        assert isinstance(found, sympy.Expr)
        assert not found.has(sympy.I, sympy.nan, sympy.zoo, sympy.oo)
