"""Units at the border: text such as "20 ms" becomes a plain number in SI units and a dimension."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from bregma.errors import InvalidArgument, nearest

# What may stand as a unit inside an equation; in values, everything that pint knows may.
SYMBOLS = (
    *("s", "ms", "us", "Hz", "kHz", "cm", "mm", "um", "mM", "uM"),
    *("V", "mV", "uV", "A", "mA", "uA", "nA", "pA", "ohm", "kohm", "Mohm", "Gohm"),
    *("S", "mS", "uS", "nS", "pS", "F", "uF", "nF", "pF"),
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_QUANTITY = re.compile(rf"\s*(?P<number>{_NUMBER})?\s*(?P<unit>.*?)\s*", re.DOTALL)
_TOKEN = re.compile(
    r"\s*(?:(?P<sign>[*/()])|(?P<name>1|°[CF]|%|[^\W\d]\w*)"
    r"(?:\s*(?:\*\*|\^)\s*(?P<power>[-+]?\d{1,2}(?:\.\d{1,3})?))?)\s*"
)


@dataclass(frozen=True, repr=False)
class Dimension:
    """Powers of length, mass, time, current, temperature, substance and luminosity."""

    powers: tuple[Fraction, ...]

    def __mul__(self, other: Dimension) -> Dimension:
        pairs = zip(self.powers, other.powers, strict=True)
        return Dimension(tuple(a + b for a, b in pairs))

    def __truediv__(self, other: Dimension) -> Dimension:
        return self * other**-1

    def __pow__(self, power: float | int | Fraction) -> Dimension:
        exact = Fraction(power).limit_denominator(1000)
        return Dimension(tuple(p * exact for p in self.powers))

    def __repr__(self) -> str:
        return f"Dimension({self})"

    def __str__(self) -> str:
        names = ("m", "kg", "s", "A", "K", "mol", "cd")
        pairs = [(n, p) for n, p in zip(names, self.powers, strict=True) if p]
        return "*".join(n if p == 1 else f"{n}**{float(p):g}" for n, p in pairs)


def _dimension(*powers: int) -> Dimension:
    return Dimension(tuple(Fraction(p) for p in (*powers, 0, 0, 0, 0, 0, 0, 0)[:7]))


# Common units are known here, since pint takes a second to start; it knows all others.
_PREFIXES = {"p": -12, "n": -9, "u": -6, "µ": -6, "μ": -6, "m": -3, "k": 3, "M": 6, "G": 9}
_UNITS = {
    ("s", "second", "sec"): (0, _dimension(0, 0, 1)),
    ("Hz", "hertz"): (0, _dimension(0, 0, -1)),
    ("m", "meter", "metre"): (0, _dimension(1)),
    ("A", "amp", "ampere"): (0, _dimension(0, 0, 0, 1)),
    ("V", "volt"): (0, _dimension(2, 1, -3, -1)),
    ("ohm", "Ω"): (0, _dimension(2, 1, -3, -2)),
    ("S", "siemens"): (0, _dimension(-2, -1, 3, 2)),
    ("F", "farad"): (0, _dimension(-2, -1, 4, 2)),
    ("M", "molar"): (3, _dimension(-3, 0, 0, 0, 0, 1)),
}
_KNOWN: dict[str, tuple[Fraction, Dimension]] = {
    "1": (Fraction(1), _dimension()),
    "cm": (Fraction("0.01"), _dimension(1)),
    **{n: (Fraction(f"1e{e}"), d) for names, (e, d) in _UNITS.items() for n in names},
    **{
        f"{prefix}{names[0]}": (Fraction(f"1e{e + by}"), d)
        for names, (e, d) in _UNITS.items()
        for prefix, by in _PREFIXES.items()
    },
}


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry()


@lru_cache(maxsize=1024)
def _named(name: str) -> tuple[Fraction, Dimension]:
    """Size and dimension of a unit with a single name."""
    if name in _KNOWN:
        return _KNOWN[name]
    import pint

    try:
        one = _registry().Quantity(1.0, name).to_base_units()
    except pint.UndefinedUnitError:
        near = ", ".join(nearest(name, SYMBOLS, 3))
        raise InvalidArgument(f"there is no unit {name!r}; nearest units: {near}") from None
    except Exception as error:  # pint lets errors of Python's own tokenizer through
        raise InvalidArgument(f"{name!r} is no unit ({error})") from None
    if _registry().Quantity(0.0, name).to_base_units().magnitude != 0:
        raise InvalidArgument(f"{name!r} does not begin at 0, so products of it have no meaning")
    return Fraction(repr(float(one.magnitude))), _of_pint(one.dimensionality)


def _of_pint(dimensionality: Any) -> Dimension:
    names = ("length", "mass", "time", "current", "temperature", "substance", "luminosity")
    return Dimension(
        tuple(Fraction(dimensionality.get(f"[{n}]", 0)).limit_denominator(1000) for n in names)
    )


def dimensionless() -> Dimension:
    """The dimension of a plain number."""
    return _KNOWN["1"][1]


def time_dimension() -> Dimension:
    """The dimension of a duration."""
    return _KNOWN["s"][1]


def _product(text: str) -> tuple[Fraction, Dimension]:
    """Size and dimension of units that are multiplied and divided, such as ``mS/cm**2``."""
    size, dimension, position, expects = Fraction(1), dimensionless(), 0, True
    divide, outer = False, []
    while position < len(text):
        token = _TOKEN.match(text, position)
        sign = token["sign"] if token else None
        if not token or (sign in ("*", "/") and expects and (sign == "*" or position)):
            raise ValueError
        position = token.end()
        if sign == "(":
            outer.append((size, dimension, divide))
            size, dimension, divide, expects = Fraction(1), dimensionless(), False, True
        elif sign == ")":
            if not outer or expects:
                raise ValueError
            by, of, (size, dimension, divide) = size, dimension, outer.pop()
            size, dimension = (size / by, dimension / of) if divide else (size * by, dimension * of)
            divide = False
        elif sign:
            divide, expects = sign == "/", True
        else:
            by, of = _named(token["name"])
            power = Fraction(token["power"] or 1) * (-1 if divide else 1)
            root = power.denominator > 1  # whole powers stay exact
            size *= Fraction(repr(float(by) ** float(power))) if root else by ** int(power)
            dimension, divide, expects = dimension * of**power, False, False
    if expects or outer:
        raise ValueError
    return size, dimension


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[float, Dimension | None]:
    """Number in SI units and dimension; None where there is no unit."""
    found = _QUANTITY.fullmatch(text) if len(text) <= 100 else None
    try:
        if not found or not text.strip():
            raise ValueError
        number = Fraction(found["number"] or 1)
        if not found["unit"]:
            return float(number), None
        size, dimension = _product(found["unit"].removeprefix("*"))
        return float(number * size), dimension
    except InvalidArgument as error:
        raise InvalidArgument(f"{text!r} is no quantity: {error}") from None
    except (ValueError, OverflowError, ZeroDivisionError):
        raise InvalidArgument(
            f"{text!r} is no quantity such as '20 ms' or '0.5 mS/cm**2'"
        ) from None


@lru_cache(maxsize=256)
def unit(name: str) -> tuple[float, Dimension]:
    """Size in SI units and dimension of a unit, such as ``"mV"`` or ``"mS/cm**2"``."""
    try:
        size, dimension = _product(name.strip() if len(name) <= 100 else "")
        return float(size), dimension
    except InvalidArgument:
        raise
    except (ValueError, OverflowError):
        raise InvalidArgument(f"{name!r} is no unit such as 'mV' or 'mS/cm**2'") from None


def quantity(value: Any) -> tuple[Any, Dimension | None]:
    """A value in SI units with its dimension; plain numbers have none that could be checked.

    Parameters
    ----------
    value : float, array, str, pint.Quantity or tensor
        ``"20 ms"``, ``20.0``, or numbers with a pint unit.

    Returns
    -------
    (float or array, dimension or None)
        The number in SI units. Tensors stay what they are.
    """
    if isinstance(value, str):
        try:
            return float(value), None  # nan and inf, too
        except ValueError:
            return _parsed(value)
    if hasattr(value, "to_base_units"):
        base = value.to_base_units()
        return base.magnitude, _of_pint(base.dimensionality)
    if hasattr(value, "detach"):
        return value, None
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(f"{value!r} is neither a number nor a quantity such as '20 ms'")
    return (float(array) if array.ndim == 0 else array.astype(np.float64)), None


def is_quantity(text: str) -> bool:
    """Whether text looks like a number with an optional unit, and like no expression."""
    number = re.match(rf"\s*(?:{_NUMBER}|[-+]?(?:nan|inf)\b)\s*", text)
    rest = text[number.end() :] if number else ""
    return bool(number) and (not rest or rest[0].isalpha() or rest[0] in "°%/")


def seconds(value: Any, what: str) -> float:
    """A duration in seconds.

    Parameters
    ----------
    value : float or str
        Plain numbers are seconds; text has a unit, such as ``"0.1 ms"``.
    what : str
        What it is, for messages.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    InvalidArgument
        When it is no duration, or not finite.
    """
    number, dimension = quantity(value)
    if dimension not in (None, time_dimension()) or np.ndim(number):
        raise InvalidArgument(f"{what} must be a duration such as '0.1 ms', not {value!r}")
    if not np.isfinite(number):
        raise InvalidArgument(f"{what} must be finite, not {value!r}")
    return float(number)


def spelled(dimension: Dimension | None) -> str:
    """A dimension in words that a reader of equations knows, such as ``mV`` or ``[length]``."""
    if dimension is None:
        return "unknown"
    if dimension == dimensionless():
        return "a plain number"
    for name in ("mV", "ms", "nS", "nA", "pF", "Mohm", "Hz", "mM", "um"):
        if unit(name)[1] == dimension:
            return f"in {name}"
    return f"in {dimension}"
