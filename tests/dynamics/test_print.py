"""Printed code computes what `evaluate` computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_unit import NUMPY, numpy_exprel

from bregma.dynamics import models
from bregma.dynamics.engines._compile import load
from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.language._functions import spike
from bregma.dynamics.language._grammar import Place, names_of, parse_expression, symbol
from bregma.dynamics.language._print import NUMBA, write, write_program
from bregma.dynamics.language._step import common_parts, step_of
from bregma.errors import InvalidEquation

TEXTS = [
    "x - y*z", "-x*y", "-2*x/3", "x/y/z", "x/(y*z)*2", "1/x", "1/x**2", "-1/(x*y)", "(x + y)**2",
    "x**3", "x**4/y**3", "x**5", "x**-5", "x**0.3", "x**y", "2**x", "sqrt(x*y)", "1/sqrt(x + 1)",
    "exp(-x)*log(y)", "sin(x) + cos(y)", "tanh(x*3)", "floor(5*x)", "exprel(x - y)", "exprel(0*x)",
    "sigmoid(4*x - 2)", "abs(x - y)", "sign(x - y) + sign(y - x)", "sqrt((x - y)**2)",
    "relu(x - y)", "where(x > y, x, where(y >= z, y, -z))", "where(x > y and not (y > z), 1, 0)",
    "where(x < y or y <= z or x > 2, 1, 0)", "clip(3*x, 0.5, 1)", "min(x, y)*max(y, z)", "pi*x",
    "sqrt(2)*x", "x*1e-12 + y*1e12", "where(1 > 0, x, y)", "(1 + (1 + (1 + x**2)**2)**2)**2",
]  # fmt: skip


def numbers(dtype=np.float64):
    rng = np.random.default_rng(3)
    return {n: rng.uniform(0.1, 1.5, 50).astype(dtype) for n in "xyz"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numba_computes_what_evaluate_does(dtype):
    """All texts in one compiled function."""
    expressions = [parse_expression(t, Place(t)) for t in TEXTS]
    values = numbers(dtype)
    lines = "\n".join(f"        out[{i}, k] = {write(e, NUMBA)}" for i, e in enumerate(expressions))
    source = "@kernel\ndef f(xs, ys, zs, out):\n    for k in range(len(xs)):\n"
    source += f"        x, y, z = xs[k], ys[k], zs[k]\n{lines}\n"
    out = np.empty((len(TEXTS), 50), dtype)
    load(source, dtype, "test_print").f(*values.values(), out)
    tensors = {n: torch.from_numpy(v) for n, v in values.items()}
    tolerance = 2e-15 if dtype == "float64" else 2e-6
    for text, e, row in zip(TEXTS, expressions, out, strict=True):
        expected = evaluate(e, tensors) + torch.zeros(50, dtype=tensors["x"].dtype)
        np.testing.assert_allclose(row, expected, rtol=tolerance, atol=tolerance, err_msg=text)


FORMS = ["exp(-({})**2)", "tanh({})", "sin({})", "sigmoid({})", "exprel({}/9)", "abs({})",
         "sqrt(1 + ({})**2)", "log(2 + ({})**2)", "1/(1 + ({})**2)", "({})**3/9"]  # fmt: skip
EXPRESSIONS = st.recursive(
    st.sampled_from(["x", "y", "z", "2", "0.5", "3e5"]),
    lambda e: st.one_of(
        st.tuples(e, st.sampled_from("+-*/"), e).map(" ".join).map("({})".format),
        st.tuples(st.sampled_from(FORMS), e).map(lambda p: p[0].format(p[1])),
        st.tuples(e, e, e).map(lambda p: f"where({p[0]} > {p[1]} or {p[1]} > 1, {p[2]}, {p[0]})"),
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=120)
@given(EXPRESSIONS)
def test_random_expressions(text):
    try:
        e = parse_expression(text, Place(text))
    except InvalidEquation:
        return
    values = numbers()
    with np.errstate(all="ignore"):
        found = eval(write(e, NUMPY), {"np": np, "exprel": numpy_exprel, **values})
    expected = evaluate(e, {n: torch.from_numpy(v) for n, v in values.items()})
    expected = np.asarray(expected) + np.zeros(50)
    np.testing.assert_allclose(found + np.zeros(50), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", models.__all__)
def test_every_model_can_be_printed(name):
    """Literals keep their precision: each number in the code stands in F( )."""
    step = step_of(getattr(models, name)())
    code = "\n".join(write_program(common_parts(step.advance), NUMBA))
    for piece in code.replace("F(", "\0").split("\0")[1:]:
        number = piece.split(")")[0]
        assert np.isfinite(float(number))
    outside = "".join(p.partition(")")[2] for p in code.replace("F(", "\0").split("\0"))
    assert "." not in outside
    compile(code, name, "exec")


def test_literals_keep_all_their_digits():
    assert write(parse_expression("0.1", Place("")), NUMBA) == "F(0.1)"
    assert write(parse_expression("1/3", Place("")), NUMBA) == f"F({1 / 3!r})"
    assert write(parse_expression("pi", Place("")), NUMBA) == f"F({np.pi!r})"


def test_division_is_printed_once():
    assert write(parse_expression("x/(y*z)", Place("")), NUMBA).count("/") == 1


def test_a_spike_is_a_comparison():
    code = write(spike(symbol("d"), symbol("surrogate")), NUMBA)
    assert "surrogate" not in code
    assert code == "(F(1.0) if d > F(0.0) else F(0.0))"
    assert names_of([symbol("d")]) == {"d"}
