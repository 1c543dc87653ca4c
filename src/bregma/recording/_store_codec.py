"""Arrays and tables in the few types that Zarr and NetCDF share, and exactly back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bregma.errors import InvalidArgument

# Types that both formats hold as they are.
_PLAIN = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}


def encoded(array: Any, what: str) -> tuple[Any, dict[str, Any]]:
    """The array in a type that can be stored, and what is needed to undo that.

    Parameters
    ----------
    array : array
        Numbers, booleans, text or dates; NumPy or Dask.
    what : str
        What it is, for the message.

    Returns
    -------
    array
        To be stored.
    dict
        For `decoded`.
    """
    dtype = array.dtype
    how: dict[str, Any] = {"dtype": dtype.str}
    if dtype.str[1:] in _PLAIN:
        return array.astype(dtype.newbyteorder("=")), how
    if dtype.kind == "b":
        return array.astype("i1"), how
    if dtype == np.float16:
        return array.astype("f4"), how
    if dtype.kind in "Mm":
        return array.astype(dtype.newbyteorder("=")).view("i8"), how
    if dtype.kind == "U":
        text = [str(x) for x in array]
        if any(_is_awkward(x) for x in text):
            text, how["json"] = [json.dumps(x) for x in text], True
        out = np.empty(len(text), dtype=object)
        out[:] = text
        return out, how
    raise InvalidArgument(f"{what} are {dtype}, which Zarr and NetCDF cannot hold exactly")


def decoded(array: Any, how: Mapping[str, Any]) -> Any:
    """Undo `encoded`."""
    dtype = np.dtype(how["dtype"])
    if dtype.kind == "U":
        text = [x if isinstance(x, str) else x.decode() for x in array.tolist()]
        return np.array([json.loads(x) for x in text] if how.get("json") else text, dtype=dtype)
    if dtype.kind in "Mm":
        return array.astype("i8").view(dtype.newbyteorder("=")).astype(dtype)
    return array if array.dtype == dtype else array.astype(dtype)


def _is_awkward(text: str) -> bool:
    """Whether HDF5 would cut the text short, or UTF-8 cannot hold it."""
    return "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text)


def table_encoded(table: pd.DataFrame) -> dict[str, Any]:
    """A table as JSON can hold it, types included."""
    if isinstance(table.index, pd.MultiIndex) or isinstance(table.columns, pd.MultiIndex):
        raise InvalidArgument("a table with a multi-index cannot be stored: reset_index() it")
    return {
        "index": _column_encoded(table.index, "the index of the table"),
        "names": _column_encoded(table.columns, "the names of columns"),
        "columns": [
            _column_encoded(table.iloc[:, i], f"column {name!r}")
            for i, name in enumerate(table.columns)
        ],
    }


def table_decoded(table: Mapping[str, Any]) -> pd.DataFrame:
    """Undo `table_encoded`."""
    index = _index_decoded(table["index"])
    columns = {i: _column_decoded(column) for i, column in enumerate(table["columns"])}
    out = pd.DataFrame({i: pd.Series(column, index=index) for i, column in columns.items()},
                       index=index)  # fmt: skip
    out.columns = _index_decoded(table["names"])
    return out


def _column_encoded(column: pd.Series | pd.Index, what: str) -> dict[str, Any]:
    how: dict[str, Any] = {"dtype": str(column.dtype), "name": _plain(column.name, what)}
    if isinstance(column, pd.RangeIndex):
        return {**how, "range": [column.start, column.stop, column.step]}
    if column.dtype.kind in "Mm":
        return {**how, "values": column.astype("int64").tolist()}
    if isinstance(column.dtype, pd.CategoricalDtype):
        raise InvalidArgument(f"{what} is categorical: make it text, .astype(str)")
    return {**how, "values": [_plain(x, what) for x in column.tolist()]}


def _column_decoded(column: Mapping[str, Any]) -> Any:
    dtype = column["dtype"]
    if dtype.startswith(("datetime64", "timedelta64")):
        return pd.Series(column["values"], dtype="int64").astype(dtype).array
    if dtype == "object":
        out = np.empty(len(column["values"]), dtype=object)
        out[:] = column["values"]
        return out
    return pd.array(column["values"], dtype=dtype)


def _index_decoded(column: Mapping[str, Any]) -> pd.Index:
    if "range" in column:
        start, stop, step = column["range"]
        return pd.RangeIndex(start, stop, step, name=column["name"])
    dtype = "object" if column["dtype"] == "object" else None
    return pd.Index(_column_decoded(column), name=column["name"], dtype=dtype)


def _plain(value: Any, what: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA:
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InvalidArgument(
        f"{what} holds {type(value).__name__}; numbers, text, booleans and dates can be stored"
    )
