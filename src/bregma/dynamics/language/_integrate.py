"""How a step in time is made: each method turns rates into assignments, symbolically."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bregma.dynamics.language._grammar import Assignment, names_of
from bregma.dynamics.language._linear import (
    Expr,
    Linear,
    Rates,
    coefficient,
    coefficient_and_rest,
    linear_part,
)
from bregma.dynamics.language._schemes import (
    DT,
    TABLEAUX,
    exact,
    exponential_euler,
    next_of,
    noise_of,
)
from bregma.errors import InvalidArgument

__all__ = ["DT", "Advance", "Linear", "advance", "coefficient_and_rest", "next_of", "noise_of"]


@dataclass(frozen=True)
class Advance:
    """One step in time: assignments of ``<variable>__next``, and what is prepared for them."""

    program: tuple[Assignment, ...]
    linear: Linear
    noises: tuple[str, ...]


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
        linear = linear_part(rates, amplitudes, changing, held)
    if method == "exact" and len(linear.states) < len(rates):
        other = next(n for n in rates if n not in linear.states)
        raise InvalidArgument(
            f"method='exact' needs equations that are linear with constant coefficients, and "
            f"d{other}/dt is not (or is held, or has noise that others see); leave method out"
        )
    if multiplicative and method in ("heun", "rk4"):
        raise InvalidArgument(
            f"method={method!r} does not converge to the Itô solution where noise depends on "
            f"variables ({', '.join(sorted(multiplicative))}); use method='milstein' or 'euler'"
        )
    mixed = sorted(n for n, g in amplitudes.items() if names_of([g]) & (set(amplitudes) - {n}))
    if mixed and method == "milstein":
        raise InvalidArgument(
            f"method='milstein' needs noise that depends on its own variable only, and that of "
            f"{mixed[0]} depends on another one with noise; use method='euler'"
        )
    if amplitudes and method == "rk4":
        raise InvalidArgument("method='rk4' is for equations without noise; use 'heun'")
    rest = {n: f for n, f in rates.items() if n not in linear.states}
    program = exact(linear, rates, amplitudes)
    if method in ("auto", "exponential_euler"):
        conditional = {n: f for n, f in rest.items() if coefficient(f, n) is not None}
        if method == "exponential_euler" and len(conditional) < len(rest):
            other = next(n for n in rest if n not in conditional)
            raise InvalidArgument(
                f"method='exponential_euler' needs d{other}/dt to be linear in {other}; use 'heun'"
            )
        program += exponential_euler(conditional, amplitudes)
        rest = {n: f for n, f in rest.items() if n not in conditional}
        # Milstein (Euler for mixed noise) where noise depends on variables, else second order
        method = ("euler" if mixed else "milstein") if multiplicative & set(rest) else "heun"
    if rest:
        program += TABLEAUX[method](rest, amplitudes)
    noises = tuple(n for n in rates if n in amplitudes)
    return Advance(tuple(program), linear, noises)
