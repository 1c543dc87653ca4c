"""Checkpoints: written whole or not at all, and never unpickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bregma._files import atomic_path
from bregma.errors import InvalidArgument

_PLAIN = (torch.Tensor, str, int, float, bool, type(None))


def _check_plain(value: object, where: str) -> None:
    """Refuse at saving what could not be loaded without unpickling."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_plain(part, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            _check_plain(part, f"{where}[{number}]")
    elif not isinstance(value, _PLAIN):
        raise InvalidArgument(
            f"{where} is a {type(value).__name__}; a checkpoint holds tensors, numbers, text, "
            "lists and dicts only (turn arrays into tensors with torch.as_tensor)"
        )


@dataclass(frozen=True)
class Checkpoint:
    """One file that holds the state of long work.

    Saving replaces the file in one step: a crash or a Ctrl-C in between leaves the state before.
    Loading runs no code from the file (``weights_only``).

    Parameters
    ----------
    path : str or Path
        The file; its folder is made when the first state is saved.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = Checkpoint(folder + "/run.pt")
    ...     checkpoint.save({"step": 3})
    ...     checkpoint.load()
    {'step': 3}
    """

    path: str | Path

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state in the file.

        Parameters
        ----------
        state : dict
            Tensors, numbers, text, lists and dicts, nested as you like.

        Raises
        ------
        InvalidArgument
            If anything else is in it.
        """
        _check_plain(state, "state")
        with atomic_path(self.path) as part:
            torch.save(state, part)

    def load(self, device: str | torch.device = "cpu") -> dict[str, Any] | None:
        """The state in the file.

        Parameters
        ----------
        device : str or torch.device
            Where the tensors should be.

        Returns
        -------
        dict or None
            What was saved last; None when nothing was saved yet.

        Raises
        ------
        InvalidArgument
            If the file is no checkpoint.
        """
        if not Path(self.path).exists():
            return None
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
        except Exception as error:  # zip, pickle and EOF errors of many kinds
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InvalidArgument(
                f"{self.path} is no checkpoint of bregma ({reason}); delete it to start anew"
            ) from error
        if not isinstance(state, dict):
            raise InvalidArgument(f"{self.path} holds a {type(state).__name__}, not a state")
        return state
