"""Settings of a method as what JSON can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bregma.errors import InvalidArgument

from ._parts import finite


def json_safe(value: Any, where: str = "settings") -> Any:
    """Copy `value` into dicts with text keys, lists, text, numbers, booleans and None.

    Parameters
    ----------
    value : object
        What should be stored.
    where : str
        Its place, for the error.

    Returns
    -------
    object
        The copy; NumPy numbers and arrays have become Python numbers and lists.

    Raises
    ------
    InvalidArgument
        When something in it cannot be stored as JSON, or a number is not finite.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        finite(where, value)
        return value
    if isinstance(value, Mapping):
        return {str(key): json_safe(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise InvalidArgument(
        f"{where} is a {type(value).__name__}; "
        "only text, numbers, booleans, None, lists and dicts can be stored"
    )
