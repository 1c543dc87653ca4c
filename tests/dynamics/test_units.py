"""Units at the border: right ones, wrong ones, and that pint agrees."""

from __future__ import annotations

import numpy as np
import pint
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.dynamics.language import _units
from bregma.errors import InvalidArgument

REGISTRY = pint.UnitRegistry()
UNITS = [
    *_units.SYMBOLS,
    "volt",
    "siemens",
    "mS/cm**2",
    "uF/cm^2",
    "1/s",
    "mV/ms",
    "nA*ms",
    "(mV*ms)/s",
    "pA / (nS ms)",
    "mV/ms**0.5",
    "minute",
    "km/hour",
    "mol/m**3",
    "ohm*cm",
    "percent",
    "liter",
    "kelvin",
    "joule/(mol*kelvin)",
    "coulomb/mol",
]


@pytest.mark.parametrize("name", UNITS)
def test_units_agree_with_pint(name):
    theirs = REGISTRY.Quantity(1.0, name).to_base_units()
    size, dimension = _units.unit(name)
    assert size == pytest.approx(float(theirs.magnitude), rel=1e-14)
    assert dimension == _units.quantity(theirs)[1]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("20 ms", 0.02),
        ("-65 mV", -0.065),
        ("30 nS", 3e-8),
        ("0.0805 nA", 8.05e-11),
        ("281 pF", 2.81e-10),
        ("20*ms", 0.02),
        ("20ms", 0.02),
        ("1e-3 V", 1e-3),
        ("10 / ms", 1e4),
        ("5 mS/cm^2", 50.0),
        ("mV", 1e-3),
        ("20", 20.0),
        ("2 µm", 2e-6),
        ("2 μm", 2e-6),
        ("3 Ω", 3.0),
    ],
)
def test_numbers_are_the_nearest_ones(text, number):
    assert _units.quantity(text)[0] == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ms 20",
        "20 mv",
        "9**9**9",
        "m**99999",
        "2 m**m",
        "import os",
        "20 ms;",
        "20 ms)",
        "(20 ms",
        "20 degC",
        "1 s//s",
        "1 *",
        "20 ms or 3",
        "x" * 1000,
        "1e9999 mV",
        "__import__('os')",
        "[1] mV",
    ],
)
def test_what_is_no_quantity(text):
    with pytest.raises(InvalidArgument, match="no quantity|no unit"):
        _units.quantity(text)


def test_values_of_other_kinds():
    number, dimension = _units.quantity(REGISTRY.Quantity([1.0, 2.0], "mV"))
    np.testing.assert_allclose(number, [1e-3, 2e-3], rtol=1e-15)
    assert dimension == _units.unit("V")[1]
    assert _units.quantity(3) == (3.0, None)
    learnable = torch.ones(3, requires_grad=True)
    assert _units.quantity(learnable)[0] is learnable
    for wrong in (None, object(), [[1], [1, 2]], 1j, ["a"]):
        with pytest.raises(InvalidArgument):
            _units.quantity(wrong)


def test_durations():
    assert _units.seconds("0.1 ms", "dt") == 1e-4
    assert _units.seconds(2, "dt") == 2.0
    for wrong in ("1 mV", "nan", "inf s", [1.0, 2.0], "1e400 s"):
        with pytest.raises(InvalidArgument):
            _units.seconds(wrong, "dt")


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="smVAFSk 0123456789.+-*/^()e%°_\n", max_size=20))
def test_texts_are_quantities_or_refused(text):
    try:
        number, _ = _units.quantity(text)
    except InvalidArgument:
        return
    assert isinstance(number, float)


def test_dimensions_in_words():
    assert _units.spelled(_units.unit("volt")[1]) == "in mV"
    assert _units.spelled(_units.unit("1")[1]) == "a plain number"
    assert _units.spelled(_units.unit("mV/ms")[1]) == "in m**2*kg*s**-4*A**-1"
    assert _units.spelled(None) == "unknown"
