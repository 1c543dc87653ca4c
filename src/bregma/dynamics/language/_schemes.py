"""The methods of integration, each as assignments of one step."""

from __future__ import annotations

import sympy

from bregma.dynamics.language._functions import derivative, exprel
from bregma.dynamics.language._grammar import Assignment, Place, symbol
from bregma.dynamics.language._linear import Expr, Linear, Rates, coefficient

DT = symbol("dt")


def next_of(state: str) -> str:
    """Name of a variable's value at the end of a step."""
    return f"{state}__next"


def noise_of(state: str) -> str:
    """Name of the standard normal number that a variable gets at a step."""
    return f"{state}__noise"


def exact(linear: Linear, rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """x <- P x + Q r, with noise of the exact variance of an Ornstein-Uhlenbeck process."""
    zero = {symbol(s): sympy.Integer(0) for s in linear.states}
    remainder = {s: rates[s].xreplace(zero) for s in linear.states}
    found = []
    for i, sources in linear.reaches().items():
        value = sum(symbol(linear.propagator(i, j)) * symbol(j) for j in sources)
        value += sum(symbol(linear.integral(i, j)) * remainder[j] for j in sources)
        if i in amplitudes:
            n = linear.states.index(i)
            value += _noise_term(i, amplitudes[i], linear.matrix[n, n])
        found.append(_assign(i, value))
    return found


def _noise_term(state: str, amplitude: Expr, a: Expr) -> Expr:
    """Noise over a step of dx = a x dt + g dW: sd g sqrt((exp(2 a dt) - 1)/(2 a))."""
    return amplitude * sympy.sqrt(DT * exprel(2 * a * DT)) * symbol(noise_of(state))


def exponential_euler(rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """x <- x + (a x + b) dt (exp(a dt) - 1)/(a dt): exact while everything else is held."""
    found = []
    for n, rate in rates.items():
        a = coefficient(rate, n)
        value = symbol(n) + rate * DT * exprel(a * DT)
        if n in amplitudes:
            value += _noise_term(n, amplitudes[n], a)
        found.append(_assign(n, value))
    return found


def _euler(rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """x <- x + f dt + g sqrt(dt) N (Euler-Maruyama)."""
    return [_assign(n, symbol(n) + f * DT + _jump(n, amplitudes)) for n, f in rates.items()]


def _milstein(rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """Euler-Maruyama with the term g g' (N² - 1) dt/2.

    Of strong order 1 where the noise of a variable depends on that variable only.
    """
    found = []
    for n, f in rates.items():
        value = symbol(n) + f * DT + _jump(n, amplitudes)
        g = amplitudes.get(n, sympy.Integer(0))
        value += g * derivative(g, symbol(n)) * (symbol(noise_of(n)) ** 2 - 1) * DT / 2
        found.append(_assign(n, value))
    return found


def _heun(rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """x <- x + (f(x) + f(x + f dt + noise)) dt/2 + noise, of order 2 without noise."""
    slope, guess, found = {}, {}, []
    for n, f in rates.items():
        slope[n] = symbol(f"{n}__k1")
        guess[symbol(n)] = symbol(f"{n}__guess")
        found.append(Assignment(f"{n}__k1", f, Place("")))
    for n in rates:
        value = symbol(n) + slope[n] * DT + _jump(n, amplitudes)
        found.append(Assignment(f"{n}__guess", value, Place("")))
    for n, f in rates.items():
        mean = (slope[n] + f.xreplace(guess)) / 2
        found.append(_assign(n, symbol(n) + mean * DT + _jump(n, amplitudes)))
    return found


def _rk4(rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """The classical Runge-Kutta method of order 4."""
    found: list[Assignment] = []
    at: dict[Expr, Expr] = {}
    for stage, share in enumerate(
        (sympy.Rational(1, 2), sympy.Rational(1, 2), sympy.Integer(1), None), 1
    ):
        for n, f in rates.items():
            found.append(Assignment(f"{n}__k{stage}", f.xreplace(at), Place("")))
        if share is None:
            break
        at = {}
        for n in rates:
            at[symbol(n)] = symbol(f"{n}__x{stage}")
            value = symbol(n) + share * DT * symbol(f"{n}__k{stage}")
            found.append(Assignment(f"{n}__x{stage}", value, Place("")))
    for n in rates:
        k1, k2, k3, k4 = (symbol(f"{n}__k{stage}") for stage in (1, 2, 3, 4))
        found.append(_assign(n, symbol(n) + (k1 + 2 * k2 + 2 * k3 + k4) * DT / 6))
    return found


TABLEAUX = {"euler": _euler, "milstein": _milstein, "heun": _heun, "rk4": _rk4}


def _jump(state: str, amplitudes: Rates) -> Expr:
    if state not in amplitudes:
        return sympy.Integer(0)
    return amplitudes[state] * sympy.sqrt(DT) * symbol(noise_of(state))


def _assign(state: str, value: Expr) -> Assignment:
    return Assignment(next_of(state), value, Place(""))
