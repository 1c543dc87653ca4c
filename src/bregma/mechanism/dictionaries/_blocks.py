"""A shuffle buffer on disk: activity is mixed far wider than memory reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._activity import Samples


@dataclass(frozen=True)
class Block:
    """Samples that are shuffled together; they lie on disk.

    Parameters
    ----------
    activity : dict of array (sample, number)
        Maps of files, by name.
    n_pieces : int
        Of how many pieces of the stream it is made.
    """

    activity: dict[str, Num[np.ndarray, "sample number"]]
    n_pieces: int

    def batches(self, size: int, order: torch.Generator) -> list[Tensor]:
        """Shuffled rows in batches as equal as can be.

        Parameters
        ----------
        size : int
            Samples of a batch, about.
        order : torch.Generator
            Draws the order.

        Returns
        -------
        list of Tensor
            Row numbers, sorted: neighbours on disk are read together.
        """
        n = len(next(iter(self.activity.values())))
        rows = torch.randperm(n, generator=order)
        return [part.sort().values for part in rows.tensor_split(max(1, round(n / size)))]

    def rows(self, rows: Tensor) -> dict[str, Tensor]:
        """Read some samples.

        Parameters
        ----------
        rows : Tensor (sample,)
            Which.

        Returns
        -------
        dict of Tensor (sample, number)
            By name.
        """
        index = rows.numpy()
        return {name: torch.from_numpy(values[index]) for name, values in self.activity.items()}


def blocks(pieces: Iterator[Samples], size: int, folder: Path) -> Iterator[Block]:
    """Collect pieces of a stream in files, until they hold enough samples to be mixed.

    Parameters
    ----------
    pieces : iterator of dict of array
        The stream.
    size : int
        Samples of a block, at least (the last one may have fewer).
    folder : Path
        Where to write. Each block overwrites the one before.

    Yields
    ------
    Block
        Samples to be shuffled together.

    Raises
    ------
    InvalidArgument
        If pieces have unlike activities.
    """
    going = True
    while going:
        n_samples = n_pieces = 0
        widths: dict[str, int] = {}
        with ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            while n_samples < size:
                piece = next(pieces, None)
                if piece is None:
                    going = False
                    break
                here = {name: values.shape[1] for name, values in piece.items()}
                if not widths:
                    widths = here
                    for number, name in enumerate(widths):
                        files[name] = stack.enter_context((folder / f"{number}.f32").open("wb"))
                if here != widths:
                    raise InvalidArgument(
                        f"activities of the stream change from {widths} to {here} (their lengths)"
                    )
                for name, values in piece.items():
                    files[name].write(values.tobytes())
                n_samples += len(next(iter(piece.values())))
                n_pieces += 1
        if n_pieces:
            yield Block(
                {
                    name: np.memmap(
                        folder / f"{number}.f32", np.float32, "r", shape=(n_samples, width)
                    )
                    for number, (name, width) in enumerate(widths.items())
                },
                n_pieces,
            )
