"""Units at the border: text such as "20 ms" becomes a plain number in SI units and a dimension."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bregma.errors import InvalidArgument, nearest

if TYPE_CHECKING:
    from pint.util import UnitsContainer

# What may stand as a unit inside an equation; in values, everything that pint knows may.
SYMBOLS = [
    "s",
    "ms",
    "us",
    "V",
    "mV",
    "uV",
    "A",
    "mA",
    "uA",
    "nA",
    "pA",
    "S",
    "mS",
    "uS",
    "nS",
    "pS",
    "F",
    "uF",
    "nF",
    "pF",
    "ohm",
    "kohm",
    "Mohm",
    "Gohm",
    "Hz",
    "kHz",
    "cm",
    "mm",
    "um",
    "mM",
    "uM",
]


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(cache_folder=":auto:")


def dimensionless() -> UnitsContainer:
    """The dimension of a plain number."""
    return _registry().dimensionless.dimensionality


def time_dimension() -> UnitsContainer:
    """The dimension of a duration."""
    return _registry().second.dimensionality


@lru_cache(maxsize=1024)
def _parsed(text: str) -> tuple[float, UnitsContainer]:
    import pint

    try:
        quantity = _registry().Quantity(text).to_base_units()
        return float(quantity.magnitude), quantity.dimensionality
    except (pint.UndefinedUnitError, pint.DefinitionSyntaxError, TypeError, ValueError) as error:
        word = str(error).split("'")[1] if "'" in str(error) else text
        hint = f"; nearest units: {', '.join(nearest(word, SYMBOLS, 3))}"
        raise InvalidArgument(f"{text!r} is no quantity ({error}){hint}") from None
    except Exception as error:  # pint lets errors of Python's own tokenizer through
        raise InvalidArgument(f"{text!r} is no quantity such as '20 ms'") from error


@lru_cache(maxsize=256)
def unit(name: str) -> tuple[float, UnitsContainer]:
    """Size in SI units and dimension of a unit, such as ``"mV"`` or ``"mS/cm**2"``."""
    named = {"volt": "V", "1": "dimensionless"}.get(name.strip(), name.strip())
    return _parsed(f"1 {named}")


def quantity(value: Any) -> tuple[Any, UnitsContainer | None]:
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
        number, dimension = _parsed(value)
        plain = dimension == dimensionless() and _is_number(value)
        return number, None if plain else dimension
    if hasattr(value, "to_base_units"):
        base = value.to_base_units()
        return base.magnitude, base.dimensionality
    if hasattr(value, "detach"):
        return value, None
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(f"{value!r} is neither a number nor a quantity such as '20 ms'")
    return (float(array) if array.ndim == 0 else array.astype(np.float64)), None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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


def spelled(dimension: UnitsContainer | None) -> str:
    """A dimension in words that a reader of equations knows, such as ``mV`` or ``[length]``."""
    if dimension is None:
        return "unknown"
    if dimension == dimensionless():
        return "a plain number"
    for name in ("mV", "ms", "nS", "nA", "pF", "Mohm", "Hz", "mM", "um"):
        if unit(name)[1] == dimension:
            return f"in {name}"
    return f"in {dimension}"
