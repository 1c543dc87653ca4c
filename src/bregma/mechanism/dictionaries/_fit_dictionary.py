"""Training dictionaries on a stream of activity: several in one pass, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.dictionaries._activity import as_source, made
from bregma.mechanism.dictionaries._blocks import Block, blocks
from bregma.mechanism.dictionaries._learner import Learner, Training
from bregma.run import Checkpoint, derive, spawn_torch
from bregma.run import progress as show_progress


@dataclass(frozen=True)
class DictionaryFit:
    """How training went.

    Parameters
    ----------
    losses : dict of array (step,)
        Loss of each dictionary at every step since the very beginning.
    n_revived : dict of int
        How often a dead feature of each dictionary got a new start.
    n_samples : int
        Samples that were learned from.
    """

    losses: dict[str, Float[np.ndarray, " step"]]
    n_revived: dict[str, int]
    n_samples: int


def fit_dictionary(
    dictionaries: Any,
    activity: Any,
    *,
    epochs: int = 1,
    batch_size: int = 4096,
    buffer: int = 2**18,
    dead_after: int | None = 2**19,
    seed: int,
    checkpoint: str | Path | Checkpoint | None = None,
    every: int = 500,
    precision: str = "float32",
    folder: str | Path | None = None,
    progress: bool = False,
) -> DictionaryFit:
    """Train dictionaries in place, with Adam, on activity that need not fit into memory.

    The stream is collected on disk, `buffer` samples at a time; these are shuffled and given, batch
    by batch, to *all* dictionaries. A feature that was off for `dead_after` samples starts anew
    from what is reconstructed worst (see `SparseAutoencoder.revive_`). With a `checkpoint`, the
    same call goes on after an interruption, to the same bits.

    A `SparseAutoencoder` with a `TopKCode` on the CPU is trained by `TopKStep`; everything else,
    and everything on a GPU, by autograd.

    Parameters
    ----------
    dictionaries : dictionary, Learner, or mapping of str to them
        What to train, such as ``{"narrow": sae, "wide": Learner(other, rate=1e-4)}``.
    activity : array, Tensor, pair, Recording, ActivityStream or callable
        (sample, number); a pair of them for transcoders; a `Recording` (each presentation, and
        time, is a sample); the stream of a system; or ``activity(generator)`` that gives one epoch
        of any of these pieces, or functions that make them, the same for the same generator.
    epochs : int
        How often to go through the activity, in total.
    batch_size : int
        Samples per step, about: a block is split evenly.
    buffer : int
        Samples that are shuffled together.
    dead_after : int, optional
        After how many samples a silent feature starts anew; None never does.
    seed : int
        Draws all orders and new starts.
    checkpoint : str, Path or Checkpoint, optional
        File to save to and to go on from.
    every : int
        Save after that many steps, and after each block.
    precision : str
        ``"float32"``, or ``"bfloat16"`` for products in half the memory.
    folder : str or Path, optional
        Where the buffer lies while training runs; the folder of temporary files by default.
    progress : bool
        Show a bar where stderr is a terminal.

    Returns
    -------
    DictionaryFit
        Losses and counts.

    Raises
    ------
    InvalidArgument
        If activity or settings do not fit, or the checkpoint belongs to something else.
    UnknownName
        If a learner asks for activity that is not there.
    BregmaError
        If a loss is no longer finite.

    References
    ----------
    Bricken et al. (2023), Towards monosemanticity: decomposing language models with dictionary
    learning.

    Examples
    --------
    >>> from bregma.datasets import planted_codes
    >>> from bregma.mechanism import SparseAutoencoder, TopKCode, fit_dictionary
    >>> data = planted_codes(2000, pixels=16, atoms=32, active=2, signed=False, seed=0)
    >>> sae = SparseAutoencoder(16, 32, TopKCode(2), seed=0)
    >>> losses = fit_dictionary(sae, data.signals, batch_size=100, seed=0).losses["0"]
    >>> bool(losses[-1] < losses[0])
    True
    """
    for number, name in ((epochs, "epochs"), (batch_size, "batch_size"), (buffer, "buffer"),
                         (every, "every"), (dead_after or 1, "dead_after")):  # fmt: skip
        if number < 1:
            raise InvalidArgument(f"{name} must be 1 or more, not {number}")
    if precision not in ("float32", "bfloat16"):
        raise UnknownName.of("precision", precision, ("float32", "bfloat16"))
    if not isinstance(dictionaries, Mapping):
        dictionaries = {"0": dictionaries}
    learners = {
        str(name): one if isinstance(one, Learner) else Learner(one)
        for name, one in dictionaries.items()
    }
    if not learners:
        raise InvalidArgument("no dictionary is given")
    store = Checkpoint(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
    run = _Run({n: Training(one, precision) for n, one in learners.items()}, store, seed)
    run.restore()
    source, size = as_source(activity), max(buffer, batch_size)
    pieces = source(spawn_torch(seed, "pieces", run.epoch))
    total = len(pieces) if isinstance(pieces, Sized) else None
    modes = {name: one.dictionary.training for name, one in run.trainings.items()}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bregma-activity-", dir=folder) as where,
            show_progress[Any](
                what="training dictionaries", total=total and total * epochs, show=progress
            ) as bar,
        ):
            bar.advance((total or 0) * run.epoch + run.piece)
            for training in run.trainings.values():
                training.dictionary.train()
            while run.epoch < epochs:
                pieces = source(spawn_torch(seed, "pieces", run.epoch))
                for block in blocks(made(pieces, run.piece), size, Path(where)):
                    run.learn(block, batch_size, dead_after, every)
                    bar.advance(block.n_pieces, note=run.note())
                run.next_epoch()
    finally:
        for name, training in run.trainings.items():
            training.dictionary.train(modes[name])
    return DictionaryFit(
        {n: np.asarray(t.losses) for n, t in run.trainings.items()},
        {n: t.n_revived for n, t in run.trainings.items()},
        run.n_samples,
    )


class _Run:
    """Where training stands: epoch, first piece of the present block, and step in it."""

    def __init__(self, trainings: dict[str, Training], store: Checkpoint | None, seed: int) -> None:
        self.trainings, self.store, self.seed = trainings, store, seed
        self.epoch = self.piece = self.step = self.n_samples = 0

    def learn(self, block: Block, batch_size: int, dead_after: int | None, every: int) -> None:
        order = spawn_torch(self.seed, "rows", self.epoch, self.piece)
        for number, rows in enumerate(block.batches(batch_size, order)):
            if number < self.step:  # done before the interruption
                continue
            batch = block.rows(rows)
            for name, training in self.trainings.items():
                training.step(batch)
                if dead_after is not None:
                    where = (name, self.epoch, self.piece, number)
                    training.revive(batch, dead_after, derive(self.seed, *where))
            self.step += 1
            self.n_samples += len(rows)
            if self.step % every == 0:
                self.save()
        self.piece, self.step = self.piece + block.n_pieces, 0
        self.save()

    def next_epoch(self) -> None:
        if self.piece == 0:
            raise InvalidArgument("the stream of activity is empty")
        self.epoch, self.piece, self.step = self.epoch + 1, 0, 0
        self.save()

    def note(self) -> str:
        return ", ".join(f"{n} {t.losses[-1]:.3g}" for n, t in self.trainings.items())

    def save(self) -> None:
        if self.store is None:
            return
        self.store.save(
            {
                "seed": self.seed,
                "where": [self.epoch, self.piece, self.step, self.n_samples],
                "dictionaries": {name: t.state() for name, t in self.trainings.items()},
            }
        )

    def restore(self) -> None:
        if self.store is None:
            return
        if (state := self.store.load()) is None:
            self.save()  # an interruption of the first steps goes back to here
            return
        found = (state.get("seed"), sorted(state.get("dictionaries", {})))
        if found != (wanted := (self.seed, sorted(self.trainings))):
            raise InvalidArgument(
                f"{self.store.path} was made with the seed and dictionaries {found}, not {wanted}; "
                "use those, or another file"
            )
        try:
            for name, training in self.trainings.items():
                training.restore(state["dictionaries"][name])
            self.epoch, self.piece, self.step, self.n_samples = state["where"]
        except (KeyError, RuntimeError, ValueError) as error:
            raise InvalidArgument(
                f"{self.store.path} belongs to other dictionaries: {str(error).splitlines()[0]}"
            ) from error
