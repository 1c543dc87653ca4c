"""One short training loop that can be interrupted at any time and goes on bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from bregma.errors import BregmaError, InvalidArgument, UnknownName
from bregma.run._checkpoint import Checkpoint
from bregma.run._parallel import Team
from bregma.run._progress import progress as show_progress
from bregma.run._seed import derive, spawn_torch

Batches = Callable[[torch.Generator], Iterable[Any]]


def minibatches(*tensors: torch.Tensor, size: int) -> Batches:
    """Shuffled minibatches of tensors that belong together.

    Parameters
    ----------
    *tensors : torch.Tensor
        Each (example, ...), all with as many examples.
    size : int
        Examples per batch; the last batch of an epoch may be smaller.

    Returns
    -------
    callable
        Given a generator, one epoch: an iterator of tuples of tensors.

    Raises
    ------
    InvalidArgument
        If the tensors have different lengths, or none or no examples are given.

    Examples
    --------
    >>> epoch = minibatches(torch.arange(5), size=2)
    >>> [len(batch) for (batch,) in epoch(torch.Generator().manual_seed(0))]
    [2, 2, 1]
    """
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) != 1 or lengths == {0}:
        raise InvalidArgument(f"the tensors need one common length above 0, not {sorted(lengths)}")
    if size < 1:
        raise InvalidArgument(f"size must be 1 or more, not {size}")

    (length,) = lengths

    def epoch(generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        order = torch.randperm(length, generator=generator)
        for part in order.split(size):
            yield tuple(tensor[part.to(tensor.device)] for tensor in tensors)

    return epoch


def fit(
    module: torch.nn.Module,
    loss: Callable[[torch.nn.Module, Any], torch.Tensor],
    batches: Batches,
    *,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    seed: int,
    checkpoint: str | Path | Checkpoint | None = None,
    every: int = 100,
    until: Callable[[], bool] | None = None,
    precision: str = "float32",
    progress: bool = False,
) -> Float[np.ndarray, " step"]:
    """Train a module in place.

    Interrupt it whenever you like: with a `checkpoint`, calling it again with the same arguments
    goes on from there, and ends with the same bits as if it had never been interrupted. All
    randomness follows from `seed`, the epoch and the step; the global generators are as before
    afterwards.

    In processes that ``torchrun`` started (after ``torch.distributed.init_process_group``), each
    process takes its share of every batch and all do the same step: the one of the whole batch,
    where the loss is a mean over examples.

    Parameters
    ----------
    module : torch.nn.Module
        Any module; it is set to training mode and put back into its mode at the end.
    loss : callable
        ``loss(module, batch)`` gives a scalar tensor.
    batches : callable
        ``batches(generator)`` gives one epoch of batches, the same ones for the same generator
        (see `minibatches`).
    optimizer : torch.optim.Optimizer
        Over the parameters of the module.
    epochs : int
        How often to go through the data, in total.
    seed : int
        Makes the order of the batches and what is random inside the module (dropout, noise).
    checkpoint : str, Path or Checkpoint, optional
        File to save to and to go on from.
    every : int
        Save after that many steps, and at the end of every epoch.
    until : callable, optional
        Asked after every epoch; training ends early when it says yes.
    precision : str
        ``"float32"``, or ``"bfloat16"`` for products and convolutions in half the memory;
        weights and their updates stay as they are.
    progress : bool
        Show a bar where stderr is a terminal.

    Returns
    -------
    Float[np.ndarray, "step"]
        The loss at every step since the very beginning.

    Raises
    ------
    InvalidArgument
        If the checkpoint belongs to another seed, module or optimizer, there is no such
        precision, or a batch cannot be shared among the processes.
    BregmaError
        If the loss is no longer finite.
    """
    store = Checkpoint(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
    if precision not in ("float32", "bfloat16"):
        raise UnknownName.of("precision", precision, ("float32", "bfloat16"))
    team, start, step, losses = Team.now(), 0, 0, list[float]()
    state = None if store is None else store.load()
    team.wait()  # before anybody saves: all go on from there, or none
    if store is not None and state is not None:
        start, step, losses = _restore(state, store, module, optimizer, seed)
    else:  # an interruption of the first steps goes back to here
        team.same_start(module)
        _save(store, team, module, optimizer, seed, start, step, losses)
    was_training = module.training
    module.train()
    parameters = [p for p in module.parameters() if p.requires_grad]
    devices = sorted({p.device.index or 0 for p in parameters if p.is_cuda})
    half = torch.autocast("cuda" if devices else "cpu", torch.bfloat16, precision == "bfloat16")
    own = (team.rank,) if team.rank else ()  # noise is another one in each process
    try:
        with show_progress[Any](what="training", total=epochs, show=progress) as bar:
            bar.advance(start)
            for epoch in range(start, epochs):
                order = spawn_torch(seed, "batches", epoch)
                for number, batch in enumerate(batches(order)):
                    if number < step:  # done before the interruption
                        continue
                    mine, weight = team.share(batch)
                    with _seeded(derive(seed, "step", epoch, number, *own), devices):
                        optimizer.zero_grad(set_to_none=True)
                        with half:
                            value = loss(module, mine) * weight
                        value.backward()
                        value = value.detach()
                        team.add_up([value, *(p.grad for p in parameters if p.grad is not None)])
                        optimizer.step()
                    losses.append(value.item())
                    if not math.isfinite(losses[-1]):
                        raise BregmaError(
                            f"the loss became {losses[-1]} in epoch {epoch}, step {number}: "
                            "lower the learning rate or look for invalid inputs"
                        )
                    if (number + 1) % every == 0:
                        _save(store, team, module, optimizer, seed, epoch, number + 1, losses)
                step = 0
                enough = until is not None and team.first_says(until, parameters[0].device)
                done = epochs if enough else epoch + 1
                _save(store, team, module, optimizer, seed, done, 0, losses)
                bar.advance(note=f"loss {losses[-1]:.3g}" if losses else None)
                if enough:
                    break
    finally:
        module.train(was_training)
    return np.asarray(losses, dtype=np.float64)


@contextmanager
def _seeded(seed: int, devices: list[int]) -> Iterator[None]:
    """Seed the global generators of PyTorch for a moment: dropout listens to nothing else."""
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        yield


def _save(
    store: Checkpoint | None,
    team: Team,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    seed: int,
    epoch: int,
    step: int,
    losses: list[float],
) -> None:
    """Keep everything that the next step depends on."""
    if store is not None and team.rank == 0:
        store.save(
            {
                "module": dict(module.state_dict()),
                "optimizer": optimizer.state_dict(),
                "seed": seed,
                "epoch": epoch,
                "step": step,
                "losses": torch.tensor(losses, dtype=torch.float64),
            }
        )
    team.wait()


def _restore(
    state: dict[str, Any],
    store: Checkpoint,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    seed: int,
) -> tuple[int, int, list[float]]:
    """Put a saved state back; give epoch, step and the losses so far."""
    if state.get("seed") != seed:
        raise InvalidArgument(
            f"{store.path} was made with seed {state.get('seed')}, not {seed}; "
            "use that seed, or another file"
        )
    try:
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        return state["epoch"], state["step"], state["losses"].tolist()
    except (KeyError, RuntimeError, ValueError) as error:
        raise InvalidArgument(
            f"{store.path} belongs to another module or optimizer: {str(error).splitlines()[0]}"
        ) from error
