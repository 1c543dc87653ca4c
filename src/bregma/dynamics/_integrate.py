"""How a step in time is made: each method turns rates into assignments, symbolically."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import sympy

from bregma.dynamics._functions import exprel
from bregma.dynamics._grammar import Assignment, Place, names_of, symbol
from bregma.errors import InvalidArgument

DT = symbol("dt")
Expr = sympy.Expr
Rates = Mapping[str, Expr]


@dataclass(frozen=True)
class Linear:
    """Variables with x' = A x + r, where A is constant: one step is exact, x(t + dt) = P x + Q r.

    P = exp(A dt) and Q = integral of exp(A s) over s from 0 to dt are computed as numbers once
    A is known; `propagator` and `integral` name their entries.
    """

    states: tuple[str, ...] = ()
    matrix: sympy.Matrix = field(default_factory=lambda: sympy.zeros(0, 0))

    @staticmethod
    def propagator(i: str, j: str) -> str:
        """Name of the entry of P from variable j to variable i."""
        return f"P_{i}_{j}"

    @staticmethod
    def integral(i: str, j: str) -> str:
        """Name of the entry of Q from variable j to variable i."""
        return f"Q_{i}_{j}"

    def reaches(self) -> dict[str, list[str]]:
        """For each variable, the variables that act on it within a step, itself included."""
        n = len(self.states)
        path = [[i == j or self.matrix[i, j] != 0 for j in range(n)] for i in range(n)]
        for k in range(n):
            for i in range(n):
                for j in range(n):
                    path[i][j] = path[i][j] or (path[i][k] and path[k][j])
        return {self.states[i]: [self.states[j] for j in range(n) if path[i][j]] for i in range(n)}


@dataclass(frozen=True)
class Advance:
    """One step in time: assignments of ``<variable>__next``, and what is prepared for them."""

    program: tuple[Assignment, ...]
    linear: Linear
    noises: tuple[str, ...]


def next_of(state: str) -> str:
    """Name of a variable's value at the end of a step."""
    return f"{state}__next"


def noise_of(state: str) -> str:
    """Name of the standard normal number that a variable gets at a step."""
    return f"{state}__noise"


def advance(
    rates: Rates,
    amplitudes: Mapping[str, Expr],
    *,
    varying: Collection[str],
    held: Collection[str],
    method: str,
) -> Advance:
    """Make the assignments of one step.

    Parameters
    ----------
    rates : mapping
        Variable to its rate, in variables, inputs and parameters.
    amplitudes : mapping
        Variable to the amplitude of its white noise (Itô).
    varying : collection of str
        Names that change from step to step and are no variables: inputs and ``t``.
    held : collection of str
        Variables that sometimes do not move.
    method : str
        As for `Neuron`.

    Returns
    -------
    Advance
        The step.

    Raises
    ------
    InvalidArgument
        Where the method cannot be used for these equations, with the reason.
    """
    changing = {*rates, *varying}
    multiplicative = {n for n, g in amplitudes.items() if names_of([g]) & set(rates)}
    linear = Linear()
    if method in ("auto", "exact"):
        linear = _linear_part(rates, amplitudes, changing, held)
    if method == "exact" and len(linear.states) < len(rates):
        other = next(n for n in rates if n not in linear.states)
        raise InvalidArgument(
            f"method='exact' needs equations that are linear with constant coefficients, and "
            f"d{other}/dt is not (or is held, or has noise that others see); leave method out"
        )
    if multiplicative and method in ("heun", "rk4"):
        raise InvalidArgument(
            f"method={method!r} does not converge to the Itô solution where noise depends on "
            f"variables ({', '.join(sorted(multiplicative))}); use method='milstein'"
        )
    if amplitudes and method == "rk4":
        raise InvalidArgument("method='rk4' is for equations without noise; use 'heun'")
    rest = {n: f for n, f in rates.items() if n not in linear.states}
    program = _exact(linear, rates, amplitudes)
    if method in ("auto", "exponential_euler"):
        conditional = {n: f for n, f in rest.items() if _coefficient(f, n) is not None}
        if method == "exponential_euler" and len(conditional) < len(rest):
            other = next(n for n in rest if n not in conditional)
            raise InvalidArgument(
                f"method='exponential_euler' needs d{other}/dt to be linear in {other}; use 'heun'"
            )
        program += _exponential_euler(conditional, amplitudes)
        rest = {n: f for n, f in rest.items() if n not in conditional}
        # Milstein where noise depends on variables, else second order
        method = "milstein" if multiplicative & set(rest) else "heun"
    if rest:
        program += _TABLEAUX[method](rest, amplitudes)
    noises = tuple(n for n in rates if n in amplitudes)
    return Advance(tuple(program), linear, noises)


