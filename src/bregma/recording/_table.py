"""Read tables (.csv, .tsv, .parquet): one row for each presentation, or a square RDM."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bregma._extras import require
from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording._dissimilarity import Dissimilarity
from bregma.recording._limits import Budget
from bregma.recording._recording import Missing, Recording
from bregma.recording._shelf import add_usual_names, is_rdms

SUFFIXES = (".csv", ".tsv", ".parquet")
# Before version 3.1 pandas read the last digit of numbers wrongly unless it was asked not to.
_RECENT = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
_EXACT: Any = {} if _RECENT else {"float_precision": "round_trip"}
_INDEX = "Unnamed: 0"  # how pandas reads the index that it wrote


def read(
    path: Path,
    key: str | None = None,
    *,
    presentation: Sequence[str] | None = None,
    unit: Sequence[str] | None = None,
    units: pd.DataFrame | Mapping[str, Any] | None = None,
    measured_in: str | None = None,
    missing: Missing = "raise",
    max_bytes: int | None = None,
) -> Recording | Dissimilarity:
    """Read a table whose numeric columns are units and whose other columns say what was shown.

    `presentation` names numeric columns that describe presentations as well (trial, subject),
    `unit` the columns that are units (all other numeric ones by default). Empty cells of text
    are empty text. `units` describes
    the units: a table with one row for each. A square table of dissimilarities, with labels of
    its rows and columns or without, gives a Dissimilarity. `max_bytes` is the most that the
    table may take in memory.
    """
    if key is not None:
        raise UnknownName.of("key of a table, which holds only one thing", key, [])
    table = (
        _parquet(path, max_bytes)
        if path.suffix.lower() == ".parquet"
        else _text(path, Budget(max_bytes))
    )
    if table.empty:
        raise InvalidRecording("the table has no rows or no columns")
    table.columns = table.columns.map(str)
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()].tolist()
        raise InvalidRecording(f"columns are named more than once: {', '.join(twice[:5])}")
    if presentation is None and unit is None and (rdm := _rdm(table, path.stem)) is not None:
        return rdm
    return _wide(table, path.stem, presentation, unit, units, measured_in, missing)


def _text(path: Path, budget: Budget) -> pd.DataFrame:
    budget.take(4 * path.stat().st_size, path.stat().st_size, "the table")
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = next(csv.reader(file, delimiter=separator), [])
    return pd.read_csv(
        path,
        sep=separator,
        encoding="utf-8-sig",
        header=None if _are_values(first) else 0,
        low_memory=False,
        skip_blank_lines=True,
        **_EXACT,
    )


def _are_values(cells: Sequence[str]) -> bool:
    """Whether a first line is numbers to read, not names such as 0, 1, 2."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return False
    whole = all(cell.strip().isdigit() for cell in cells)
    return bool(numbers) and not (whole and len(set(numbers)) == len(numbers))


def _parquet(path: Path, max_bytes: int | None) -> pd.DataFrame:
    parquet = require("pyarrow.parquet", extra="neuro")
    budget = Budget(max_bytes)
    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        metadata, size = file.metadata, path.stat().st_size
        for group in range(metadata.num_row_groups):
            part = metadata.row_group(group)
            budget.take(part.total_byte_size, size, "a part of the table")
            rows = max(part.num_rows, 0) * 8 * metadata.num_columns
            budget.check(rows, size, "a part of the table")
        table = file.read(use_threads=False).to_pandas()
    if table.index.equals(pd.RangeIndex(len(table))):
        return table
    return table.reset_index(names=_INDEX if table.index.name is None else None)


def _rdm(table: pd.DataFrame, name: str) -> Dissimilarity | None:
    """The table as an RDM, where it is square, symmetric and has a zero diagonal."""
    labels: Any = None
    body = table
    if not pd.api.types.is_numeric_dtype(table.iloc[:, 0]) or (
        table.shape[1] == table.shape[0] + 1
        and table.iloc[:, 0].astype(str).tolist() == table.columns[1:].tolist()
    ):
        labels, body = table.iloc[:, 0].astype(str).to_numpy(), table.iloc[:, 1:]
    if body.shape[0] != body.shape[1] or not all(map(pd.api.types.is_numeric_dtype, body.dtypes)):
        return None
    values = body.to_numpy(dtype=float)
    if not is_rdms(values):
        return None
    if labels is not None and labels.tolist() != body.columns.tolist():
        raise InvalidRecording(
            "it looks like an RDM, but the labels of its rows and of its columns differ: "
            f"{labels[:3].tolist()} and {body.columns[:3].tolist()}"
        )
    columns = body.columns.tolist()
    if labels is None and columns != list(map(str, range(len(columns)))):
        labels = np.array(columns)
    return Dissimilarity.from_square(values, stimuli=labels, name=name)


def _wide(
    table: pd.DataFrame,
    name: str,
    presentation: Sequence[str] | None,
    unit: Sequence[str] | None,
    units: pd.DataFrame | Mapping[str, Any] | None,
    measured_in: str | None,
    missing: Missing,
) -> Recording:
    shows, cells = _listed(table, presentation), _listed(table, unit)
    if both := sorted(set(shows) & set(cells)):
        raise InvalidArgument(f"columns cannot label presentations and be units: {both}")
    columns = list(map(str, table))
    numeric = [x for x in columns if pd.api.types.is_numeric_dtype(table[x])]
    if unit is None:
        cells = [x for x in numeric if x not in shows and x != _INDEX]
    if not cells:
        raise InvalidRecording(
            f"no column is numeric, so there are no units; the columns are "
            f"{', '.join(map(repr, list(table)[:8]))}"
        )
    if odd := [x for x in cells if x not in numeric]:
        example = next((v for v in table[odd[0]] if isinstance(v, str)), table[odd[0]].iloc[0])
        raise InvalidRecording(f"column {odd[0]!r} is not numeric: it holds {example!r}")
    labels = {}
    for x in columns:
        if x in shows or x == _INDEX or (x not in cells and x not in numeric):
            column = table[x].to_numpy()
            is_text = column.dtype == object
            labels[x] = np.where(pd.isna(column), "", column) if is_text else column
    if _INDEX in labels:
        labels["presentation"] = labels.pop(_INDEX)
    coords: dict[str, Any] = {x: ("presentation", values) for x, values in labels.items()}
    coords["unit"] = ("unit", np.array(cells))
    described = pd.DataFrame(units)
    if units is not None and len(described) != len(cells):
        raise InvalidArgument(
            f"units has {len(described)} rows, but the table has {len(cells)} units"
        )
    unit_labels = {str(x): described[x].to_numpy() for x in described}
    coords |= {x: ("unit", column) for x, column in unit_labels.items()}
    texts = {x: v.astype(str) for x, v in labels.items() if v.dtype == object}
    add_usual_names(coords, labels | texts, unit_labels)
    values = table[cells].to_numpy(dtype=None if _same_type(table[cells]) else float)
    data = xr.DataArray(values, dims=("presentation", "unit"), coords=coords, name=name)
    return Recording(data, measured_in=measured_in, missing=missing)


def _same_type(table: pd.DataFrame) -> bool:
    kinds = {dtype for dtype in table.dtypes if isinstance(dtype, np.dtype)}
    return len(kinds) == 1 and len(set(table.dtypes)) == 1


def _listed(table: pd.DataFrame, names: Sequence[str] | None) -> list[str]:
    names = [] if names is None else [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in table:
            raise UnknownName.of("column", name, table.columns)
    return names
