"""Surrogate gradients: what stands for the derivative of a spike, as a function of the distance."""

from __future__ import annotations

import re

import sympy

from bregma.dynamics.language._equations import with_units
from bregma.dynamics.language._grammar import Place, names_of, parse_expression, symbol
from bregma.errors import InvalidArgument, UnknownName

# name -> (default of its one number k, derivative in terms of the distance x)
SURROGATES = {
    "atan": (2.0, "k/2/(1 + (pi/2*k*x)**2)"),
    "fast_sigmoid": (25.0, "1/(1 + k*abs(x))**2"),
    "sigmoid": (4.0, "k*sigmoid(k*x)*(1 - sigmoid(k*x))"),
    "gaussian": (0.5, "exp(-(x/k)**2/2)/(k*sqrt(2*pi))"),
    "triangle": (1.0, "k*max(0, 1 - k*abs(x))"),
}


def surrogate_of(text: str, distance: sympy.Expr) -> sympy.Expr:
    """Derivative of a spike that is written as text.

    Parameters
    ----------
    text : str
        ``"atan"``, ``"fast_sigmoid(25)"`` or another name of `SURROGATES` with its number, or an
        expression of the distance ``x``, such as ``"1/(1 + abs(x/mV))**2"``.
    distance : expression
        How far the unit is above its threshold.

    Returns
    -------
    expression
        The derivative.

    Raises
    ------
    UnknownName
        A name that is no surrogate.
    InvalidArgument
        An expression of anything but x.

    References
    ----------
    Neftci, Mostafa and Zenke (2019), Surrogate gradient learning in spiking neural networks.
    """
    named = re.fullmatch(r"\s*([a-z_]+)\s*(?:\(\s*([-+.\d][-+.\deE]*)\s*\))?\s*", text)
    if named and named[1] != "x":
        if named[1] not in SURROGATES:
            raise UnknownName.of("surrogate", named[1], SURROGATES)
        default, formula = SURROGATES[named[1]]
        try:
            k = float(named[2] or default)
        except ValueError:
            k = 0.0
        if not 0 < k < float("inf"):
            raise InvalidArgument(f"the number of the surrogate {text!r} must be above 0")
        slope = parse_expression(formula, Place(formula)).xreplace(
            {symbol("k"): sympy.Float(k, 17)}
        )
    else:
        slope = with_units(parse_expression(text, Place(text)), ["x"])
        if not isinstance(slope, sympy.Expr) or names_of([slope]) - {"x"}:
            raise InvalidArgument(f"a surrogate is an expression of the distance x, not {text!r}")
    return slope.xreplace({symbol("x"): distance})