def coefficient_and_rest(rate: Expr, state: str) -> tuple[Expr, Expr] | None:
    """a and b of a rate a x + b that is linear in x; None where it is not."""
    x = symbol(state)
    if x not in rate.free_symbols:
        return sympy.Integer(0), rate
    a = sympy.diff(rate, x)
    if x in a.free_symbols and x in sympy.simplify(a).free_symbols:
        return None
    a = sympy.simplify(a) if x in a.free_symbols else a
    return a, rate.xreplace({x: sympy.Integer(0)})


def _coefficient(rate: Expr, state: str) -> Expr | None:
    found = coefficient_and_rest(rate, state)
    return None if found is None or found[0] == 0 else found[0]


def _linear_part(
    rates: Rates, amplitudes: Rates, changing: Collection[str], held: Collection[str]
) -> Linear:
    """The largest set of variables whose rates are linear in each other and in nothing else."""
    inside = list(rates)
    while True:
        keep = [n for n in inside if _row(n, rates, amplitudes, inside, changing) is not None]
        matrix = sympy.Matrix(
            len(keep),
            len(keep),
            lambda i, j, keep=keep: _row(keep[i], rates, amplitudes, inside, changing)[0][keep[j]],  # type: ignore[index]
        ) if keep else sympy.zeros(0, 0)  # fmt: skip
        linear = Linear(tuple(keep), matrix)
        # What is held, or jitters within the step, must not act on others during the step
        seen = linear.reaches()
        sources = {j for i in keep for j in seen[i] if i != j}
        bad = {j for j in sources if j in held or j in amplitudes}
        after = [n for n in keep if n not in bad]
        if after == inside:
            return linear
        inside = after


def _row(
    state: str, rates: Rates, amplitudes: Rates, inside: Collection[str], changing: Collection[str]
) -> tuple[dict[str, Expr], Expr] | None:
    """Coefficients and remainder of a rate, if it is linear in `inside` and in nothing else."""
    rest, row = rates[state], {}
    for other in inside:
        split = coefficient_and_rest(rest, other)
        if split is None or names_of([split[0]]) & set(changing):
            return None
        row[other], rest = split
    outside = set(rates) - set(inside)
    if names_of([rest]) & outside:
        return None
    if state in amplitudes and names_of([amplitudes[state]]) & set(rates):
        return None
    return row, rest


def _exact(linear: Linear, rates: Rates, amplitudes: Rates) -> list[Assignment]:
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


def _exponential_euler(rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """x <- x + (a x + b) dt (exp(a dt) - 1)/(a dt): exact while everything else is held."""
    found = []
    for n, rate in rates.items():
        a = _coefficient(rate, n)
        value = symbol(n) + rate * DT * exprel(a * DT)
        if n in amplitudes:
            value += _noise_term(n, amplitudes[n], a)
        found.append(_assign(n, value))
    return found


def _euler(rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """x <- x + f dt + g sqrt(dt) N (Euler-Maruyama)."""
    return [_assign(n, symbol(n) + f * DT + _jump(n, amplitudes)) for n, f in rates.items()]


def _milstein(rates: Rates, amplitudes: Rates) -> list[Assignment]:
    """Euler-Maruyama with the term g g' (N² - 1) dt/2, of strong order 1."""
    found = []
    for n, f in rates.items():
        value = symbol(n) + f * DT + _jump(n, amplitudes)
        g = amplitudes.get(n, sympy.Integer(0))
        value += g * sympy.diff(g, symbol(n)) * (symbol(noise_of(n)) ** 2 - 1) * DT / 2
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


_TABLEAUX = {"euler": _euler, "milstein": _milstein, "heun": _heun, "rk4": _rk4}


def _jump(state: str, amplitudes: Rates) -> Expr:
    if state not in amplitudes:
        return sympy.Integer(0)
    return amplitudes[state] * sympy.sqrt(DT) * symbol(noise_of(state))


def _assign(state: str, value: Expr) -> Assignment:
    return Assignment(next_of(state), value, Place(""))
