"""Where the sensors of simulated EEG caps and MEG helmets are, and which way they look."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma.errors import InvalidArgument

GOLDEN = np.pi * (3 - 5**0.5)
CAP = 110.0  # degrees from the vertex down to which there are electrodes
HELMET = 100.0
ORIENTATION = ["nx", "ny", "nz"]


def eeg_layout(n: int, *, radius: float = 0.09, turn: float = 0.0) -> pd.DataFrame:
    """Electrodes evenly on a cap: no two numbers of electrodes share their places.

    Parameters
    ----------
    n : int
        How many.
    radius : float
        Of the head, in metres.
    turn : float
        Degrees by which the cap is turned around the vertex.

    Returns
    -------
    pandas.DataFrame
        One row per electrode: ``kind`` (``eeg``), ``x``, ``y``, ``z`` in metres from the centre
        of the head, ``nx``, ``ny``, ``nz`` (0: an electrode has no direction), ``measured_in``.

    Raises
    ------
    InvalidArgument
        If there is no electrode.

    Examples
    --------
    >>> eeg_layout(32)["kind"].value_counts().to_dict()
    {'eeg': 32}
    """
    place = radius * _sites(n, CAP, turn)
    names = [f"E{i + 1}" for i in range(n)]
    return _table(names, ["eeg"] * n, place, np.zeros((n, 3)), ["V"] * n)


def meg_layout(n_sites: int, *, radius: float = 0.115, turn: float = 0.0) -> pd.DataFrame:
    """Sites evenly on a helmet, each with one magnetometer and two planar gradiometers.

    Parameters
    ----------
    n_sites : int
        How many sites; each has three sensors.
    radius : float
        Of the helmet, in metres.
    turn : float
        Degrees by which the helmet is turned around the vertex.

    Returns
    -------
    pandas.DataFrame
        One row per sensor: ``kind`` (``mag``, ``grad``), ``x``, ``y``, ``z`` in metres,
        ``nx``, ``ny``, ``nz`` (the field's component of a magnetometer, the direction along which
        a gradiometer takes the difference of the radial field), ``measured_in``.

    Raises
    ------
    InvalidArgument
        If there is no site.

    Examples
    --------
    >>> meg_layout(20)["kind"].value_counts().to_dict()
    {'grad': 40, 'mag': 20}
    """
    radial = _sites(n_sites, HELMET, turn)
    # Southwards and eastwards: two directions along the surface of the helmet.
    east = np.cross([0.0, 0.0, 1.0], radial)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    directions = np.stack([radial, np.cross(east, radial), east], axis=1).reshape(-1, 3)
    names = [f"M{i + 1}.{part}" for i in range(n_sites) for part in ("mag", "grad1", "grad2")]
    return _table(
        names,
        ["mag", "grad", "grad"] * n_sites,
        radius * radial.repeat(3, axis=0),
        directions,
        ["T", "T/m", "T/m"] * n_sites,
    )


def _sites(n: int, lowest: float, turn: float) -> Float[np.ndarray, "site 3"]:
    """Unit vectors on a spiral of equal areas from the vertex to that angle."""
    if n < 1:
        raise InvalidArgument(f"a layout needs 1 site or more, not {n}")
    z = 1 - (1 - np.cos(np.deg2rad(lowest))) * (np.arange(n) + 0.5) / n
    azimuth = GOLDEN * np.arange(n) + np.deg2rad(turn)
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), z], axis=1)


def _table(
    names: list[str],
    kinds: list[str],
    places: Float[np.ndarray, "sensor 3"],
    directions: Float[np.ndarray, "sensor 3"],
    measured_in: list[str],
) -> pd.DataFrame:
    table = pd.DataFrame({"kind": kinds}, index=pd.Index(names, name="unit"))
    table[["x", "y", "z"]] = places
    table[ORIENTATION] = directions
    table["measured_in"] = measured_in
    return table
