"""Sensors as a network sees them: where each one is, which way it looks, and what it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma._extras import require
from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import Recording
from bregma.run import spawn_torch

KINDS = ("eeg", "mag", "grad")
FARTHEST = 1.0  # metres from the centre of the head; beyond, units must be others


@dataclass(frozen=True)
class Sensors:
    """The geometry of an EEG cap or MEG helmet.

    Parameters
    ----------
    positions : Float[Tensor, "sensor 3"]
        Metres; the same frame for all recordings that one network is to see (the head frame).
    orientations : Float[Tensor, "sensor 3"]
        Unit vectors; zeros for an electrode.
    kinds : Int[Tensor, "sensor"]
        0 electrode, 1 magnetometer, 2 gradiometer.

    Raises
    ------
    InvalidArgument
        If there is no sensor, lengths differ, a place is unknown or farther than 1 m away, or a
        kind is none of the three.

    Examples
    --------
    >>> from bregma.datasets import eeg_layout
    >>> cap = eeg_layout(19)
    >>> len(Sensors.of_table(cap))
    19
    """

    positions: Float[Tensor, "sensor 3"]
    orientations: Float[Tensor, "sensor 3"]
    kinds: Int[Tensor, " sensor"]

    def __post_init__(self) -> None:
        n = len(self.kinds)
        if not n or self.positions.shape != (n, 3) or self.orientations.shape != (n, 3):
            raise InvalidArgument(
                f"{n} kinds need positions and orientations of the shape ({n}, 3) and n above 0, "
                f"not {tuple(self.positions.shape)} and {tuple(self.orientations.shape)}"
            )
        if not (torch.isfinite(self.positions).all() and torch.isfinite(self.orientations).all()):
            raise InvalidArgument("a position or orientation is NaN or infinite: drop that sensor")
        if (far := float(self.positions.norm(dim=1).max())) > FARTHEST:
            raise InvalidArgument(
                f"a sensor is {far:.3g} m from the centre of the head: positions must be in metres"
            )
        if int(self.kinds.min()) < 0 or int(self.kinds.max()) >= len(KINDS):
            raise InvalidArgument(f"kinds are 0 to {len(KINDS) - 1}, one of {KINDS}")

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, which: Any) -> Sensors:
        """Some of the sensors, by a mask or by numbers."""
        return Sensors(self.positions[which], self.orientations[which], self.kinds[which])

    def to(self, device: str | torch.device) -> Sensors:
        """The same sensors on a device.

        Parameters
        ----------
        device : str or torch.device
            Where.

        Returns
        -------
        Sensors
            The same values.
        """
        return Sensors(
            self.positions.to(device), self.orientations.to(device), self.kinds.to(device)
        )

    def permuted(self, *, seed: int) -> Sensors:
        """Each sensor at the place of another one of its kind: a control of what geometry is for.

        Parameters
        ----------
        seed : int
            Draws which one.

        Returns
        -------
        Sensors
            The same kinds, positions and orientations in another order.
        """
        order = torch.arange(len(self))
        kinds = self.kinds.cpu()
        for kind in kinds.unique().tolist():
            rows = (kinds == kind).nonzero()[:, 0]
            mixed = torch.randperm(len(rows), generator=spawn_torch(seed, "permuted", kind))
            order[rows] = rows[mixed]
        order = order.to(self.kinds.device)
        return Sensors(self.positions[order], self.orientations[order], self.kinds)

    def without_geometry(self) -> Sensors:
        """Only the kinds: all sensors at the centre of the head, looking nowhere.

        Returns
        -------
        Sensors
            As many sensors.
        """
        nowhere = torch.zeros_like(self.positions)
        return Sensors(nowhere, nowhere, self.kinds)

    @classmethod
    def of_table(cls, table: Any) -> Sensors:
        """Sensors of a table of units.

        Parameters
        ----------
        table : pandas.DataFrame
            Columns ``kind`` (``eeg``, ``mag`` or ``grad``), ``x``, ``y``, ``z`` in metres, and for
            MEG ``nx``, ``ny``, ``nz``: the direction that a magnetometer measures, or along which
            a planar gradiometer takes the difference.

        Returns
        -------
        Sensors
            In the order of the table.

        Raises
        ------
        UnknownName
            If a column is missing, or a kind is another one.
        InvalidArgument
            If a position is unknown, or MEG sensors have no orientation.
        """
        for column in ("kind", "x", "y", "z"):
            if column not in table:
                raise UnknownName.of("column of the table of sensors", column, table.columns)
        kinds = [str(kind) for kind in table["kind"]]
        _check_kinds(kinds)
        looks = np.zeros((len(table), 3))
        meg = np.array([kind != "eeg" for kind in kinds])
        if meg.any():
            if not {"nx", "ny", "nz"} <= set(table):
                raise InvalidArgument(
                    "MEG sensors need their orientation in nx, ny, nz: take Sensors.of_info(info) "
                    "with the info of the MNE object"
                )
            looks[meg] = table[["nx", "ny", "nz"]].to_numpy(float)[meg]
        places = table[["x", "y", "z"]].to_numpy(float)
        if lost := table.index[~np.isfinite(places).all(axis=1)].tolist():
            raise InvalidArgument(f"the position of {lost[:5]} is not known: leave them out")
        return _sensors(places, looks, kinds)

    @classmethod
    def of(cls, recording: Recording) -> Sensors:
        """Sensors of the units of a recording.

        Parameters
        ----------
        recording : Recording
            Such as ``bregma.read("file.set")`` gives it, with the coordinates of `of_table`.

        Returns
        -------
        Sensors
            In the order of the units.
        """
        return cls.of_table(recording.units)

    @classmethod
    def of_info(cls, info: Any, names: Sequence[str] | None = None) -> Sensors:
        """Sensors of an MNE object, MEG brought into the frame of the head.

        Parameters
        ----------
        info : mne.Info
            Of a Raw, Epochs or Evoked.
        names : sequence of str, optional
            Channels, in this order; without it all EEG and MEG channels that are not marked bad.

        Returns
        -------
        Sensors
            Positions and orientations in the head frame (in the device frame where the file does
            not say how the head lay).

        Raises
        ------
        UnknownName
            If there is no such channel, or it measures something else.
        InvalidArgument
            If a position is unknown.
        """
        mne = require("mne", "neuro")
        if names is None:
            found = mne.pick_types(info, meg=True, eeg=True, ref_meg=False, exclude="bads")
            names = [info["ch_names"][i] for i in found]
        for name in names:
            if name not in info["ch_names"]:
                raise UnknownName.of("channel", name, info["ch_names"])
        at = [info["ch_names"].index(name) for name in names]
        kinds = [mne.channel_type(info, i) for i in at]
        _check_kinds(kinds)
        frame = info["dev_head_t"]["trans"] if info["dev_head_t"] is not None else np.eye(4)
        places, looks = np.zeros((len(at), 3)), np.zeros((len(at), 3))
        for row, (i, kind) in enumerate(zip(at, kinds, strict=True)):
            loc = info["chs"][i]["loc"]
            places[row] = loc[:3]
            if kind == "eeg":
                continue
            # loc holds the place and three axes of the coil: the last one is its normal, and a
            # planar gradiometer takes the difference along the first one.
            planar = kind == "grad" and "PLANAR" in str(info["chs"][i]["coil_type"])
            places[row] = frame[:3, :3] @ loc[:3] + frame[:3, 3]
            looks[row] = frame[:3, :3] @ (loc[3:6] if planar else loc[9:12])
        if (lost := (~np.isfinite(places).all(axis=1)) | (places == 0).all(axis=1)).any():
            without = [name for name, gone in zip(names, lost, strict=True) if gone]
            raise InvalidArgument(
                f"the position of {without[:5]} is not known: set a montage "
                "(raw.set_montage('easycap-M1')), or leave them out with names="
            )
        return _sensors(places, looks, kinds)


def _check_kinds(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownName.of("kind of sensor", kind, KINDS)


def _sensors(places: np.ndarray, looks: np.ndarray, kinds: Sequence[str]) -> Sensors:
    return Sensors(
        torch.tensor(places, dtype=torch.float32),
        torch.tensor(looks, dtype=torch.float32),
        torch.tensor([KINDS.index(kind) for kind in kinds]),
    )
