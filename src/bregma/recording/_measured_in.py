"""Units of measurement: a small grammar, so that a typing error is found at once."""

from __future__ import annotations

import re

from bregma.errors import InvalidArgument, nearest

_PREFIXES = (
    "",
    "Y",
    "Z",
    "E",
    "P",
    "T",
    "G",
    "M",
    "k",
    "h",
    "d",
    "c",
    "m",
    "u",
    "µ",
    "n",
    "p",
    "f",
)
_SCALED = ("V", "A", "T", "s", "Hz", "m", "g", "S", "F", "Ohm", "W", "J", "M", "K", "Pa", "N")
_BARE = ("spikes", "counts", "events", "dF/F", "F/F0", "BOLD", "%", "z", "a.u.", "1", "deg", "rad",
         "pixel", "bit", "dB", "min", "h", "cd", "mol", "degC", "sd")  # fmt: skip
_KNOWN = frozenset(prefix + base for prefix in _PREFIXES for base in _SCALED) | frozenset(_BARE)
_FACTOR = re.compile(r"^(?P<base>.+?)(?:\^?(?P<power>-?\d))?$")


def check_measured_in(text: str | None) -> str | None:
    """Return the unit of measurement, or raise when it is none that is known.

    Known are SI units with prefixes (``"mV"``, ``"pA"``), the field's own (``"spikes"``,
    ``"dF/F"``, ``"BOLD"``, ``"z"``, ``"a.u."``) and products and ratios of them
    (``"spikes/s"``, ``"uV^2/Hz"``).
    """
    if text is None or text in _KNOWN:
        return text
    for factor in re.split(r"[/*]", text):
        found = _FACTOR.match(factor.strip())
        if found is None or (factor.strip() not in _KNOWN and found["base"] not in _KNOWN):
            raise InvalidArgument(
                f"measured_in={text!r}: {factor.strip()!r} is no unit of measurement that bregma "
                f"knows; nearest: {', '.join(nearest(factor.strip(), sorted(_KNOWN)))}. "
                "Use None when the unit is not known and 'a.u.' when it is arbitrary"
            )
    return text
